"""Fixtures for the tests of the command line: in this process, and on a terminal."""

from __future__ import annotations

import io
import os
import pty
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pexpect
import pytest

from flexllm_cli import app

SECONDS = 20


@pytest.fixture
def in_process(monkeypatch, capsys, tmp_path) -> Callable[..., tuple[object, str, str]]:
    """Run the program in this process, which is quicker than a new one; its exit code, stdout and stderr."""
    monkeypatch.setenv("HOME", str(tmp_path))

    def call(*args: object, text: str = "") -> tuple[object, str, str]:
        monkeypatch.setattr(sys, "stdin", io.StringIO(text))
        monkeypatch.setattr(sys, "argv", ["flexllm", *map(str, args)])
        capsys.readouterr()
        code: object = 0
        try:
            app.main()
        except SystemExit as end:
            code = end.code or 0
        out, err = capsys.readouterr()
        return code, out, err

    return call


@pytest.fixture
def on_terminal(cli) -> Callable[..., tuple[str, int]]:
    """Run the command with all three streams on a terminal; what it showed, and its exit code."""

    def run(*args: object, columns: int = 120, env: dict[str, str] | None = None) -> tuple[str, int]:
        leader, follower = pty.openpty()
        process = subprocess.Popen(
            [sys.executable, "-m", "flexllm_cli", *map(str, args)],
            stdin=follower, stdout=follower, stderr=follower,
            env={**cli.environment(), "TERM": "xterm", "COLUMNS": str(columns), **(env or {})},
        )  # fmt: skip
        os.close(follower)
        shown: list[bytes] = []

        def read() -> None:
            while True:
                try:
                    data = os.read(leader, 65536)
                except OSError:  # the last writer has gone
                    return
                if not data:
                    return
                shown.append(data)

        reader = threading.Thread(target=read)
        reader.start()
        code = process.wait(60)
        reader.join()
        os.close(leader)
        return b"".join(shown).decode(), code

    return run


@pytest.fixture
def spawn(cli: Any) -> Iterator[Callable[..., pexpect.spawn]]:
    """Start `flexllm` in a terminal of 24 lines of 80 columns; whatever still runs is ended with the test."""
    with ExitStack() as stack:

        def start(*args: object, env: dict[str, str] | None = None) -> pexpect.spawn:
            terminal = pexpect.spawn(
                sys.executable,
                ["-m", "flexllm_cli", *map(str, args)],
                env={**cli.environment(), "TERM": "xterm-256color", "LANG": "C.UTF-8", **(env or {})},
                encoding="utf-8",
                timeout=SECONDS,
                dimensions=(24, 80),
            )
            stack.callback(terminal.close, force=True)
            return terminal

        yield start
