"""How many requests an endpoint is given at once, learnt from its answers. Pure: values in, limit out."""

from __future__ import annotations

from dataclasses import dataclass

from flexllm_batch.limits.climb import growth, is_held

FIRST_LIMIT = 16
"""Requests in flight at the start; doubled every `RAMP_SECONDS`, and more with each answer, until the first refusal."""

RAMP_SECONDS = 0.25

_SMALL = 10
"""A smaller limit grows as if it were so large."""


@dataclass(slots=True)
class AdaptiveLimit:
    """The limit of requests in flight: additive increase while it is in use, cut at a refusal.

    A server with seats refuses by how many requests it has; a refusal at a level of requests in flight
    that others were answered at lately is therefore none of this limit's business, but of the rate's
    (`learned_rate`).

    Attributes:
        floor: The least.
        ceiling: The most: the user's concurrency.
        limit: The present limit.
        starting: No refusal has come yet.
    """

    floor: int
    ceiling: int
    limit: int = 0
    starting: bool = True
    _by_time: bool = True
    _size: float = 0.0  # the limit, with a fraction
    _answers: int = 0  # since the last cut
    _cut_at: float = 0.0
    _climbs_since: float | None = None
    _grown_at: float = 0.0

    def __post_init__(self) -> None:
        self._set(FIRST_LIMIT)

    def ramp(self) -> None:
        """`RAMP_SECONDS` went by without a refusal."""
        if self.ramping:
            self._set(self.limit * 2)

    @property
    def ramping(self) -> bool:
        """Whether the limit grows with time."""
        return self.starting and self._by_time and self.limit < self.ceiling

    def answered(self, now: float) -> None:
        """A request was answered while the limit was in use."""
        if self.starting:
            self._set(self.limit + 1)
            return
        self._answers += 1
        if self._climbs_since is not None:
            grown = growth(now - self._climbs_since) * min(1.0, now - self._grown_at)
            self._set(self._size + grown * max(_SMALL, self._size))
        elif not is_held(now - self._cut_at, self._answers):
            self._climbs_since = now
        self._grown_at = now

    def refused(self, level: int, now: float) -> None:
        """A request was refused that was sent while `level` others were in flight."""
        self.starting, self._climbs_since = False, None
        self._answers, self._cut_at = 0, now
        self._set(min(self.limit, level))

    def restart(self, limit: int, *, by_time: bool) -> None:
        """Begin again from a low limit: it grows with each answer, and with time after a pause but not an outage."""
        self._set(min(self.limit, limit))
        self.starting, self._by_time = True, by_time

    def _set(self, size: float) -> None:
        self._size = max(self.floor, min(self.ceiling, size))
        self.limit = int(self._size)
