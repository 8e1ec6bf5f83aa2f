"""Whether an endpoint is out of order, when to try it again, and when to give up. Pure: the time is given."""

from __future__ import annotations

import random
from dataclasses import dataclass

PATIENCE = 300.0
"""Seconds without a single answer after which the calls that wait get an error."""

_REFUSALS = 5
_FAILURES = 10
_ALMOST_ALL = 0.95
_SECONDS = 1.0
"""Refusals come at once, and the answers of what was admitted beside them only later."""

_PROBES_WHEN_TOLD = 4
_FIRST_WAIT = 0.5
_LONGEST_WAIT = 6.0
_WAIT_GROWS = 1.5


@dataclass(slots=True)
class Outage:
    """Counts failures without an answer between them. While `parked`, few requests are let through.

    Attributes:
        patience: Seconds until `given_up`.
        parked: Nothing but probes is sent.
        next_probe: The time of the next probe.
        probes: How many may be in flight.
        given_up: It has lasted longer than the patience: calls fail at once, but for a probe now and then.
        since: When it began.
        failures: Failed requests since the last answer.
    """

    patience: float = PATIENCE
    parked: bool = False
    next_probe: float = 0.0
    probes: int = 1
    given_up: bool = False
    since: float = 0.0
    failures: int = 0
    _wait: float = _FIRST_WAIT
    _sent_before: int = 0  # requests until the first failure
    _sent_until_parked: int = 0  # what fails of these is no probe

    def succeeded(self, number: int) -> bool:
        """Request `number` was answered; whether this ends an outage. One that was sent before it tells nothing."""
        if number <= self._sent_before:
            return False
        was_parked, self.parked, self.given_up = self.parked, False, False
        self.failures, self._wait = 0, _FIRST_WAIT
        return was_parked

    def failed(
        self, number: int, now: float, *, sent: int, overload: bool, answered: bool, retry_after: float | None = None
    ) -> bool:
        """Request `number` failed by the endpoint's fault; whether this begins an outage.

        What is no refusal (a reset, a timeout) counts only after the endpoint has answered once: one that
        never did is not there, which its errors say at once.

        Args:
            number: Which request, counted from 1.
            now: The time.
            sent: Requests sent so far.
            overload: The endpoint said that it is overloaded.
            answered: It has answered before.
            retry_after: Seconds after which it says that it can be tried again.
        """
        if not overload and not answered:
            return False
        self.failures += 1
        if self.failures == 1:
            self.since, self._sent_before = now, sent
        if self.parked:
            if number > self._sent_until_parked:
                self._wait = min(_LONGEST_WAIT, self._wait * _WAIT_GROWS)
                self._schedule(now, retry_after)
            elif retry_after:
                self._schedule(now, retry_after)
            self.given_up = now - self.since > self.patience
        elif self._is_outage(now, sent, overload=overload):
            self.parked, self._sent_until_parked = True, sent
            self._schedule(now, retry_after)
            return True
        return False

    def _is_outage(self, now: float, sent: int, *, overload: bool) -> bool:
        """Whether almost all that was sent since the first failure has failed."""
        if overload and now - self.since < _SECONDS:
            return False
        enough = _REFUSALS if overload else _FAILURES
        return self.failures >= max(enough, _ALMOST_ALL * (sent - self._sent_before))

    def asked_again(self, now: float) -> None:
        """Somebody asks after a time in which nobody did, which tells nothing of the endpoint."""
        if self.parked and not self.given_up and now - self.next_probe > _LONGEST_WAIT:
            self.since = now

    def _schedule(self, now: float, retry_after: float | None) -> None:
        """The server's own word goes before our guess, and a few may try it then."""
        told = retry_after is not None and retry_after > 0
        self.probes = _PROBES_WHEN_TOLD if told else 1
        wait = retry_after if told and retry_after is not None else self._wait
        self.next_probe = now + wait * (1 + 0.1 * random.random())
