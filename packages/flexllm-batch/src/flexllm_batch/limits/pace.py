"""When the next request may be sent: evenly spaced by count, and by tokens. Pure: the time is given."""

from __future__ import annotations

from collections import deque

_LATENESS = 0.01
"""Seconds that a late timer may be caught up with; a longer idle time gives no right to a burst."""

_SPAN = 1.02
"""Seconds that a second's worth of requests is spread over: a network may bring a slow one and a fast one together."""


class Pace:
    """How often a request may be sent: evenly spaced, and never more than the rate in any second.

    Args:
        max_qps: Requests per second.
    """

    __slots__ = ("_interval", "_next", "_sent", "_span")

    def __init__(self, max_qps: float) -> None:
        count = max(1, int(max_qps))
        self._interval = _SPAN / max_qps
        self._span = _SPAN * count / max_qps  # each of `count` requests is sent a span after the one `count` before
        self._sent: deque[float] = deque(maxlen=count)
        self._next = 0.0

    def moment(self) -> float:
        """The time at which the next request may be sent."""
        sent = self._sent
        # Timers are late by a little; measured from what was really sent, no second has too many all the same.
        return max(self._next, sent[0] + self._span) if len(sent) == sent.maxlen else self._next

    def send(self, now: float) -> None:
        """A request is sent."""
        punctual = now - self._next < _LATENESS
        self._next = (self._next if punctual else now) + self._interval
        self._sent.append(now)


class TokenPace:
    """How many tokens may be sent in a minute: each request makes the next one wait for as long as its tokens take.

    So no second has more than its share of the minute and one request; a request that is larger than
    any share passes like the others, and the ones behind it wait.

    Args:
        per_minute: Tokens per minute.
    """

    __slots__ = ("_next", "_per_second")

    def __init__(self, per_minute: float) -> None:
        self._per_second = per_minute / 60
        self._next = 0.0

    def moment(self) -> float:
        """The time at which the next request may be sent."""
        return self._next

    def send(self, now: float, tokens: float) -> None:
        """A request of so many tokens, as far as is known, is sent."""
        self._next = max(now, self._next) + tokens / self._per_second

    def correct(self, tokens: float) -> None:
        """The request had so many more tokens than was thought, or fewer where this is below 0."""
        self._next += tokens / self._per_second
