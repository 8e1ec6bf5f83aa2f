"""The `flexllm-mock` command."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import signal
import sys
import tempfile
import threading
from collections.abc import Callable, Sequence
from functools import partial
from importlib import import_module
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any, Self

from flexllm_mock.cli_simulation import add_simulation_options, simulation_options
from flexllm_mock.config import API_KEY_VARIABLE, MockConfig
from flexllm_mock.verdict_options import add_fail_on, conclude

if TYPE_CHECKING:
    import socket

    from flexllm_mock.app import MockApp

_SUBCOMMANDS = {
    "lint": "flexllm_mock.lint_command",
    "verdict": "flexllm_mock.verdict_command",
}

_GRACE_SECONDS = 1.0
_SIGNALS = (signal.SIGINT, signal.SIGTERM)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a mock server until SIGINT or SIGTERM, or a subcommand, and return the exit code.

    0 after a signal, 1 when the server cannot start (one line on stderr says why), 3 when a verdict was asked for and a
    rule has failed; wrong options exit with 2.
    """
    arguments = sys.argv[1:] if arguments is None else arguments
    if arguments and arguments[0] in _SUBCOMMANDS:
        subcommand: Callable[[Sequence[str]], int] = import_module(_SUBCOMMANDS[arguments[0]]).main
        return subcommand(arguments[1:])
    parser = build_parser()
    options = parser.parse_args(arguments)
    try:
        config = _config(options)
    except ValueError as error:
        parser.error(str(error))
    with _Signals() as signals:
        return _run(config, options, signals)


