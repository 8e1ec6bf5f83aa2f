"""The canary: the first rows of a run are asked alone, and what they came to decides about the others."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from decimal import Decimal
from typing import Literal

from flexllm_batch.stats import RunStats
from flexllm_batch.stop_rules import FailureLimit

DEFAULT_LIMIT = FailureLimit(share=0.1)
"""Failures that a canary may have where the user set no limit."""

ProblemKind = Literal["failures", "budget"]


@dataclass(frozen=True, slots=True)
class CanaryReport:
    """What the first rows came to, and what that means for all.

    Attributes:
        asked: Rows asked.
        failed: How many of them failed.
        cost: US dollars of them; None when costs are not tracked, or the cost of one is unknown.
        seconds: How long they took.
        left: Rows that are left to ask.
    """

    asked: int
    failed: int
    cost: Decimal | None
    seconds: float
    left: int

    @property
    def failure_rate(self) -> float:
        """The share of failed rows."""
        return self.failed / self.asked if self.asked else 0.0

    @property
    def projected_cost(self) -> Decimal | None:
        """US dollars of the whole run if the other rows are like these; None when that is unknown."""
        if self.cost is None or not self.asked:
            return None
        return self.cost * (self.asked + self.left) / self.asked

    def problem(self, limit: FailureLimit, budget: Decimal | None) -> tuple[ProblemKind, str] | None:
        """What speaks against going on: too many failures, or a cost beyond the budget (US dollars)."""
        total = self.asked + self.left
        if limit == FailureLimit():
            limit = DEFAULT_LIMIT
        if limit.share is not None and self.failure_rate > limit.share:
            return "failures", f"{self.failure_rate:.0%} of the canary's rows failed; the limit is {limit.share:.0%}"
        if limit.count is not None and self.failure_rate * total > limit.count:
            projected = round(self.failure_rate * total)
            return "failures", f"about {projected} of {total} rows would fail; the limit is {limit.count}"
        if budget is not None and (self.projected_cost is None or self.projected_cost > budget):
            cost = "unknown" if self.projected_cost is None else f"${self.projected_cost:.4f}"
            return "budget", f"the projected cost is {cost}; the budget is ${budget:.4f}"
        return None


@dataclass(frozen=True, slots=True)
class Canary:
    """How many rows go first, and who decides about the others.

    Attributes:
        rows: Rows that go first.
        decide: Is given the report; whether the run goes on.
    """

    rows: int
    decide: Callable[[CanaryReport], Awaitable[bool]]


def canary_report(stats: RunStats) -> CanaryReport:
    """The report of a run of which only the first rows have been asked."""
    asked = stats.ok + stats.failed
    known = stats.unknown_cost == 0
    return CanaryReport(asked, stats.failed, stats.cost if known else None, stats.seconds, stats.left)
