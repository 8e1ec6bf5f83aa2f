"""A histogram of seconds in bounded memory, as HDR histograms are: buckets that grow with the value."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

_BITS = 7
_UNIT = 1_000_000  # of a second: values are counted in microseconds
_MOST = 1 << 46  # microseconds, about two years; longer ones are counted as this
_MOST_SECONDS = _MOST / _UNIT

RELATIVE_ERROR = 1 / (1 << (_BITS + 1))
"""How far a percentile may be from the true value, as a share of it (0.4 %); below 128 us it is half a microsecond."""


@dataclass(slots=True)
class Histogram:
    """Durations in seconds, counted into about 128 buckets for each doubling; at most some 5,000 in all.

    Attributes:
        count: Values.
        total: Their sum, in seconds.
        longest: The largest, in seconds.
    """

    count: int = 0
    total: float = 0.0
    longest: float = 0.0
    _buckets: dict[int, int] = field(default_factory=dict)

    def add(self, seconds: float) -> None:
        """Count a value; below 0 it counts as 0."""
        value = int(seconds * _UNIT) if 0.0 <= seconds < _MOST_SECONDS else 0 if seconds < 0.0 else _MOST
        shift = value.bit_length() - _BITS - 1
        bucket = value if shift <= 0 else (shift << _BITS) + (value >> shift)
        self._buckets[bucket] = self._buckets.get(bucket, 0) + 1
        self.count += 1
        self.total += seconds
        if seconds > self.longest:
            self.longest = seconds

    def percentile(self, share: float) -> float | None:
        """The value, in seconds, that `share` (0 to 1) of the values do not exceed; None without values."""
        if not self.count:
            return None
        wanted = max(1, -int(-share * self.count // 1))  # rounded up: a rank from 1
        seen = 0
        for low, high, count in self.ranges():
            seen += count
            if seen >= wanted:
                return min((low + high) / 2, self.longest)
        return self.longest

    def ranges(self) -> Iterator[tuple[float, float, int]]:
        """Each bucket that is not empty, in order: from and to, in seconds, and how many values it has."""
        for bucket in sorted(self._buckets):
            shift = max(0, (bucket >> _BITS) - 1)
            low = bucket if not shift else (bucket - (shift << _BITS)) << shift
            yield low / _UNIT, (low + (1 << shift)) / _UNIT, self._buckets[bucket]

    def summary(self) -> dict[str, float] | None:
        """p50, p95, p99, mean and longest in seconds; None without values."""
        if not self.count:
            return None
        found = {f"p{round(share * 100)}": self.percentile(share) or 0.0 for share in (0.5, 0.95, 0.99)}
        found |= {"mean": self.total / self.count, "longest": self.longest}
        return {name: round(value, 4) for name, value in found.items()}
