"""The lock beside an output: one writer, whose process id the next one is told."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from flexllm_batch.outputs.lock import OutputLock
from flexllm_core.errors import JournalConflictError, JournalError

HOLDER = """
import sys, time
from pathlib import Path
from flexllm_batch.outputs.lock import OutputLock
lock = OutputLock(Path(sys.argv[1]))
lock.acquire()
print("held", flush=True)
sys.stdin.read()
lock.release()
"""


@pytest.fixture
def output(tmp_path: Path) -> Path:
    return tmp_path / "out.jsonl"


def start_holder(output: Path) -> subprocess.Popen[str]:
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(output)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert holder.stdout is not None
    assert holder.stdout.readline() == "held\n"
    return holder


def end(holder: subprocess.Popen[str]) -> None:
    if holder.poll() is None:
        holder.kill()
    holder.communicate()


def test_the_file_is_there_while_the_lock_is_held(output: Path) -> None:
    """It holds our process id, and is removed at the end; releasing twice is fine."""
    lock = OutputLock(output)
    lock.acquire()
    assert (output.parent / "out.jsonl.lock").read_text() == f"{os.getpid()}\n"
    lock.release()
    lock.release()
    assert list(output.parent.iterdir()) == []
    lock.acquire()
    lock.release()


def test_a_second_process_is_told_who_has_it(output: Path) -> None:
    """The conflict names the holder's process id, as often as one tries."""
    holder = start_holder(output)
    try:
        for _ in range(2):
            with pytest.raises(
                JournalConflictError, match=rf"written by another run \(process {holder.pid}\)"
            ) as error:
                OutputLock(output).acquire()
            assert error.value.pid == holder.pid
    finally:
        end(holder)


def test_a_second_run_of_the_same_process_is_refused(output: Path) -> None:
    """Two clients of one process cannot write one file either."""
    lock = OutputLock(output)
    lock.acquire()
    with pytest.raises(JournalConflictError) as error:
        OutputLock(output).acquire()
    assert error.value.pid == os.getpid()
    lock.release()


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs SIGKILL")
def test_the_lock_of_a_killed_process_does_not_block(output: Path) -> None:
    """The file is left behind by kill -9, the lock is not."""
    holder = start_holder(output)
    holder.send_signal(signal.SIGKILL)
    holder.wait(10)
    end(holder)
    assert (output.parent / "out.jsonl.lock").exists()
    lock = OutputLock(output)
    lock.acquire()
    assert (output.parent / "out.jsonl.lock").read_text() == f"{os.getpid()}\n"
    lock.release()
    assert list(output.parent.iterdir()) == []


def test_a_holder_that_ends_well_leaves_nothing(output: Path) -> None:
    """The next process finds no file and takes the lock."""
    holder = start_holder(output)
    holder.communicate("")
    assert holder.returncode == 0
    assert list(output.parent.iterdir()) == []


def test_a_garbled_lock_file_gives_no_pid(output: Path) -> None:
    """The conflict is reported all the same."""
    lock = OutputLock(output)
    lock.acquire()
    lock.path.write_text("not a number")
    with pytest.raises(JournalConflictError, match=r"written by another run$") as error:
        OutputLock(output).acquire()
    assert error.value.pid is None
    lock.release()


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_cannot_be_written_is_said(output: Path) -> None:
    """The lock file cannot be made there."""
    output.parent.chmod(0o500)
    with pytest.raises(JournalError, match="lock file cannot be made"):
        OutputLock(output).acquire()
    output.parent.chmod(0o700)
