"""Opens the cache's database: private, and with a fresh one in place of what is damaged."""

from __future__ import annotations

import contextlib
import logging
import os
import sqlite3
import time
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import diskcache

from flexllm_batch.cache.disk import BytesDisk, foreign_settings
from flexllm_batch.cache.key import KEY_BYTES

logger = logging.getLogger("flexllm")

DATABASE = "cache.db"
_KEYS_AT_ONCE = 1_024
_ROWS_AT_ONCE = 400  # of two values each: SQLite of old takes 999 in a statement

SMALL = 16 * 1024
"""Bytes of a value that is read together with others: a thousand of them take some ten MB, and more on the way."""

BUSY_SECONDS = 5.0
"""How long another process's transaction is waited for."""

_VALUE = f"iif(length(value) <= {SMALL}, CAST(value AS BLOB), x'')"
_JOINED = f"CAST(group_concat(CAST(key || {_VALUE} AS TEXT), '') AS BLOB), group_concat(length({_VALUE}))"

_SETTINGS: dict[str, Any] = {
    "statistics": 0,
    "tag_index": 0,
    "eviction_policy": "least-recently-stored",  # the one that needs no write for a read
    "cull_limit": 0,  # making room is our own step, not one of every write
    "sqlite_auto_vacuum": 1,
    "sqlite_cache_size": 8192,
    "sqlite_journal_mode": "wal",
    "sqlite_mmap_size": 0,  # a mapped file that another process cuts would end this one
    "sqlite_synchronous": 1,
    "disk_min_file_size": 1 << 40,
    "disk_pickle_protocol": 0,
}


_INSERT = (
    "INSERT INTO Cache (key, raw, store_time, expire_time, access_time, access_count, tag, size, mode, filename, value)"
    " SELECT column1, 1, now, expires, now, 0, NULL, 0, 1, NULL, column2 FROM (VALUES "
)
# Not `?1`, which would name a value once for all rows: Python 3.12 warns of it until 3.12.4.
_REPLACING = (
    "), (SELECT ? AS now, ? AS expires) WHERE true"
    " ON CONFLICT (key, raw) DO UPDATE SET store_time = excluded.store_time, expire_time = excluded.expire_time,"
    " access_time = excluded.access_time, access_count = 0, tag = NULL, size = 0, mode = 1, filename = NULL,"
    " value = excluded.value"
)


class CacheDamagedError(Exception):
    """The database cannot be used as it is, but a fresh one in its place can."""


def open_database(directory: Path, max_size: int) -> diskcache.Cache:
    """Open the database of a folder; a damaged one is set aside first, with a warning.

    Raises:
        OSError, sqlite3.Error, CacheDamagedError: There can be no database here.
    """
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    try:
        return _open(directory, max_size)
    except CacheDamagedError as problem:
        set_aside(directory, str(problem))
        return _open(directory, max_size)


