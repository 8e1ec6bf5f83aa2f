"""Budgets of a whole client: batches that stop, keep what they have and go on; retries; reports."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
import pytest

from flexllm_batch.client import LLMClient
from flexllm_batch.cost.tracking import CostTrackerConfig
from flexllm_core.errors import BudgetExceededError, ConfigError

PRICE = {"input": 1.0, "output": 10.0}
COST = (1000 * 1 + 500 * 10) / Decimal(1_000_000)
"""Of each answer of the server."""


def with_budget(limit: Any, **settings: Any) -> CostTrackerConfig:
    return CostTrackerConfig.with_budget(limit, **settings)


async def test_d2_no_call_is_sent_that_the_budget_does_not_admit(server: Any) -> None:
    """A limit of 5.5 calls, 60 rows: 5 or fewer are sent, none is thrown away, and single calls are refused too."""
    async with server.client(price=PRICE, cost_tracker=with_budget(COST * Decimal("5.5"))) as client:
        batch = await client.chat_batch(["hi"] * 60, max_tokens=500)
        assert len(server.bodies) == 5
        assert sum(item.ok for item in batch) == 5
        assert all(isinstance(item.error, BudgetExceededError) for item in batch.failed)
        assert client.budget is not None
        assert client.budget.ledger.spent == 5 * COST == batch.cost.total_cost
        assert batch.cost.ledger == client.budget.ledger
        assert (batch.stats.ok, batch.stats.failed, batch.stats.left) == (5, 0, 55)
        assert "the budget is used up: $0.0300 spent" in str(batch.stats.stopped)
        for _ in range(3):
            with pytest.raises(BudgetExceededError):
                await client.chat("hi", max_tokens=500)
        with pytest.raises(BudgetExceededError):
            [event async for event in client.chat_stream("hi", max_tokens=500)]
    assert len(server.bodies) == 5


async def test_d2_retries_are_paid_from_the_budget_too(make_server: Any) -> None:
    """Answers that were billed and are no answers: each attempt counts, and the last ones are not sent."""
    server = make_server(lambda _: httpx.Response(200, content=b'{"choices": []}'))
    async with server.client(price=PRICE, cost_tracker=with_budget(COST * 3), concurrency_limit=4) as client:
        batch = await client.chat_batch(["hi"] * 20, max_tokens=500)
        assert client.budget.ledger.estimated_count == len(server.bodies)
        assert client.budget.ledger.spent <= COST * 3
    assert 1 <= len(server.bodies) <= 3
    assert not any(item.ok for item in batch)


async def test_d9_a_batch_of_an_unknown_price_sends_nothing(server: Any, tmp_path: Path) -> None:
    """Of the client's model, of one that a row names, and of an iterator; ignored only when that is asked for."""
    rows = tmp_path / "out.jsonl"
    async with server.client(model="nobody-knows", cost_tracker=with_budget("0.000001")) as client:
        for messages in (["hi"] * 60, iter(["hi"])):
            with pytest.raises(ConfigError, match=r"'nobody-knows' is unknown.*nothing was sent"):
                await client.chat_batch(messages, output_jsonl=rows)
        with pytest.raises(ConfigError):
            [item async for item in client.chat_batch_iter(iter(["hi"]))]
        with pytest.raises(ConfigError):
            await client.chat("hi")
    assert server.bodies == []
    config = with_budget("0.000001", on_unknown_price="ignore")
    async with server.client(model="nobody-knows", cost_tracker=config) as client:
        _, report = await client.chat_completions_batch(["hi"] * 3, return_cost_report=True)
        assert (report.total_cost, report.unknown_count) == (0, 3)
        assert report.ledger.spent == 0


async def test_d9_answers_without_usage_use_the_budget_up(server: Any, tmp_path: Path, read_lines: Any) -> None:
    """Streams of this server tell none; each counts at its reservation, in the report and the line as an estimate."""

    def silent(prompt: str) -> httpx.Response:
        body = json.loads(server.answer(prompt))
        del body["usage"]
        return httpx.Response(200, json=body)

    server.reply = silent
    output = tmp_path / "out.jsonl"
    limit = Decimal("0.06")  # an answer reserves 546 tokens of input and 500 of output
    async with server.client(price=PRICE, cost_tracker=with_budget(limit)) as client:
        batch = await client.chat_batch(["hi"] * 60, max_tokens=500, output_jsonl=output)
        ledger = client.budget.ledger
        assert ledger.spent == ledger.estimated == batch.cost.estimated_cost == batch.cost.total_cost
        assert limit - Decimal("0.0056") < ledger.spent <= limit
        assert batch.cost.estimated_count == len(server.bodies) == ledger.estimated_count == 10
        assert "of it estimated" in (batch.stats.cost_text() or "")
    lines = read_lines(output)
    assert [line["cost_source"] for line in lines] == ["estimated"] * 10
    assert sum(Decimal(str(line["cost"])) for line in lines) == ledger.spent


