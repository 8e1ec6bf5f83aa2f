"""The answers that an output file already holds, as an index of 16 bytes for each.

An answer is known by its request's fingerprint: 64 bits of it in one array, 24 more beside the line's
offset in the other. That two different requests of a file of ten million agree in 88 bits has a
probability of about 1 in 10**13.
"""

from __future__ import annotations

import itertools
from array import array
from bisect import bisect_left

_LOW_BITS = 24
_LOW_MASK = (1 << _LOW_BITS) - 1
_UNUSED_BITS = 128 - 64 - _LOW_BITS
NO_OFFSET = -1


def split_key(key: str) -> tuple[int, int]:
    """The two parts of a fingerprint (32 hex digits) that the index holds."""
    bits = int(key, 16)
    return bits >> 64, bits >> _UNUSED_BITS & _LOW_MASK


class AnswerIndex:
    """Lines with answers, in the order of the file. Each can be claimed once.

    Rows usually come in the order of the lines, which costs one comparison each. Only when they do not,
    a sorted order of the lines is made, 8 bytes more for each.
    """

    def __init__(self) -> None:
        self._high = array("Q")
        self._low = array("Q")  # offset << 24 | 24 bits of the fingerprint
        self._claimed = bytearray()  # as long as the arrays once the first is claimed
        self._claims = 0
        self._next = 0
        self._order: array[int] | None = None
        self._cursors: array[int] = array("I")  # by the first place of equal lines: the first that may be unclaimed

    def __len__(self) -> int:
        return len(self._high)

    def add(self, key: str, offset: int) -> None:
        """Add the line at `offset`, which answers the request with this fingerprint."""
        high, low = split_key(key)
        self._high.append(high)
        self._low.append(offset << _LOW_BITS | low)

    def claim(self, key: str) -> int:
        """The offset of an unclaimed line that answers this request, or NO_OFFSET.

        The line behind the one claimed last comes first, then the first in the file.
        """
        high, low = split_key(key)
        line, highs = self._next, self._high
        if len(self._claimed) < len(highs):
            self._claimed.extend(bytes(len(highs) - len(self._claimed)))
        if line >= len(highs) or highs[line] != high or not self._is_free(line, high, low):
            line = self._search(high, low)
            if line < 0:
                return NO_OFFSET
        self._next = line + 1
        self._claimed[line] = 1
        self._claims += 1
        return self._low[line] >> _LOW_BITS

    def _is_free(self, line: int, high: int, low: int) -> bool:
        return self._high[line] == high and self._low[line] & _LOW_MASK == low and not self._claimed[line]

    def _search(self, high: int, low: int) -> int:
        if self._order is None:
            self._order = self._sorted_lines()
            self._cursors = array("I", range(len(self._high)))
        order, highs = self._order, self._high
        first = bisect_left(order, high, key=highs.__getitem__)
        if first == len(order):
            return -1
        place = self._cursors[first]
        # Many equal rows: no search looks again at the lines that are claimed already.
        while place < len(order) and highs[order[place]] == high and self._claimed[order[place]]:
            place += 1
        self._cursors[first] = place
        while place < len(order) and highs[order[place]] == high:
            if self._is_free(order[place], high, low):
                return order[place]
            place += 1
        return -1

    def _sorted_lines(self) -> array[int]:
        """The lines by their fingerprints, sorted part by part: a list of all would take ten times as much memory."""
        parts = [array("I") for _ in range(256)]
        for line, high in enumerate(self._high):
            parts[high >> 56].append(line)
        order = array("I")
        for part in parts:
            order.extend(sorted(part, key=self._high.__getitem__))
        return order

    def unclaimed(self) -> int:
        """How many lines answer no row."""
        return len(self._high) - self._claims

    def unclaimed_offsets(self) -> array[int]:
        """The offsets of the lines that answer no row."""
        pairs = itertools.zip_longest(self._low, self._claimed, fillvalue=0)
        return array("Q", (low >> _LOW_BITS for low, claimed in pairs if not claimed))
