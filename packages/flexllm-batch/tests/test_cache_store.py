"""The cache on disk: private, hostile content refused, damage set aside, and never a reason for a call to fail."""

from __future__ import annotations

import asyncio
import errno
import json
import logging
import os
import pickle
import sqlite3
import stat
import threading
import time
from decimal import Decimal
from pathlib import Path
from typing import Any

import diskcache
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flexllm_batch.cache import store as store_module
from flexllm_batch.cache.config import ResponseCacheConfig
from flexllm_batch.cache.entry import Entry, decode_entry, encode_entry, packed, plain
from flexllm_batch.cache.key import FORMAT, KEY_BYTES
from flexllm_batch.cache.store import ResponseStore
from flexllm_core.results import ChatCompletionResult, ToolCall, Usage

KEY = b"k" * KEY_BYTES
ANSWER = ChatCompletionResult("because", finish_reason="stop")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "cache"


def entry(key: bytes = KEY, text: str = "because") -> bytes:
    return encode_entry(key, ChatCompletionResult(text, finish_reason="stop"), time.time())


async def fill(folder: Path, number: int = 1) -> None:
    """Write answers and close."""
    store = ResponseStore(ResponseCacheConfig(cache_dir=folder))
    for index in range(number):
        key = b"%024d" % index if number > 1 else KEY
        store.put(key, entry(key))
    await store.aclose()


async def look(folder: Path, key: bytes = KEY) -> str | None:
    """The text of the answer under a key."""
    store = ResponseStore(ResponseCacheConfig(cache_dir=folder))
    found = await store.look_up((key,))
    await store.aclose()
    return found.result.content if found else None


async def test_folder_and_files_are_private(folder: Path) -> None:
    """The folder is 0700 and every file in it 0600, also while it is open."""
    old = os.umask(0o022)
    try:
        store = ResponseStore(ResponseCacheConfig(cache_dir=folder))
        store.put(KEY, entry())
        await store.flush()
        modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()}
        await store.aclose()
    finally:
        os.umask(old)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert len(modes) >= 2
    assert set(modes.values()) == {0o600}


