"""The journal: whole lines only, one write for each, synced by group in a thread."""

from __future__ import annotations

import asyncio
import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from flexllm_batch.outputs import journal as journal_module
from flexllm_batch.outputs.journal import Journal, in_thread, read_line, write_durably
from flexllm_core.errors import JournalError

Write = Callable[[int, bytes], int]


@pytest.fixture
def journal(tmp_path: Path) -> Any:
    journal = Journal(tmp_path / "out.jsonl", flush_interval=0.01)
    yield journal
    journal.close()


def wrap_write(monkeypatch: pytest.MonkeyPatch, wrapper: Callable[[Write, int, bytes], int]) -> list[bytes]:
    """Replace os.write; returns the list of what it was asked to write."""
    real, asked = os.write, []

    def write(fd: int, data: bytes) -> int:
        asked.append(bytes(data))
        return wrapper(real, fd, data)

    monkeypatch.setattr(os, "write", write)
    return asked


def test_each_line_is_one_write(journal: Journal, monkeypatch: pytest.MonkeyPatch) -> None:
    """A line goes to the system at once and whole; its offset is returned."""
    asked = wrap_write(monkeypatch, lambda real, fd, data: real(fd, data))
    lines = [b"one\n", b"x" * 1_000_000 + b"\n", b"three\n"]
    offsets = [journal.append(line) for line in lines]
    assert asked == lines
    assert journal.path.read_bytes() == b"".join(lines)
    assert [journal.read_line(offset) for offset in offsets] == lines


def test_appending_goes_on_at_the_end_of_what_is_there(tmp_path: Path) -> None:
    """Opening changes nothing; the first offset is the old size."""
    path = tmp_path / "out.jsonl"
    path.write_bytes(b"old\n")
    journal = Journal(path)
    assert (journal.end, journal.append(b"new\n")) == (4, 4)
    assert path.read_bytes() == b"old\nnew\n"
    journal.close()


def test_short_writes_are_completed(journal: Journal, monkeypatch: pytest.MonkeyPatch) -> None:
    """A system that takes three bytes at a time still gets whole lines."""
    wrap_write(monkeypatch, lambda real, fd, data: real(fd, data[:3]))
    assert [journal.append(b"0123456789\n"), journal.append(b"abc\n")] == [0, 11]
    assert journal.path.read_bytes() == b"0123456789\nabc\n"


@pytest.mark.parametrize("room", range(24))
def test_a_full_disk_leaves_whole_lines_and_ends_the_journal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, room: int
) -> None:
    """Wherever the disk fills up, what was written of a line is taken back, and nothing is appended any more."""
    left = room

    def write(real: Write, fd: int, data: bytes) -> int:
        nonlocal left
        if left == 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        written = real(fd, data[:left])
        left -= written
        return written

    journal = Journal(tmp_path / "out.jsonl")
    wrap_write(monkeypatch, write)
    for _ in range(2):
        if room >= 12:
            assert journal.append(b"01234567890\n") == 0
            room -= 100
    with pytest.raises(JournalError, match=r"out\.jsonl: cannot be written: No space left.*every line in it is whole"):
        journal.append(b"01234567890\n")
    data = journal.path.read_bytes()
    assert data in (b"", b"01234567890\n")
    left = 1000
    with pytest.raises(JournalError):
        journal.append(b"more\n")
    assert journal.path.read_bytes() == data
    journal.close()


def test_a_tail_that_cannot_be_taken_back_is_said(journal: Journal, monkeypatch: pytest.MonkeyPatch) -> None:
    """The message does not promise whole lines when truncating failed too."""

    def fail(*_: Any) -> int:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    wrap_write(monkeypatch, fail)
    monkeypatch.setattr(os, "ftruncate", fail)
    with pytest.raises(JournalError, match="last line may be torn"):
        journal.append(b"line\n")


def test_a_file_that_cannot_be_opened_is_a_journal_error(tmp_path: Path) -> None:
    """The path is named."""
    with pytest.raises(JournalError, match="cannot be opened for writing"):
        Journal(tmp_path / "missing" / "out.jsonl")


async def until(condition: Callable[[], bool]) -> None:
    """Wait for what a thread does; a hang ends in an error."""
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.002)


