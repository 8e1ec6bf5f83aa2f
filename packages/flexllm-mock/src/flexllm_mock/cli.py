"""The `flexllm-mock` command."""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
from collections.abc import Callable, Sequence
from difflib import get_close_matches
from importlib import import_module
from pathlib import Path

from flexllm_mock.config import API_KEY_VARIABLE, MockConfig
from flexllm_mock.physics.options import add_simulation_options, simulation_options
from flexllm_mock.serving import Signals, fail, forget_ready_file, serve, show
from flexllm_mock.verdict.options import add_fail_on, conclude

SUBCOMMANDS = {
    "fixtures": "flexllm_mock.fixtures.command",
    "lint": "flexllm_mock.fixtures.lint_command",
    "record": "flexllm_mock.recording.record_command",
    "replay": "flexllm_mock.recording.replay_command",
    "verdict": "flexllm_mock.verdict.command",
}
"""What the first argument may be, and the module with the `main` and the `build_parser` of each."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a mock server until SIGINT or SIGTERM, or a subcommand, and return the exit code.

    0 after a signal, 1 when the server cannot start (one line on stderr says why), 3 when a verdict was asked for and a
    rule has failed; wrong options exit with 2.
    """
    arguments = sys.argv[1:] if arguments is None else arguments
    if arguments and arguments[0] in SUBCOMMANDS:
        subcommand: Callable[[Sequence[str]], int] = import_module(SUBCOMMANDS[arguments[0]]).main
        return subcommand(arguments[1:])
    parser = build_parser()
    if arguments and not arguments[0].startswith("-"):
        near = get_close_matches(arguments[0], SUBCOMMANDS, 1)
        hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(SUBCOMMANDS)}"
        parser.error(f"there is no command {arguments[0]!r}; {hint}")
    return run(parser, parser.parse_args(arguments))


def run(parser: argparse.ArgumentParser, options: argparse.Namespace) -> int:
    """Run a mock server with options that `build_parser` has read, as `main` does."""
    try:
        config = _config(options)
    except ValueError as error:
        parser.error(str(error))
    with Signals() as signals:
        return _run(config, options, signals)


def _run(config: MockConfig, options: argparse.Namespace, signals: Signals) -> int:
    # These load uvicorn, which `--help` and a wrong option need not wait for.
    from flexllm_mock.app import MockApp
    from flexllm_mock.fixtures.files import FixtureError
    from flexllm_mock.httpserver import listen
    from flexllm_mock.recording.recording import RecordingError
    from flexllm_mock.server import cannot_listen

    forget_ready_file(options.ready_file)
    try:
        listener = listen(config.host, config.port)
    except OSError as error:
        return fail(cannot_listen(config.host, config.port, error))
    with listener:
        try:
            app = MockApp(config)
        except OSError as error:
            return fail(f"cannot write the log file {config.log_file}: {error.strerror or error}")
        except (FixtureError, RecordingError) as error:
            return fail(str(error))
        with contextlib.closing(app):
            try:
                serve(app, listener, signals, ready_file=options.ready_file, quiet=options.quiet)
            except OSError as error:
                return fail(str(error))
            return conclude(app.log.facts(), options.fail_on) if options.verdict or options.fail_on else 0


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of the command's options."""
    parser = argparse.ArgumentParser(
        prog="flexllm-mock",
        description="A deterministic mock LLM server for tests and CI. Prints one JSON line with its url when ready.",
        epilog=f"Commands besides serving: {', '.join(SUBCOMMANDS)}; `flexllm-mock COMMAND --help` describes each.",
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
    add("--replay", type=Path, metavar="FILE", help="answer from a recording, as `flexllm-mock replay FILE` does")
    add("--replay-speed", type=float, default=1.0, metavar="N", help="N times faster than recorded, 0 for at once (1)")
    add("--replay-fallback", choices=("mock",), help="let the mock answer what is not recorded")
    add("--ready-file", type=Path, metavar="FILE", help="write url, port and pid as JSON to FILE when ready")
    add("--log-file", type=Path, metavar="FILE", help="append one JSON line per request to FILE")
    add("--verdict", action="store_true", help="at the end print a verdict on the client; exit with 3 if it failed")
    add_fail_on(parser)
    add("--version", action=_ShowVersion, nargs=0, help="print the version and exit")
    add("--quiet", action="store_true", help="write nothing to stderr but errors")
    return parser


class _ShowVersion(argparse.Action):
    """Prints the version, which takes time to find, only when it is asked for."""

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        from importlib.metadata import version

        show(f"flexllm-mock {version('flexllm-mock')}")
        parser.exit()


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
        replay=options.replay,
        replay_speed=options.replay_speed,
        replay_fallback=options.replay_fallback is not None,
        log_file=options.log_file,
        batch_seconds=options.batch_seconds,
        batch_window=options.batch_window,
    )
