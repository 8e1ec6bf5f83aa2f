"""The rate that an endpoint's own headers admit. Pure.

A bucket that is refilled all the time says how fast by how long it takes to be full; what is left in it
may be used within a minute. So the rate comes down to the refill as the bucket gets empty, and nothing
is refused.
"""

from __future__ import annotations

from collections.abc import Sequence

from flexllm_providers.rate_headers import RateLimit

_PLENTY = 0.5
"""The share of a limit that may be left before it is looked at."""

_SOON = 60.0
"""Seconds within which what is left may be used."""


def advised_rate(limits: Sequence[RateLimit], tokens: float) -> float | None:
    """Requests per second; None when there is plenty of all limits.

    Args:
        limits: What the headers of the last answer say.
        tokens: Of a usual request; 0 when that is not known, and limits of tokens say nothing then.
    """
    low = [limit for limit in limits if _matters(limit, tokens)]
    return min((_rate(limit) / (1.0 if limit.kind == "requests" else tokens) for limit in low), default=None)


def _matters(limit: RateLimit, tokens: float) -> bool:
    known = limit.kind == "requests" or tokens > 0
    return known and limit.reset > 0 and limit.remaining < _PLENTY * limit.limit


def _rate(limit: RateLimit) -> float:
    """What may be used per second of a limit."""
    return (limit.limit - limit.remaining) / limit.reset + limit.remaining / _SOON
