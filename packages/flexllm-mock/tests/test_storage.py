"""What clients leave on the server: kept by kind and name, bounded, and cleared."""

from __future__ import annotations

import asyncio

import pytest

import flexllm_mock.storage
from flexllm_mock.storage import Storage


def test_kinds_are_apart():
    """Objects of different kinds can have one name, and are listed by kind in the order of their coming."""
    storage = Storage()
    for name, item in (("a", 1), ("b", 2), ("a", "text")):
        storage.put(name, item, 1)
    assert (storage.get(int, "a"), storage.get(str, "a"), storage.get(str, "b")) == (1, "text", None)
    assert storage.all(int) == [1, 2]
    assert storage.remove(int, "a") == 1
    assert storage.remove(int, "a") is None
    assert storage.all(int) == [2]


def test_the_oldest_goes_first(monkeypatch):
    """Beyond the limits of bytes and of numbers the oldest objects go, but never the newest one."""
    monkeypatch.setattr(flexllm_mock.storage, "MAX_STORED_BYTES", 100)
    monkeypatch.setattr(flexllm_mock.storage, "MAX_STORED_ITEMS", 3)
    storage = Storage()
    for number in range(5):
        storage.put(str(number), number, 10)
    assert storage.all(int) == [2, 3, 4]
    storage.resize("4", 4, 90)
    assert storage.all(int) == [3, 4]
    storage.put("5", 5, 1000)
    assert storage.all(int) == [5]
    storage.put("6", 6, 1)
    assert storage.all(int) == [6]
    storage.put("6", 7, 1)
    assert storage.all(int) == [7]


def test_marks_are_repeatable():
    """Equal contents get equal series of names, whatever else is stored, and different seeds others."""
    first, second = Storage(), Storage()
    names = [first.mark(b"seed", b"x") for _ in range(3)]
    second.mark(b"seed", b"y")
    assert [second.mark(b"seed", b"x") for _ in range(3)] == names
    assert len(set(names)) == 3
    assert Storage().mark(b"other", b"x") not in names
    first.clear()
    assert first.mark(b"seed", b"x") == names[0]


def test_counts_are_bounded(monkeypatch):
    """The memory of how often a content came has an end, after which it begins anew."""
    monkeypatch.setattr(flexllm_mock.storage, "MAX_STORED_ITEMS", 2)
    storage = Storage()
    first = storage.mark(b"", b"a")
    for content in (b"b", b"c"):
        storage.mark(b"", content)
    assert storage.mark(b"", b"a") == first


async def test_clear_stops_what_runs():
    """Clearing forgets everything and ends what runs in the background."""
    storage = Storage()
    ended = asyncio.Event()

    async def forever():
        try:
            await asyncio.sleep(1000)
        finally:
            ended.set()

    storage.put("a", 1, 1)
    storage.work(forever())
    await asyncio.sleep(0)
    storage.clear()
    async with asyncio.timeout(5):
        await ended.wait()
    assert storage.all(int) == []


@pytest.mark.parametrize("size", [0, 10])
def test_resizing_what_is_gone(size):
    """What is not kept any more, or has been replaced, is not resized."""
    storage = Storage()
    old, new = [1], [2]
    storage.put("a", old, 1)
    storage.put("a", new, 1)
    storage.resize("a", old, size)
    storage.resize("b", old, size)
    assert storage._size == 1
