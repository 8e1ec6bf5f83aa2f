"""The counts of a run, kept as rows finish; progress and summary read them."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from decimal import Decimal

from flexllm_batch.cost.budget import Budget
from flexllm_batch.histogram import Histogram
from flexllm_core.errors import LLMRequestError
from flexllm_core.results import ChatCompletionResult

MAX_ERROR_KINDS = 50


@dataclass(slots=True)
class RunStats:
    """Counts of one run.

    Attributes:
        total: Rows to be answered, None while that is unknown (a generator).
        ok: Rows answered in this run.
        failed: Rows that failed in this run, bad rows included.
        resumed: Rows whose answer was there already.
        skipped: Bad rows that were left out.
        retries: Requests sent beyond the first of each row and of each correction.
        cached: Answers that came from the response cache.
        truncated: Answers that were cut by the token limit (`finish_reason` length).
        prompt_tokens, completion_tokens: Sums over the rows whose usage is known, answers that broke the rows' contract
            included.
        cost: US dollars of the rows whose price is known.
        estimated_cost: The part of `cost` of rows without usage: the most that they may have cost.
        unknown_cost: Rows that cost something whose price is unknown; None when costs are not tracked.
        budget: What the calls are paid from, None without one.
        corrections: Answers that broke the rows' contract and were asked for again.
        latency: Seconds of the answers of this run; what came from the cache took none.
        first_token: Seconds until the first token, of answers that were streamed.
        errors: How often each kind of error occurred, with one full message of each in `examples`.
        seconds: How long the run has taken.
        stopped: Why the run ended before its rows did.
    """

    total: int | None = None
    ok: int = 0
    failed: int = 0
    resumed: int = 0
    skipped: int = 0
    retries: int = 0
    cached: int = 0
    truncated: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cost: Decimal = Decimal(0)
    estimated_cost: Decimal = Decimal(0)
    unknown_cost: int | None = None
    budget: Budget | None = None
    errors: Counter[str] = field(default_factory=Counter)
    examples: dict[str, str] = field(default_factory=dict)
    seconds: float = 0.0
    stopped: str | None = None
    corrections: int = 0
    latency: Histogram = field(default_factory=Histogram)
    first_token: Histogram = field(default_factory=Histogram)

    @property
    def done(self) -> int:
        """Rows with an outcome."""
        return self.ok + self.failed + self.resumed + self.skipped

    @property
    def left(self) -> int:
        """Rows without an outcome, 0 when the total is unknown."""
        return max(0, self.total - self.done) if self.total is not None else 0

    def add_result(self, result: ChatCompletionResult) -> None:
        """Count an answer."""
        self.ok += 1
        if result.attempts > 1:  # one from the cache took none
            self.retries += max(0, result.attempts - 1 - result.corrections)
        if result.finish_reason == "length":
            self.truncated += 1
        self._add_use(result)

    def _add_use(self, result: ChatCompletionResult) -> None:
        """Count what an answer took, also if it cannot stand."""
        self.corrections += result.corrections
        if result.latency is not None:
            self.latency.add(result.latency)
        if result.time_to_first_token is not None:
            self.first_token.add(result.time_to_first_token)
        usage = result.usage
        if usage is not None:
            self.prompt_tokens += usage.prompt_tokens
            self.completion_tokens += usage.completion_tokens
        if result.cached:
            self.cached += 1
        elif result.cost is not None:
            self.cost += result.cost
            if result.cost_source == "estimated":
                self.estimated_cost += result.cost
        elif self.unknown_cost is not None:
            self.unknown_cost += 1

    def add_error(self, error: Exception) -> None:
        """Count a failed row."""
        self.failed += 1
        if isinstance(error, LLMRequestError):
            self.retries += error.attempts - 1
            if error.answer is not None:
                self.retries -= error.answer.corrections
                self._add_use(error.answer)
        kind = error_kind(error)
        if kind in self.errors or len(self.errors) < MAX_ERROR_KINDS:
            self.errors[kind] += 1
            self.examples.setdefault(kind, str(error))
        else:
            self.errors["other errors"] += 1

    def summary(self) -> str:
        """The counts in one line."""
        parts = [f"{self.ok} ok", f"{self.failed} failed"]
        for count, name in ((self.resumed, "resumed"), (self.skipped, "skipped"), (self.cached, "cached")):
            if count:
                parts.append(f"{count} {name}")
        if self.truncated:
            parts.append(f"{self.truncated} truncated")
        for count, name in ((self.retries, "retries"), (self.corrections, "corrections")):
            if count:
                parts.append(f"{count} {name}")
        if self.left:
            parts.append(f"{self.left} not asked")
        return ", ".join(parts)

    def budget_text(self) -> str | None:
        """The budget as text; None without one."""
        return f"budget: {self.budget.ledger.summary()}" if self.budget is not None else None

    def cost_text(self) -> str | None:
        """The cost as text, honest about what is unknown; None when costs are not tracked."""
        if self.unknown_cost is None:
            return None
        if self.unknown_cost and not self.cost:
            return "cost unknown"
        known = f"${self.cost:.4f}"
        if self.estimated_cost:
            known += f" (${self.estimated_cost:.4f} of it estimated)"
        return f"{known} + {self.unknown_cost} rows of unknown cost" if self.unknown_cost else known


def error_kind(error: Exception) -> str:
    """By what an error is counted: its type, and status and code where it has them."""
    name = type(error).__name__
    if not isinstance(error, LLMRequestError):
        return name
    details = [str(part) for part in (error.status_code, error.code) if part is not None]
    return f"{name} ({' '.join(details)})" if details else name
