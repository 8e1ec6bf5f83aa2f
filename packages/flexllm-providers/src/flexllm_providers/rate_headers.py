"""What an answer's headers say about the endpoint's limits, by the names that vendors use. Pure."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

LimitKind = Literal["requests", "tokens", "input-tokens", "output-tokens"]

_KINDS: tuple[LimitKind, ...] = ("requests", "tokens", "input-tokens", "output-tokens")
_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_PART = re.compile(r"([0-9]{1,12}(?:\.[0-9]{1,9})?)(ms|s|m|h|d)")
_DURATION = re.compile(rf"(?:{_PART.pattern})+")
_EPOCH = 1e9
"""A larger plain number is a time since 1970, in seconds or, another thousand times larger, in milliseconds."""


@dataclass(frozen=True, slots=True)
class RateLimit:
    """One limit of an endpoint.

    Attributes:
        kind: What is counted.
        limit: How much there is when nothing was used lately.
        remaining: How much is left.
        reset: Seconds until all of it is there again.
    """

    kind: LimitKind
    limit: float
    remaining: float
    reset: float


def rate_limits(headers: Mapping[str, str], now: float) -> tuple[RateLimit, ...]:
    """The limits that headers name; nothing that is missing, unreadable or absurd.

    Args:
        headers: With lower-case names.
        now: Wall-clock seconds since 1970, for resets that are dates.
    """
    found = []
    for kind in _KINDS:
        for limit, remaining, reset in _names(kind):
            if limit in headers and remaining in headers and reset in headers:
                numbers = _number(headers[limit]), _number(headers[remaining]), _seconds(headers[reset], now)
                most, left, seconds = numbers
                if most and left is not None and seconds is not None and left <= most:
                    found.append(RateLimit(kind, most, left, seconds))
                break
    return tuple(found)


def _names(kind: LimitKind) -> tuple[tuple[str, str, str], ...]:
    """The names of limit, remaining and reset, in each of the spellings."""
    spellings = [
        tuple(f"x-ratelimit-{what}-{kind}" for what in ("limit", "remaining", "reset")),
        tuple(f"anthropic-ratelimit-{kind}-{what}" for what in ("limit", "remaining", "reset")),
    ]
    if kind == "requests":
        spellings.append(tuple(f"x-ratelimit-{what}" for what in ("limit", "remaining", "reset")))
        spellings.append(tuple(f"ratelimit-{what}" for what in ("limit", "remaining", "reset")))
    return tuple((limit, remaining, reset) for limit, remaining, reset in spellings)


def _number(text: str) -> float | None:
    """A count; None for anything else."""
    try:
        value = float(text)
    except ValueError:
        return None
    return value if text.isascii() and math.isfinite(value) and value >= 0 else None


def _seconds(text: str, now: float) -> float | None:
    """A duration such as `6m0s`, `120ms` or `1.5`, or the time until a date or an instant since 1970."""
    text = text.strip()
    if _DURATION.fullmatch(text):
        return sum(float(number) * _UNITS[unit] for number, unit in _PART.findall(text))
    value = _number(text)
    if value is not None:
        instant = value / 1000 if value >= _EPOCH * 1000 else value
        return max(0.0, instant - now) if value >= _EPOCH else value
    try:
        date = datetime.fromisoformat(text)
        return max(0.0, (date if date.tzinfo else date.replace(tzinfo=UTC)).timestamp() - now)
    except (ValueError, OverflowError):
        return None
