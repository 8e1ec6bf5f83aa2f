"""The rate of an endpoint that does not tell it, learnt from what it refuses. Pure: the time is given.

A server that refuses a share of the requests admits the rest at exactly its limit; so the limit is measured,
not guessed. Requests are then sent a little below it, and now and then a little above, because it may have
changed. A request counts as admitted until it is refused: refusals come at once, answers may take minutes.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from flexllm_batch.limits.admissions import MINUTE, Admissions
from flexllm_batch.limits.climb import FAST_GROWTH, confirmed_hold, growth, is_held

_SMALL_CUT = 0.95
_BELOW_MEASURED = 0.98
_MEASURE_SECONDS = 1.0
_MEASURE_REQUESTS = 8
_LONGEST_MEASURE = 30.0
_FORGOTTEN = 60.0  # seconds without having to wait for the rate
_CYCLE = 20.0  # seconds of giving and refusing, from which on it may be a limit by the minute
_BLACKOUT = 0.1
_SAME = 0.08  # share by which two measurements of one rate differ
_TRUSTED = 3
_LOWEST = 1 / 60


@dataclass(frozen=True, slots=True)
class _Climb:
    """A try of higher rates: when it began, with which request, and from which rate."""

    since: float
    work: float
    rate: float

    def excess(self, now: float, work: float) -> float:
        """Work more than at the rate where it began."""
        return work - self.work - self.rate * (now - self.since)


@dataclass(slots=True)
class LearnedRate:
    """The learnt rate.

    Args:
        since: The time at which the measuring begins.

    Attributes:
        rate: Requests per second; None while nothing is known, and nothing is held back.
        cut_number: Requests up to this one were sent before the last cut, and tell nothing new.
    """

    since: float = 0.0
    rate: float | None = None
    cut_number: int = 0
    _measured: bool = False  # twice at least
    _paused: bool = False  # the server asked for a pause before
    _hold: float | None = None  # seconds after a cut; None: as usual
    _too_few: bool = False  # refusals go on, of too few requests to measure the limit
    _lost: float = 0.0  # work refused since the last cut
    _work: float = 0.0  # of all requests sent
    _work_at_cut: float = 0.0
    _lost_ever: float = 0.0
    _interrupted: bool = False  # by a pause or an outage, since the last cut
    _climb: _Climb | None = None
    _excess: float | None = None  # of the last climb, while it is not known whether the limit was the old one
    _slack: float | None = None  # work above the limit that the endpoint takes before it refuses
    _held: float = 0.0  # the rate at which the last climb began
    _trusted: int = 0  # refusals in a row that were taken to confirm the old limit
    _grown_at: float = 0.0
    _used_at: float = 0.0
    _admissions: Admissions = field(init=False)

    def __post_init__(self) -> None:
        self._admissions = Admissions(self.since)

    def sent(self, now: float, number: int, weight: float = 1.0, *, in_use: bool) -> None:
        """Request `number` is sent; while the rate is in use, requests wait for their turn and it may grow."""
        if self.rate is None:
            return
        self._work += weight
        self._admissions.count(now, self._work - self._lost_ever)
        if in_use:
            self._used_at = now
            self._grow(now, number)
        else:
            self._grown_at = now
            if now - self._used_at > _FORGOTTEN:
                self._forget(now, number)

    def refused(
        self, number: int, now: float, weight: float = 1.0, *, sent: int, in_flight: int, pause: bool = False
    ) -> None:
        """Request `number` was refused.

        Args:
            number: Which it is.
            now: The time.
            weight: What it would have taken, where a usual request takes 1.
            sent: Requests sent so far.
            in_flight: Requests that have no answer yet.
            pause: The server said when to come back, and it is a while.
        """
        if self.rate is None:
            self._work = max(self._work, sent)  # nobody counted so far
        self._lost_ever += weight
        self._interrupted |= pause
        if number <= self.cut_number:
            return
        self._lost += weight
        elapsed = now - self.since
        enough = elapsed >= _MEASURE_SECONDS and sent - self.cut_number >= _MEASURE_REQUESTS
        if self.rate is None:
            self._first_cut(now, sent, in_flight, pause=pause, enough=enough)
        elif self._climb is not None:
            self._end_climb(self._climb, now, sent)
        elif enough or (self._interrupted and elapsed >= _MEASURE_SECONDS):
            self._measure(now, sent)
        elif elapsed >= _MEASURE_SECONDS:
            self._too_few = True

    def _admitted(self, now: float) -> float:
        """What was admitted per second since the last cut."""
        return max(0.0, self._work - self._work_at_cut - self._lost) / max(_MEASURE_SECONDS, now - self.since)

    def _first_cut(self, now: float, sent: int, in_flight: int, *, pause: bool, enough: bool) -> None:
        """Nothing is known yet. A server that says when to come back says all that there is to say, but not forever."""
        rate = self._admitted(now)
        if not pause:
            self._cut(now, sent, max(1, in_flight, rate))
        elif not self._paused:
            self._paused = True
            self._begin(now, sent)
        elif enough and rate:
            self._cut(now, sent, _BELOW_MEASURED * rate)

    def _begin(self, now: float, sent: int) -> None:
        """Measure from here on."""
        self.since, self.cut_number = now, sent
        self._work_at_cut = self._work
        self._lost, self._too_few = 0.0, False

    def _measure(self, now: float, sent: int) -> None:
        """Refusals go on after a cut: what is admitted is the limit."""
        assert self.rate is not None
        self._measured = True
        rate = self._admitted(now) + 0.5 / (now - self.since)
        if self._interrupted:
            rate = self._average(now)
        elif rate < _BLACKOUT * self.rate:
            rate = self.rate / 2  # nothing is admitted for a while, which says nothing about the rate
        rate *= _BELOW_MEASURED
        if self._excess is not None:
            self._slack = self._excess if abs(rate - self._held) <= _SAME * self._held else None
            self._excess = None
        self._cut(now, sent, min(_BELOW_MEASURED * self.rate, rate))

    def _average(self, now: float) -> float:
        """What was admitted per second in the last minute."""
        return self._admissions.per_second(now, self._work - self._lost_ever)

    def _end_climb(self, climb: _Climb, now: float, sent: int) -> None:
        """The first refusal of a climb: the limit is the old one when it came as soon as at the last climb."""
        assert self.rate is not None
        excess = climb.excess(now, self._work)
        self._held = climb.rate
        if self._slack is not None and excess <= 1.3 * self._slack + 3 and self._trusted < _TRUSTED:
            self._trusted += 1
            self._cut(now, sent, climb.rate)
            self._hold = confirmed_hold(self.rate)
        else:
            self._trusted = 0
            self._excess = excess
            self._cut(now, sent, _SMALL_CUT * self.rate)

    def lost(self, weight: float) -> None:
        """A request was refused by an endpoint that refuses everything, which tells nothing of its rate."""
        self._lost_ever += weight

    def resume(self, now: float, sent: int) -> None:
        """An outage of refusals has ended: a limit by the minute admits on average what it did in the last one."""
        if self.rate is None:
            return
        rate, seconds = self._average(now), self._admissions.span(now)
        if seconds >= _CYCLE and rate * seconds >= _MEASURE_REQUESTS:
            self._measured = True
            self._cut(now, sent, rate)
            self._hold = MINUTE
        elif not self._measured:
            self._forget(now, sent)

    def _forget(self, now: float, sent: int) -> None:
        self.rate, self._measured, self._paused = None, False, False
        self._begin(now, sent)

    def _cut(self, now: float, sent: int, rate: float) -> None:
        self.rate = max(_LOWEST, rate)
        self._used_at = now
        self._begin(now, sent)
        self._hold = None if self._measured else _MEASURE_SECONDS
        self._climb = None
        self._interrupted = False

    def _grow(self, now: float, number: int) -> None:
        assert self.rate is not None
        if self._climb is None:
            held, requests = now - self.since, number - self.cut_number
            if held < self._hold if self._hold is not None else is_held(held, requests):
                return
            if requests < _MEASURE_REQUESTS and held < _LONGEST_MEASURE:
                return
            if self._too_few:
                self._measure(now, number)
                return
            self._climb, self._grown_at = _Climb(now, self._work, self.rate), now
        else:
            share = growth(now - self._climb.since) if self._measured else FAST_GROWTH
            self.rate *= 1 + share * min(max(1.0, 2 / self.rate), now - self._grown_at)
            self._grown_at = now
