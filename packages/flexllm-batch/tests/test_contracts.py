"""Row contracts: what is asked again, how often, what it costs, and what is left of a row that never keeps it."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from flexllm_batch.cache.config import ResponseCacheConfig
from flexllm_batch.contracts.contract import Contract, make_contract, summed
from flexllm_batch.contracts.contracted import Contracted
from flexllm_batch.cost.tracking import CostTrackerConfig
from flexllm_core.errors import (
    AuthenticationError,
    BudgetExceededError,
    ConfigError,
    ContractError,
    LLMRequestError,
    ServerError,
)
from flexllm_core.requests import ChatRequest
from flexllm_core.results import ChatCompletionResult, ToolCall, Usage

pytest.importorskip("jsonschema", reason="the extra `schema`")

SCHEMA = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}
PRICE = {"input": 1, "output": 2}
GOOD, BAD = '{"n": 1}', '{"n": "one"}'
REQUEST = ChatRequest([{"role": "user", "content": "q"}], "m")


class Number(BaseModel):
    """What the answers must be."""

    n: int


def answer(text: str | None, finish_reason: str = "stop", **fields: Any) -> ChatCompletionResult:
    fields.setdefault("usage", Usage(10, 5, 15))
    fields.setdefault("cost", Decimal("0.01"))
    fields.setdefault("cost_source", "config")
    return ChatCompletionResult(text, finish_reason=finish_reason, latency=0.5, endpoint="e", model="m", **fields)


@pytest.fixture
def script(make_model: Any) -> Callable[[Sequence[Any]], Any]:
    """A model that gives these answers one after the other."""

    def model(answers: Sequence[Any]) -> Any:
        left = list(answers)
        return make_model(lambda _: left.pop(0))

    return model


def contract(**options: Any) -> Contract:
    found = make_contract(**{"schema": SCHEMA, **options})
    assert found is not None
    return found


@pytest.mark.parametrize("broken", range(4))
@pytest.mark.parametrize("corrections", range(4))
async def test_a_broken_answer_is_asked_again_up_to_the_limit(script: Any, broken: int, corrections: int) -> None:
    """k broken answers need k corrections; attempts, usage, cost and latency are those of all answers."""
    model = script([*[answer(BAD)] * broken, answer(GOOD, attempts=2)])
    asked = Contracted(model, contract(max_corrections=corrections)).complete(REQUEST)
    if broken <= corrections:
        result = await asked
        assert result.content == GOOD
        assert (result.attempts, result.corrections) == (broken + 2, broken)
        assert result.usage == Usage(10 * (broken + 1), 5 * (broken + 1), 15 * (broken + 1))
        assert result.cost == Decimal("0.01") * (broken + 1)
        assert result.latency == 0.5 * (broken + 1)
    else:
        with pytest.raises(ContractError, match=r"\$\.n: 'one' is not of type 'integer'") as caught:
            await asked
        assert caught.value.attempts == corrections + 1
        assert caught.value.answer is not None
        assert caught.value.answer.content == BAD
        assert caught.value.answer.cost == Decimal("0.01") * (corrections + 1)
    assert len(model.asked) == min(broken, corrections) + 1


async def test_the_model_is_shown_its_answer_and_what_is_wrong(script: Any) -> None:
    """Behind the row's own messages; opaque blocks of the answer go back as they came."""
    message = {"role": "assistant", "content": BAD, "claude_message": {"x": 1}}
    model = script([answer(BAD, assistant_message=message), answer("no"), answer(GOOD)])
    await Contracted(model, contract(max_corrections=2)).complete(REQUEST)
    first, second, third = (request.messages for request in model.asked)
    assert first == REQUEST.messages
    assert second[:-1] == [*REQUEST.messages, message]
    assert "$.n: 'one' is not of type 'integer'" in second[-1]["content"]
    assert third[:-1] == [*REQUEST.messages, {"role": "assistant", "content": "no"}]
    assert "not JSON" in third[-1]["content"]
    assert len(REQUEST.messages) == 1


