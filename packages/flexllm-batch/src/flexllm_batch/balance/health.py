"""Whether a member of a pool is fit for calls. Pure: the time is given, nothing waits."""

from __future__ import annotations

import math
from typing import Literal

from flexllm_core.errors import LLMRequestError

HealthState = Literal["closed", "open", "half-open"]
"""As of a circuit breaker: `closed` takes calls, `open` takes none, `half-open` is at its trial call."""

PROVING_SECONDS = 0.5
"""A member that has never answered gets only a few calls at first: one that is dead says so within this time."""

_FIRST_EARLY_TRIAL = 0.5
_LONGEST_EARLY_WAIT = 6.0
_EARLY_TRIALS_GROW = 2.0


class Breaker:
    """A circuit breaker: opens after consecutive faults, and closes after a trial call that is answered.

    Args:
        threshold: Consecutive faults after which it opens; a fault of the account opens it at once.
        recovery_time: Seconds from its opening, and between its trials.

    Attributes:
        closed: It takes calls.
        out_since: When it opened first since its last answer; inf while it is closed.
        ready: It is closed, and has answered already: the usual case.
        answered: It has answered at some time.
        hopeless: It opened for a reason that time does not cure, such as a wrong key.
        last_error: The last fault, None if there was none yet.
    """

    __slots__ = (
        "_early_wait",
        "_failures",
        "_first_sent",
        "_opened_at",
        "_trial",
        "answered",
        "closed",
        "hopeless",
        "last_error",
        "out_since",
        "ready",
        "recovery_time",
        "threshold",
    )

    def __init__(self, threshold: int = 3, recovery_time: float = 60.0) -> None:
        self.threshold = threshold
        self.recovery_time = recovery_time
        self.closed = True
        self.ready = self.answered = self.hopeless = False
        self.last_error: LLMRequestError | None = None
        self._failures = 0
        self.out_since = self._opened_at = self._first_sent = math.inf
        self._early_wait = _FIRST_EARLY_TRIAL
        self._trial = False

    @property
    def state(self) -> HealthState:
        """Where it stands."""
        return "closed" if self.closed else "half-open" if self._trial else "open"

    def next_call(self, in_flight: int, *, alone: bool) -> float:
        """The time from which the next call may be sent: -inf for any time, inf for not before something has ended.

        Args:
            in_flight: Calls that it has.
            alone: No other member takes calls either, so that trials come earlier.
        """
        if self.ready:
            return -math.inf
        if not self.closed:
            if self._trial:
                return math.inf
            early = alone and not self.hopeless
            return self._opened_at + (min(self._early_wait, self.recovery_time) if early else self.recovery_time)
        if in_flight + self._failures < self.threshold:
            return -math.inf
        return math.inf if self._failures else self._first_sent + PROVING_SECONDS

    def begin(self, now: float) -> bool:
        """A call is sent; whether it is a trial."""
        if self._first_sent == math.inf:
            self._first_sent = now
        if self.closed:
            return False
        self._trial = True
        return True

    def succeeded(self, *, trial: bool) -> None:
        """A call was answered, or refused for what it is, which only a live endpoint does."""
        self._failures = 0
        if trial:
            self.closed, self._trial, self.hopeless = True, False, False
            self.out_since = math.inf
        if self.closed:
            self.ready = self.answered = True
            self._early_wait = _FIRST_EARLY_TRIAL

    def failed(self, error: LLMRequestError, now: float, *, trial: bool) -> None:
        """A call failed by the fault of the endpoint or the account."""
        self.last_error = error
        self._failures += 1
        if trial:
            self._early_wait = min(_LONGEST_EARLY_WAIT, self._early_wait * _EARLY_TRIALS_GROW)
        elif not self.closed or (self._failures < self.threshold and error.fault != "account"):
            return
        self.closed = self.ready = self._trial = False
        self.hopeless = error.kind == "refused"
        self._opened_at = now
        self.out_since = min(self.out_since, now)

    def abandoned(self, *, trial: bool) -> None:
        """A call ended without telling anything of the endpoint."""
        if trial:
            self._trial = False
