"""The survey: what a run would ask and about what it would cost, from one reading of its rows."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from decimal import Decimal

from flexllm_batch.inputs.records import Record
from flexllm_batch.planning.token_estimate import (
    MARGINS,
    RULE_OF_THUMB,
    TIKTOKEN,
    estimate_prompt_tokens,
    token_counter,
)
from flexllm_core.requests import ChatRequest
from flexllm_core.results import Usage

_MAX_MODELS = 50
OTHER_MODELS = "other models"

CostOf = Callable[[str | None, Usage], Decimal | None]
"""US dollars of one call to a model with this usage; None when its price is unknown."""


@dataclass(slots=True)
class Range:
    """From `low` to `high`; a `high` of None is unknown."""

    low: float
    high: float | None


@dataclass(slots=True)
class ModelSurvey:
    """The rows that are to be asked of one model.

    Attributes:
        rows: How many.
        prompt: Estimated input tokens.
        completion: Output tokens that their `max_tokens` admit.
        unlimited: Rows without `max_tokens`.
    """

    rows: int = 0
    prompt: float = 0.0
    completion: int = 0
    unlimited: int = 0


@dataclass(slots=True)
class Survey:
    """Looks at each row of a plan; memory is 8 bytes a row.

    Args:
        make_request: The request of a record.
    """

    make_request: Callable[[Record], ChatRequest]
    models: dict[str, ModelSurvey] = field(default_factory=dict)
    _counters: dict[str, Callable[[str], float]] = field(default_factory=dict)
    _counted_by: set[str] = field(default_factory=set)
    _parts: list[array[int]] = field(default_factory=lambda: [array("Q") for _ in range(256)])

    def add(self, record: Record, key: str, *, kept: bool) -> None:
        """Look at a row.

        Args:
            record: The row.
            key: The fingerprint of its request.
            kept: Its answer is there already.
        """
        high = int(key[:16], 16)
        self._parts[high >> 56].append(high)
        if kept:
            return
        request = self.make_request(record)
        name = request.model or ""
        if name not in self.models and len(self.models) >= _MAX_MODELS:
            name = OTHER_MODELS
        if name not in self._counters:
            self._counters[name], by = token_counter(None if name == OTHER_MODELS else name)
            self._counted_by.add(by)
        model = self.models.setdefault(name, ModelSurvey())
        model.rows += 1
        model.prompt += estimate_prompt_tokens(request.messages, request.params, self._counters[name])
        limit = request.params.get("max_tokens")
        if isinstance(limit, int):
            choices = request.params.get("n")
            model.completion += limit * (choices if isinstance(choices, int) else 1)
        else:
            model.unlimited += 1

    @property
    def duplicates(self) -> int:
        """Rows that ask the same as a row before them."""
        return sum(len(part) - len(set(part)) for part in self._parts)

    @property
    def counted_by(self) -> str:
        """What the tokens are estimated by: the least exact of what was used."""
        return TIKTOKEN if self._counted_by == {TIKTOKEN} else RULE_OF_THUMB

    @property
    def prompt_tokens(self) -> Range:
        """Input tokens of all rows that are to be asked."""
        return self._prompt(self.models.values())

    def _prompt(self, models: Iterable[ModelSurvey]) -> Range:
        total, margin = sum(model.prompt for model in models), MARGINS[self.counted_by]
        return Range(total * (1 - margin), total * (1 + margin))

    @property
    def completion_tokens(self) -> Range:
        """Output tokens: unknown at the top if a row has no `max_tokens`."""
        unlimited = any(model.unlimited for model in self.models.values())
        return Range(0, None if unlimited else sum(model.completion for model in self.models.values()))

    def cost(self, cost_of: CostOf) -> Range | None:
        """US dollars, from input alone to the longest answers; None when a model's price is unknown.

        Every row is priced as the average of its model's rows.
        """
        total = Range(0, 0)
        for name, model in self.models.items():
            prompt = self._prompt([model])
            low = cost_of(name or None, _usage(prompt.low / model.rows, 0))
            high = cost_of(name or None, _usage((prompt.high or 0) / model.rows, model.completion / model.rows))
            if low is None or high is None or name == OTHER_MODELS:
                return None
            total.low += float(low) * model.rows
            total.high = None if total.high is None or model.unlimited else total.high + float(high) * model.rows
        return total


def _usage(prompt: float, completion: float) -> Usage:
    tokens = round(prompt), round(completion)
    return Usage(prompt_tokens=tokens[0], completion_tokens=tokens[1], total_tokens=sum(tokens))
