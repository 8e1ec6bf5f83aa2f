"""The command where the system lacks what only POSIX has, and where open files cannot be renamed or removed."""

from __future__ import annotations

import subprocess
import sys

import pytest

PRELUDE = """
import asyncio, os, pathlib, shutil, signal, socket, ssl, subprocess, sys, tempfile

for name in ("fdatasync", "pread", "pwrite", "O_DIRECTORY", "O_NOFOLLOW", "fork", "register_at_fork", "fchmod",
             "fchown", "chown", "getuid", "geteuid", "getgid", "mkfifo", "sched_getaffinity"):
    if hasattr(os, name):
        delattr(os, name)
for name in ("SIGHUP", "SIGQUIT", "SIGKILL", "SIGUSR1", "SIGUSR2", "SIGALRM", "SIGPIPE", "pthread_sigmask"):
    if hasattr(signal, name):
        delattr(signal, name)
for name in ("fcntl", "termios", "tty", "pty", "resource", "pwd", "grp", "uvloop"):
    sys.modules[name] = None


def refuse(*_):
    raise NotImplementedError


asyncio.BaseEventLoop.add_signal_handler = refuse
asyncio.SelectorEventLoop.add_signal_handler = refuse


def is_open(path):
    names = [f"/proc/self/fd/{fd}" for fd in os.listdir("/proc/self/fd")]
    path = os.path.realpath(path)
    return any(os.path.exists(name) and os.readlink(name) == path for name in names)


def guarded(call):
    def guard(*paths, **options):
        for path in paths:
            if isinstance(path, (str, os.PathLike)) and is_open(path):
                raise PermissionError(13, "the file is being used by another process", str(path))
        return call(*paths, **options)
    return guard


for name in ("replace", "rename", "unlink", "remove"):
    setattr(os, name, guarded(getattr(os, name)))
"""

RUN = """
from flexllm_cli.app import main

sys.argv = ["flexllm", *sys.argv[1:]]
main()
"""


@pytest.fixture
def run(cli):
    """The command in such a process; `extra` code runs in it first."""

    def run(*args, extra=""):
        command = [sys.executable, "-c", PRELUDE + extra + RUN, *map(str, args)]
        done = subprocess.run(command, capture_output=True, text=True, env=cli.environment(), timeout=60)
        assert "Traceback" not in done.stderr, done.stderr
        return done

    return run


def test_every_public_module_can_be_imported(run):
    """No import of ours needs a module or name that only POSIX has."""
    extra = """
import importlib
for name in ("flexllm", "flexllm_core", "flexllm_providers", "flexllm_batch"):
    package = importlib.import_module(name)
    for public in package.__all__:
        getattr(package, public)
"""
    assert run("version", extra=extra).returncode == 0


def test_a_batch_runs_resumes_and_is_brought_into_order(run, files, mock):
    """Torn tail, failed rows, moved rows, stale answers: the output is rewritten over while nothing holds it open."""
    rows = [{"q": f"question {number}"} for number in range(40)]
    files.write_input(rows)
    command = ("batch", files.input, "-o", files.output, "-m", "m", "--base-url", mock.base_url, "-c", 7)
    done = run(*command)
    assert done.returncode == 0, done.stderr
    files.output.write_bytes(files.output.read_bytes()[:-30])
    files.write_input([{"q": "first"}, *rows[5:], rows[7]])
    done = run(*command)
    assert done.returncode == 0, done.stderr
    assert [line["index"] for line in files.lines()] == list(range(37))
    assert mock.requests() == 40 + 3
    assert files.output.with_name("out.jsonl.stale").exists()


def test_a_full_rerun_and_a_dry_run_work_too(run, files, mock):
    """Nothing is sent, nothing is left open."""
    files.write_input([{"q": f"question {number}"} for number in range(5)])
    command = ("batch", files.input, "-o", files.output, "-m", "m", "--base-url", mock.base_url)
    assert [run(*command).returncode, run(*command).returncode, run(*command, "--dry-run").returncode] == [0, 0, 10]
    assert mock.requests() == 5
