"""A model of a prefix cache: blocks of prompt tokens, of which the least recently used ones are forgotten."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Iterator
from hashlib import blake2b
from typing import Any

from flexllm_mock.jsontext import canonical

BLOCK_TOKENS = 16
# A prompt's tokens are counted as four characters each, here as there.
_BLOCK_BYTES = BLOCK_TOKENS * 4
# In the order in which prompts are built.
_WHOLE_FIELDS = ("tools", "system", "systemInstruction", "instructions")
_LISTS = ("messages", "contents", "input", "prompt")


class PrefixCache:
    """Remembers the beginnings of prompts, up to `capacity` tokens, and tells how much of a prompt it knows.

    As in vLLM, a block of 16 tokens is known by itself and all that is before it, and only full blocks are kept.
    """

    def __init__(self, capacity: int) -> None:
        self._most = capacity // BLOCK_TOKENS
        self.reset()

    def reset(self) -> None:
        """Forget everything."""
        self._blocks: OrderedDict[bytes, None] = OrderedDict()

    def look_up(self, parts: Iterable[bytes]) -> int:
        """Return how many tokens from the beginning are known, and remember all of them."""
        blocks = self._blocks
        marks = list(_marks(parts))
        known = next((at for at, mark in enumerate(marks) if mark not in blocks), len(marks))
        # Of one prompt the last blocks are forgotten first: without its beginning no block is of any use.
        for mark in reversed(marks):
            blocks[mark] = None
            blocks.move_to_end(mark)
        while len(blocks) > self._most:
            blocks.popitem(last=False)
        return known * BLOCK_TOKENS


def prompt_parts(model: str | None, payload: dict[str, Any]) -> Iterator[bytes]:
    """Yield what a model reads of a request, in order, so that a longer conversation begins with the shorter one."""
    yield repr(model).encode()
    for name in _WHOLE_FIELDS:
        if payload.get(name) is not None:
            yield canonical(payload[name])
    for name in _LISTS:
        given = payload.get(name)
        if isinstance(given, list):
            for each in given:
                yield canonical(each)
        elif given is not None:
            yield canonical(given)


def _marks(parts: Iterable[bytes]) -> Iterator[bytes]:
    """Yield the identity of each full block, which follows from all bytes up to its end."""
    mark, rest = b"", b""
    for part in parts:
        rest += part
        whole = len(rest) - len(rest) % _BLOCK_BYTES
        for start in range(0, whole, _BLOCK_BYTES):
            mark = blake2b(mark + rest[start : start + _BLOCK_BYTES], digest_size=16).digest()
            yield mark
        rest = rest[whole:]