async def test_an_empty_answer_is_not_shown(script: Any) -> None:
    """APIs refuse empty messages."""
    model = script([answer(None), answer(GOOD)])
    await Contracted(model, contract()).complete(REQUEST)
    assert [message["role"] for message in model.asked[1].messages] == ["user", "user"]


async def test_a_cut_answer_is_asked_for_once_with_more_tokens(script: Any) -> None:
    """Alone with `no_truncated`; what is cut again fails."""
    only_whole = Contract(no_truncated=True, max_corrections=0, grow_max_tokens=500)
    model = script([answer("a lo", "length"), answer("a long text")])
    result = await Contracted(model, only_whole).complete(REQUEST.with_params(max_tokens=5))
    assert (result.content, result.corrections) == ("a long text", 1)
    assert [request.params["max_tokens"] for request in model.asked] == [5, 500]
    assert model.asked[1].messages == REQUEST.messages
    with pytest.raises(ContractError, match="cut off by the token limit") as caught:
        await Contracted(script([answer("a lo", "length")] * 2), only_whole).complete(REQUEST)
    assert caught.value.code == "truncated"


async def test_no_more_tokens_are_asked_for_than_the_row_has_already(script: Any) -> None:
    """`grow_max_tokens` that is no more would buy the same answer again."""
    only_whole = Contract(no_truncated=True, max_corrections=0, grow_max_tokens=500)
    model = script([answer("a lo", "length")])
    with pytest.raises(ContractError):
        await Contracted(model, only_whole).complete(REQUEST.with_params(max_tokens=500))
    assert len(model.asked) == 1


async def test_a_cut_answer_breaks_a_schema_and_grows_before_it_is_corrected(script: Any) -> None:
    """Even if the part that is there would satisfy it; corrections keep the larger limit."""
    model = script([answer(GOOD, "length"), answer(BAD), answer(GOOD)])
    result = await Contracted(model, contract(grow_max_tokens=900)).complete(REQUEST.with_params(max_tokens=5))
    assert result.content == GOOD
    assert [request.params["max_tokens"] for request in model.asked] == [5, 900, 900]


async def test_without_no_truncated_a_cut_answer_is_an_answer() -> None:
    """Only the contract makes it a failure."""
    assert Contract().keeps(answer("a lo", "length"))


async def test_calls_of_tools_are_passed_on(script: Any) -> None:
    """They have no text to check."""
    result = answer(None, "tool_calls", tool_calls=(ToolCall("1", "f", "{}"),))
    assert await Contracted(script([result]), contract()).complete(REQUEST) is result


async def test_every_choice_is_checked(script: Any) -> None:
    """The first that breaks the schema is what the model is told about."""
    model = script([answer(GOOD, choices=(GOOD, BAD)), answer(GOOD, choices=(GOOD, GOOD))])
    result = await Contracted(model, contract()).complete(REQUEST)
    assert result.corrections == 1
    assert model.asked[1].messages[1]["content"] == BAD


async def test_an_error_on_the_way_keeps_what_was_paid(script: Any) -> None:
    """Its type stays, as it may end the run; the attempts are all of the row's."""
    for error in (ServerError("down", attempts=3), AuthenticationError("no", attempts=1)):
        with pytest.raises(type(error)) as caught:
            await Contracted(script([answer(BAD), error]), contract()).complete(REQUEST)
        kept = caught.value
        assert isinstance(kept, LLMRequestError)
        assert kept.attempts == (4 if isinstance(error, ServerError) else 2)
        assert kept.answer is not None
        assert (kept.answer.content, kept.answer.cost) == (BAD, Decimal("0.01"))


async def test_a_budget_that_ends_before_the_correction_leaves_a_contract_error(script: Any) -> None:
    """The row was asked and paid for, so it is no row that was never asked."""
    refusal = BudgetExceededError("used up", spent=Decimal(1), reserved=Decimal(0), limit=Decimal(1))
    with pytest.raises(ContractError, match="could not be asked again: used up") as caught:
        await Contracted(script([answer(BAD), refusal]), contract()).complete(REQUEST)
    assert caught.value.answer is not None


