"""What is left of an endpoint's quota between two looks at its headers. Pure: the time is given."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from flexllm_providers.rate_headers import RateLimit

_MINUTE = 60.0
"""Seconds in which a limit comes back that has not said how long it takes: most are by the minute."""


@dataclass(frozen=True, slots=True)
class Quota:
    """What the headers of an answer said, and when.

    Attributes:
        limits: Of requests and tokens.
        at: The time.
        counted: Requests sent until then that the headers know of. Those in flight may not be among them.
    """

    limits: Sequence[RateLimit]
    at: float
    counted: int

    def share_left(self, now: float, *, sent: int, in_flight: int, tokens: float) -> float | None:
        """The share that is left of the limit of which least is left; None where none can be told.

        Args:
            now: The time; meanwhile some of what was used has come back.
            sent: Requests sent so far.
            in_flight: Those without an answer, none of which has come back yet.
            tokens: Of a usual request; 0 when that is not known, and limits of tokens say nothing then.
        """
        seconds = now - self.at
        shares = []
        for limit in self.limits:
            each = 1.0 if limit.kind == "requests" else tokens
            if each:
                left = limit.remaining - (sent - self.counted) * each + _refill(limit) * seconds
                shares.append(min(left, limit.limit - in_flight * each) / limit.limit)
        return min(shares, default=None)


def _refill(limit: RateLimit) -> float:
    """What comes back of a limit in a second."""
    return (limit.limit - limit.remaining) / limit.reset if limit.reset else limit.limit / _MINUTE
