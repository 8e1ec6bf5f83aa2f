"""Runs one command in a fresh process and tells what it took: seconds, CPU and peak memory of that process alone."""

from __future__ import annotations

import os
import subprocess
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

_TAIL = 600  # characters of a failed command's output that its error shows
_LEFT_OUT = ("FLEXLLM_", "OPENAI_", "LITELLM_", "COVERAGE_", "PYTHON", "VIRTUAL_ENV")


class ChildError(Exception):
    """A command that failed, with the end of what it said."""


@dataclass(frozen=True, slots=True)
class Usage:
    """What a process took.

    Attributes:
        seconds: From its start to its end.
        cpu_seconds: User and system time of it and of the processes that it waited for.
        peak_mib: Largest resident memory.
        stdout: What it printed.
    """

    seconds: float
    cpu_seconds: float
    peak_mib: float
    stdout: str


def clean_environ(home: Path) -> dict[str, str]:
    """This process's environment without keys, proxies and settings of the machine, and with an empty home."""
    environ = {
        name: value
        for name, value in os.environ.items()
        if not name.upper().startswith(_LEFT_OUT) and not name.upper().endswith("_PROXY")
    }
    return environ | {"HOME": str(home), "NO_COLOR": "1", "TERM": "dumb", "PYTHONUTF8": "1"}


def run_child(command: Sequence[str], *, cwd: Path, environ: Mapping[str, str], timeout: float) -> Usage:
    """Run a command to its end.

    The kernel counts what the process that forks has in memory as the child's peak too, so the process
    that calls this has to stay smaller than anything it measures.

    Raises:
        ChildError: It ended with another code than 0, or was killed after `timeout` seconds.
    """
    with tempfile.TemporaryFile() as stdout, tempfile.TemporaryFile() as stderr:
        started = time.perf_counter()
        process = subprocess.Popen(
            command, cwd=cwd, env=dict(environ), stdin=subprocess.DEVNULL, stdout=stdout, stderr=stderr
        )
        killer = threading.Timer(timeout, process.kill)
        killer.start()
        try:
            _, status, usage = os.wait4(process.pid, 0)
            seconds = time.perf_counter() - started
            process.returncode = os.waitstatus_to_exitcode(status)
        finally:
            killer.cancel()
            if process.returncode is None:  # interrupted while waiting
                process.kill()
                process.wait()
        stdout.seek(0)
        stderr.seek(0)
        printed, complaints = stdout.read().decode(errors="replace"), stderr.read().decode(errors="replace")
    if process.returncode != 0:
        tail = (complaints or printed).strip()[-_TAIL:]
        raise ChildError(f"exit code {process.returncode} after {seconds:.1f} s: {tail}")
    return Usage(seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024, printed)
