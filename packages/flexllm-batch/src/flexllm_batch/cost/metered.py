"""What calls cost: the report, and the wrapper that puts a cost on each answer."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass, field
from decimal import Decimal

from flexllm_batch.cost.budget import Budget
from flexllm_batch.cost.ledger import Ledger
from flexllm_batch.cost.pricing import PricesAnswers
from flexllm_core.errors import LLMRequestError
from flexllm_core.protocol import ChatModel, ModelWrapper, Recall
from flexllm_core.requests import ChatRequest
from flexllm_core.results import ChatCompletionResult, StreamEvent


@dataclass(slots=True)
class ModelCost:
    """Calls and cost of one model at one endpoint."""

    requests: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cost: Decimal = Decimal(0)
    unknown: int = 0
    estimated: int = 0


@dataclass(slots=True)
class CostReport:
    """What a client's or a batch's answers cost, in US dollars.

    Attempts that failed are not in it, even where they may be billed; with a budget they are in its ledger.
    Answers that broke a row's contract are: they were paid for.

    Attributes:
        total_cost: Sum over the answers whose cost is known or, with a budget, estimated.
        request_count: Answers.
        prompt_tokens, completion_tokens, cached_tokens, cache_write_tokens, reasoning_tokens: Sums.
        unknown_count: Answers whose price or usage is unknown; they are not in `total_cost`.
        estimated_count: Answers without usage that a budget counted at the most that they may have cost.
        estimated_cost: That part of `total_cost`.
        response_cache_count: Answers that came from the response cache and cost nothing.
        saved_cost: What those cost when they were bought.
        by_model: The same by `model @ endpoint`.
        budget: The client's budget, over all its calls; None without one.
    """

    total_cost: Decimal = Decimal(0)
    request_count: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cached_tokens: int = 0
    cache_write_tokens: int = 0
    reasoning_tokens: int = 0
    unknown_count: int = 0
    estimated_count: int = 0
    estimated_cost: Decimal = Decimal(0)
    response_cache_count: int = 0
    saved_cost: Decimal = Decimal(0)
    by_model: dict[str, ModelCost] = field(default_factory=dict)
    budget: Budget | None = field(default=None, repr=False, compare=False)

    @property
    def average_cost(self) -> Decimal:
        """US dollars for each answer that was bought and whose cost is known."""
        known = self.request_count - self.unknown_count - self.response_cache_count
        return self.total_cost / known if known else Decimal(0)

    @property
    def average_prompt_tokens(self) -> float:
        """Input tokens for each answer."""
        return self.prompt_tokens / self.request_count if self.request_count else 0.0

    @property
    def average_completion_tokens(self) -> float:
        """Output tokens for each answer."""
        return self.completion_tokens / self.request_count if self.request_count else 0.0

    @property
    def ledger(self) -> Ledger | None:
        """The amounts of the budget at this moment."""
        return self.budget.ledger if self.budget is not None else None

    def summary(self) -> str:
        """The cost in one line, honest about what is estimated and what is unknown."""
        parts = [f"${self.total_cost:.4f} for {self.request_count} answers"]
        if self.estimated_count:
            parts.append(f"${self.estimated_cost:.4f} of it estimated ({self.estimated_count} answers without usage)")
        if self.unknown_count:
            parts.append(f"{self.unknown_count} answers of unknown cost not in it")
        if self.response_cache_count:
            parts.append(f"{self.response_cache_count} from the cache, which saved ${self.saved_cost:.4f}")
        return "; ".join(parts)

    def add(self, result: ChatCompletionResult) -> None:
        """Count an answer. One from the response cache costs nothing."""
        name = f"{result.model} @ {result.endpoint}"
        entry = self.by_model.get(name)
        if entry is None:
            entry = self.by_model[name] = ModelCost()
        self.request_count += 1
        entry.requests += 1
        if usage := result.usage:
            self.prompt_tokens += usage.prompt_tokens
            self.completion_tokens += usage.completion_tokens
            self.cached_tokens += usage.cached_tokens
            self.cache_write_tokens += usage.cache_write_tokens
            self.reasoning_tokens += usage.reasoning_tokens
            entry.prompt_tokens += usage.prompt_tokens
            entry.completion_tokens += usage.completion_tokens
        if result.cached:
            self.response_cache_count += 1
            self.saved_cost += result.saved_cost or 0
            return
        if result.cost is None:
            self.unknown_count += 1
            entry.unknown += 1
        else:
            self.total_cost += result.cost
            entry.cost += result.cost
            if result.cost_source == "estimated":
                self.estimated_count += 1
                self.estimated_cost += result.cost
                entry.estimated += 1


class Metered(ModelWrapper):
    """Puts the cost on each answer, from its usage and the price of its model."""

    def __init__(self, inner: ChatModel, pricer: PricesAnswers, budget: Budget | None = None) -> None:
        super().__init__(inner)
        self.pricer = pricer
        self.report = CostReport(budget=budget)

    async def complete(self, request: ChatRequest) -> ChatCompletionResult:
        """Answer a request and price the answer."""
        try:
            result = await self.inner.complete(request)
        except LLMRequestError as error:
            if error.answer is not None:
                self._price(error.answer, request)
            raise
        self._price(result, request)
        return result

    async def stream(self, request: ChatRequest) -> AsyncGenerator[StreamEvent, None]:
        """Stream an answer and price it in its last event."""
        events = self.inner.stream(request)
        try:
            async for event in events:
                if event.result is not None:
                    self._price(event.result, request)
                yield event
        finally:
            await events.aclose()

    def recall(self) -> Recall | None:
        """The known answers of what is wrapped, each counted in the report."""
        inner = self.inner.recall() if isinstance(self.inner, ModelWrapper) else None
        if inner is None:
            return None

        async def counted(fingerprints: Sequence[str]) -> Sequence[ChatCompletionResult | None]:
            results = await inner(fingerprints)
            for result in results:
                if result is not None:
                    self.report.add(result)  # it costs nothing: there is nothing to price
            return results

        return counted

    def _price(self, result: ChatCompletionResult, request: ChatRequest) -> None:
        if result.cost is None:
            priced = self.pricer.cost_of(request, result)
            if priced is not None:
                result.cost, result.cost_source = priced
        self.report.add(result)
