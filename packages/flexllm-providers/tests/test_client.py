"""ProviderClient: one endpoint over a transport that answers from a script."""

from __future__ import annotations

import asyncio
import gc
import logging
import traceback
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from typing import Any

import httpx
import pytest

from flexllm_core.endpoint import endpoint_from
from flexllm_core.errors import (
    AuthenticationError,
    BadRequestError,
    ConfigError,
    LLMConnectionError,
    LLMRequestError,
    LLMResponseError,
    LLMTimeoutError,
    RateLimitError,
    ServerError,
)
from flexllm_core.protocol import ChatModel
from flexllm_core.requests import ChatRequest
from flexllm_core.results import StreamEvent, ToolCall, Usage
from flexllm_providers.client import MAX_ERROR_BODY, ProviderClient
from flexllm_providers.wires import find_wire

KEY = "s3cret-key-000000"
REQUEST = ChatRequest([{"role": "user", "content": "hi"}], "m", {"temperature": 0.5})
RESET = LLMConnectionError("connection reset", endpoint="http://h")


def client(transport: Any, **more: Any) -> ProviderClient:
    """A client of an endpoint called `e`."""
    data = {"name": "e", "base_url": "http://h/v1", "api_key": KEY, "model": "own", **more}
    return ProviderClient(endpoint_from(data), transport=transport)


async def collect(model: ChatModel, request: ChatRequest = REQUEST) -> list[StreamEvent]:
    """All events of a stream."""
    async with aclosing(model.stream(request)) as events:
        return [event async for event in events]


async def fail(transport: Any, streamed: bool, **more: Any) -> LLMRequestError:
    """The error of a call."""
    model = client(transport, **more)
    with pytest.raises(LLMRequestError) as caught:
        await (collect(model) if streamed else model.complete(REQUEST))
    return caught.value


async def test_a_call_is_encoded_sent_and_decoded(fake_transport: Any, answers: Any) -> None:
    """The wire's request goes out, the wire's result comes back, with the time that it took."""
    transport = fake_transport(answers.chat("Hello"))
    result = await client(transport).complete(REQUEST)
    assert (result.content, result.model, result.endpoint, result.attempts) == ("Hello", "m-real", "e", 1)
    assert result.usage == Usage(9, 3, 12)
    assert result.latency is not None
    assert result.latency >= 0
    assert transport.requests[0].url == "http://h/v1/chat/completions"
    assert transport.requests[0].headers["authorization"] == f"Bearer {KEY}"
    assert transport.bodies == [{"model": "m", "messages": REQUEST.messages, "temperature": 0.5}]


async def test_it_is_a_chat_model(fake_transport: Any) -> None:
    """Whatever wraps a ChatModel can wrap it."""
    assert isinstance(client(fake_transport()), ChatModel)


@pytest.mark.parametrize(("timeout", "total"), [(None, 600.0), (7, 7.0)])
async def test_the_endpoints_timeout_is_the_total(
    fake_transport: Any, answers: Any, timeout: float | None, total: float
) -> None:
    """For calls and streams; ten minutes by default."""
    transport = fake_transport(answers.chat(), answers.stream("a"))
    model = client(transport, timeout=timeout)
    await model.complete(REQUEST)
    await collect(model)
    assert [each.total for each in transport.timeouts] == [total, total]


def test_latencies_are_the_loops(run_virtual: Callable[[Any], Any], fake_transport: Any, answers: Any) -> None:
    """The whole call's, and until the first token of a stream; usage and [DONE] are no tokens."""
    status, headers, pieces = answers.stream("a", "b")
    transport = fake_transport(
        (status, headers, [1.0, pieces[0], 2.0, *pieces[1:], 4.0]), (200, {}, [3.0, *answers.chat()[2]])
    )

    async def main() -> tuple[Any, Any]:
        model = client(transport)
        streamed = (await collect(model))[-1].result
        return streamed, await model.complete(REQUEST)

    streamed, whole = run_virtual(main())
    assert (streamed.time_to_first_token, streamed.latency) == (pytest.approx(1), pytest.approx(7))
    assert (whole.time_to_first_token, whole.latency) == (None, pytest.approx(3))


