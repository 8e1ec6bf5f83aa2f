"""`flexllm-mock record`: hands requests on to a real endpoint and records what comes back."""

from __future__ import annotations

import argparse
import contextlib
from collections.abc import Sequence
from pathlib import Path

from flexllm_mock.recording.upstream import Upstream
from flexllm_mock.serving import Signals, fail, forget_ready_file, note, serve


def main(arguments: Sequence[str]) -> int:
    """Record until SIGINT or SIGTERM, and return the exit code.

    0 after a signal, 1 when the recorder cannot start (one line on stderr says why); wrong options exit with 2.
    """
    parser = build_parser()
    options = parser.parse_args(arguments)
    try:
        upstream = Upstream.parse(options.upstream)
    except ValueError as error:
        parser.error(f"--upstream: {error}")
    if not 0 <= options.port <= 65535:
        parser.error(f"--port must be 0 to 65535, not {options.port}")
    with Signals() as signals:
        return _run(upstream, options, signals)


def _run(upstream: Upstream, options: argparse.Namespace, signals: Signals) -> int:
    # These load uvicorn, which `--help` and a wrong option need not wait for.
    from flexllm_mock.httpserver import listen
    from flexllm_mock.recording.record_app import RecordApp
    from flexllm_mock.server import cannot_listen

    forget_ready_file(options.ready_file)
    try:
        listener = listen(options.host, options.port)
    except OSError as error:
        return fail(cannot_listen(options.host, options.port, error))
    with listener:
        try:
            app = RecordApp(upstream, options.out)
        except OSError as error:
            return fail(f"cannot write {options.out}: {error.strerror or error}")
        with contextlib.closing(app):
            try:
                serve(app, listener, signals, ready_file=options.ready_file, quiet=options.quiet)
            except OSError as error:
                return fail(str(error))
    if not options.quiet:
        note(f"{app.recorded} answers recorded in {options.out}")
        if app.left_out:
            note(f"{app.left_out} answers left out: compressed, repeating a key bit by bit, or not writable")
    return 0


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of the command's options."""
    parser = argparse.ArgumentParser(
        prog="flexllm-mock record",
        description="Hand requests on to a real endpoint, with the key they come with, and record what comes back.",
        epilog="Keys are written nowhere. Let clients use the printed URL as they would the endpoint's.",
    )
    add = parser.add_argument
    add("--upstream", required=True, metavar="URL", help="the real endpoint, such as https://api.openai.com/v1")
    add("--out", required=True, type=Path, metavar="FILE", help="append to this recording, in JSON Lines")
    add("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
    add("--port", type=int, default=8000, help="port, 0 for any free one (default: %(default)s)")
    add("--ready-file", type=Path, metavar="FILE", help="write url, port and pid as JSON to FILE when ready")
    add("--quiet", action="store_true", help="write nothing to stderr but errors")
    return parser
