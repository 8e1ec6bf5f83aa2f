"""Finds how many requests a server works on that queues the others silently, as vLLM does. Pure: the time is given.

Latency alone does not tell: a server that answers more per second the more it is given is slower for each,
too. So fewer are tried for a while, and kept only if as many are answered per second as before: then those
above were only waiting there.
"""

from __future__ import annotations

from dataclasses import dataclass, field

_LONG = 2.0
"""Seconds of an answer below which a queue harms nobody, and times the fastest answer above which there may be one."""

_FEWER, _MORE = 0.8, 1.25
_AS_MANY = 0.97
_OF_THE_BEST = 0.95
_GAIN = 1.05
_LONGEST_WAIT = 64
_FORGETS = 0.998


@dataclass(slots=True)
class QueueWatch:
    """Tries fewer requests in flight, and more again, and keeps what does not cost throughput.

    Args:
        ceiling: Requests in flight at most.

    Attributes:
        limit: How many are worth it.
    """

    ceiling: int
    limit: int = field(init=False)
    _fastest: float = 0.0
    _window: tuple[float, int] | None = None  # when it began, and answers until then
    _before: tuple[int, float] | None = None  # during a try: the limit and the throughput before it
    _settling: bool = False  # the first window after a change shows the old limit's queue
    _best: float = 0.0
    _wait: int = 2  # windows until the next try
    _next_wait: int = 4
    _up: bool = False

    def __post_init__(self) -> None:
        self.limit = self.ceiling

    def review(self, now: float, answers: int, in_flight: int, latency: float | None) -> None:
        """Look at a window, which ends with an answer that took `latency` seconds.

        Args:
            now: The time.
            answers: Answers so far.
            in_flight: Requests in flight, of which there are as many as the limit admits, or it is not in use.
            latency: Seconds; None when it is not known.
        """
        if latency is not None and latency > 0:
            self._fastest = min(self._fastest * 1.001, latency) if self._fastest else latency
        window, self._window = self._window, (now, answers)
        if in_flight < 0.9 * self.limit:
            self._give_up_try()
        elif self._settling:
            self._settling = False
        elif window is not None and now > window[0] and answers > window[1]:
            self._judge((answers - window[1]) / (now - window[0]))

    def _judge(self, throughput: float) -> None:
        if self._before is not None:
            self._end_try(self._before, throughput)
            return
        self._best = max(self._best * _FORGETS, throughput)
        self._wait -= 1
        seconds = self.limit / throughput
        if self._wait > 0:
            return
        if seconds > _LONG and seconds > _LONG * self._fastest and not (self._up and self.limit < self.ceiling):
            self._try(max(1, int(self.limit * _FEWER)), throughput)
        elif self.limit < self.ceiling:
            self._try(min(self.ceiling, int(self.limit * _MORE) + 1), throughput)
        self._up = not self._up

    def _try(self, limit: int, throughput: float) -> None:
        self._before = (self.limit, throughput)
        self._settling = limit != self.limit
        self.limit = limit

    def _end_try(self, before: tuple[int, float], throughput: float) -> None:
        old_limit, old = before
        fewer = self.limit < old_limit
        good = throughput >= max(_AS_MANY * old, _OF_THE_BEST * self._best) if fewer else throughput >= _GAIN * old
        self._before = None
        if good:
            self._wait, self._next_wait, self._up = 1, 4, not fewer
        else:
            self._settling, self.limit = True, old_limit
            self._wait, self._next_wait = self._next_wait, min(_LONGEST_WAIT, 2 * self._next_wait)

    def _give_up_try(self) -> None:
        """The limit is not in use, so nothing can be learnt now."""
        if self._before is not None:
            self.limit = self._before[0]
            self._before = None
        self._settling = False
        self._window = None