async def test_syncing_is_by_group_and_only_when_there_is_something(
    journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Several lines cost one sync, and idle intervals none."""
    synced: list[int] = []
    monkeypatch.setattr(journal_module, "_SYNC", lambda fd: synced.append(os.fstat(fd).st_size))
    journal.start_syncing()
    for _ in range(50):
        journal.append(b"line\n")
    await until(lambda: bool(synced))
    await asyncio.sleep(0.05)
    assert synced == [250]
    journal.append(b"last\n")
    await journal.stop_syncing()
    assert synced[-1] == 255


async def test_a_new_file_is_made_durable_in_its_folder(journal: Journal, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the first sync the folder's entry is synced too, once."""
    folders: list[Path] = []
    monkeypatch.setattr(journal_module, "sync_folder", folders.append)
    for _ in range(2):
        journal.append(b"line\n")
        await journal.stop_syncing()
    assert folders == [journal.path.parent]


async def test_a_failed_sync_stops_the_next_append(journal: Journal, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the disk holds is unknown then, so nothing is paid for any more; it is never tried again."""
    calls: list[int] = []

    def fail(fd: int) -> None:
        calls.append(fd)
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(journal_module, "_SYNC", fail)
    journal.start_syncing()
    journal.append(b"line\n")
    await until(lambda: journal.failure is not None)
    with pytest.raises(JournalError, match="cannot be synced to disk"):
        journal.append(b"more\n")
    with pytest.raises(JournalError, match="cannot be synced to disk"):
        await journal.stop_syncing()
    assert len(calls) == 1


async def test_a_cancelled_stop_still_syncs(journal: Journal, monkeypatch: pytest.MonkeyPatch) -> None:
    """A cancellation is neither lost nor does it leave lines that are not synced."""
    synced: list[int] = []
    monkeypatch.setattr(journal_module, "_SYNC", synced.append)
    journal.flush_interval = 1000
    journal.start_syncing()
    await asyncio.sleep(0)
    journal.append(b"line\n")
    stopping = asyncio.create_task(journal.stop_syncing())
    await asyncio.sleep(0)
    stopping.cancel()
    with pytest.raises(asyncio.CancelledError):
        await stopping
    assert synced == [journal.fd]


async def test_a_thread_is_waited_for_even_when_cancelled() -> None:
    """What a thread works on stays open and locked as long as it works."""
    steps: list[str] = []
    go = asyncio.Event()
    loop = asyncio.get_running_loop()

    def work() -> None:
        loop.call_soon_threadsafe(go.set)
        release.result()
        steps.append("worked")

    from concurrent.futures import Future

    release: Future[None] = Future()

    async def caller() -> None:
        try:
            await in_thread(work)
        finally:
            steps.append("went on")

    task = asyncio.create_task(caller())
    await go.wait()
    for _ in range(3):
        task.cancel()
        await asyncio.sleep(0)
    assert steps == []
    release.set_result(None)
    with pytest.raises(asyncio.CancelledError):
        await task
    assert steps == ["worked", "went on"]


async def test_a_thread_gives_its_result_or_error() -> None:
    """Arguments go in, and what comes out is passed on."""
    assert await in_thread(pow, 2, 10) == 1024
    with pytest.raises(ZeroDivisionError):
        await in_thread(divmod, 1, 0)


def test_closing_twice_is_fine_and_nothing_is_synced_after_it(
    journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A closed number may be another file's."""
    monkeypatch.setattr(journal_module, "_SYNC", lambda fd: pytest.fail("synced a closed file"))
    journal.append(b"line\n")
    journal.close()
    journal.close()
    journal.sync()
    with pytest.raises(JournalError):
        journal.append(b"more\n")


@pytest.mark.parametrize("length", [0, 1, 4094, 4095, 4096, 4097, 8191, 8192, 12_288, 100_000])
def test_lines_of_any_length_are_read(tmp_path: Path, length: int) -> None:
    """Up to the newline and no further; the last one may lack it."""
    path = tmp_path / "file"
    lines = [b"before\n", b"x" * length + b"\n", b"after"]
    path.write_bytes(b"".join(lines))
    with path.open("rb") as file:
        assert read_line(file.fileno(), 0) == lines[0]
        assert read_line(file.fileno(), 7) == lines[1]
        assert read_line(file.fileno(), 7 + length + 1) == b"after"
        assert read_line(file.fileno(), 7, guess=2) == lines[1]


def test_side_files_are_appended_to_and_every_line_ends(tmp_path: Path) -> None:
    """A line without its newline gets one, so that none is glued to the next."""
    path = tmp_path / "out.jsonl.stale"
    write_durably(path, [b"a\n", b"b"])
    write_durably(path, iter([b"c\n"]))
    assert path.read_bytes() == b"a\nb\nc\n"