@given(st.lists(st.sampled_from([None, Decimal("0.5")]), min_size=2, max_size=5), st.lists(st.booleans(), min_size=5))
def test_a_sum_with_an_unknown_part_is_unknown(costs: list[Decimal | None], known: list[bool]) -> None:
    """Cost and usage alike; an estimate anywhere makes it an estimate."""
    usage = Usage(1, 1, 2)
    answers = [
        answer("x", cost=cost, cost_source="estimated" if cost else None, usage=usage if known[place] else None)
        for place, cost in enumerate(costs)
    ]
    result = summed(answers)
    assert result.cost == (None if None in costs else Decimal("0.5") * len(costs))
    assert result.cost_source == (None if None in costs else "estimated")
    assert (result.usage is None) == (not all(known[: len(costs)]))
    assert result.corrections == len(costs) - 1


@pytest.mark.parametrize(
    "options",
    [
        {"max_corrections": 1},
        {"grow_max_tokens": 10},
        {"schema": SCHEMA, "max_corrections": -1},
        {"schema": SCHEMA, "max_corrections": True},
        {"schema": SCHEMA, "max_corrections": 1.5},
        {"no_truncated": True, "grow_max_tokens": 0},
    ],
)
def test_options_without_effect_or_sense_are_refused(options: Any) -> None:
    """Each with the option's name."""
    with pytest.raises(ConfigError, match=r"max_corrections|grow_max_tokens"):
        make_contract(**options)


def test_no_options_are_no_contract() -> None:
    """And no wrapper."""
    assert make_contract() is None


def reply_after(count: int) -> Callable[[str], str]:
    """Broken answers to each row until it was corrected `count` times; the rows `never` stay broken."""
    told: dict[str, int] = {}

    def reply(prompt: str) -> str:
        row = "correction" if prompt.startswith("Your answer") else prompt
        told[row] = told.get(row, 0) + 1
        return GOOD if row == "correction" and told[row] >= count else BAD

    return reply


@pytest.mark.parametrize("schema", [SCHEMA, Number])
async def test_a_batch_meters_every_attempt(make_server: Any, tmp_path: Path, read_lines: Any, schema: Any) -> None:
    """The line, the item, the cost report and the statistics agree."""
    server, output = make_server(reply_after(2)), tmp_path / "out.jsonl"
    async with server.client(price=PRICE) as client:
        batch = await client.chat_batch(
            ["one"], schema=schema, max_corrections=2, output_jsonl=output, track_cost=True, concurrency=1
        )
    (item,) = batch
    (line,) = read_lines(output)
    assert (line["output"], line["attempts"], line["corrections"]) == (GOOD, 3, 2)
    assert line["usage"]["total_tokens"] == 3 * 1500
    assert item.cost == batch.cost.total_cost == batch.stats.cost > 0
    assert line["cost"] == float(item.cost)
    assert (batch.stats.corrections, batch.stats.retries) == (2, 0)
    assert server.bodies[0]["response_format"]["type"] == "json_schema"
    first = ChatRequest(
        [{"role": "user", "content": "one"}], "gpt-4o-mini", {"response_format": server.bodies[0]["response_format"]}
    )
    assert line["key"] == first.fingerprint()


async def test_a_row_that_never_keeps_it_is_an_error_with_its_last_answer(
    make_server: Any, tmp_path: Path, read_lines: Any
) -> None:
    """Nothing paid is lost: answer, usage and cost are in the line; a later run asks the row again."""
    server, output = make_server(lambda _: BAD), tmp_path / "out.jsonl"
    async with server.client(price=PRICE) as client:
        options = {"schema": SCHEMA, "output_jsonl": output, "track_cost": True}
        batch = await client.chat_batch(["one"], **options)
        (line,) = read_lines(output)
        assert (line["status"], line["output"], line["rejected"]) == ("error", None, BAD)
        assert (line["attempts"], line["corrections"], line["usage"]["total_tokens"]) == (2, 1, 3000)
        assert line["error"]["type"] == "ContractError"
        assert line["error"]["code"] == "schema"
        assert line["cost"] == float(batch.cost.total_cost) == float(batch.stats.cost) > 0
        assert batch[0].cost == batch.cost.total_cost
        assert batch.stats.summary() == "0 ok, 1 failed, 1 corrections"
        server.reply = lambda _: GOOD
        again = await client.chat_batch(["one"], **options)
    assert (again.stats.ok, again.stats.resumed) == (1, 0)


