"""Looks into the cache for a person: how much is in it, and why a row would be answered from it or not."""

from __future__ import annotations

import contextlib
import sqlite3
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import diskcache

from flexllm_batch.cache.database import DATABASE, CacheDamagedError, open_database, read_values
from flexllm_batch.cache.entry import Entry, decode_entry, why_not_stored
from flexllm_batch.cache.key import fingerprint_key, identity_tag
from flexllm_batch.items import item_from_line
from flexllm_core.errors import InputError, JournalError


@dataclass(frozen=True, slots=True)
class CacheStats:
    """What a cache holds.

    Attributes:
        entries: Answers, expired ones included.
        expired: Answers that do not count any more and wait to be deleted.
        size: Bytes on disk.
        oldest, newest: When the first and the last were stored, in seconds since the epoch; None when empty.
    """

    entries: int
    expired: int
    size: int
    oldest: float | None
    newest: float | None


@contextlib.contextmanager
def opened(directory: Path, max_size: int) -> Iterator[diskcache.Cache | None]:
    """The database of a folder; None when there is none yet, and then none is made.

    Raises:
        InputError: It cannot be used.
    """
    if not (directory / DATABASE).exists():
        yield None
        return
    try:
        with contextlib.closing(open_database(directory, max_size)) as cache:
            yield cache
    except (sqlite3.Error, diskcache.Timeout, CacheDamagedError) as error:
        raise InputError(f"{directory}: the cache cannot be used: {error or 'another process is writing'}") from None


def cache_stats(cache: diskcache.Cache | None) -> CacheStats:
    """Count what is there."""
    if cache is None:
        return CacheStats(0, 0, 0, None, None)
    query = "SELECT count(*), count(CASE WHEN expire_time < ? THEN 1 END), min(store_time), max(store_time) FROM Cache"
    # diskcache counts entries, but has no question for their times.
    [(entries, expired, oldest, newest)] = cache._sql(query, (time.time(),)).fetchall()  # noqa: SLF001
    return CacheStats(entries, expired, cache.volume(), oldest, newest)


def find_entry(cache: diskcache.Cache | None, fingerprint: str, identities: list[str]) -> Entry | None:
    """The newest answer to a request of any of the endpoints."""
    if cache is None:
        return None
    keys = [fingerprint_key(fingerprint, identity_tag(identity)) for identity in identities]
    values = read_values(cache, keys)
    found = [entry for key, value in values.items() if (entry := decode_entry(key, value)) is not None]
    return max(found, key=lambda entry: entry.stored, default=None)


def why(line: dict[str, Any], entry: Entry | None, ttl: float, now: float) -> str:
    """In one sentence, whether a row of an output would be answered from the cache now, and why or why not.

    Args:
        line: The row's line in the output.
        entry: What the cache has for it.
        ttl: Seconds for which answers count, 0 for ever.
        now: Seconds since the epoch.
    """
    if entry is not None:
        age = now - entry.stored
        if ttl and age >= ttl:
            return f"miss: its answer was stored {age:.0f} s ago, and counts for {ttl:g} s"
        left = f"; it counts for {ttl - age:.0f} s more" if ttl else ""
        return f"hit: its answer was stored {age:.0f} s ago{left}"
    if line["status"] == "error":
        return "miss: the row failed, and errors are never stored"
    try:
        reason = why_not_stored(item_from_line(line).result)  # type: ignore[arg-type]  # an answered row has one
    except JournalError:
        reason = "its line in the output is damaged"
    if reason is not None:
        return f"miss: its answer was not stored: {reason}"
    return "miss: its answer is not there: the run did not use this cache, asked another endpoint, or it was deleted"