class Bomb:
    """Creates a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, tuple[Any, ...]]:
        return (Path.touch, (self.path,))


@pytest.mark.parametrize("how", ["value", "value in a file", "json disk", "key", "file of another"])
async def test_a_planted_pickle_is_never_executed(folder: Path, tmp_path: Path, how: str) -> None:
    """Whatever stands in the database is data: a pickle is a miss, and no file is opened or deleted by name."""
    await fill(folder)
    proof, victim = tmp_path / "executed", tmp_path / "victim"
    victim.write_text("precious")
    payload = pickle.dumps(Bomb(proof))
    (folder / "bomb.val").write_bytes(payload)
    columns: dict[str, dict[str, Any]] = {
        "value": {"mode": 4, "value": payload, "filename": None},
        "value in a file": {"mode": 4, "value": None, "filename": "bomb.val"},
        "json disk": {"mode": 4, "value": payload, "filename": None, "size": len(payload)},
        "key": {"mode": 1, "value": packed(entry()), "key": payload, "raw": 0},
        "file of another": {"mode": 2, "value": None, "filename": str(victim), "expire_time": 1.0},
    }
    with sqlite3.connect(folder / "cache.db") as connection:
        for name, value in columns[how].items():
            connection.execute(f"UPDATE Cache SET {name} = ?", (value,))
    connection.close()
    assert await look(folder) is None
    store = ResponseStore(ResponseCacheConfig(cache_dir=folder, max_size=1))
    store.put(KEY, entry())
    await store.aclose()  # makes room too: expired and old rows are deleted
    assert not proof.exists()
    assert victim.read_text() == "precious"
    pickle.loads(payload)  # the bomb works
    assert proof.exists()


@pytest.mark.parametrize(
    ("name", "value"),
    [("disk_pickle_protocol", "4); DROP TABLE Cache"), ("_disk", "x"), ("get", 1), ("sqlite_journal_mode", b"wal")],
)
async def test_planted_settings_are_not_believed(
    folder: Path, name: str, value: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """diskcache sets its settings as attributes and pragmas; a database with others is set aside."""
    await fill(folder)
    with sqlite3.connect(folder / "cache.db") as connection:
        connection.execute("INSERT OR REPLACE INTO Settings VALUES (?, ?)", (name, value))
    connection.close()
    assert await look(folder) is None
    assert "set aside" in caplog.text
    assert len(list(folder.glob("cache.db.corrupt-*"))) == 1


@pytest.mark.parametrize("damage", ["garbage", "half", "header", "pages", "empty", "other database"])
async def test_a_damaged_database_is_set_aside(folder: Path, damage: str, caplog: pytest.LogCaptureFixture) -> None:
    """The run goes on with a fresh database and a warning; no wrong answer is given, and the old file is kept."""
    await fill(folder, 500)
    path = folder / "cache.db"
    data = path.read_bytes()
    if damage == "other database":
        path.unlink()
        with sqlite3.connect(path) as connection:
            connection.execute("CREATE TABLE bookmarks (url)")
        connection.close()
    else:
        damaged = {
            "garbage": os.urandom(5000),
            "half": data[: len(data) // 2],
            "header": b"\0" * 100 + data[100:],
            "pages": data[:4096] + os.urandom(len(data) - 4096),
            "empty": b"",
        }
        path.write_bytes(damaged[damage])
    store = ResponseStore(ResponseCacheConfig(cache_dir=folder))
    for index in range(0, 500, 50):
        key = b"%024d" % index
        found = await store.look_up((key,))
        assert found is None or found.result.content == "because"
    store.put(KEY, entry())
    await store.aclose()
    assert await look(folder) == "because"
    if damage != "empty":
        assert "set aside" in caplog.text
        assert list(folder.glob("cache.db.corrupt-*"))


@pytest.mark.parametrize(
    "error",
    [sqlite3.OperationalError("database or disk is full"), OSError(errno.ENOSPC, "No space left on device")],
    ids=["sqlite", "os"],
)
async def test_a_full_disk_turns_the_cache_off(
    folder: Path, error: Exception, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """One warning, and every call goes on without a cache."""
    store = ResponseStore(ResponseCacheConfig(cache_dir=folder))
    assert await store.look_up((KEY,)) is None

    def fail(*_: Any, **__: Any) -> None:
        raise error

    monkeypatch.setattr(diskcache.Cache, "transact", fail)
    for _ in range(3):
        store.put(KEY, entry())
        await store.flush()
    assert await store.look_up((KEY,)) is None
    await store.aclose()
    assert store.off == "the disk is full"
    assert len([record for record in caplog.records if record.levelno == logging.WARNING]) == 1


async def test_a_folder_that_cannot_be_made_turns_the_cache_off(tmp_path: Path) -> None:
    """A file in the place of the folder is no reason to fail."""
    (tmp_path / "file").write_text("")
    store = ResponseStore(ResponseCacheConfig(cache_dir=tmp_path / "file" / "cache"))
    assert await store.look_up((KEY,)) is None
    store.put(KEY, entry())
    await store.aclose()
    assert store.off is not None


async def test_the_loop_never_touches_the_database(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every statement runs in the one thread."""
    threads = set()
    for name in ("volume", "transact", "cull", "__init__"):
        real = getattr(diskcache.Cache, name)

        def watched(*args: Any, real: Any = real, **kwargs: Any) -> Any:
            threads.add(threading.current_thread().name)
            return real(*args, **kwargs)

        monkeypatch.setattr(diskcache.Cache, name, watched)
    store = ResponseStore(ResponseCacheConfig(cache_dir=folder))
    for index in range(50):
        key = b"%024d" % index
        assert await store.look_up((key,)) is None
        store.put(key, entry(key))
    await store.aclose()
    assert threads == {"flexllm-cache"}


