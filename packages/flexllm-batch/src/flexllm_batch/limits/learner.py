"""What an endpoint's answers and refusals say about its limits. Pure: the time is given, nothing waits.

It decides which of the limits a refusal speaks of: of the requests in flight, of the rate, or of an
endpoint that is out of order.
"""

from __future__ import annotations

import re
from collections import deque
from dataclasses import dataclass

from flexllm_batch.limits.concurrency import FIRST_LIMIT, AdaptiveLimit
from flexllm_batch.limits.learned_rate import LearnedRate
from flexllm_batch.limits.outage import Outage
from flexllm_batch.limits.queue_watch import QueueWatch
from flexllm_core.errors import LLMRequestError

_OTHER_OVERLOADS = 0.25
"""The share of 503s and their like from which they say something about the load; fewer are the server's own faults."""

_SHARE_WEIGHT = 1 / 16
_PEAK_SECONDS = 10.0
_AFTER_OUTAGE = 2
_MANY = 8
"""Requests in flight from which on levels that differ by one are alike."""

LONG_PAUSE = 1.0
"""Seconds of a pause that is more than the wait for the next request at some rate."""

_TOKENS = re.compile(r"token|\btpm\b", re.IGNORECASE)


def speaks_of_tokens(error: LLMRequestError) -> bool:
    """Whether a refusal is for tokens per minute, by its words: vendors say so."""
    return _TOKENS.search(error.message) is not None or _TOKENS.search(error.code or "") is not None


@dataclass(frozen=True, slots=True)
class GateCounts:
    """Requests of a gate.

    Attributes:
        sent: So far.
        answered: There was an answer.
        in_flight: Without an answer yet.
    """

    sent: int
    answered: bool
    in_flight: int


class Learner:
    """Learns the limits of one endpoint.

    Attributes:
        concurrency: Of the requests in flight.
        queue: Of those that the server works on, and does not only keep waiting.
        rate: Of requests per second.
        advised: The same, as the endpoint's headers have it; None while there is plenty.
        by_tokens: The rate is one of tokens: a request counts by its size.
        outage: Whether the endpoint is out of order.

    Args:
        floor: The least that is learnt for the requests in flight.
        ceiling: The most.
        patience: Seconds without an answer after which the endpoint is given up.
        now: The time.
    """

    def __init__(self, floor: int, ceiling: int, patience: float, now: float) -> None:
        self.floor = floor
        self.concurrency = AdaptiveLimit(floor, ceiling)
        self.rate = LearnedRate(since=now)
        self.queue = QueueWatch(ceiling)
        self.advised: float | None = None
        self.outage = Outage(patience)
        self._share = 0.0  # of overloads other than 429, lately
        self._peak = self._earlier_peak = 0  # requests in flight when one was sent that was answered
        self._peak_from = now
        self._levels: deque[int] = deque(maxlen=3)  # requests in flight at the last refusals
        self.by_tokens = False  # the last refusal was one of tokens, not of requests
        self._refusing = False  # the last failure was a refusal

    @property
    def limit(self) -> int:
        """Requests in flight at most."""
        return max(self.floor, min(self.concurrency.limit, self.queue.limit))

    @property
    def pace(self) -> float | None:
        """Requests per second that may be sent; None when nothing holds them back."""
        learned, advised = self.rate.rate, self.advised
        return learned if advised is None else advised if learned is None else min(learned, advised)

    @property
    def alert(self) -> bool:
        """Whether answers matter: something is being learnt, or was out of order."""
        concurrency = self.concurrency
        return concurrency.limit < concurrency.ceiling or self.rate.rate is not None or self.outage.failures > 0

    def succeeded(self, number: int, level: int, now: float, counts: GateCounts) -> None:
        """Request `number` was answered, which was sent while `level` others were in flight."""
        self._share *= 1 - _SHARE_WEIGHT
        if now - self._peak_from > _PEAK_SECONDS:
            self._earlier_peak, self._peak, self._peak_from = self._peak, 0, now
        self._peak = max(self._peak, level)
        if level + 1 >= self.limit:
            self.concurrency.answered(now)
        if self.outage.succeeded(number):
            self._recover(now, counts)

    def _recover(self, now: float, counts: GateCounts) -> None:
        """The server is back: with a few at first."""
        self.concurrency.restart(counts.in_flight + _AFTER_OUTAGE, by_time=False)
        if self._refusing:
            self.rate.resume(now, counts.sent)

    def failed(
        self, number: int, level: int, weight: float, error: LLMRequestError, now: float, counts: GateCounts
    ) -> bool:
        """Request `number` of a weight failed, sent at a level; whether the endpoint is out of order from now on."""
        if error.fault != "endpoint" or error.kind in ("refused", "suspicious"):
            return False
        overload = error.kind == "overload"
        self._refusing = error.status_code == 429
        if overload:
            self._refused(number, level, weight, error, now, counts)
        return self.outage.failed(
            number, now, sent=counts.sent, overload=overload, answered=counts.answered, retry_after=error.retry_after
        )

    def _refused(
        self, number: int, level: int, weight: float, error: LLMRequestError, now: float, counts: GateCounts
    ) -> None:
        self._share += _SHARE_WEIGHT * (1 - self._share)
        if self.outage.parked:
            self.rate.lost(weight)
            return
        if error.status_code != 429 and self._share < _OTHER_OVERLOADS:
            return
        peak = max(self._peak, self._earlier_peak)
        self.by_tokens = speaks_of_tokens(error)
        new = number > self.rate.cut_number
        if new:
            self._levels.append(level)
        if peak and level >= peak and self._same_level():
            if new:
                self.concurrency.refused(min(self._levels), now)
        else:
            pause = error.retry_after is not None and error.retry_after >= LONG_PAUSE
            self.rate.refused(number, now, weight, sent=counts.sent, in_flight=counts.in_flight, pause=pause)

    def _same_level(self) -> bool:
        """Whether the last refusals all came at one level of requests in flight, which a rate does not know of.

        At a low rate few are in flight, and levels are alike by chance: there they must be the same.
        """
        levels = self._levels
        if len(levels) < (levels.maxlen or 0):
            return False
        most = max(levels)
        return most - min(levels) <= (1 + most // 20 if most >= _MANY else 0)

    def pause_ended(self, in_flight: int) -> None:
        """The pause that the server asked for is over: not all come at once."""
        self.concurrency.restart(in_flight + FIRST_LIMIT, by_time=True)
