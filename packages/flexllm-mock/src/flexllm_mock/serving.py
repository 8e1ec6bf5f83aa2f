"""Runs a server as a command does: says when it is ready, and ends cleanly on a signal."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import signal
import socket
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from flexllm_mock.httpserver import ServedApp

_GRACE_SECONDS = 1.0
_SIGNALS = (signal.SIGINT, signal.SIGTERM)


def serve(
    app: ServedApp, listener: socket.socket, signals: Signals, *, ready_file: Path | None = None, quiet: bool = False
) -> None:
    """Serve until a signal comes. Prints a line of JSON when ready, and writes it to `ready_file`. Raises OSError."""
    from flexllm_mock.httpserver import HttpServer, loop_factory, url_of  # these load uvicorn

    url = url_of(listener)
    ready_line = json.dumps({"url": url, "port": listener.getsockname()[1], "pid": os.getpid()})

    def announce() -> None:
        if ready_file is not None:
            try:
                _write_whole(ready_file, ready_line + "\n")
            except OSError as error:
                raise OSError(f"cannot write the ready file {ready_file}: {error.strerror or error}") from error
        print(ready_line, flush=True)  # noqa: T201 the command's output
        if not quiet:
            note(f"serving at {url}/v1, Ctrl+C stops")

    async def run() -> None:
        server = HttpServer(app, listener, grace=_GRACE_SECONDS, ready=announce)
        signals.stop = partial(asyncio.get_running_loop().call_soon_threadsafe, server.stop)
        await server.run_until_stopped()

    with _logging(quiet=quiet), asyncio.Runner(loop_factory=loop_factory()) as runner:
        runner.run(run())
    if not quiet:
        note(f"stopped after {app.log.stats().requests} requests")


@contextmanager
def _logging(*, quiet: bool) -> Iterator[None]:
    """Let what the server logs look like the command's other messages; when `quiet`, only errors."""
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("flexllm-mock: %(message)s"))
    handler.setLevel(logging.ERROR if quiet else logging.INFO)
    logger = logging.getLogger("flexllm_mock")
    propagate, logger.propagate = logger.propagate, False
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.propagate = propagate


def forget_ready_file(file: Path | None) -> None:
    """Remove the ready file of an earlier server, so that nobody takes this one for ready too soon."""
    if file is not None and file.is_file() and not file.is_symlink():
        with suppress(OSError):  # whoever may not remove it may not write it either, and is told then
            file.unlink()


class Signals:
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


def show(text: str) -> None:
    """Print the output of a command, as far as somebody reads it."""
    try:
        print(text, flush=True)  # noqa: T201 the command's output
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # else the interpreter tries again at its end


def note(text: str) -> None:
    """Print a message of the command."""
    print(f"flexllm-mock: {text}", file=sys.stderr, flush=True)  # noqa: T201 the command's messages


def fail(text: str) -> int:
    """Print why the command ends and return its exit code."""
    note(text)
    return 1
