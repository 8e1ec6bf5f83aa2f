"""What calls cost: every kind of token at its own price, and what is unknown stays unknown."""

from __future__ import annotations

import asyncio
from decimal import Decimal
from typing import Any

import pytest

from flexllm_batch.cost.metered import CostReport, Metered
from flexllm_batch.cost.pricing import Pricer, price_of
from flexllm_batch.cost.rates import Rates, rates_from_price
from flexllm_core.endpoint import Price
from flexllm_core.errors import ServerError
from flexllm_core.requests import ChatRequest
from flexllm_core.results import ChatCompletionResult, Usage

REQUEST = ChatRequest([{"role": "user", "content": "hi"}], "m")
PRICE = Price(input=2.0, output=10.0, cached=0.5, cache_write=2.5)


def answer(usage: Usage | None = None, **fields: Any) -> ChatCompletionResult:
    return ChatCompletionResult("x", usage=usage, model="m", endpoint="e", **fields)


def test_each_kind_of_token_has_its_price() -> None:
    """Plain, cached, written to the cache and output; dollars per million."""
    usage = Usage(1_000_000, 100_000, 1_100_000, cached_tokens=600_000, cache_write_tokens=100_000)
    assert rates_from_price(PRICE).cost(usage) == Decimal("0.6") + Decimal("0.3") + Decimal("0.25") + Decimal(1)


def test_cached_tokens_without_a_price_cost_as_much_as_input() -> None:
    """What is not given is not free."""
    rates = rates_from_price(Price(input=2.0, output=10.0))
    assert rates.cost(Usage(1_000_000, 0, 1_000_000, cached_tokens=400_000)) == Decimal(2)
    free = rates_from_price(Price(input=2.0, output=10.0, cached=0.0))
    assert free.cost(Usage(1_000_000, 0, 1_000_000, cached_tokens=400_000)) == Decimal("1.2")


def test_more_cached_tokens_than_input_never_give_a_negative_cost() -> None:
    """A server's odd numbers do not earn money."""
    assert rates_from_price(PRICE).cost(Usage(10, 0, 10, cached_tokens=1000)) > 0


def test_cents_are_exact() -> None:
    """Ten million calls of a tenth of a cent make no rounding error."""
    report = CostReport()
    rates = rates_from_price(Price(input=0.1, output=0.3))
    for _ in range(1000):
        report.add(answer(Usage(1, 1, 2), cost=rates.cost(Usage(1, 1, 2))))
    assert report.total_cost == Decimal("0.0004")


def test_the_vendors_table_prices_cached_tokens() -> None:
    """A model of the documents has a price, and its cache is neither free nor at full price."""
    rates = price_of("claude-sonnet-4-20250514", "https://api.anthropic.com")
    assert rates is not None
    assert rates.source == "genai-prices"
    assert 0 < rates.cached < rates.input < rates.cache_write
    usage = Usage(150_010, 5, 150_015, cached_tokens=100_000, cache_write_tokens=50_000)
    assert rates.cost(usage) == (
        10 * rates.input + 5 * rates.output + 100_000 * rates.cached + 50_000 * rates.cache_write
    )
    openai = price_of("gpt-4o-mini", "https://api.openai.com/v1")
    assert openai is not None
    assert 0 < openai.cached < openai.input


def test_a_model_that_nobody_knows_has_no_price() -> None:
    """None, not zero."""
    assert price_of("my-own-finetune-of-nothing", "https://api.openai.com/v1") is None
    pricer = Pricer(None, "http://localhost:8000/v1")
    assert pricer.cost("my-own-finetune-of-nothing", None, Usage(1, 1, 2)) is None
    assert pricer.cost(None, None, Usage(1, 1, 2)) is None


