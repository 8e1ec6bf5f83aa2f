"""What calls cost: the report, and the wrapper that puts a cost on each answer."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from dataclasses import dataclass, field
from decimal import Decimal

from flexllm_batch.pricing import Pricer
from flexllm_core.protocol import ChatModel, ModelWrapper
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


@dataclass(slots=True)
class CostReport:
    """What a client's or a batch's calls cost, in US dollars.

    Attributes:
        total_cost: Sum over the calls whose price is known.
        request_count: Answered calls.
        prompt_tokens, completion_tokens, cached_tokens, reasoning_tokens: Sums.
        unknown_count: Calls whose price or usage is unknown; they are not in `total_cost`.
        by_model: The same by `model @ endpoint`.
    """

    total_cost: Decimal = Decimal(0)
    request_count: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cached_tokens: int = 0
    reasoning_tokens: int = 0
    unknown_count: int = 0
    by_model: dict[str, ModelCost] = field(default_factory=dict)

    @property
    def average_cost(self) -> Decimal:
        """US dollars for each call whose price is known."""
        known = self.request_count - self.unknown_count
        return self.total_cost / known if known else Decimal(0)

    def add(self, result: ChatCompletionResult) -> None:
        """Count an answer. One from the response cache costs nothing."""
        entry = self.by_model.setdefault(f"{result.model} @ {result.endpoint}", ModelCost())
        self.request_count += 1
        entry.requests += 1
        if usage := result.usage:
            self.prompt_tokens += usage.prompt_tokens
            self.completion_tokens += usage.completion_tokens
            self.cached_tokens += usage.cached_tokens
            self.reasoning_tokens += usage.reasoning_tokens
            entry.prompt_tokens += usage.prompt_tokens
            entry.completion_tokens += usage.completion_tokens
        if result.cached:
            return
        if result.cost is None:
            self.unknown_count += 1
            entry.unknown += 1
        else:
            self.total_cost += result.cost
            entry.cost += result.cost


class Metered(ModelWrapper):
    """Puts the cost on each answer, from its usage and the price of its model."""

    def __init__(self, inner: ChatModel, pricer: Pricer) -> None:
        super().__init__(inner)
        self.pricer = pricer
        self.report = CostReport()

    async def complete(self, request: ChatRequest) -> ChatCompletionResult:
        """Answer a request and price the answer."""
        result = await self.inner.complete(request)
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

    def _price(self, result: ChatCompletionResult, request: ChatRequest) -> None:
        if result.cost is None and result.usage is not None:
            priced = self.pricer.cost(request.model, result.model, result.usage)
            if priced is not None:
                result.cost, result.cost_source = priced
        self.report.add(result)
