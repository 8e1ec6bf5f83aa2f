"""Batches at work: what has been done by when, on the server's clock. Knows no wire format."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, Literal, TypeVar

from flexllm_mock.asgi import ApiRequest, Reply
from flexllm_mock.config import MockConfig

RunRow = Callable[[ApiRequest], Reply]
"""Answers one row of a batch as the server answers that request when it comes by itself."""

State = Literal["validating", "in_progress", "finalizing", "completed", "failed", "expired", "cancelling", "cancelled"]

ENDED: frozenset[State] = frozenset(("completed", "failed", "expired", "cancelled"))

_SLICE = 256
_PHASE = 0.1

R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class Timetable:
    """When a batch does what, in seconds after its creation.

    It is validated for the first tenth of `duration` and finalized for the last; cancelling takes a tenth too. What is
    not done within `window` expires.
    """

    duration: float
    window: float

    @property
    def phase(self) -> float:
        """How long validating takes, and finalizing, and cancelling."""
        return self.duration * _PHASE

    @property
    def expires(self) -> bool:
        """Whether the window closes before the end."""
        return self.duration > self.window

    def state(self, elapsed: float, *, valid: bool = True, cancelled_at: float | None = None) -> State:
        """Return the state after a time; `cancelled_at` is when the client asked to cancel."""
        if cancelled_at is not None and elapsed >= cancelled_at:
            return "cancelling" if elapsed < cancelled_at + self.phase else "cancelled"
        if elapsed < self.phase and elapsed < self.window:
            return "validating"
        if not valid:
            return "failed"
        if self.expires and elapsed >= self.window:
            return "expired"
        if elapsed < self.duration - self.phase:
            return "in_progress"
        return "finalizing" if elapsed < self.duration else "completed"

    def due(self, elapsed: float, total: int) -> int:
        """Return how many of the rows are done after a time: evenly between validating and finalizing."""
        begin, end = self.phase, self.duration - self.phase
        if elapsed >= end:
            return total
        return max(0, int(total * (elapsed - begin) / (end - begin)))


class Job(Generic[R]):
    """A batch whose rows are answered at once, and shown as done when the timetable says so.

    `run` answers the row of an index; `total` is the number of rows, 0 when the input is not `valid`. Rows are answered
    in slices, so that a long batch does not keep other requests waiting.
    """

    def __init__(self, config: MockConfig, total: int, run: Callable[[int], R], *, valid: bool = True) -> None:
        self.timetable = Timetable(config.batch_seconds, config.batch_window)
        self.total = total
        self.valid = valid
        self.results: list[R] = []
        self.cancelled_at: float | None = None
        self.fresh = True
        """True until the answer to the creation is written, which shows the batch as it begins."""
        self._run: Callable[[int], R] | None = run
        self._closed = False
        self._created = _now()
        self._advance()

    @property
    def elapsed(self) -> float:
        """Seconds since the creation."""
        return _now() - self._created

    @property
    def state(self) -> State:
        """Where the batch stands now."""
        if self.fresh:
            return "validating"
        state = self.timetable.state(self.elapsed, valid=self.valid, cancelled_at=self.cancelled_at)
        return "in_progress" if state in ("finalizing", "completed") and self.working else state

    @property
    def working(self) -> bool:
        """Whether there are rows without an answer yet."""
        return not self._closed and len(self.results) < self.total

    @property
    def done(self) -> int:
        """How many rows are shown as done now."""
        if self.fresh:
            return 0
        until = self.elapsed if self.cancelled_at is None else self.cancelled_at
        if self.timetable.expires:
            until = min(until, self.timetable.window)
        return min(self.timetable.due(until, self.total), len(self.results))

    @property
    def ended_at(self) -> float:
        """When it ends or will end, in seconds after the creation."""
        if self.cancelled_at is not None:
            return self.cancelled_at + self.timetable.phase
        if not self.valid:
            return min(self.timetable.phase, self.timetable.window)
        return min(self.timetable.duration, self.timetable.window)

    def cancel(self) -> bool:
        """Begin to cancel; return False when the batch has ended or is being cancelled already."""
        if self.state in ENDED or self.cancelled_at is not None:
            return False
        self.cancelled_at = self.elapsed
        return True

    def close(self) -> None:
        """Forget the results, and answer no more rows: what was to be kept of an ended batch has been written."""
        self._closed = True
        self._run = None
        self.results.clear()

    async def work(self) -> None:
        """Answer the rows that are left."""
        while self.working:
            await asyncio.sleep(0)
            self._advance()

    def _advance(self) -> None:
        run = self._run
        if run is None:
            return
        for index in range(len(self.results), min(len(self.results) + _SLICE, self.total)):
            self.results.append(run(index))
        if not self.working:
            self._run = None  # with it goes what it holds of the input


def _now() -> float:
    return asyncio.get_running_loop().time()
