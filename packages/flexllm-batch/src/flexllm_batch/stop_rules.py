"""When a run ends before its rows do: a wrong key, no money, no such model, a dead server, too many failures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from flexllm_core.errors import (
    AuthenticationError,
    BudgetExceededError,
    ConfigError,
    LLMConnectionError,
    LLMRequestError,
    NoEndpointAvailableError,
    NotFoundError,
    QuotaExceededError,
)

StopKind = Literal["auth", "quota", "not_found", "network", "config", "budget", "failures"]

FIRST_FAILURES = 5
"""Failures in a row of a server that has never answered, after which it counts as down."""

LATER_FAILURES = 20
"""The same for a server that has answered before; at least the window."""


@dataclass(frozen=True, slots=True)
class FailureLimit:
    """`--max-failures`: a number of rows, or a share of the rows done (after at least 20)."""

    count: int | None = None
    share: float | None = None

    def exceeded(self, failed: int, done: int) -> bool:
        """Whether there are more failures than the limit admits."""
        if self.count is not None and failed > self.count:
            return True
        return self.share is not None and done >= LATER_FAILURES and failed > self.share * done


def parse_failure_limit(text: str) -> FailureLimit:
    """Read `10` or `5%`.

    Raises:
        ConfigError: It is neither.
    """
    number = text.strip().removesuffix("%")
    try:
        value = float(number)
    except ValueError:
        value = -1
    if text.strip().endswith("%") and 0 <= value <= 100:
        return FailureLimit(share=value / 100)
    if number.isdigit() and number == text.strip():
        return FailureLimit(count=int(number))
    raise ConfigError(f"max failures is {text!r}; expected a number of rows such as 10, or a share such as 5%")


class StopRules:
    """Watches the outcomes of a run.

    Attributes:
        stopped_by: The error that ended the run, None while it goes on.
        kind: Which rule it was.
        only_network_failures: No failed row got anything back from the endpoint.
    """

    def __init__(self, window: int, limit: FailureLimit | None = None) -> None:
        self._window = window
        self._limit = limit or FailureLimit()
        self._answered = 0
        self._failed = 0
        self._network_in_a_row = 0
        self.only_network_failures = True
        self.stopped_by: Exception | None = None
        self.kind: StopKind | None = None

    def should_stop(self, error: Exception | None) -> bool:
        """Count an outcome; whether the run ends now."""
        if error is None:
            self.count_answers(1)
            return self.kind is not None
        self._failed += 1
        self.only_network_failures &= isinstance(error, LLMConnectionError | NoEndpointAvailableError)
        kind = self._kind(error)
        if kind is not None and self.kind is None:
            self.kind, self.stopped_by = kind, error
        return self.kind is not None

    def count_answers(self, count: int) -> None:
        """Count rows that are answered, of which none ends a run."""
        self._answered += count
        self._network_in_a_row = 0

    def _kind(self, error: Exception) -> StopKind | None:
        if isinstance(error, NoEndpointAvailableError):
            # Nobody took the row although it waited; the others would wait as long.
            return _kind_of_all(error.errors)
        if isinstance(error, AuthenticationError):
            return "auth"
        if isinstance(error, QuotaExceededError):
            return "quota"
        if isinstance(error, BudgetExceededError):
            return "budget"
        if isinstance(error, NotFoundError) and not self._answered:
            return "not_found"
        if isinstance(error, ConfigError):
            return "config"
        if isinstance(error, LLMRequestError) and error.fault == "endpoint" and error.kind != "suspicious":
            self._network_in_a_row += 1
            patience = max(LATER_FAILURES, self._window) if self._answered else FIRST_FAILURES
            if self._network_in_a_row >= patience:
                return "network"
        else:
            self._network_in_a_row = 0
        if self._limit.exceeded(self._failed, self._failed + self._answered):
            return "failures"
        return None


def _kind_of_all(errors: Sequence[LLMRequestError]) -> StopKind:
    """Why no endpoint takes calls."""
    kinds: tuple[tuple[type[LLMRequestError], StopKind], ...] = (
        (AuthenticationError, "auth"),
        (QuotaExceededError, "quota"),
        (NotFoundError, "not_found"),
    )
    for error_class, kind in kinds:
        if errors and all(isinstance(error, error_class) for error in errors):
            return kind
    return "network"
