"""The journal: the output file while a run writes it. Append-only, one write for each finished row.

Nothing that is finished is held in user space, so a killed process loses nothing; the disk is synced
by group, so a power cut loses about a second at most.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import threading
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import ParamSpec, TypeVar

from flexllm_core.errors import JournalError

_SYNC = getattr(os, "fdatasync", os.fsync)
_BINARY = getattr(os, "O_BINARY", 0)

P = ParamSpec("P")
T = TypeVar("T")


class Journal:
    """An output file open for appending; the caller holds its lock.

    Args:
        path: The file; made if it does not exist.
        flush_interval: Seconds between two syncs while there is something to sync.

    Attributes:
        note: Is called with what the user must know.
        displaced: Another file has taken the path; `path` is where the lines are now.
    """

    def __init__(self, path: Path, flush_interval: float = 1.0) -> None:
        self.path = path
        self.flush_interval = flush_interval
        self.displaced = False
        self.note: Callable[[str], object] = lambda _: None
        try:
            self.fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | _BINARY, 0o666)
            self.end = os.fstat(self.fd).st_size
        except OSError as error:
            raise JournalError(f"{path}: cannot be opened for writing: {error.strerror or error}") from error
        self._dirty = False
        self._new = self.end == 0
        self._sync_lock = threading.Lock()
        self._syncing: asyncio.Task[None] | None = None
        self.failure: JournalError | None = None

    def append(self, line: bytes) -> int:
        """Write one whole line; returns its offset.

        Raises:
            JournalError: It cannot be written (disk full ...). The part that was written is taken back,
                so that only whole lines are in the file, and nothing can be appended any more.
        """
        if self.failure is not None:
            raise self.failure
        offset = self.end
        try:
            written = os.write(self.fd, line)
            while written < len(line):
                written += os.write(self.fd, line[written:])
        except OSError as error:
            whole = "every line in it is whole"
            try:
                os.ftruncate(self.fd, offset)
            except OSError:
                whole = "its last line may be torn, which the next run mends"
            self.failure = JournalError(
                f"{self.path}: cannot be written: {error.strerror or error}; {whole}, "
                "and the same command goes on where this one stopped"
            )
            raise self.failure from error
        self.end = offset + len(line)
        self._dirty = True
        return offset

    def start_syncing(self) -> None:
        """Sync every `flush_interval` seconds from now on, in a thread, until `stop_syncing`."""
        self._syncing = asyncio.create_task(self._sync_for_ever())

    async def _sync_for_ever(self) -> None:
        while True:
            await asyncio.sleep(self.flush_interval)
            await asyncio.to_thread(self.sync)
            self.keep_path()

    async def stop_syncing(self) -> None:
        """End the syncing and sync what is left.

        Raises:
            JournalError: A sync failed; what the disk holds is unknown then.
        """
        try:
            if self._syncing is not None:
                self._syncing.cancel()
                await asyncio.gather(self._syncing, return_exceptions=True)
                self._syncing = None
        finally:
            self.keep_path()
            await in_thread(self.sync)
        if self.failure is not None:
            raise self.failure

    def sync(self) -> None:
        """Wait until everything written is on the disk. A failure is kept and stops the next append."""
        with self._sync_lock:  # a cancelled wait leaves its thread syncing
            if not self._dirty or self.fd < 0:
                return
            self._dirty = False
            try:
                _SYNC(self.fd)
                if self._new:
                    sync_folder(self.path.parent)
                    self._new = False
            except OSError as error:
                # Retrying would lie: after a failed sync the system may have dropped the data already.
                self.failure = JournalError(f"{self.path}: cannot be synced to disk: {error.strerror or error}")

    def keep_path(self) -> None:
        """See to it that what is written can be found: a file that was deleted meanwhile is put back.

        If another file has taken its place that is left alone, and this one goes on beside it.
        """
        try:
            there = self.path.stat()
        except OSError:
            there = None
        try:
            if there is not None and os.path.samestat(there, os.fstat(self.fd)):
                return
            path = self.path if there is None else free_name(self.path, ".rescued")
            self._move_to(path)
        except OSError as error:
            self.failure = JournalError(f"{self.path}: was deleted, and cannot be put back: {error.strerror or error}")
            return
        self.displaced |= there is not None
        what = "was replaced by another file" if there is not None else "was deleted"
        self.note(f"{self.path} {what} while the run wrote it; the lines of the run are now in {path}")
        self.path = path

    def _move_to(self, path: Path) -> None:
        """Copy the open file, which may have no name any more, to a new one, and go on with that."""
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_APPEND | _BINARY, 0o666)
        try:
            done = 0
            while chunk := pread(self.fd, 1 << 20, done):
                view = memoryview(chunk)
                while view:
                    view = view[os.write(fd, view) :]
                done += len(chunk)
            with self._sync_lock:
                os.dup2(fd, self.fd, inheritable=False)
                self._dirty = self._new = True
        finally:
            os.close(fd)

    def close(self) -> None:
        """Close the file; a second call does nothing."""
        with self._sync_lock:  # a number that was closed may be another file's by the time it is synced
            if self.fd >= 0:
                os.close(self.fd)
                self.fd = -1

    def read_line(self, offset: int) -> bytes:
        """The line at an offset, with its newline."""
        return read_line(self.fd, offset)


def read_line(fd: int, offset: int, guess: int = 4096) -> bytes:
    """The line that starts at `offset` of an open file, with its newline."""
    data = pread(fd, guess, offset)
    end = data.find(b"\n")
    while end < 0:
        more = pread(fd, max(guess, len(data)), offset + len(data))
        if not more:
            return data
        end = more.find(b"\n")
        if end >= 0:
            end += len(data)
        data += more
    return data[: end + 1]


def pread(fd: int, size: int, offset: int) -> bytes:
    """At most `size` bytes at an offset of an open file."""
    if hasattr(os, "pread"):
        return os.pread(fd, size, offset)
    os.lseek(fd, offset, os.SEEK_SET)  # Windows; appending moves the position itself
    return os.read(fd, size)


def free_name(path: Path, suffix: str) -> Path:
    """A name beside `path` that no file has: with the suffix, and a number if that is taken."""
    numbers = itertools.chain(("",), itertools.count(2))
    names = (path.with_name(f"{path.name}{suffix}{number}") for number in numbers)
    return next(name for name in names if not name.exists())


def sync_folder(folder: Path) -> None:
    """Make a rename in `folder` durable, where the system can."""
    with contextlib.suppress(OSError, AttributeError):  # Windows cannot open folders
        fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)


def write_durably(path: Path, lines: Iterable[bytes]) -> None:
    """Append lines to a side file, ending each with a newline, and sync it and its folder."""
    with path.open("ab") as file:
        for line in lines:
            file.write(line if line.endswith(b"\n") else line + b"\n")
        file.flush()
        os.fsync(file.fileno())
    sync_folder(path.parent)


async def in_thread(call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Run `call` in a thread; a cancellation waits for its end before it goes on.

    A thread cannot be stopped, and what it works on must stay open and locked as long as it works.
    """
    work = asyncio.ensure_future(asyncio.to_thread(call, *args, **kwargs))
    cancelled = False
    while not work.done():
        try:
            await asyncio.wait((work,))
        except asyncio.CancelledError:
            cancelled = True
    if cancelled:
        work.exception()  # taken, so that nobody warns of it
        raise asyncio.CancelledError
    return work.result()
