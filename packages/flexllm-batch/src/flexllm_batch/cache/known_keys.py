"""Which keys the database may have: a Bloom filter, so that a question never asked before needs no look at the disk."""

from __future__ import annotations

from struct import Struct

_BITS_PER_KEY = 16  # with four probes, one key in 400 is taken for a known one by mistake
_PROBES = Struct("<4I").unpack


class KnownKeys:
    """A set of 16-byte keys that may say yes by mistake and never says no by mistake.

    The keys are hashes, so their own bits serve as the probes (Bloom, "Space/time trade-offs in hash
    coding with allowable errors", 1970). Beyond its size it only says yes more often.

    Args:
        expected: How many keys it is made for; it takes two bytes for each.
    """

    __slots__ = ("_bits", "_mask")

    def __init__(self, expected: int) -> None:
        size = 1 << (max(1, expected) * _BITS_PER_KEY - 1).bit_length()  # a power of two of bits
        self._mask = min(size, 1 << 32) - 1
        self._bits = bytearray((self._mask >> 3) + 1)

    def add(self, key: bytes) -> None:
        """Remember a key."""
        bits, mask = self._bits, self._mask
        for probe in _PROBES(key):
            place = probe & mask
            bits[place >> 3] |= 1 << (place & 7)

    def __contains__(self, key: bytes) -> bool:
        bits, mask = self._bits, self._mask
        for probe in _PROBES(key):
            place = probe & mask
            if not bits[place >> 3] >> (place & 7) & 1:
                return False
        return True