def _run(config: MockConfig, options: argparse.Namespace, signals: _Signals) -> int:
    # These load uvicorn, which `--help` and a wrong option need not wait for.
    from flexllm_mock.app import MockApp
    from flexllm_mock.fixture_files import FixtureError
    from flexllm_mock.httpserver import listen
    from flexllm_mock.server import cannot_listen

    try:
        listener = listen(config.host, config.port)
    except OSError as error:
        return _fail(cannot_listen(config.host, config.port, error))
    with listener:
        try:
            app = MockApp(config)
        except OSError as error:
            return _fail(f"cannot write the log file {config.log_file}: {error.strerror or error}")
        except FixtureError as error:
            return _fail(str(error))
        with contextlib.closing(app):
            try:
                return _serve(app, listener, options, signals)
            except OSError as error:
                return _fail(str(error))


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of the command's options."""
    parser = argparse.ArgumentParser(
        prog="flexllm-mock",
        description="A deterministic mock LLM server for tests and CI. Prints one JSON line with its url when ready.",
        epilog=f"Commands besides serving: {', '.join(_SUBCOMMANDS)}; `flexllm-mock COMMAND --help` describes each.",
    )
    add = parser.add_argument
    add("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
    add("--port", type=int, default=8000, help="port, 0 for any free one (default: %(default)s)")
    add("--delay", type=float, default=0.0, metavar="SECONDS", help="wait before an answer or the first token")
    add("--token-rate", type=float, default=0.0, metavar="N", help="tokens per second (default: no pacing)")
    add("--response-len", type=_token_range, default=(12, 40), metavar="MIN-MAX", help="tokens of an answer (12-40)")
    add("--error-rate", type=float, default=0.0, metavar="SHARE", help="share of requests that fail, 0 to 1")
    add("--error-status", type=int, default=500, metavar="STATUS", help="status of those (default: %(default)s)")
    add("--retry-after", type=float, metavar="SECONDS", help="retry-after header for --error-status 429 and 503")
    add(
        "--fault-rate",
        type=_kind_and_rate,
        action="append",
        metavar="KIND=SHARE",
        help="share of requests that meet a fault, may be repeated; see the README for the kinds",
    )
    add_simulation_options(parser)
    add("--seed", type=int, default=0, help="another seed gives other answers and errors (default: %(default)s)")
    add("--model", action="append", metavar="NAME", help="model to list, may be repeated (default: mock)")
    add("--strict-models", action="store_true", help="answer 404 for models that are not listed")
    add("--api-key", metavar="KEY", help=f"refuse other keys; better given in {API_KEY_VARIABLE}")
    add("--batch-seconds", type=float, default=0.0, metavar="SECONDS", help="how long a vendor's batch takes (0)")
    add("--batch-window", type=float, default=86_400.0, metavar="SECONDS", help="when its rows expire (a day)")
    add("--fixtures", action="append", metavar="FILE|DIR", help="answers by rules, from YAML, JSON or JSON Lines")
    add("--qa", type=Path, metavar="FILE", help="question and answer pairs, from JSON Lines, JSON or CSV")
    add("--ready-file", type=Path, metavar="FILE", help="write url, port and pid as JSON to FILE when ready")
    add("--log-file", type=Path, metavar="FILE", help="append one JSON line per request to FILE")
    add("--verdict", action="store_true", help="at the end print a verdict on the client; exit with 3 if it failed")
    add_fail_on(parser)
    add("--quiet", action="store_true", help="write nothing to stderr but errors")
    return parser


def _token_range(text: str) -> tuple[int, int]:
    least, _, most = text.partition("-")
    try:
        return int(least), int(most or least)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is neither a number nor a range such as 12-40") from None


def _kind_and_rate(text: str) -> tuple[str, float]:
    kind, _, rate = text.partition("=")
    try:
        return kind, float(rate)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no kind and share, such as rate_limit=0.05") from None


def _config(options: argparse.Namespace) -> MockConfig:
    return MockConfig(
        host=options.host,
        port=options.port,
        delay=options.delay,
        token_rate=options.token_rate,
        response_len=options.response_len,
        error_rate=options.error_rate,
        error_status=options.error_status,
        retry_after=options.retry_after,
        fault_rates=dict(options.fault_rate or ()),
        **simulation_options(options),
        seed=options.seed,
        models=tuple(options.model or ("mock",)),
        strict_models=options.strict_models,
        api_key=options.api_key if options.api_key is not None else os.environ.get(API_KEY_VARIABLE) or None,
        fixtures=tuple(options.fixtures or ()),
        qa=options.qa,
        log_file=options.log_file,
        batch_seconds=options.batch_seconds,
        batch_window=options.batch_window,
    )


def _serve(app: MockApp, listener: socket.socket, options: argparse.Namespace, signals: _Signals) -> int:
    from flexllm_mock.httpserver import HttpServer, loop_factory, url_of

    url = url_of(listener)
    ready_line = json.dumps({"url": url, "port": listener.getsockname()[1], "pid": os.getpid()})

    def announce() -> None:
        if options.ready_file is not None:
            _write_whole(options.ready_file, ready_line + "\n")
        print(ready_line, flush=True)  # noqa: T201 the command's output
        if not options.quiet:
            _note(f"serving at {url}/v1, Ctrl+C stops")

    async def serve() -> None:
        server = HttpServer(app, listener, grace=_GRACE_SECONDS, ready=announce)
        signals.stop = partial(asyncio.get_running_loop().call_soon_threadsafe, server.stop)
        await server.run_until_stopped()

    with asyncio.Runner(loop_factory=loop_factory()) as runner:
        runner.run(serve())
    if not options.quiet:
        _note(f"stopped after {app.log.stats().requests} requests")
    return conclude(app.log.facts(), options.fail_on) if options.verdict or options.fail_on else 0


class _Signals:
    """Turns SIGINT and SIGTERM into a clean stop, from the first moment on; only the main thread may do so."""

    def __init__(self) -> None:
        self.stop: Callable[[], object] | None = None
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            self._before = {number: signal.signal(number, self._handle) for number in _SIGNALS}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _handle(self, _number: int, _frame: FrameType | None) -> None:
        if self.stop is None:
            raise SystemExit(0)  # the server has not begun to serve
        self.stop()


def _write_whole(file: Path, text: str) -> None:
    """Write a file so that a reader sees all of it or nothing. Raises OSError."""
    descriptor, name = tempfile.mkstemp(dir=file.parent, prefix=f".{file.name}.")
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as part:
            part.write(text)
        Path(name).replace(file)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def _note(text: str) -> None:
    print(f"flexllm-mock: {text}", file=sys.stderr, flush=True)  # noqa: T201 the command's messages


def _fail(text: str) -> int:
    _note(text)
    return 1