async def test_a_stream_gives_events_and_the_whole_answer(fake_transport: Any, answers: Any) -> None:
    """And the connection is free again."""
    transport = fake_transport(answers.stream("Hel", "lo"))
    *events, last = await collect(client(transport))
    assert events == [StreamEvent("content", "Hel"), StreamEvent("content", "lo")]
    assert last.result is not None
    assert (last.result.content, last.result.usage) == ("Hello", Usage(9, 3, 12))
    assert transport.bodies[0]["stream"] is True
    assert transport.streams[0].closed


@pytest.mark.parametrize("content_type", ["text/event-stream", "Text/Event-Stream; charset=utf-8", None])
async def test_a_stream_by_its_content_type(fake_transport: Any, answers: Any, content_type: str | None) -> None:
    """In any case, with parameters, or without the header."""
    _, _, pieces = answers.stream("Hi")
    headers = {"content-type": content_type} if content_type else {}
    events = await collect(client(fake_transport((200, headers, pieces))))
    assert [event.text for event in events] == ["Hi", ""]


async def test_a_server_that_refuses_stream_options_is_asked_without_them(fake_transport: Any, answers: Any) -> None:
    """Once more, and from then on; another bad request is not repeated."""
    refusal = answers.json({"error": {"message": "Unknown field: stream_options"}}, status=400)
    transport = fake_transport(refusal, answers.stream("Hi"), answers.stream("Hi"), answers.json({}, status=400))
    model = client(transport)
    for _ in range(2):
        assert (await collect(model))[0].text == "Hi"
    with pytest.raises(BadRequestError):
        await collect(model)
    assert ["stream_options" in body for body in transport.bodies] == [True, False, False, False]
    assert all(stream.closed for stream in transport.streams)


async def test_json_that_answers_a_stream_becomes_events(fake_transport: Any, answers: Any) -> None:
    """Some servers do not stream tool calls, or not at all."""
    call = {"id": "1", "function": {"name": "f", "arguments": "{}"}}
    message = {"role": "assistant", "content": "Hi", "reasoning": "why", "tool_calls": [call]}
    transport = fake_transport(answers.json({"choices": [{"message": message, "finish_reason": "tool_calls"}]}))
    *events, last = await collect(client(transport))
    assert events == [
        StreamEvent("reasoning", "why"),
        StreamEvent("content", "Hi"),
        StreamEvent("tool_call", tool_call=ToolCall("1", "f", "{}")),
    ]
    assert last.result is not None
    assert last.result.content == "Hi"
    assert transport.streams[0].closed


async def test_a_json_error_that_answers_a_stream_is_an_error(fake_transport: Any, answers: Any) -> None:
    """With status 200 too."""
    error = await fail(fake_transport(answers.json({"error": {"message": "x", "code": 429}})), True)
    assert type(error) is RateLimitError


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize(
    ("status", "cls"), [(401, AuthenticationError), (429, RateLimitError), (503, ServerError), (302, LLMRequestError)]
)
async def test_error_statuses_are_typed(
    fake_transport: Any, answers: Any, streamed: bool, status: int, cls: type[LLMRequestError]
) -> None:
    """Named with endpoint and model, with and without streaming; and the connection is free again."""
    transport = fake_transport(answers.json({"error": {"message": "no"}}, status, retry_after="7"))
    error = await fail(transport, streamed)
    assert isinstance(error, cls)
    assert (error.endpoint, error.model, error.status_code, error.retry_after) == ("e", "m", status, 7)
    assert all(stream.closed for stream in transport.streams)