async def test_d10_cached_tokens_have_their_own_price(make_server: Any) -> None:
    """OpenAI's are cheaper; what the vendor's cache had is part of the input and not paid twice."""
    usage = {
        "prompt_tokens": 100_000,
        "completion_tokens": 5,
        "total_tokens": 100_005,
        "prompt_tokens_details": {"cached_tokens": 90_000},
    }
    choice = {"index": 0, "message": {"role": "assistant", "content": "x"}, "finish_reason": "stop"}
    server = make_server(lambda _: httpx.Response(200, json={"choices": [choice], "usage": usage}))
    async with server.client(base_url="https://api.openai.com/v1", model="gpt-4o-mini", track_cost=True) as client:
        result = await client.chat("hi")
    assert result.cost == (10_000 * Decimal("0.15") + 90_000 * Decimal("0.075") + 5 * Decimal("0.6")) / 1_000_000


async def test_d10_claudes_cache_traffic_is_paid_for() -> None:
    """Reads, writes for five minutes and writes for an hour, each at its price."""
    usage = {
        "input_tokens": 10,
        "output_tokens": 5,
        "cache_read_input_tokens": 100_000,
        "cache_creation_input_tokens": 50_000,
        "cache_creation": {"ephemeral_5m_input_tokens": 30_000, "ephemeral_1h_input_tokens": 20_000},
    }
    body = {
        "type": "message",
        "role": "assistant",
        "content": [{"type": "text", "text": "x"}],
        "stop_reason": "end_turn",
        "usage": usage,
    }
    transport = httpx.MockTransport(lambda _: httpx.Response(200, json=body))
    model = "claude-sonnet-4-20250514"
    async with LLMClient(model, provider="claude", api_key="k", transport=transport, track_cost=True) as client:
        result = await client.chat("hi")
    expected = 10 * 3 + 5 * 15 + 100_000 * Decimal("0.3") + 30_000 * Decimal("3.75") + 20_000 * 6
    assert result.cost == expected / 1_000_000


async def test_a_batch_goes_on_where_the_budget_stopped_it(server: Any, tmp_path: Path, read_lines: Any) -> None:
    """Rows that were refused are no failures and have no line; the next run's budget is a new one."""
    output = tmp_path / "out.jsonl"
    rows = [f"row {number}" for number in range(12)]
    for run in range(3):
        async with server.client(price=PRICE, cost_tracker=with_budget(COST * 5)) as client:
            batch = await client.chat_batch(rows, max_tokens=500, output_jsonl=output)
        lines = read_lines(output)
        assert all(line["status"] == "success" for line in lines)
        assert len(lines) == min(12, 5 * (run + 1))
    assert batch.stats.left == 0
    assert sorted(server.prompts) == sorted(rows)


async def test_rows_that_are_refused_are_told_to_who_takes_them_one_by_one(server: Any) -> None:
    """An iterator's user learns why it ended."""
    async with server.client(price=PRICE, cost_tracker=with_budget(COST * 2)) as client:
        items = [item async for item in client.chat_batch_iter((text for text in ["a"] * 50), max_tokens=500)]
    assert sum(item.ok for item in items) == 2
    assert isinstance(items[-1].error, BudgetExceededError)


async def test_the_warning_is_shown_and_called_back(server: Any, capsys: pytest.CaptureFixture[str]) -> None:
    """Once each."""
    warned: list[Decimal] = []
    config = with_budget(COST * 10, warning=0.5, on_warning=lambda ledger: warned.append(ledger.spent))
    async with server.client(price=PRICE, cost_tracker=config, concurrency_limit=1) as client:
        await client.chat_batch(["hi"] * 6, max_tokens=500, show_progress=True)
        await client.chat_batch(["hi"] * 2, max_tokens=500, show_progress=True)
    assert warned == [5 * COST]
    assert capsys.readouterr().err.count("budget: 50% is used: $0.0300 spent") == 1


async def test_a_disabled_tracker_tracks_nothing(server: Any) -> None:
    """And a tracker without a limit has no budget."""
    async with server.client(price=PRICE, cost_tracker=CostTrackerConfig.disabled()) as client:
        assert (await client.chat("hi")).cost is None
    async with server.client(price=PRICE, cost_tracker=CostTrackerConfig.tracking_only()) as client:
        assert (await client.chat("hi")).cost == COST
        assert client.budget is None
        assert client.cost_report.total_cost == COST
