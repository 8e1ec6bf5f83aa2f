"""Budgeted: no attempt is sent unless the most that it may cost fits into the budget.

It stands directly around an endpoint, inside its limits, so that every attempt passes it: first ones,
retries, those that a failover sends elsewhere, and streams.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator, Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from flexllm_batch.cost.budget import Budget
from flexllm_batch.cost.input_bound import InputBound, messages_bound, params_bound
from flexllm_batch.cost.ledger import ZERO
from flexllm_batch.cost.output_estimate import OutputEstimate
from flexllm_batch.cost.pricing import Context, Pricer, price_context
from flexllm_core.errors import ConfigError, FlexLLMError, LLMRequestError
from flexllm_core.protocol import ChatModel, ModelWrapper
from flexllm_core.requests import ChatRequest
from flexllm_core.results import ChatCompletionResult, StreamEvent


@dataclass(frozen=True, slots=True)
class _Terms:
    """What decides the price and the size of calls beside their messages.

    `line`, where there is one, is what they cost at most by their input alone (`Rates.worst_line`).
    """

    params: Mapping[str, Any]
    model: str | None
    context: Context
    limit: int | None
    choices: int
    bound: InputBound
    line: tuple[Decimal, Decimal, Decimal] | None


class Budgeted(ModelWrapper):
    """Reserves what an attempt may cost, and settles what it did.

    Args:
        inner: The endpoint.
        budget: Shared by everything that is paid from it.
        pricer: The endpoint's prices.
        output_limit: Tokens that an answer to a request may have at most, None where nothing limits them.
        model: The endpoint's own model, for requests that name none.
        label: What messages call the endpoint.
    """

    def __init__(
        self,
        inner: ChatModel,
        budget: Budget,
        pricer: Pricer,
        *,
        output_limit: Callable[[ChatRequest], int | None],
        model: str | None,
        label: str,
    ) -> None:
        super().__init__(inner)
        self.budget = budget
        self.pricer = pricer
        self._output_limit = output_limit
        self._model = model
        self._label = label
        self._unlimited = OutputEstimate()
        self._last: _Terms | None = None

    def check_price(self, model: str | None, context: Context = ()) -> None:
        """Refuse a model whose calls could not be kept within the budget.

        Raises:
            ConfigError: Its price is unknown, and that is not to be ignored.
        """
        model = model or self._model
        if self.budget.on_unknown_price == "refuse" and self.pricer.worst_rates(model, context) is None:
            asked = ", ".join(f"{name}={value}" for name, value in context)
            raise ConfigError(
                f"{self._label}: the price of model {model!r}{f' with {asked}' if asked else ''} is unknown, so that "
                "the budget could not be kept: give the endpoint a `price`, or ignore unknown prices "
                "(--on-unknown-price ignore, or on_unknown_price='ignore' of the budget); nothing was sent"
            )

    async def complete(self, request: ChatRequest) -> ChatCompletionResult:
        """Answer a request once what it may cost is reserved.

        Raises:
            BudgetExceededError: It does not fit into the budget any more; nothing was sent.
            ConfigError: Its price is unknown; nothing was sent.
        """
        terms = self._terms(request)
        amount = self._worst_cost(request, terms)
        if not self.budget.try_reserve(amount):
            await self.budget.reserve(amount)
        try:
            result = await self.inner.complete(request)
        except BaseException as error:
            self._failed(amount, error)
            raise
        self._answered(amount, request, result, terms)
        return result

    async def stream(self, request: ChatRequest) -> AsyncGenerator[StreamEvent, None]:
        """Stream an answer once what it may cost is reserved; raises as `complete` does.

        A stream that is left before its end tells no cost: its reservation is taken for it.
        """
        terms = self._terms(request)
        amount = self._worst_cost(request, terms)
        if not self.budget.try_reserve(amount):
            await self.budget.reserve(amount)
        begun = settled = False
        try:
            async with contextlib.aclosing(self.inner.stream(request)) as events:
                async for event in events:
                    begun = True
                    if event.result is not None and not settled:
                        settled = True
                        self._answered(amount, request, event.result, terms)
                    yield event
            if not settled:
                settled = True
                self.budget.estimate(amount)
        except BaseException as error:
            if not settled:
                self._failed(amount, error, begun=begun)
            raise

    def _terms(self, request: ChatRequest) -> _Terms:
        """What the params of a request say. The rows of a batch mostly share theirs, so they are read once."""
        last = self._last
        if last is not None and last.params is request.params and last.model == request.model:
            return last
        choices = request.params.get("n", 1)
        context, limit = price_context(request), self._output_limit(request)
        rates = self.pricer.lasting_worst_rates(request.model or self._model, context)
        self._last = terms = _Terms(
            params=request.params,
            model=request.model,
            context=context,
            limit=limit,
            choices=choices if type(choices) is int and choices > 0 else 1,
            bound=params_bound(request.params),
            line=rates.worst_line(limit) if rates is not None and limit is not None else None,
        )
        return terms

    def _worst_cost(self, request: ChatRequest, terms: _Terms) -> Decimal:
        """The most that one attempt may cost; 0 if its price is unknown and that is ignored."""
        if terms.line is not None:
            tokens, any_kind = messages_bound(request.messages, terms.bound)
            text, every, rest = terms.line
            return tokens * (every if any_kind else text) + rest
        rates = self.pricer.worst_rates(request.model or self._model, terms.context)
        if rates is None:
            self.check_price(request.model, terms.context)
            return ZERO
        tokens, any_kind = messages_bound(request.messages, terms.bound)
        output = terms.limit if terms.limit is not None else self._unlimited.tokens * terms.choices
        return rates.worst_cost(tokens, output, any_kind=any_kind)

    def _answered(self, amount: Decimal, request: ChatRequest, result: ChatCompletionResult, terms: _Terms) -> None:
        """Settle an answer: by the cost that it tells, else by its tokens, else by its reservation."""
        usage = result.usage
        if usage is not None and terms.limit is None:
            self._unlimited.add(-(-usage.completion_tokens // terms.choices))
        if result.cost is None and usage is not None:
            priced = self.pricer.cost(request.model or self._model, result.model, usage, terms.context)
            if priced is not None:
                result.cost, result.cost_source = priced
        if result.cost is not None:
            self.budget.settle(amount, result.cost)
        elif amount:
            result.cost, result.cost_source = amount, "estimated"
            self.budget.estimate(amount)
        else:
            self.budget.release(amount)

    def _failed(self, amount: Decimal, error: BaseException, *, begun: bool = False) -> None:
        """Release what was surely not billed: refusals, and requests that were never sent. Else count it all."""
        if isinstance(error, LLMRequestError):
            billed = begun or error.may_be_billed
        else:
            billed = begun or not isinstance(error, FlexLLMError)  # configuration and input: nothing was sent
        if billed and amount:
            self.budget.estimate(amount)
        else:
            self.budget.release(amount)