async def test_the_cache_keeps_only_answers_that_keep_the_contract(make_server: Any, tmp_path: Path) -> None:
    """One that was stored without a contract counts as none; one that was corrected is given for the row's question."""
    server = make_server(lambda _: BAD)
    cache = ResponseCacheConfig(enabled=True, cache_dir=tmp_path / "cache")
    async with server.client(cache=cache) as client:
        batch = await client.chat_batch(["one"], schema=Number)
        assert batch.stats.failed == 1
        assert len(server.bodies) == 2
        await client.chat_batch(["one"], response_format=Number)  # now the broken answer is stored
        assert len(server.bodies) == 3
        server.reply = reply_after(1)
        batch = await client.chat_batch(["one"], schema=Number)
        assert (batch.stats.ok, batch.stats.corrections, len(server.bodies)) == (1, 1, 5)
        batch = await client.chat_batch(["one"], schema=Number)
        assert (batch.stats.cached, batch[0].content, len(server.bodies)) == (1, GOOD, 5)
        assert batch[0].result is not None
        assert batch[0].result.corrections == 0


async def test_a_budget_counts_every_attempt(make_server: Any) -> None:
    """Corrections too are reserved and settled."""
    server = make_server(lambda _: BAD)
    tracker = CostTrackerConfig.with_budget(10)
    async with server.client(cost_tracker=tracker, price=PRICE) as client:
        batch = await client.chat_batch(["one", "two"], schema=SCHEMA, max_corrections=3, max_tokens=500)
        assert client.budget is not None
        assert client.budget.ledger.spent == batch.stats.cost == Decimal("0.002") * 8
        assert batch.cost.total_cost == batch.stats.cost


async def test_a_response_format_of_the_users_own_stays(make_server: Any) -> None:
    """For endpoints that cannot do schemas; the check is local all the same."""
    server = make_server(lambda _: BAD)
    async with server.client() as client:
        batch = await client.chat_batch(["one"], schema=SCHEMA, response_format={"type": "json_object"})
    assert server.bodies[0]["response_format"] == {"type": "json_object"}
    assert batch.stats.failed == 1


async def test_a_row_that_fails_while_it_is_corrected_is_counted_once(
    make_server: Any, tmp_path: Path, read_lines: Any
) -> None:
    """With the server's error, and what its first answer cost."""
    server, output = make_server(), tmp_path / "out.jsonl"
    server.reply = lambda prompt: httpx.Response(400, json={"error": "no"}) if "not valid" in prompt else BAD
    async with server.client(price=PRICE) as client:
        batch = await client.chat_batch(["one"], schema=SCHEMA, track_cost=True, output_jsonl=output)
    (line,) = read_lines(output)
    assert (line["error"]["type"], line["rejected"], line["attempts"]) == ("BadRequestError", BAD, 2)
    assert line["cost"] == float(batch.cost.total_cost) > 0


async def test_the_wrapper_changes_nothing_of_a_good_answer(script: Any) -> None:
    """The same object, one call."""
    result = answer(GOOD)
    model = script([result])
    before = replace(result)
    assert await Contracted(model, contract()).complete(REQUEST) is result
    assert result == before
    assert model.asked == [REQUEST]
    events = [event async for event in Contracted(script([answer(BAD), answer(GOOD)]), contract()).stream(REQUEST)]
    assert [event.text for event in events if event.type == "content"] == [GOOD]
    assert json.loads(events[-1].result.content) == {"n": 1}
