"""Limits that a simulated server keeps to itself: it refuses what is above them."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from flexllm_providers.rate_headers import LimitKind, RateLimit

Refusal = float | None
"""Seconds that the server says to wait; None when it does not say."""


@dataclass
class BucketLimit:
    """A token bucket that is refilled all the time, as Anthropic's and OpenAI's limits are.

    `per_minute` may be changed at any time. `burst` is the bucket's size as a share of a minute;
    `unit` is "requests" or "tokens"; `retry_after` says when there is enough again.
    """

    per_minute: float
    burst: float = 1 / 6
    unit: str = "requests"
    retry_after: bool = False
    _level: float | None = None
    _at: float = 0.0

    def refuse(self, now: float, tokens: int, in_flight: int) -> tuple[bool, Refusal]:
        """Whether a request is refused, and what is said; it counts when it is not."""
        size = self.per_minute * self.burst
        level = size if self._level is None else min(size, self._level + (now - self._at) * self.per_minute / 60)
        self._at = now
        cost = tokens if self.unit == "tokens" else 1
        if level < min(cost, size):
            self._level = level
            return True, (cost - level) * 60 / self.per_minute if self.retry_after else None
        self._level = level - cost
        return False, None

    def headers(self, now: float) -> RateLimit:
        """What is left, as headers say it."""
        size = self.per_minute * self.burst
        level = size if self._level is None else min(size, self._level + (now - self._at) * self.per_minute / 60)
        kind: LimitKind = "tokens" if self.unit == "tokens" else "requests"
        return RateLimit(kind, size, level, (size - level) * 60 / self.per_minute)


@dataclass
class WindowLimit:
    """So many requests in any `seconds`, or in each calendar window of so many when `fixed`."""

    count: int
    seconds: float = 60.0
    fixed: bool = False
    retry_after: bool = False
    unit: str = "requests"
    _times: deque[float] = field(default_factory=deque)

    def refuse(self, now: float, tokens: int, in_flight: int) -> tuple[bool, Refusal]:
        """Whether a request is refused, and what is said; it counts when it is not."""
        start = now - now % self.seconds if self.fixed else now - self.seconds
        while self._times and (self._times[0] < start or (not self.fixed and self._times[0] <= start)):
            self._times.popleft()
        if len(self._times) < self.count:
            self._times.append(now)
            return False, None
        wait = start + self.seconds - now if self.fixed else self._times[0] + self.seconds - now
        return True, wait if self.retry_after else None


@dataclass
class SeatLimit:
    """So many requests at once; more are refused, not queued."""

    seats: int
    unit: str = "parallel requests"

    def refuse(self, now: float, tokens: int, in_flight: int) -> tuple[bool, Refusal]:
        """Whether a request is refused, when `in_flight` others are being answered."""
        return in_flight >= self.seats, None


Limit = BucketLimit | WindowLimit | SeatLimit
