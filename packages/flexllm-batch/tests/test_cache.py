"""The response cache as a wrapper: what is a hit, what is kept, and how identical calls share one."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from flexllm_batch.cache.cached import Cached
from flexllm_batch.cache.config import ResponseCacheConfig
from flexllm_batch.cache.store import ResponseStore
from flexllm_batch.client import LLMClient
from flexllm_core.errors import BadRequestError, ConfigError, LLMRequestError, ServerError
from flexllm_core.requests import ChatRequest
from flexllm_core.results import ChatCompletionResult, StreamEvent, ToolCall, Usage

Open = Callable[..., Cached]
QUESTION = [{"role": "user", "content": "why?"}]


@pytest.fixture
def open_cache(tmp_path: Path) -> Open:
    """Put a cache in the test's folder around a model: `open_cache(model, ttl=...)`."""

    def open_(model: Any, *, identity: str = "server A", **config: Any) -> Cached:
        store = ResponseStore(ResponseCacheConfig(cache_dir=tmp_path / "cache", **config))
        return Cached(model, store, {"fake": identity})

    return open_


def request(text: str = "why?", **fields: Any) -> ChatRequest:
    return ChatRequest([{"role": "user", "content": text}], "m", **fields)


def answer(content: str | None = "because", **fields: Any) -> ChatCompletionResult:
    return ChatCompletionResult(content, **{"finish_reason": "stop", "endpoint": "fake", **fields})


async def test_a_question_is_asked_once_across_runs(make_model: Any, open_cache: Open) -> None:
    """A second process with the same folder gets the whole answer without asking."""
    full = answer(
        reasoning_content="hm",
        usage=Usage(10, 5, 15, cached_tokens=3),
        tool_calls=(ToolCall("c1", "look", '{"x":1}'),),
        model="m-1",
        response_id="r1",
        assistant_message={"role": "assistant", "content": "because", "opaque": [1]},
    )
    first = make_model(lambda _: full)
    cache = open_cache(first)
    asked = await cache.complete(request())
    await cache.aclose()
    second = make_model()
    cache = open_cache(second)
    kept = await cache.complete(request())
    await cache.aclose()
    assert (len(first.asked), len(second.asked)) == (1, 0)
    assert (asked.cached, kept.cached, kept.cost, kept.attempts) == (False, True, 0, 0)
    for name in ("content", "reasoning_content", "usage", "tool_calls", "model", "response_id", "assistant_message"):
        assert getattr(kept, name) == getattr(full, name), name


async def test_an_answer_is_found_before_it_is_written(make_model: Any, open_cache: Open) -> None:
    """What was answered a moment ago is a hit, though the disk does not have it yet."""
    model = make_model()
    cache = open_cache(model)
    await cache.complete(request())
    assert (await cache.complete(request())).cached
    await cache.aclose()
    assert len(model.asked) == 1


@pytest.mark.parametrize(
    "result",
    [
        answer(finish_reason="length"),
        answer(finish_reason="content_filter"),
        answer(finish_reason=None),
        answer(""),
        answer(None),
        answer("one", choices=("one", "")),
    ],
    ids=["truncated", "filtered", "reason unknown", "empty", "nothing", "one choice empty"],
)
async def test_only_complete_answers_are_kept(make_model: Any, open_cache: Open, result: ChatCompletionResult) -> None:
    """Truncated, filtered and empty answers are asked again (D7)."""
    model = make_model(lambda _: result)
    cache = open_cache(model)
    for _ in range(2):
        assert not (await cache.complete(request())).cached
    await cache.aclose()
    assert len(model.asked) == 2


async def test_tool_calls_without_text_are_kept(make_model: Any, open_cache: Open) -> None:
    """An answer that only calls tools is complete."""
    call = answer(None, finish_reason="tool_calls", tool_calls=(ToolCall("c", "f", "{}"),))
    cache = open_cache(make_model(lambda _: call))
    await cache.complete(request())
    assert (await cache.complete(request())).tool_calls == call.tool_calls
    await cache.aclose()


async def test_errors_are_not_kept(make_model: Any, open_cache: Open) -> None:
    """A question that failed is asked again."""
    outcomes: list[Any] = [ServerError("down", status_code=503), answer()]
    cache = open_cache(make_model(lambda _: outcomes.pop(0)))
    with pytest.raises(ServerError):
        await cache.complete(request())
    assert (await cache.complete(request())).content == "because"
    await cache.aclose()


