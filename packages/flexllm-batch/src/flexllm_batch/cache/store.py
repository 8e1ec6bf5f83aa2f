"""ResponseStore: answers on disk behind one thread, so that the event loop never waits for SQLite.

Reads that arrive together travel together, and writes are put into one transaction for many answers. What
goes wrong on the disk never fails a call: a read is a miss, and a store that cannot go on is off.
"""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import errno
import logging
import os
import queue
import sqlite3
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar
from weakref import WeakSet

import diskcache

from flexllm_batch.cache.config import ResponseCacheConfig
from flexllm_batch.cache.database import (
    CacheDamagedError,
    open_database,
    read_small_values,
    read_values,
    set_aside,
    write_values,
)
from flexllm_batch.cache.entry import Entry, decode_entry, packed, plain

logger = logging.getLogger("flexllm")

WRITE_INTERVAL = 0.25
"""Seconds that a finished answer waits at most for others to be written with."""

WRITE_BATCH = 5_000
"""Answers for which the interval is not waited for; reads that wait go first.

Keys are hashes, so that nearly each of few answers dirties a page of the index of its own, while many share them."""

MAX_PENDING = 2 * WRITE_BATCH
"""Answers waiting to be written; beyond them, calls wait too."""

_CULL_EVERY = 2_000
"""Writes between two looks at what has expired or is too much."""

T = TypeVar("T")

Keys = Sequence[bytes]
_Job = Callable[[], bool | None]
"""What the thread does next; the one that returns True is its last."""


Values = dict[bytes, bytes | None]
"""What the database has under keys."""

_Reader = Callable[[diskcache.Cache, Sequence[bytes]], Mapping[bytes, bytes | None]]

_Wanted = list[tuple[Keys, asyncio.Future[Values]]]


@dataclass(slots=True)
class _Reads:
    """Look-ups of one event loop. While the thread is at some, those that come meanwhile wait to go together."""

    waiting: _Wanted = field(default_factory=list)
    under_way: bool = False


