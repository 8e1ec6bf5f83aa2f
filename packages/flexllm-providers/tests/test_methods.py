"""The methods of every client: single and streamed, async and sync, with one meaning."""

from __future__ import annotations

import asyncio
import copy
import pickle
import time
from collections.abc import AsyncGenerator, Iterator
from typing import Any, assert_type

import pytest

from flexllm_core.errors import ConfigError, InputError, LLMRequestError, ServerError
from flexllm_core.results import ChatCompletionResult, StreamEvent, Usage
from flexllm_providers.retry import RetryPolicy
from flexllm_providers.vendor_clients import OpenAIClient

HI = [{"role": "user", "content": "hi"}]
AT_ONCE = RetryPolicy(base=0.0)


def client(transport: Any, **settings: Any) -> OpenAIClient:
    """A client of one endpoint, whose retries do not wait."""
    return OpenAIClient("m", "http://h/v1", "my-key", transport=transport, retry_policy=AT_ONCE, **settings)


async def wait_until_closed(transport: Any) -> None:
    """Give the portal's loop a moment to close the last stream."""
    for _ in range(1000):
        if transport.streams[-1].closed:
            return
        await asyncio.sleep(0.005)


async def test_chat_completions_gives_text_or_the_result(fake_transport: Any, answers: Any) -> None:
    """By its flags, and typed accordingly."""
    model = client(fake_transport(answers.chat("Hello")))
    assert_type(await model.chat_completions("hi"), str)
    assert_type(await model.chat_completions("hi", return_usage=True), ChatCompletionResult)
    assert_type(await model.chat_completions("hi", return_raw=True), ChatCompletionResult)
    flag = bool(answers)
    assert_type(await model.chat_completions("hi", return_usage=flag), str | ChatCompletionResult)
    assert await model.chat_completions("hi") == "Hello"
    usage = await model.chat_completions("hi", return_usage=True)
    assert (usage.content, usage.usage, usage.raw) == ("Hello", Usage(9, 3, 12), None)
    raw = await model.chat_completions("hi", return_raw=True)
    assert raw.data["id"] == "c-1"


def test_the_sync_method_has_the_same_types(fake_transport: Any, answers: Any) -> None:
    """Overload for overload."""
    model = client(fake_transport(answers.chat("Hello")))
    assert_type(model.chat_completions_sync("hi"), str)
    assert_type(model.chat_completions_sync("hi", return_usage=True), ChatCompletionResult)
    assert_type(model.chat_completions_sync("hi", return_raw=True), ChatCompletionResult)
    flag = bool(answers)
    assert_type(model.chat_completions_sync("hi", return_raw=flag), str | ChatCompletionResult)
    assert model.chat_completions_sync("hi") == "Hello"
    assert model.chat_completions_sync("hi", return_usage=True).usage == Usage(9, 3, 12)
    assert model.chat_completions_sync("hi", return_raw=True).raw["id"] == "c-1"


async def test_sync_and_async_ask_and_answer_the_same(fake_transport: Any, answers: Any) -> None:
    """Request for request and result for result; inside a running loop too."""
    transport = fake_transport(answers.chat("Hello"))
    model = client(transport)
    options: dict[str, Any] = {"temperature": 0.5, "max_tokens": 5, "extra_headers": {"x-a": "b"}, "model": "other"}
    asynchronous = await model.chat(HI, **options)
    synchronous = model.chat_sync(HI, **options)
    for result in (asynchronous, synchronous):
        result.latency = None
    assert synchronous == asynchronous
    assert transport.requests[0] == transport.requests[1]
    assert transport.bodies[0] == {"model": "other", "messages": HI, "temperature": 0.5, "max_tokens": 5}
    assert transport.loops[0] is asyncio.get_running_loop()
    assert transport.loops[1] is not transport.loops[0]


async def test_sync_and_async_streams_give_the_same(fake_transport: Any, answers: Any) -> None:
    """Events and texts."""
    model = client(fake_transport(answers.stream("Hel", "lo")))
    asynchronous = [event async for event in model.chat_stream(HI)]
    synchronous = list(model.chat_stream_sync(HI))
    assert synchronous[:-1] == asynchronous[:-1] == [StreamEvent("content", "Hel"), StreamEvent("content", "lo")]
    for last in (synchronous[-1], asynchronous[-1]):
        assert last.result is not None
        assert (last.result.content, last.result.usage) == ("Hello", Usage(9, 3, 12))
    assert [text async for text in model.chat_completions_stream(HI)] == ["Hel", "lo"]
    texts: Iterator[str] = model.chat_completions_stream_sync(HI)
    assert list(texts) == ["Hel", "lo"]


