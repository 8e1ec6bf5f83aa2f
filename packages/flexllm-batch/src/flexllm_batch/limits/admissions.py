"""How many requests an endpoint admitted lately, over a minute: what limits by the minute come to on average."""

from __future__ import annotations

from collections import deque

MINUTE = 60.0
_STEP = 1.0


class Admissions:
    """Counts of admitted requests at moments of the last minute and a bit.

    Args:
        now: The time, at which none was admitted yet.
    """

    __slots__ = ("_marks",)

    def __init__(self, now: float) -> None:
        self._marks: deque[tuple[float, float]] = deque([(now, 0.0)])

    def count(self, now: float, admitted: float) -> None:
        """So many were admitted until now."""
        marks = self._marks
        if now - marks[-1][0] < _STEP:
            return
        marks.append((now, admitted))
        while len(marks) > 2 and marks[1][0] <= now - MINUTE:
            marks.popleft()

    def span(self, now: float) -> float:
        """Seconds that are remembered: a minute, or less at the beginning."""
        return now - self._marks[0][0]

    def per_second(self, now: float, admitted: float) -> float:
        """The average rate over the last minute, or since the beginning."""
        since, before = self._marks[0]
        return (admitted - before) / max(_STEP, now - since)
