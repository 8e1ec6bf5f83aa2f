"""How fast a learnt limit is tried higher: slowly near the last one, then faster and faster. Pure."""

from __future__ import annotations

import math

HOLD_SECONDS = (5.0, 30.0)
"""A limit is held after a cut for as long as `HOLD_REQUESTS` take, but no shorter or longer than this."""

HOLD_REQUESTS = 500
"""A try costs a refusal or two, and less than 1 % of the requests are to be refused."""

CONFIRMED_REQUESTS = 100
CONFIRMED_SECONDS = 90.0
"""A low limit that a refusal has confirmed is held for so many requests, but no longer: tries cost more there."""

_FIRST = 0.01
_MOST = 0.1
_DOUBLES = 3.0  # seconds
_LONGEST = 60.0


def is_held(seconds: float, requests: int) -> bool:
    """Whether a limit is still to be held, so long and so many requests after its last cut."""
    shortest, longest = HOLD_SECONDS
    return seconds < shortest or (seconds < longest and requests < HOLD_REQUESTS)


def confirmed_hold(per_second: float) -> float | None:
    """Seconds for which a limit that was confirmed is held; None where that is not longer than usual."""
    seconds = min(CONFIRMED_SECONDS, CONFIRMED_REQUESTS / per_second)
    return seconds if seconds > HOLD_SECONDS[1] else None


def growth(climbed: float) -> float:
    """By which share a limit grows in a second, when it has grown for so many seconds."""
    return min(_MOST, _FIRST * math.exp2(min(climbed, _LONGEST) / _DOUBLES))


FAST_GROWTH = 2 * _MOST
"""The same while a limit is only guessed."""
