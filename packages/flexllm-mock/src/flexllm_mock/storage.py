"""What clients leave on the server, such as files, batches and responses: bounded, the oldest goes first."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any, TypeVar, cast

MAX_STORED_BYTES = 256 * 1024 * 1024
"""How much is kept altogether; what is newer pushes out what is older."""
MAX_STORED_ITEMS = 4_000

T = TypeVar("T")


@dataclass(slots=True)
class _Kept:
    item: object
    size: int


class Storage:
    """Objects by kind and name. At most 4,000 of them and 256 MiB are kept, though always the newest one."""

    def __init__(self) -> None:
        self._kept: dict[tuple[type, str], _Kept] = {}
        self._size = 0
        self._alike: dict[bytes, int] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def put(self, name: str, item: object, size: int) -> None:
        """Keep an object, in place of the one of its kind and name if there is one. `size` is in bytes."""
        key = (type(item), name)
        self._drop(key)
        self._kept[key] = _Kept(item, size)
        self._size += size
        self._make_room()

    def resize(self, name: str, item: object, size: int) -> None:
        """Note that a kept object has another size now; does nothing when it is not kept any more."""
        kept = self._kept.get((type(item), name))
        if kept is not None and kept.item is item:
            self._size += size - kept.size
            kept.size = size
            self._make_room()

    def get(self, kind: type[T], name: str) -> T | None:
        """Return an object, None when there is none."""
        kept = self._kept.get((kind, name))
        return None if kept is None else cast("T", kept.item)

    def remove(self, kind: type[T], name: str) -> T | None:
        """Forget an object and return it, None when there is none."""
        found = self.get(kind, name)
        self._drop((kind, name))
        return found

    def all(self, kind: type[T]) -> list[T]:
        """Return all objects of a kind, oldest first."""
        return [cast("T", kept.item) for (each, _), kept in self._kept.items() if each is kind]

    def mark(self, seed: bytes, content: bytes) -> str:
        """Return 32 hexadecimal digits for a new object: equal contents get equal series of them."""
        digest = blake2b(content, digest_size=16, key=seed).digest()
        if len(self._alike) >= MAX_STORED_ITEMS and digest not in self._alike:
            self._alike.clear()
        count = self._alike[digest] = self._alike.get(digest, 0) + 1
        return blake2b(digest + count.to_bytes(8, "big"), digest_size=16, key=seed).hexdigest()

    def work(self, coroutine: Coroutine[Any, Any, None]) -> None:
        """Run something in the background until it ends or the storage is cleared."""
        task = asyncio.get_running_loop().create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def clear(self) -> None:
        """Forget everything, and stop what runs in the background."""
        for task in self._tasks:
            if not task.get_loop().is_closed():
                task.cancel()
        self._tasks.clear()
        self._kept.clear()
        self._alike.clear()
        self._size = 0

    def _make_room(self) -> None:
        while len(self._kept) > 1 and (self._size > MAX_STORED_BYTES or len(self._kept) > MAX_STORED_ITEMS):
            self._drop(next(iter(self._kept)))

    def _drop(self, key: tuple[type, str]) -> None:
        kept = self._kept.pop(key, None)
        if kept is not None:
            self._size -= kept.size