async def test_only_the_beginning_of_a_streamed_error_is_read(fake_transport: Any) -> None:
    """A server cannot send errors for ever."""
    piece = b"x" * 16_384
    transport = fake_transport((500, {}, [piece] * 1000))
    await fail(transport, True)
    assert transport.streams[0].read == MAX_ERROR_BODY // len(piece)


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize("error", [RESET, LLMTimeoutError("slow"), LLMResponseError("too large")])
async def test_errors_of_the_transport_are_named(fake_transport: Any, streamed: bool, error: LLMRequestError) -> None:
    """The transport knows neither endpoint nor model."""
    assert await fail(fake_transport(error), streamed) is error
    assert (error.endpoint, error.model) == ("e", "m")


async def test_an_error_without_a_request_model_names_the_endpoints(fake_transport: Any) -> None:
    """Its own model was asked."""
    model = client(fake_transport(LLMConnectionError("x")))
    with pytest.raises(LLMConnectionError) as caught:
        await model.complete(ChatRequest([]))
    assert caught.value.model == "own"


async def test_a_stream_that_ends_early_is_an_error(fake_transport: Any, answers: Any) -> None:
    """Its events were given, its answer is none."""
    transport = fake_transport(answers.stream("Hel", end=False))
    seen = []
    events = client(transport).stream(REQUEST)
    seen.append((await anext(events)).text)
    with pytest.raises(LLMResponseError, match="truncated"):
        await anext(events)
    assert seen == ["Hel"]
    assert transport.streams[0].closed


@pytest.mark.parametrize("broken", [RESET, LLMTimeoutError("idle")])
async def test_a_connection_that_breaks_in_the_answer_is_an_error(
    fake_transport: Any, answers: Any, broken: LLMConnectionError
) -> None:
    """Named, and with its own type."""
    status, headers, pieces = answers.stream("Hel", end=False)
    assert await fail(fake_transport((status, headers, [*pieces, broken])), True) is broken
    assert (broken.endpoint, broken.model) == ("e", "m")


@pytest.mark.parametrize("kept", [2, 3, 4])
@pytest.mark.parametrize("broken", [RESET, LLMTimeoutError("idle")])
async def test_a_connection_that_breaks_after_the_answer_takes_nothing(
    fake_transport: Any, answers: Any, broken: LLMConnectionError, kept: int
) -> None:
    """The answer is whole and paid for: it is kept, with the usage where that had come."""
    status, headers, pieces = answers.stream("Hello")
    transport = fake_transport((status, headers, [*pieces[:kept], broken]))
    result = (await collect(client(transport)))[-1].result
    assert result is not None
    assert (result.content, result.finish_reason) == ("Hello", "stop")
    assert result.usage == (Usage(9, 3, 12) if kept > 2 else None)
    assert transport.streams[0].closed


async def test_closing_a_stream_early_closes_the_connection_before_it_returns(
    fake_transport: Any, answers: Any
) -> None:
    """So the server stops generating."""
    transport = fake_transport(answers.stream(*"abcdef"))
    events = client(transport).stream(REQUEST)
    assert (await anext(events)).text == "a"
    await events.aclose()
    assert transport.streams[0].closed
    assert transport.streams[0].read < 3


async def test_cancelling_a_stream_that_waits_closes_the_connection(fake_transport: Any, answers: Any) -> None:
    """In the middle of an answer."""
    status, headers, pieces = answers.stream("a", end=False)
    transport = fake_transport((status, headers, [*pieces, None]))
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05):
            await collect(client(transport))
    assert transport.streams[0].closed


async def test_nothing_is_sent_for_a_request_that_cannot_be(fake_transport: Any) -> None:
    """A thinking mode that the endpoint does not have."""
    transport = fake_transport(RESET)
    model = client(transport, dialect={"kind": "siliconflow"})
    request = ChatRequest([], "m", {"thinking": "high"})
    with pytest.raises(ConfigError, match=r"e \(siliconflow\) cannot do thinking='high'"):
        await model.complete(request)
    with pytest.raises(ConfigError):
        await collect(model, request)
    assert transport.requests == []


def test_a_provider_without_a_wire_is_a_config_error() -> None:
    """It says what there is."""
    with pytest.raises(ConfigError, match="provider 'nonesuch' is not available"):
        find_wire("nonesuch")