async def test_identical_calls_in_flight_are_one(make_model: Any, open_cache: Open) -> None:
    """A thousand identical calls, all at once, send one request (D7); all get the answer, one of them paid."""
    model = make_model(delay=0.01)
    cache = open_cache(model)
    results = await asyncio.gather(*(cache.complete(request()) for _ in range(1000)))
    await cache.aclose()
    assert len(model.asked) == 1
    assert {result.content for result in results} == {results[0].content}
    assert sum(not result.cached for result in results) == 1
    assert len({id(result.usage) for result in results}) == 1000, "what somebody does to his usage is his own"


async def test_without_the_cache_every_call_is_sent(make_server: Any) -> None:
    """Nobody shares an answer who did not ask for a cache."""
    server = make_server()
    async with server.client() as client:
        await client.chat_batch(["same"] * 50)
    assert len(server.bodies) == 50


async def test_a_failed_leader_hands_over_to_one(make_model: Any, open_cache: Open) -> None:
    """When the call that asks fails, one of those that wait asks next, not all of them."""
    outcomes: list[Any] = [ServerError("down", status_code=503), answer()]
    model = make_model(lambda _: outcomes.pop(0), delay=0.01)
    cache = open_cache(model)
    calls = [asyncio.create_task(cache.complete(request())) for _ in range(50)]
    results = await asyncio.gather(*calls, return_exceptions=True)
    await cache.aclose()
    assert len(model.asked) == 2
    assert model.peak == 1
    assert sum(isinstance(result, ServerError) for result in results) == 1
    assert sum(isinstance(result, ChatCompletionResult) for result in results) == 49


async def test_a_cancelled_leader_hands_over(make_model: Any, open_cache: Open) -> None:
    """Who waits does not suffer when the call that asks is cancelled."""
    model = make_model(delay=0.01)
    cache = open_cache(model)
    leader = asyncio.create_task(cache.complete(request()))
    waiting = [asyncio.create_task(cache.complete(request())) for _ in range(5)]
    while not model.asked:
        await asyncio.sleep(0)
    leader.cancel()
    results = await asyncio.gather(*waiting)
    await cache.aclose()
    assert leader.cancelled()
    assert len(model.asked) == 2
    assert len(results) == 5


async def test_a_cancelled_waiter_leaves_the_others_alone(make_model: Any, open_cache: Open) -> None:
    """One who waits and leaves takes nothing from the rest."""
    model = make_model(delay=0.01)
    cache = open_cache(model)
    calls = [asyncio.create_task(cache.complete(request())) for _ in range(3)]
    while not model.asked:
        await asyncio.sleep(0)
    calls[1].cancel()
    await asyncio.gather(*calls, return_exceptions=True)
    await cache.aclose()
    assert [call.cancelled() for call in calls] == [False, True, False]
    assert len(model.asked) == 1


async def test_a_refusal_of_the_question_is_shared(make_model: Any, open_cache: Open) -> None:
    """A 400 is as true for the identical calls that wait: they are not sent to be refused too."""
    model = make_model(lambda _: BadRequestError("too long", status_code=400, fault="caller"), delay=0.01)
    cache = open_cache(model)
    results = await asyncio.gather(*(cache.complete(request()) for _ in range(20)), return_exceptions=True)
    await cache.aclose()
    assert all(isinstance(result, BadRequestError) for result in results)
    assert len(model.asked) == 1


async def test_five_samples_are_five_answers(make_model: Any, open_cache: Open) -> None:
    """The sample number tells samples of one question apart, and each is found again."""
    count = iter(range(100))
    model = make_model(lambda _: answer(f"sample {next(count)}"))
    cache = open_cache(model)
    first = [(await cache.complete(request(sample=sample))).content for sample in range(5)]
    again = [(await cache.complete(request(sample=sample))).content for sample in range(5)]
    await cache.aclose()
    assert len(set(first)) == 5
    assert again == first
    assert len(model.asked) == 5


async def test_several_choices_are_kept_together(make_model: Any, open_cache: Open) -> None:
    """With n = 3 the three texts are one entry, and n is part of the question."""
    model = make_model(lambda asked: answer("a", choices=("a", "b", "c") if asked.params else ()))
    cache = open_cache(model)
    for _ in range(2):
        assert (await cache.complete(request(params={"n": 3}))).choices == ("a", "b", "c")
        assert (await cache.complete(request())).choices == ()
    await cache.aclose()
    assert len(model.asked) == 2