async def test_sync_calls_work_inside_a_running_loop(fake_transport: Any, answers: Any) -> None:
    """In a notebook's cell; closing there too, after async use."""
    transport = fake_transport(answers.chat("Hello"), answers.chat("again"))
    model = client(transport)
    assert await model.chat_completions("hi") == "Hello"
    assert model.chat_completions_sync("hi") == "again"
    model.close()
    await asyncio.sleep(0.05)
    assert asyncio.get_running_loop() in transport.closed_in
    assert len(transport.closed_in) == 2


def test_a_client_needs_no_context_manager(fake_transport: Any, answers: Any) -> None:
    """As the user's documents show."""
    model = client(fake_transport(answers.chat("Hello")))
    assert model.chat_completions_sync([{"role": "user", "content": "Hello!"}]) == "Hello"


async def test_context_managers_close(fake_transport: Any, answers: Any) -> None:
    """`async with`, and `with` for the sync methods; after an error too."""
    transport = fake_transport(answers.chat())
    async with client(transport) as model:
        await model.chat("hi")
    assert len(transport.closed_in) == 1

    def use() -> None:
        with client(transport) as model:
            model.chat_sync("hi")
            raise KeyError

    with pytest.raises(KeyError):
        use()
    assert len(transport.closed_in) == 2


async def test_a_stream_that_is_left_early_closes_its_connection(fake_transport: Any, answers: Any) -> None:
    """With `aclose`, for events and for texts, before it returns."""
    transport = fake_transport(answers.stream(*"abcdef"))
    model = client(transport)
    streams: list[AsyncGenerator[Any, None]] = [model.chat_stream(HI), model.chat_completions_stream(HI)]
    for stream in streams:
        await anext(stream)
        await stream.aclose()
        assert transport.streams[-1].closed


@pytest.mark.parametrize("texts", [False, True])
async def test_a_sync_stream_that_is_left_early_closes_its_connection(
    fake_transport: Any, answers: Any, texts: bool
) -> None:
    """By `break`, even where the server would send nothing more."""
    status, headers, pieces = answers.stream("a", end=False)
    transport = fake_transport((status, headers, [*pieces, None]))
    model = client(transport)
    for _ in model.chat_completions_stream_sync(HI) if texts else model.chat_stream_sync(HI):
        break
    await wait_until_closed(transport)
    assert transport.streams[-1].closed


def test_a_sync_stream_gives_each_piece_when_it_comes(fake_transport: Any, answers: Any) -> None:
    """It does not wait for the end."""
    status, headers, pieces = answers.stream("a", end=False)
    transport = fake_transport((status, headers, [*pieces, None]))
    stream = client(transport).chat_completions_stream_sync(HI)
    started = time.monotonic()
    assert next(stream) == "a"
    assert time.monotonic() - started < 20
    stream.close()  # type: ignore[attr-defined]


async def test_a_stream_is_retried_before_its_first_event(fake_transport: Any, answers: Any) -> None:
    """Three 500s and then an answer: four requests, no error."""
    failure = answers.json({"error": {"message": "x"}}, 500)
    transport = fake_transport(failure, failure, failure, answers.stream("Hi"))
    model = client(transport, retry_times=3)
    events = [event async for event in model.chat_stream(HI)]
    assert [event.text for event in events] == ["Hi", ""]
    assert len(transport.requests) == 4
    assert events[-1].result is not None
    assert events[-1].result.attempts == 4


@pytest.mark.parametrize("retry_times", [0, 1, 3])
def test_retry_times_is_obeyed_by_calls_and_streams(fake_transport: Any, answers: Any, retry_times: int) -> None:
    """The error says how many requests were sent."""
    for streamed in (False, True):
        transport = fake_transport(answers.json({"error": {"message": "x"}}, 500))
        model = client(transport, retry_times=retry_times)
        with pytest.raises(ServerError) as caught:
            list(model.chat_stream_sync(HI)) if streamed else model.chat_sync(HI)
        assert len(transport.requests) == caught.value.attempts == retry_times + 1


