"""Deterministic draws: the same key gives the same sequence on every platform and Python version."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b
from typing import TypeVar

T = TypeVar("T")


class Dice:
    """A stream of draws that depends on nothing but the key."""

    __slots__ = ("_count", "_key")

    def __init__(self, key: bytes) -> None:
        self._key = key
        self._count = 0

    def bits(self) -> int:
        """Draw 64 bits."""
        self._count += 1
        drawn = blake2b(self._key + self._count.to_bytes(8, "big"), digest_size=8).digest()
        return int.from_bytes(drawn, "big")

    def below(self, limit: int) -> int:
        """Draw an integer from 0 to limit - 1."""
        return self.bits() % limit

    def between(self, low: int, high: int) -> int:
        """Draw an integer from low to high, both included."""
        return low + self.below(high - low + 1)

    def pick(self, options: Sequence[T]) -> T:
        """Draw one of the options."""
        return options[self.below(len(options))]


def fraction(seed: int, ordinal: int) -> float:
    """Return the number in [0, 1) that belongs to the ordinal-th event under a seed."""
    key = seed.to_bytes(8, "big", signed=True) + ordinal.to_bytes(8, "big")
    return int.from_bytes(blake2b(key, digest_size=8, person=b"mock-fraction").digest(), "big") / 2**64