def _open(directory: Path, max_size: int) -> diskcache.Cache:
    path = directory / DATABASE
    if path.is_symlink():
        raise CacheDamagedError("it is a symbolic link")
    # SQLite gives its other files the mode of this one.
    os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
    with contextlib.suppress(OSError):
        path.chmod(0o600)
    try:
        _check(path)
        cache = diskcache.Cache(str(directory), timeout=BUSY_SECONDS, disk=BytesDisk, size_limit=max_size, **_SETTINGS)
    except sqlite3.OperationalError as error:
        if "locked" in str(error) or "full" in str(error) or "readonly" in str(error):
            raise
        raise CacheDamagedError(str(error)) from error
    except (sqlite3.DatabaseError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise CacheDamagedError(str(error)) from error
    return cache


def _check(path: Path) -> None:
    """Look at what diskcache would believe unseen."""
    with contextlib.closing(sqlite3.connect(path, timeout=BUSY_SECONDS)) as connection:
        tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
        if "Settings" in tables and foreign_settings(connection):
            raise CacheDamagedError("its settings are not a cache's")
        if tables and tables - {"Cache", "Settings", "sqlite_sequence"}:
            raise CacheDamagedError("it is not a cache")


def read_small_values(cache: diskcache.Cache, keys: Sequence[bytes]) -> dict[bytes, bytes | None]:
    """As `read_values`, in one step of SQLite for many keys; None stands for a value that is not small.

    For each row that SQLite gives by itself the thread has to get Python's lock again from a busy event loop. All
    values behind their keys in one blob, and their sizes, are made without it. SQLite joins texts only, but takes a
    blob for a text as it is, whatever is in it (seen with 3.40, 3.51 and 3.54).
    """
    found: dict[bytes, bytes | None] = {}
    now = time.time()
    for part in _parts(cache, keys):
        [(values, sizes)] = cache._sql(_select(_JOINED, len(part)), (now, *_blobs(part))).fetchall()  # noqa: SLF001
        start = 0
        for size in map(int, sizes.split(",")) if sizes else ():
            middle = start + KEY_BYTES
            end = middle + size
            found[values[start:middle]] = values[middle:end] or None
            start = end
    return found


def _blobs(values: Iterable[bytes]) -> Iterator[bytearray]:
    """Values as Python's module takes them soonest: for bytes it seeks an adapter first, longer than all else takes."""
    return map(bytearray, values)


def _parts(cache: diskcache.Cache, keys: Sequence[bytes]) -> Iterator[Sequence[bytes]]:
    """The keys in parts that fit into a statement."""
    most = cache._con.getlimit(sqlite3.SQLITE_LIMIT_VARIABLE_NUMBER)  # noqa: SLF001
    size = min(_KEYS_AT_ONCE, most - 1)  # and the time
    return (keys[start : start + size] for start in range(0, len(keys), size))


def _select(what: str, keys: int) -> str:
    return (
        f"SELECT {what} FROM Cache WHERE raw = 1 AND mode = 1 AND filename IS NULL"  # noqa: S608 - no values in it
        f" AND (expire_time IS NULL OR expire_time > ?) AND key IN ({','.join('?' * keys)})"
    )


def read_values(cache: diskcache.Cache, keys: Sequence[bytes]) -> dict[bytes, bytes]:
    """The values of those keys that are there and have not expired, in one statement for many keys.

    diskcache reads one key at a time. Its table is asked as `Cache.get` asks it, but for rows of our own
    kind only: plain bytes in the table, under a plain key.
    """
    found: dict[bytes, bytes] = {}
    now = time.time()
    for part in _parts(cache, keys):
        found.update(cache._sql(_select("key, value", len(part)), (now, *_blobs(part))).fetchall())  # noqa: SLF001
    return found


def write_values(cache: diskcache.Cache, values: Sequence[tuple[bytes, bytes]], ttl: float | None) -> None:
    """Put values under their keys, for `ttl` seconds, in one transaction and few statements.

    `Cache.set` takes two statements for each value, and for each of them the thread has to get Python's
    lock again from the event loop. The rows are those that `set` writes.
    """
    now = time.time()
    expires = None if ttl is None else now + ttl
    with cache.transact():
        for start in range(0, len(values), _ROWS_AT_ONCE):
            part = values[start : start + _ROWS_AT_ONCE]
            query = f"{_INSERT}{','.join(['(?, ?)'] * len(part))}{_REPLACING}"
            cache._sql(query, (*_blobs(chain.from_iterable(part)), now, expires))  # noqa: SLF001


def set_aside(directory: Path, reason: str) -> None:
    """Move the database out of the way, to be looked at; a fresh one takes its place."""
    suffix = f".corrupt-{time.strftime('%Y%m%d-%H%M%S')}-{os.getpid()}"
    for name in (DATABASE, DATABASE + "-wal", DATABASE + "-shm"):
        with contextlib.suppress(FileNotFoundError):
            (directory / name).replace(directory / (name + suffix))
    logger.warning(
        "the response cache %s was damaged (%s); it was set aside as %s and a new one begun",
        directory / DATABASE,
        reason,
        DATABASE + suffix,
    )