async def test_skip_cache_asks_and_keeps_nothing(make_model: Any, open_cache: Open) -> None:
    """A call may leave the cache alone, in both directions."""
    model = make_model()
    cache = open_cache(model)
    await cache.complete(request(skip_cache=True))
    assert not (await cache.complete(request())).cached
    assert not (await cache.complete(request(skip_cache=True))).cached
    await cache.aclose()
    assert len(model.asked) == 3


async def test_raw_json_is_there_when_it_is_asked_for(make_model: Any, open_cache: Open) -> None:
    """An entry without the server's JSON is no answer to a call that wants it; one with it answers both."""
    model = make_model(lambda asked: answer(raw={"id": 1} if asked.keep_raw else None))
    cache = open_cache(model)
    await cache.complete(request())
    with_raw = await cache.complete(request(keep_raw=True))
    again = await cache.complete(request(keep_raw=True))
    plain = await cache.complete(request())
    await cache.aclose()
    assert (with_raw.cached, again.cached, plain.cached) == (False, True, True)
    assert (again.raw, plain.raw) == ({"id": 1}, None)


async def test_an_old_answer_is_asked_again(make_model: Any, open_cache: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond its time an answer does not count, whatever the run that stored it said; with 0 it always does."""
    model = make_model()
    now = 1_000_000.0
    monkeypatch.setattr("time.time", lambda: now)
    cache = open_cache(model)
    await cache.complete(request())
    await cache.aclose()
    now += 100
    for ttl, hit in ((99, False), (150, True), (0, True)):
        cache = open_cache(model, ttl=ttl)
        assert (await cache.complete(request())).cached is hit, ttl
        now += 100 if not hit else 0
        await cache.aclose()


async def collect(cache: Cached, asked: ChatRequest) -> list[StreamEvent]:
    return [event async for event in cache.stream(asked)]


async def test_a_whole_stream_is_kept_and_replayed_as_one(make_model: Any, open_cache: Open) -> None:
    """The second stream has the same texts and calls, and its last event the whole answer."""
    call = ToolCall("c", "f", "{}")
    model = make_model(lambda _: answer(reasoning_content="hm", tool_calls=(call,)))
    cache = open_cache(model)
    await collect(cache, request())
    events = await collect(cache, request())
    single = await cache.complete(request())
    await cache.aclose()
    assert [(event.type, event.text) for event in events] == [
        ("reasoning", "hm"),
        ("content", "because"),
        ("tool_call", ""),
        ("done", ""),
    ]
    assert events[2].tool_call == call
    assert events[-1].result is not None
    assert events[-1].result.cached
    assert single.cached
    assert len(model.asked) == 1


async def test_a_stream_that_is_left_or_cut_is_not_kept(open_cache: Open) -> None:
    """Half an answer is no answer; an identical call that waits asks for itself."""
    asked = []

    class Cut:
        async def stream(self, request: ChatRequest) -> Any:
            asked.append(request)
            yield StreamEvent("content", "half")
            if len(asked) == 2:
                raise LLMRequestError("cut")
            yield StreamEvent("done", result=answer("half and half"))

        async def aclose(self) -> None:
            pass

    cache = open_cache(Cut())
    left = cache.stream(request())
    assert (await anext(left)).text == "half"
    await left.aclose()
    with pytest.raises(LLMRequestError, match="cut"):
        await collect(cache, request())
    assert not (await collect(cache, request()))[-1].result.cached  # type: ignore[union-attr]
    await cache.aclose()
    assert len(asked) == 3


async def test_two_servers_with_one_model_name_do_not_answer_for_each_other(make_server: Any, tmp_path: Path) -> None:
    """The endpoint is part of the question (D6); the key that opens it is not."""
    config = ResponseCacheConfig(cache_dir=tmp_path)
    a, b = make_server(lambda _: "I am A"), make_server(lambda _: "I am B")
    said = []
    for server, url, key in (
        (a, "http://a/v1", "sk-one-0123456789"),
        (b, "http://b/v1", "sk-one-0123456789"),
        (a, "http://a/v1/", "sk-two-0123456789"),
        (b, "http://B/v1", "sk-two-0123456789"),
    ):
        async with server.client(base_url=url, api_key=key, cache=config) as client:
            said.append(await client.chat_completions(QUESTION))
    assert said == ["I am A", "I am B", "I am A", "I am B"]
    assert (len(a.bodies), len(b.bodies)) == (1, 1)


async def test_a_pool_reads_what_any_member_answered(make_model: Any, tmp_path: Path) -> None:
    """An answer of a member counts for the pool, and one that the pool got counts for the member."""
    store = ResponseStore(ResponseCacheConfig(cache_dir=tmp_path))
    model = make_model(lambda asked: answer(f"of b: {asked.messages[0]['content']}", endpoint="b"))
    pool = Cached(model, store, {"a": "server a", "b": "server b"})
    await pool.complete(request())
    member_a, member_b = Cached(model, store, {"a": "server a"}), Cached(model, store, {"b": "server b"})
    assert (await member_b.complete(request())).cached
    assert not (await member_a.complete(request())).cached
    assert (await pool.complete(request())).cached
    await store.aclose()


async def test_a_batch_with_the_cache_pays_for_each_question_once(make_server: Any, tmp_path: Path) -> None:
    """Rows are counted as cached, cost nothing, and say so in their lines; a run without it pays again."""
    server = make_server()
    out = tmp_path / "out.jsonl"
    config = ResponseCacheConfig(cache_dir=tmp_path / "cache")
    questions = [f"q{number % 10}" for number in range(100)]
    async with server.client(cache=config) as client:
        batch = await client.chat_batch(questions, output_jsonl=out, track_cost=True)
        samples = await client.chat_batch(["q1"], sample=1)
        skipped = await client.chat_batch(["q1"], skip_cache=True)
    assert len(server.bodies) == 12
    assert (batch.stats.ok, batch.stats.cached, batch.stats.retries) == (100, 90, 0)
    assert batch.cost.total_cost == sum(item.cost or 0 for item in batch if item.result and not item.result.cached)
    assert out.read_text().count('"cached":true') == 90
    assert (samples[0].result.cached, skipped[0].result.cached) == (False, False)  # type: ignore[union-attr]


async def test_a_stream_is_not_read_ahead_for_the_cache(make_server: Any, tmp_path: Path) -> None:
    """Its rows may come slowly, or hang on what was answered: each is asked as soon as there is room for it."""
    server = make_server()
    taken_before: list[int] = []

    def rows() -> Iterator[str]:
        for number in range(30):
            taken_before.append(len(server.bodies))
            yield f"question {number}"

    config = ResponseCacheConfig(cache_dir=tmp_path / "cache")
    async with server.client(cache=config, concurrency_limit=2) as client:
        items = [item async for item in client.chat_batch_iter(rows())]
    assert len(items) == 30
    assert all(number - before <= 2 for number, before in enumerate(taken_before))


async def test_rows_name_their_sample(make_server: Any, tmp_path: Path, write_rows: Any) -> None:
    """`params.sample` of a row asks for another answer, and is never sent."""
    from flexllm_batch.batch import Batch, BatchSettings
    from flexllm_batch.inputs.sources import open_source

    server = make_server()
    rows = write_rows(tmp_path / "in.jsonl", [{"q": "one", "params": {"sample": sample}} for sample in (0, 1, 2, 1)])
    async with server.client(cache=ResponseCacheConfig(cache_dir=tmp_path / "cache")) as client:
        batch = Batch(client.chat_model, open_source(str(rows)), BatchSettings(model="m"))
        await batch.prepare()
        await batch.run()
    assert len(server.bodies) == 3
    assert all("sample" not in body for body in server.bodies)
    assert batch.stats.cached == 1


@pytest.mark.parametrize("cache", [3600, "yes", {"ttl": 1}])
def test_a_cache_argument_of_another_kind_is_refused(cache: Any) -> None:
    """A number is no configuration."""
    with pytest.raises(ConfigError, match="ResponseCacheConfig"):
        LLMClient(model="m", base_url="http://x/v1", cache=cache)


@pytest.mark.parametrize("values", [{"ttl": -1}, {"ttl": float("inf")}, {"ttl": True}, {"max_size": 0}])
def test_a_configuration_out_of_range_is_refused(values: Any) -> None:
    """The message names the value."""
    with pytest.raises(ConfigError, match="cache"):
        ResponseCacheConfig(**values)


def test_the_short_forms_of_a_configuration() -> None:
    """`with_ttl`, `persistent` and `disabled` are what they say."""
    assert ResponseCacheConfig.with_ttl(60).ttl == 60
    assert ResponseCacheConfig.persistent().ttl == 0
    assert not ResponseCacheConfig.disabled().enabled