async def test_aclose_closes_and_the_client_can_be_used_again(fake_transport: Any, answers: Any) -> None:
    """Twice is harmless."""
    transport = fake_transport(answers.chat())
    model = client(transport)
    await model.aclose()
    assert transport.closed_in == []
    await model.complete(REQUEST)
    await model.aclose()
    await model.aclose()
    assert transport.closed_in == [asyncio.get_running_loop()]
    assert (await model.complete(REQUEST)).content == "Hi"


async def test_any_httpx_transport_can_be_given() -> None:
    """A mock, an ASGI app, a recorder."""
    seen: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        return httpx.Response(200, json={"choices": [{"message": {"content": "from httpx"}}]})

    model = client(httpx.MockTransport(answer))
    assert (await model.complete(REQUEST)).content == "from httpx"
    assert seen[0].url == "http://h/v1/chat/completions"
    await model.aclose()


ECHOES: list[Any] = [
    (401, {}, [f"wrong key {KEY}".encode()]),
    (401, {"x-request-id": KEY}, [b'{"error": {"message": "' + KEY.encode() + b'", "code": "' + KEY.encode() + b'"}}']),
    (302, {"location": f"http://evil/?key={KEY}"}, [KEY.encode()]),
    (200, {"content-type": "application/json"}, [b'{"error": "' + KEY.encode() + b'"}']),
    (200, {"content-type": "text/html"}, [f"<p>{KEY}</p>".encode()]),
    (200, {"content-type": "text/event-stream"}, [f"data: {KEY}\n\n".encode()]),
    (200, {"content-type": "text/event-stream"}, [b'data: {"error": {"message": "' + KEY.encode() + b'"}}\n\n']),
    LLMConnectionError("could not connect"),
]


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize("echo", ECHOES, ids=[str(number) for number in range(len(ECHOES))])
async def test_the_key_is_shown_nowhere(
    fake_transport: Any, echo: Any, streamed: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """Not in errors, tracebacks, reprs, logs or URLs, whatever the server echoes."""
    caplog.set_level(logging.DEBUG)
    transport = fake_transport(echo)
    error = await fail(transport, streamed, headers={"x-extra": KEY})
    chain = "".join(traceback.format_exception(error))
    shown = [str(error), repr(error), repr(vars(error)), repr(error.to_dict()), chain, caplog.text]
    model = client(transport)
    shown += [repr(model), str(model), repr(model.endpoint), repr(model.target), repr(REQUEST)]
    shown += [repr(request) + request.url for request in transport.requests]
    assert not any(KEY in text for text in shown)


async def test_an_abandoned_stream_leaves_no_noise(fake_transport: Any, answers: Any) -> None:
    """A generator that nobody closes is closed by the loop when it is collected."""
    transport = fake_transport(answers.stream(*"abc"))

    async def use() -> None:
        events: AsyncGenerator[StreamEvent, None] = client(transport).stream(REQUEST)
        await anext(events)

    await use()
    gc.collect()
    for _ in range(10):
        await asyncio.sleep(0)
    assert transport.streams[0].closed


@pytest.mark.parametrize("provider", ["openai", "claude", "gemini"])
async def test_several_answers_are_not_streamed(fake_transport: Any, provider: str) -> None:
    """All but one would be paid for and lost: refused before anything is sent."""
    transport = fake_transport()
    model = client(transport, provider=provider)
    with pytest.raises(ConfigError, match="e: n=2 cannot be streamed"):
        await collect(model, ChatRequest(REQUEST.messages, "m", {"n": 2}))
    assert transport.requests == []


@pytest.mark.parametrize("key", ["project_id", "location", "api_version"])
def test_settings_of_other_providers_are_refused(key: str) -> None:
    """Rather than ignored; the message says whose they are."""
    with pytest.raises(ConfigError, match=f"{key} is not for this provider; expected provider: .*vertex"):
        client(None, **{key: "x"})