def test_a_model_is_looked_up_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also one without a price; the model that answered comes before the one that was asked."""
    asked: list[str] = []
    rates = Rates(Decimal(1), Decimal(1), Decimal(1), Decimal(1), "table")

    def fake(model: str, _: str | None) -> Rates | None:
        asked.append(model)
        return rates if model == "known" else None

    monkeypatch.setattr("flexllm_batch.cost.price_table.look_up", fake)
    pricer = Pricer(None, None)
    for _ in range(3):
        assert pricer.cost("known", "strange", Usage(1, 1, 2)) == (Decimal(2), "table")
    assert asked == ["strange", "known"]


def test_the_own_price_wins() -> None:
    """A price in the configuration holds for every model of the endpoint."""
    assert Pricer(PRICE, "https://api.openai.com/v1").cost("gpt-4o-mini", None, Usage(0, 1_000_000, 0)) == (
        Decimal(10),
        "config",
    )


async def test_metered_puts_cost_and_source_on_answers(make_model: Any) -> None:
    """And counts them in its report."""
    metered = Metered(make_model(), Pricer(PRICE, None))
    result = await metered.complete(REQUEST)
    assert (result.cost, result.cost_source) == (Decimal("0.00007"), "config")
    events = [event async for event in metered.stream(REQUEST)]
    assert events[-1].result is not None
    assert events[-1].result.cost == Decimal("0.00007")
    assert (metered.report.request_count, metered.report.total_cost) == (2, Decimal("0.00014"))


async def test_what_the_provider_says_wins(make_model: Any) -> None:
    """A cost that came with the answer is not worked out again."""
    told = answer(Usage(10, 5, 15), cost=Decimal("0.5"), cost_source="provider")
    metered = Metered(make_model(lambda _: told), Pricer(PRICE, None))
    await metered.complete(REQUEST)
    assert (metered.report.total_cost, told.cost_source) == (Decimal("0.5"), "provider")


async def test_missing_usage_is_unknown_not_free(make_model: Any) -> None:
    """The report counts it apart, and the average is over what is known."""
    answers = iter([answer(None), answer(Usage(10, 5, 15)), answer(Usage(10, 5, 15))])
    metered = Metered(make_model(lambda _: next(answers)), Pricer(PRICE, None))
    results = [await metered.complete(REQUEST) for _ in range(3)]
    assert results[0].cost is None
    report = metered.report
    assert (report.request_count, report.unknown_count) == (3, 1)
    assert report.average_cost == Decimal("0.00007")
    assert report.by_model["m @ e"].unknown == 1


async def test_failed_calls_are_not_counted(make_model: Any) -> None:
    """Their error passes through."""
    metered = Metered(make_model(lambda _: ServerError("no")), Pricer(PRICE, None))
    with pytest.raises(ServerError):
        await metered.complete(REQUEST)
    assert metered.report.request_count == 0


def test_cached_answers_cost_nothing() -> None:
    """They are answers, and neither spent nor unknown."""
    report = CostReport()
    report.add(answer(Usage(10, 5, 15, cached_tokens=2, reasoning_tokens=3), cached=True, cost=Decimal(1)))
    report.add(answer(None, cached=True))
    assert (report.request_count, report.total_cost, report.unknown_count) == (2, Decimal(0), 0)
    assert (report.prompt_tokens, report.completion_tokens) == (10, 5)
    assert (report.cached_tokens, report.reasoning_tokens) == (2, 3)


def test_an_empty_report_divides_by_nothing() -> None:
    """The average of no calls is 0."""
    assert CostReport().average_cost == 0


async def test_closing_a_metered_stream_closes_what_it_wraps(make_model: Any) -> None:
    """Early, too."""
    model = make_model()
    metered = Metered(model, Pricer(PRICE, None))
    stream = metered.stream(REQUEST)
    await anext(stream)
    await stream.aclose()
    await asyncio.sleep(0)
    assert metered.report.request_count == 0
    await metered.aclose()
    assert model.closed


def test_the_report_tells_what_is_estimated_unknown_and_saved() -> None:
    """Its one line names each, and the averages are over what was bought and known."""
    report = CostReport()
    usage = Usage(10, 5, 15, cache_write_tokens=4)
    report.add(answer(usage, cost=Decimal("0.5"), cost_source="config"))
    report.add(answer(None, cost=Decimal("0.25"), cost_source="estimated"))
    report.add(answer(usage))
    report.add(answer(usage, cost=Decimal(0), saved_cost=Decimal("0.1"), cached=True))
    assert (report.total_cost, report.estimated_cost, report.saved_cost) == (
        Decimal("0.75"),
        Decimal("0.25"),
        Decimal("0.1"),
    )
    assert (report.estimated_count, report.unknown_count, report.response_cache_count) == (1, 1, 1)
    assert (report.average_cost, report.cache_write_tokens) == (Decimal("0.375"), 12)
    assert (report.average_prompt_tokens, report.average_completion_tokens) == (7.5, 3.75)
    assert report.by_model["m @ e"].estimated == 1
    assert report.ledger is None
    assert report.summary() == (
        "$0.7500 for 4 answers; $0.2500 of it estimated (1 answers without usage); "
        "1 answers of unknown cost not in it; 1 from the cache, which saved $0.1000"
    )
