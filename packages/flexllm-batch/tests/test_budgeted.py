"""Budgeted: what an attempt reserves, and what becomes of that in each way an attempt can end."""

from __future__ import annotations

import asyncio
from decimal import Decimal
from typing import Any

import pytest

from flexllm_batch.cost.budget import Budget
from flexllm_batch.cost.budgeted import Budgeted
from flexllm_batch.cost.input_bound import input_bound
from flexllm_batch.cost.output_estimate import FIRST_TOKENS
from flexllm_batch.cost.pricing import Pricer
from flexllm_core.endpoint import Price
from flexllm_core.errors import (
    BadRequestError,
    BudgetExceededError,
    ConfigError,
    InputError,
    LLMConnectionError,
    LLMResponseError,
    LLMTimeoutError,
    RateLimitError,
    ServerError,
)
from flexllm_core.requests import ChatRequest
from flexllm_core.results import ChatCompletionResult, Usage

REQUEST = ChatRequest([{"role": "user", "content": "hi"}], "m", {"max_tokens": 100})
PRICE = Price(input=1, output=10)
WORST = (input_bound(REQUEST).tokens * 1 + 100 * 10) / Decimal(1_000_000)
COST = (10 * 1 + 5 * 10) / Decimal(1_000_000)


def budgeted(model: Any, price: Price | None = PRICE, limit: Decimal = Decimal(1), **settings: Any) -> Budgeted:
    return Budgeted(
        model,
        Budget(limit, **settings),
        Pricer(price, None),
        output_limit=lambda request: request.params.get("max_tokens"),
        model="own",
        label="here",
    )


async def test_an_answer_is_settled_at_what_it_cost(make_model: Any) -> None:
    """While it is under way the worst case is reserved."""
    seen: list[Decimal] = []
    model = make_model(lambda _: seen.append(wrapped.budget.ledger.reserved) or "answer")
    wrapped = budgeted(model)
    result = await wrapped.complete(REQUEST)
    assert seen == [WORST]
    assert (result.cost, result.cost_source) == (COST, "config")
    assert (wrapped.budget.ledger.spent, wrapped.budget.ledger.reserved) == (COST, 0)


async def test_d9_missing_usage_counts_as_reserved_and_is_called_estimated(make_model: Any) -> None:
    """Nobody knows better."""
    wrapped = budgeted(make_model(lambda _: ChatCompletionResult("x", model="m", endpoint="e")))
    result = await wrapped.complete(REQUEST)
    assert (result.cost, result.cost_source) == (WORST, "estimated")
    ledger = wrapped.budget.ledger
    assert (ledger.spent, ledger.estimated, ledger.estimated_count) == (WORST, WORST, 1)


async def test_d9_an_unknown_price_is_refused_before_anything_is_sent(make_model: Any) -> None:
    """Unless it is ignored; then such calls are not in the budget, except where the provider tells their cost."""
    model = make_model()
    with pytest.raises(ConfigError, match=r"here: the price of model 'm' is unknown.*--on-unknown-price ignore"):
        await budgeted(model, None).complete(REQUEST)
    with pytest.raises(ConfigError, match="'own'"):
        budgeted(model, None).check_price(None)
    assert model.asked == []
    wrapped = budgeted(model, None, on_unknown_price="ignore")
    wrapped.check_price("m")
    result = await wrapped.complete(REQUEST)
    assert (result.cost, wrapped.budget.ledger.spent) == (None, 0)
    told = ChatCompletionResult("x", model="m", cost=Decimal("0.9"), cost_source="provider")
    wrapped = budgeted(make_model(lambda _: told), None, on_unknown_price="ignore")
    await wrapped.complete(REQUEST)
    await wrapped.complete(REQUEST)
    assert wrapped.budget.ledger.spent == Decimal("1.8")
    with pytest.raises(BudgetExceededError):
        await wrapped.complete(REQUEST)


def unsent() -> LLMConnectionError:
    error = LLMConnectionError("refused")
    error.may_be_billed = False
    return error


@pytest.mark.parametrize(
    ("error", "counted"),
    [
        (BadRequestError("no", status_code=400), False),
        (RateLimitError("slow", status_code=429), False),
        (ServerError("down", status_code=503), False),
        (unsent(), False),
        (ConfigError("cannot"), False),
        (InputError("not JSON"), False),
        (LLMTimeoutError("too late"), True),
        (LLMConnectionError("cut"), True),
        (LLMResponseError("not JSON", status_code=200), True),
        (asyncio.CancelledError("cancelled"), True),
        (RuntimeError("a fault of ours"), True),
    ],
    ids=str,
)
@pytest.mark.parametrize("stream", [False, True])
async def test_what_surely_cost_nothing_is_released_and_all_else_counted(
    make_model: Any, error: BaseException, counted: bool, stream: bool
) -> None:
    """A refusal costs nothing; what was sent and has no answer may be billed."""
    wrapped = budgeted(make_model(lambda _: error))

    async def ask() -> None:
        if stream:
            [event async for event in wrapped.stream(REQUEST)]
        else:
            await wrapped.complete(REQUEST)

    with pytest.raises(type(error)):
        await ask()
    assert wrapped.budget.ledger.spent == (WORST if counted else 0)
    assert wrapped.budget.ledger.reserved == 0


async def test_a_stream_is_settled_at_its_end(make_model: Any) -> None:
    """By the usage of its last event."""
    wrapped = budgeted(make_model())
    events = [event async for event in wrapped.stream(REQUEST)]
    assert events[-1].result is not None
    assert events[-1].result.cost == COST == wrapped.budget.ledger.spent


async def test_a_stream_that_is_left_counts_as_reserved(make_model: Any) -> None:
    """What was generated until then nobody tells; one that was never begun costs nothing."""
    wrapped = budgeted(make_model())
    never = wrapped.stream(REQUEST)
    await never.aclose()
    assert wrapped.budget.ledger.spent == 0
    left = wrapped.stream(REQUEST)
    await anext(left)
    await left.aclose()
    assert (wrapped.budget.ledger.spent, wrapped.budget.ledger.reserved) == (WORST, 0)


async def test_an_error_in_a_stream_that_had_begun_is_billed_whatever_it_says(make_model: Any) -> None:
    """Tokens were generated before it, also if it is of a kind that otherwise costs nothing."""

    class Overloaded(make_model):  # type: ignore[misc]
        async def stream(self, request: ChatRequest) -> Any:
            async for event in super().stream(request):
                yield event
                raise ServerError("overloaded", status_code=529)

    wrapped = budgeted(Overloaded())
    with pytest.raises(ServerError):
        [event async for event in wrapped.stream(REQUEST)]
    assert wrapped.budget.ledger.spent == WORST


async def test_without_max_tokens_answers_so_far_say_what_to_reserve(make_model: Any) -> None:
    """At first a fixed number of tokens; choices multiply it."""
    reserved: list[Decimal] = []
    usage = Usage(1, 200, 201)

    def answer(_: ChatRequest) -> ChatCompletionResult:
        reserved.append(wrapped.budget.ledger.reserved)
        return ChatCompletionResult("x", usage=usage, model="m")

    wrapped = budgeted(make_model(answer), Price(input=0, output=1))
    unlimited = ChatRequest(REQUEST.messages, "m", {"n": 2})
    for _ in range(80):
        await wrapped.complete(unlimited)
    assert reserved[0] == 2 * FIRST_TOKENS / Decimal(1_000_000)
    assert reserved[-1] == 2 * 150 / Decimal(1_000_000)  # 100 for each choice, and half of it more