class ResponseStore:
    """Answers of a folder.

    Args:
        config: Where, for how long and how many.

    Attributes:
        off: Why nothing is read or written any more; None as long as it works.
    """

    def __init__(self, config: ResponseCacheConfig) -> None:
        self.config = config
        self.off: str | None = None
        self._reads: dict[asyncio.AbstractEventLoop, _Reads] = {}
        self._begin()
        _stores.add(self)

    def _begin(self) -> None:
        """A state without a thread: at first, and in the child of a fork, where the thread does not exist."""
        self._jobs: queue.SimpleQueue[_Job] = queue.SimpleQueue()
        self._pending: dict[bytes, bytes] = {}
        self._thread: threading.Thread | None = None
        self._lock = threading.Lock()
        self._cache: diskcache.Cache | None = None
        self._written = 0
        self._was_damaged = False

    def _send(self, job: _Job) -> None:
        """Give the thread a job; starts it when there is none."""
        with self._lock:
            if self._thread is None:
                self._jobs = queue.SimpleQueue()
                self._thread = threading.Thread(target=self._work, args=[self._jobs], name="flexllm-cache", daemon=True)
                self._thread.start()
                atexit.register(self.close)
            self._jobs.put(job)

    # ----- on the event loop

    async def look_up(self, keys: Keys) -> Entry | None:
        """The newest answer under any of the keys; None when there is none that counts."""
        if self.off is not None:
            return None
        loop = asyncio.get_running_loop()
        reads = self._reads.get(loop)
        if reads is None:
            self._reads = {known: reads for known, reads in self._reads.items() if not known.is_closed()}
            reads = self._reads[loop] = _Reads()
        found: asyncio.Future[Values] = loop.create_future()
        reads.waiting.append((keys, found))
        if not reads.under_way:
            reads.under_way = True
            loop.call_soon(self._send_reads, loop, reads)
        return self.newest(keys, await found)

    async def small_values(self, keys: Sequence[bytes]) -> Values:
        """Of many keys those that are there, with their values; None stands for a value that is not small."""
        if self.off is not None:
            return {}
        loop = asyncio.get_running_loop()
        found: asyncio.Future[Values] = loop.create_future()
        self._send(lambda: _settle(loop, found, self._values(keys, read_small_values)))
        return await found

    def newest(self, keys: Keys, values: Values) -> Entry | None:
        """The newest of the answers among the values of these keys, if it counts still."""
        newest = None
        for key in keys:
            value = values.get(key)
            if value is None:
                continue
            entry = decode_entry(key, value)
            if entry is None or not self._counts(entry):
                continue
            if newest is None or entry.stored > newest.stored:
                newest = entry
        return newest

    def _send_reads(self, loop: asyncio.AbstractEventLoop, reads: _Reads) -> None:
        wanted, reads.waiting = reads.waiting, []
        self._send(lambda: self._read(loop, reads, wanted))

    def _settle_reads(self, loop: asyncio.AbstractEventLoop, reads: _Reads, wanted: _Wanted, values: Values) -> None:
        for _, found in wanted:
            if not found.done():
                found.set_result(values)
        if reads.waiting:
            self._send_reads(loop, reads)
        else:
            reads.under_way = False

    def put(self, key: bytes, data: bytes) -> None:
        """Keep an entry (`encode_entry`); it is written soon, and found at once."""
        if self.off is not None:
            return
        with self._lock:
            self._pending[key] = data
            wake = len(self._pending) in (1, WRITE_BATCH)
        if wake:
            self._send(_look_again)

    @property
    def full(self) -> bool:
        """Whether so much waits to be written that callers should wait for `flush`."""
        return len(self._pending) >= MAX_PENDING

    async def flush(self) -> None:
        """Wait until everything put before is written, or the store is off."""
        if self._thread is not None:  # it may be at the last of them
            loop = asyncio.get_running_loop()
            written: asyncio.Future[None] = loop.create_future()
            self._send(lambda: self._flush(loop, written))
            await written

    async def aclose(self) -> None:
        """Write what is left and end the thread; the next use starts another one."""
        if self._thread is not None:
            await asyncio.to_thread(self.close)

    def close(self) -> None:
        """`aclose` for callers without an event loop."""
        with self._lock:
            thread, self._thread = self._thread, None
            if thread is not None:
                self._jobs.put(lambda: True)
        if thread is not None:
            thread.join()
            atexit.unregister(self.close)

    # ----- in the thread

    def _work(self, jobs: queue.SimpleQueue[_Job]) -> None:
        ended = False
        deadline: float | None = None  # when what waits to be written is written at the latest
        while not ended:
            try:
                ended = jobs.get(timeout=None if deadline is None else max(0.0, deadline - time.monotonic()))() is True
            except queue.Empty:  # reads go first; then there is time to write
                self._write_some()
                deadline = None
            if not self._pending:
                deadline = None
            elif len(self._pending) >= WRITE_BATCH:
                deadline = 0.0
            elif deadline is None:
                deadline = time.monotonic() + WRITE_INTERVAL
        self._write_all()
        if self._written:
            self._with_cache(_make_room)
        if self._cache is not None:
            self._cache.close()
            self._cache = None

    def _read(self, loop: asyncio.AbstractEventLoop, reads: _Reads, wanted: _Wanted) -> None:
        values = self._values([key for keys, _ in wanted for key in keys], read_values)
        with contextlib.suppress(RuntimeError):  # the loop may have been closed meanwhile
            loop.call_soon_threadsafe(self._settle_reads, loop, reads, wanted, values)

    def _values(self, keys: Sequence[bytes], read: _Reader) -> Values:
        values: Values = self._with_cache(lambda cache: read(cache, keys)) or {}
        with self._lock:  # what is not written yet is the newest
            values.update({key: plain(self._pending[key]) for key in keys if key in self._pending})
        return values

    def _counts(self, entry: Entry) -> bool:
        return not self.config.ttl or time.time() - entry.stored < self.config.ttl

    def _flush(self, loop: asyncio.AbstractEventLoop, written: asyncio.Future[None]) -> None:
        self._write_all()
        _settle(loop, written, None)

    def _write_all(self) -> None:
        while self._write_some():
            pass

    def _write_some(self) -> bool:
        """Write what waits; False when nothing waits, or somebody else is writing for long."""
        with self._lock:
            entries, self._pending = self._pending, {}
        if not entries:
            return False
        if self._with_cache(lambda cache: self._store(cache, entries)) is not None:
            return True
        with self._lock:
            if self.off is None:  # what came meanwhile is newer
                self._pending = entries | self._pending
        return False

    def _store(self, cache: diskcache.Cache, entries: dict[bytes, bytes]) -> bool:
        write_values(cache, [(key, packed(data)) for key, data in entries.items()], self.config.ttl or None)
        self._written += len(entries)
        if self._written >= _CULL_EVERY:
            self._written = 0
            _make_room(cache)
        return True

    def _with_cache(self, act: Callable[[diskcache.Cache], Any]) -> Any:
        """Do something with the database; None when that fails, and the reason is dealt with."""
        for _ in range(2):
            if self.off is not None:
                return None
            try:
                if self._cache is None:
                    self._cache = open_database(self.config.directory, self.config.max_size)
                return act(self._cache)
            except diskcache.Timeout:
                return None
            except (OSError, sqlite3.Error, CacheDamagedError) as error:
                if not self._deal_with(error):
                    return None
        return None

    def _deal_with(self, error: Exception) -> bool:
        """Whether trying again makes sense: after a damaged database was set aside, once."""
        text = str(error)
        if isinstance(error, sqlite3.OperationalError) and "locked" in text:
            return False
        damaged = isinstance(error, sqlite3.DatabaseError) and not isinstance(
            error, sqlite3.OperationalError | sqlite3.ProgrammingError
        )
        if damaged and not self._was_damaged:
            self._was_damaged = True
            with contextlib.suppress(sqlite3.Error, OSError):
                if self._cache is not None:
                    self._cache.close()
            self._cache = None
            try:
                set_aside(self.config.directory, text)
            except OSError as problem:
                self._turn_off(str(problem))
            return self.off is None
        full = "full" in text or (isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT))
        self._turn_off("the disk is full" if full else text)
        return False

    def _turn_off(self, reason: str) -> None:
        self.off = reason
        self._pending.clear()
        logger.warning("the response cache %s is off for this run: %s", self.config.directory, reason)


def _settle(loop: asyncio.AbstractEventLoop, future: asyncio.Future[T], result: T) -> None:
    """Give a result to who waits for it on an event loop, if it is still there."""

    def settle() -> None:
        if not future.done():
            future.set_result(result)

    with contextlib.suppress(RuntimeError):  # the loop may have been closed meanwhile
        loop.call_soon_threadsafe(settle)


_stores: WeakSet[ResponseStore] = WeakSet()


def _after_fork() -> None:
    for store in _stores:
        store._begin()  # noqa: SLF001 - of this module


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


def _look_again() -> None:
    """The job of a thread that is only to see that there is something to write."""


def _make_room(cache: diskcache.Cache) -> None:
    """Delete what has expired and, of the oldest, what is too much."""
    cache.cull()