async def test_look_ups_that_come_together_travel_together(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A hundred look-ups of one moment are one job of the thread, and writes of one moment one transaction."""
    jobs, transactions = [], []
    read, transact = ResponseStore._read, diskcache.Cache.transact
    monkeypatch.setattr(ResponseStore, "_read", lambda *args: (jobs.append(1), read(*args))[1])
    monkeypatch.setattr(
        diskcache.Cache, "transact", lambda *args, **kw: (transactions.append(1), transact(*args, **kw))[1]
    )
    store = ResponseStore(ResponseCacheConfig(cache_dir=folder))
    keys = [b"%024d" % index for index in range(100)]
    await asyncio.gather(*(store.look_up((key,)) for key in keys))
    for key in keys:
        store.put(key, entry(key))
    await store.aclose()
    assert (len(jobs), len(transactions)) == (1, 1)


async def test_what_waits_to_be_written_is_bounded(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """When the disk is slow the store says that it is full, and a flush makes room."""
    monkeypatch.setattr(store_module, "WRITE_BATCH", 10**9)
    monkeypatch.setattr(store_module, "WRITE_INTERVAL", 10**9)
    store = ResponseStore(ResponseCacheConfig(cache_dir=folder))
    for index in range(store_module.MAX_PENDING):
        assert not store.full
        store.put(b"%024d" % index, b"")
    assert store.full
    await store.flush()
    assert not store.full
    await store.aclose()


async def test_a_store_can_be_used_after_it_was_closed(folder: Path) -> None:
    """Closing ends the thread; the next use starts another."""
    store = ResponseStore(ResponseCacheConfig(cache_dir=folder))
    store.put(KEY, entry())
    await store.aclose()
    assert not [thread for thread in threading.enumerate() if thread.name == "flexllm-cache"]
    assert await store.look_up((KEY,)) is not None
    await store.aclose()


async def test_the_oldest_make_room(folder: Path) -> None:
    """Beyond its size the cache forgets what was stored first."""
    store = ResponseStore(ResponseCacheConfig(cache_dir=folder, max_size=400_000))
    for index in range(300):
        key = b"%024d" % index
        store.put(key, os.urandom(4000))
        await store.flush()
    await store.aclose()
    with sqlite3.connect(folder / "cache.db") as connection:
        kept = [key for (key,) in connection.execute("SELECT key FROM Cache ORDER BY key")]
    connection.close()
    assert 20 < len(kept) < 150
    assert kept[-1] == b"%024d" % 299


@given(st.binary(max_size=200) | st.none() | st.integers() | st.text())
def test_garbage_is_no_entry(blob: Any) -> None:
    """Any value of a row gives an entry or a miss, never an error."""
    assert decode_entry(KEY, blob) is None


@given(st.integers(0, 400), st.integers(0, 255))
def test_a_changed_entry_is_no_other_answer(position: int, value: int) -> None:
    """With any one byte changed an entry is a miss, or what it was but for texts that JSON lets change."""
    blob = bytearray(packed(encode_entry(KEY, ChatCompletionResult("y" * 2000, finish_reason="stop"), 1.0)))
    blob[position % len(blob)] = value
    found = decode_entry(KEY, bytes(blob))
    assert found is None or found.result.content == "y" * 2000


def test_an_entry_of_another_key_or_version_is_none() -> None:
    """A row that was moved under another key does not answer for it."""
    blob = packed(encode_entry(KEY, ANSWER, 1.0))
    assert decode_entry(KEY, blob) is not None
    assert decode_entry(b"j" * KEY_BYTES, blob) is None
    assert decode_entry(KEY, blob.replace(b"[%d," % FORMAT, b"[%d," % (FORMAT + 1))) is None


def test_an_entry_that_unpacks_without_end_is_none() -> None:
    """A small entry that would fill the memory is not unpacked."""
    import zlib

    bomb = zlib.compressobj(9)
    data = b"\x01" + b"".join(bomb.compress(b" " * (1 << 20)) for _ in range(80)) + bomb.flush()
    assert decode_entry(KEY, data) is None


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
async def test_the_child_of_a_fork_has_a_thread_of_its_own(folder: Path) -> None:
    """A store that was used before a fork works in the child, and the parent's goes on."""
    store = ResponseStore(ResponseCacheConfig(cache_dir=folder))
    store.put(KEY, entry())
    await store.flush()
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:  # pragma: no cover - measured in the parent
        try:

            async def child() -> None:
                found = await store.look_up((KEY,))
                os.write(writer, b"hit" if found else b"miss")

            loop = asyncio.new_event_loop()
            asyncio.events._set_running_loop(None)
            loop.run_until_complete(child())
        finally:
            os._exit(0)
    os.close(writer)
    assert os.read(reader, 10) == b"hit"
    os.waitpid(pid, 0)
    assert await store.look_up((KEY,)) is not None
    await store.aclose()


async def test_what_another_process_stores_is_found(folder: Path) -> None:
    """A store that has looked in vain finds what another one writes afterwards."""
    reading, writing = (ResponseStore(ResponseCacheConfig(cache_dir=folder)) for _ in range(2))
    assert await reading.look_up((KEY,)) is None
    assert await reading.small_values([KEY]) == {}
    writing.put(KEY, entry())
    await writing.aclose()
    assert await reading.look_up((KEY,)) is not None
    assert list(await reading.small_values([KEY])) == [KEY]
    await reading.aclose()


async def test_many_keys_are_read_at_once(folder: Path) -> None:
    """Those that are there come with their values, written or not yet; the others are left out."""
    await fill(folder, 1200)
    store = ResponseStore(ResponseCacheConfig(cache_dir=folder))
    store.put(KEY, entry())
    keys = [b"%024d" % index for index in range(0, 2400, 2)]
    values = await store.small_values([*keys, KEY])
    assert set(values) == {*keys[:600], KEY}
    for key in values:
        found = store.newest((key,), values)
        assert found is not None
        assert found.result.content == "because"
    assert store.newest((b"j" * KEY_BYTES,), values) is None
    await store.aclose()


@pytest.mark.parametrize("planted", ["'ü' || x'00' || 'é'", "x''", "NULL", "7", "1.5", "zeroblob(300)", "x'ff00fe'"])
async def test_values_read_together_come_back_whole(folder: Path, planted: str) -> None:
    """Deflated ones, of any bytes, and whatever somebody has put between them."""
    keys = [os.urandom(KEY_BYTES) for _ in range(40)]
    texts = [os.urandom(size * 80).hex() for size in range(40)]
    store = ResponseStore(ResponseCacheConfig(cache_dir=folder))
    for key, text in zip(keys, texts, strict=True):
        store.put(key, entry(key, text or "x"))
    await store.aclose()
    with sqlite3.connect(folder / "cache.db") as connection:
        connection.execute(f"UPDATE Cache SET value = {planted} WHERE key = ?", (keys[20],))
    connection.close()
    store = ResponseStore(ResponseCacheConfig(cache_dir=folder))
    values = await store.small_values(keys)
    for place, (key, text) in enumerate(zip(keys, texts, strict=True)):
        found = store.newest((key,), values)
        assert (found and found.result.content) == (None if place == 20 else text or "x")
    await store.aclose()


async def test_large_values_are_not_read_with_others(folder: Path) -> None:
    """They are told to be there, and a look-up by itself finds them; expired ones are not there."""
    large, gone = b"l" * KEY_BYTES, b"g" * KEY_BYTES
    store = ResponseStore(ResponseCacheConfig(cache_dir=folder))
    store.put(KEY, entry())
    store.put(large, entry(large, os.urandom(40_000).hex()))
    await store.aclose()
    old = ResponseStore(ResponseCacheConfig(cache_dir=folder, ttl=1e-9))
    old.put(gone, entry(gone))
    await old.aclose()
    store = ResponseStore(ResponseCacheConfig(cache_dir=folder))
    values = await store.small_values([KEY, large, gone])
    assert set(values) == {KEY, large}
    assert values[KEY] is not None
    assert values[large] is None
    assert store.newest((large,), values) is None
    found = await store.look_up((large,))
    assert found is not None
    assert len(found.result.content or "") == 80_000
    await store.aclose()


@pytest.mark.parametrize(
    ("place", "value"),
    [(2, 7), (3, []), (8, [1, "2"]), (8, 5), (8, [1] * 10), (9, {"cost": "much"}), (9, {"other": 1}), (9, [1])],
)
def test_a_field_of_another_type_is_no_entry(place: int, value: Any) -> None:
    """What stands in the database is not believed: each field has its type, or there is no answer."""
    fields = json.loads(encode_entry(KEY, ANSWER, 1.0).removeprefix(KEY))
    assert decode_entry(KEY, plain(KEY + json.dumps(fields).encode())) is not None
    fields[place] = value
    assert decode_entry(KEY, plain(KEY + json.dumps(fields).encode())) is None


def test_an_entry_gives_the_answer_back_whole() -> None:
    """Whatever fields it has."""
    whole = ChatCompletionResult(
        "a",
        reasoning_content="b",
        tool_calls=(ToolCall("1", "f", "{}"),),
        finish_reason="tool_calls",
        usage=Usage(*range(1, 10)),
        model="m",
        provider="openai",
        endpoint="e",
        response_id="r",
        assistant_message=None,
        raw=[1],
        choices=("a", "b"),
        cached=True,
        cost=Decimal("0.1"),
    )
    found = decode_entry(KEY, packed(encode_entry(KEY, whole, 2.5)))
    assert found == Entry(whole, 2.5)
