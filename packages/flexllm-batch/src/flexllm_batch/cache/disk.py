"""A diskcache Disk that keeps bytes only, and nothing that it did not write itself.

diskcache unpickles what its database calls a pickle, and deletes the files that it names, under its
JSONDisk too (CVE-2025-69872): whoever can write to the folder could run code. Here keys and values are
bytes inside the database; there are no pickles and no files, so anything else is somebody else's.
"""

from __future__ import annotations

import sqlite3
from typing import Any

import diskcache
from diskcache.core import DEFAULT_SETTINGS, METADATA, MODE_RAW, UNKNOWN

KNOWN_SETTINGS = frozenset(DEFAULT_SETTINGS) | frozenset(METADATA)


class ForeignEntryError(OSError):
    """A row that we did not write. An OSError, which diskcache takes for a miss."""


class BytesDisk(diskcache.Disk):  # type: ignore[misc]  # diskcache has no types
    """Keys and values as they are; every other kind of row is refused."""

    def put(self, key: bytes) -> tuple[memoryview, bool]:
        """The key's column and its `raw` flag."""
        return sqlite3.Binary(key), True

    def get(self, key: object, raw: object) -> bytes:
        """The key of a row. Raises ForeignEntryError."""
        if raw != 1 or not isinstance(key, bytes):
            raise ForeignEntryError("a key that is not ours")
        return key

    def store(self, value: bytes, read: bool, key: object = UNKNOWN) -> tuple[int, int, None, memoryview]:
        """The size, mode, file name and value columns of a row."""
        if read:
            raise TypeError("values are bytes, not files")
        return 0, MODE_RAW, None, sqlite3.Binary(value)

    def fetch(self, mode: object, filename: object, value: object, read: object) -> bytes:
        """The value of a row. Raises ForeignEntryError."""
        if mode != MODE_RAW or filename is not None or read or not isinstance(value, bytes):
            raise ForeignEntryError("a value that is not ours")
        return value

    def remove(self, file_path: Any) -> None:
        """Delete nothing: we keep no files, so the row that names one is not ours."""


def foreign_settings(connection: sqlite3.Connection) -> bool:
    """Whether the database's settings, which diskcache sets as attributes and pragmas, are not diskcache's own."""
    rows = connection.execute("SELECT key, value FROM Settings").fetchall()
    return any(
        key not in KNOWN_SETTINGS
        or not isinstance(value, int | float | str)
        or (isinstance(value, str) and not value.replace("-", "").isalpha())
        for key, value in rows
    )