async def test_default_params_and_their_overrides(fake_transport: Any, answers: Any) -> None:
    """The endpoint's params go with every call; the call's own win."""
    transport = fake_transport(answers.chat())
    model = client(transport, temperature=1, params={"seed": 5})
    await model.chat("hi")
    await model.chat("hi", temperature=0, stop=["x"], seed=None)
    assert [{k: v for k, v in body.items() if k not in ("model", "messages")} for body in transport.bodies] == [
        {"temperature": 1.0, "seed": 5},
        {"temperature": 0.0, "seed": 5, "stop": ["x"]},
    ]


async def test_one_setting_has_one_fingerprint_wherever_it_was_written(fake_transport: Any) -> None:
    """In a file as 1, in a call as 1.0, or as a default and not at all."""
    prints = {
        client(fake_transport(), temperature=1).request("hi").fingerprint(),
        client(fake_transport(), params={"temperature": 1, "seed": None}).request("hi").fingerprint(),
        client(fake_transport()).request("hi", temperature=1).fingerprint(),
        client(fake_transport()).request("hi", temperature=1.0, seed=None).fingerprint(),
    }
    assert len(prints) == 1


@pytest.mark.parametrize(
    ("messages", "options", "error"),
    [
        ([], {}, InputError),
        ([{"role": "robot", "content": "x"}], {}, InputError),
        ("hi", {"temprature": 1}, ConfigError),
        ("hi", {"thinking": "hard"}, ConfigError),
        ("hi", {"extra_headers": {"a": 1}}, ConfigError),
    ],
)
async def test_a_mistake_is_told_before_anything_is_sent(
    fake_transport: Any, messages: Any, options: dict[str, Any], error: type[Exception]
) -> None:
    """By every method."""
    transport = fake_transport(KeyError("sent"))
    model = client(transport)
    with pytest.raises(error):
        await model.chat(messages, **options)
    with pytest.raises(error):
        await model.chat_completions(messages, **options)
    with pytest.raises(error):
        [event async for event in model.chat_stream(messages, **options)]
    with pytest.raises(error):
        model.chat_sync(messages, **options)
    with pytest.raises(error):
        list(model.chat_completions_stream_sync(messages, **options))
    assert transport.requests == []


async def test_an_answer_of_tool_calls_has_no_text(fake_transport: Any, answers: Any) -> None:
    """An empty text, and the calls in the result."""
    call = {"id": "1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    transport = fake_transport(answers.json({"choices": [{"message": {"content": None, "tool_calls": [call]}}]}))
    model = client(transport)
    assert await model.chat_completions("hi") == ""
    first = await model.chat("hi")
    assert first.assistant_message is not None
    await model.chat([*HI, first.assistant_message, {"role": "tool", "tool_call_id": "1", "content": "4"}])
    assert transport.bodies[-1]["messages"][1] == {"role": "assistant", "content": None, "tool_calls": [call]}


def test_the_key_comes_from_the_environment_of_its_vendor(
    fake_transport: Any, answers: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And to no other host."""
    monkeypatch.setenv("OPENAI_API_KEY", "key-of-openai")
    for base_url, header in ((None, "Bearer key-of-openai"), ("http://h/v1", "Bearer EMPTY")):
        transport = fake_transport(answers.chat())
        OpenAIClient("m", base_url, transport=transport).chat_sync("hi")
        assert transport.requests[0].headers["authorization"] == header


@pytest.mark.parametrize("settings", [{"tiemout": 5}, {"timeout": 0}, {"base_url": "h"}, {"dialect": {"kind": "x"}}])
def test_a_wrong_setting_is_a_config_error(settings: dict[str, Any]) -> None:
    """When the client is made."""
    with pytest.raises(ConfigError):
        OpenAIClient("m", **settings)


def test_errors_come_out_of_sync_calls_as_they_are(fake_transport: Any, answers: Any) -> None:
    """Typed, not wrapped."""
    model = client(fake_transport(answers.json({"error": {"message": "bad"}}, 400)))
    with pytest.raises(LLMRequestError, match="HTTP 400: bad"):
        model.chat_completions_sync("hi")


@pytest.mark.parametrize("duplicate", [pickle.dumps, copy.copy, copy.deepcopy])
def test_a_client_says_that_it_cannot_be_copied(duplicate: Any, fake_transport: Any) -> None:
    """As an argument of a worker process, for instance; its endpoint can be, and makes another one."""
    model = client(fake_transport())
    with pytest.raises(TypeError, match="OpenAIClient holds connections"):
        duplicate(model)
    assert duplicate(model.endpoint)
