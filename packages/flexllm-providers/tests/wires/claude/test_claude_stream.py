"""Streams: the events and the whole answer, or an error; never a part of an answer as the whole."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flexllm_core.errors import (
    AuthenticationError,
    LLMRequestError,
    LLMResponseError,
    QuotaExceededError,
    RateLimitError,
    ServerError,
)
from flexllm_core.json_codec import encode_json
from flexllm_core.requests import ChatRequest
from flexllm_core.results import StreamEvent, ToolCall, Usage
from flexllm_providers.claude.stream import ClaudeStreamDecoder
from flexllm_providers.sse import SSEParser

START = {"type": "message_start", "message": {"id": "msg_1", "model": "m-real", "content": [], "stop_reason": None}}
END = {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"input_tokens": 3, "output_tokens": 2}}
STOP = {"type": "message_stop"}
PING = {"type": "ping"}


def begin(index: Any = 0, kind: str = "text", **more: Any) -> dict[str, Any]:
    """The start of a content block."""
    return {"type": "content_block_start", "index": index, "content_block": {"type": kind, **more}}


def delta(kind: str, index: Any = 0, **more: Any) -> dict[str, Any]:
    """A delta of a content block."""
    return {"type": "content_block_delta", "index": index, "delta": {"type": kind, **more}}


def text(*fragments: str) -> list[dict[str, Any]]:
    """A block of text."""
    return [
        begin(text=""),
        *(delta("text_delta", text=each) for each in fragments),
        {"type": "content_block_stop", "index": 0},
    ]


def test_the_documented_stream(wire: Any) -> None:
    """Thinking, text and a call: the events as they come, and the whole answer at the end."""
    events, result = wire.answer(wire.data("stream.sse"))
    call = ToolCall("toolu_C", "tide_table", '{"town":"Brest","days":2}')
    assert events == [
        StreamEvent("reasoning", "the "),
        StreamEvent("reasoning", "tide"),
        StreamEvent("content", "À "),
        StreamEvent("content", "Brest 🌊"),
        StreamEvent("tool_call", tool_call=call),
    ]
    assert (result.content, result.reasoning_content, result.tool_calls) == ("À Brest 🌊", "the tide", (call,))
    assert (result.finish_reason, result.model, result.response_id) == ("tool_calls", "claude-opus-5-5", "msg_04")
    assert result.usage == Usage(55, 60, 115, cached_tokens=40, cache_write_tokens=3, reasoning_tokens=9)
    assert result.raw is None


def test_the_streamed_answer_is_the_same_as_a_whole_one(wire: Any) -> None:
    """Block for block and byte for byte, so that it can go back and be kept as raw."""
    _, result = wire.answer(wire.data("stream.sse"), request=ChatRequest([], "claude-opus-5-5", keep_raw=True))
    whole = wire.read(result.raw, ChatRequest([], "claude-opus-5-5", keep_raw=True))
    assert whole == result
    blocks = result.assistant_message["claude_message"]["content"]
    assert [block["type"] for block in blocks] == ["thinking", "redacted_thinking", "text", "tool_use"]
    assert blocks[0] == {"type": "thinking", "thinking": "the tide", "signature": "EpMB/é=="}
    assert blocks[2]["citations"][0]["cited_text"] == "Brest"
    messages = [
        {"role": "user", "content": "?"},
        result.assistant_message,
        {"role": "tool", "tool_call_id": "toolu_C", "content": "x"},
    ]
    assert encode_json({"role": "assistant", "content": blocks}) in wire.encode(messages).body


def test_cut_anywhere_it_is_whole_or_an_error(wire: Any) -> None:
    """At every byte of the documented stream, and finished says so beforehand."""
    body = wire.data("stream.sse")
    _, whole = wire.answer(body)
    finished = 0
    for end in range(len(body) + 1):
        decoder, parser = ClaudeStreamDecoder(wire.REQUEST, wire.target(), 0.0), SSEParser()
        try:
            for event in [*parser.feed(body[:end]), *parser.close()]:
                decoder.feed(event)
            was_finished = decoder.finished
            result = decoder.close()[-1].result
        except LLMResponseError as error:
            assert (error.kind, error.endpoint) == ("transient", "e")  # noqa: PT017
            continue
        finished += 1
        assert was_finished
        assert result == whole
    assert 1 <= finished <= 4  # behind the last bracket: with and without the line ends


@given(st.data())
def test_any_split_gives_the_same(wire: Any, data: Any) -> None:
    """However the bytes arrive, with any line ends and pings anywhere."""
    body: bytes = wire.data("stream.sse")
    events = body.split(b"\n\n")
    for place in data.draw(st.lists(st.integers(0, len(events) - 1), max_size=3)):
        events.insert(place, b'event: ping\ndata: {"type":"ping"}')
    body = b"\n\n".join(events)
    if data.draw(st.booleans()):
        body = body.replace(b"\n", b"\r\n")
    places = sorted(data.draw(st.lists(st.integers(0, len(body)), max_size=6)))
    pieces = [body[a:b] for a, b in zip([0, *places], [*places, len(body)], strict=True)]
    assert wire.events(*pieces) == wire.events(wire.data("stream.sse"))


@pytest.mark.parametrize(
    "chunks",
    [
        [START, *text("H", "i"), END, STOP],
        [START, PING, *text("Hi"), PING, END, PING, STOP, PING],
        [START, *text("Hi"), END, STOP, {"type": "error", "error": {"type": "overloaded_error"}}],
        [START, begin(text="H"), delta("text_delta", text="i"), END, STOP],
        [START, begin(text="Hi"), END, STOP],
        [START, *text("Hi", ""), {"type": "new_event", "x": 1}, delta("new_delta", x=1), END, STOP],
        [START, *text("Hi"), END, {"type": "message_delta", "delta": {"stop_reason": None}, "usage": None}, STOP],
        [START, *text("Hi"), END, STOP, b"data: [DONE]\n\n"],
        [START, begin(5, text=""), delta("text_delta", 5, text="Hi"), END, STOP],
        [START, begin(text=""), delta("text_delta", text=None), delta("text_delta", text="Hi"), END, STOP],
    ],
)
def test_what_servers_may_do_otherwise(wire: Any, chunks: list[Any]) -> None:
    """Pings anywhere, unknown events and deltas, no stops of blocks, a text in the start, things behind the end."""
    events, result = wire.answer(*chunks)
    assert "".join(event.text for event in events) == "Hi"
    assert (result.content, result.finish_reason, result.usage) == ("Hi", "stop", Usage(3, 2, 5))
    assert (result.model, result.response_id) == ("m-real", "msg_1")


@pytest.mark.parametrize(
    "chunks",
    [
        [],
        [START],
        [START, *text("Hi")],
        [START, *text("Hi"), END],
        [START, *text("Hi"), STOP],
        [START, *text("Hi"), {**END, "delta": {"stop_reason": ""}}, STOP],
        [*text("Hi"), END, STOP],
        [END, STOP],
        [STOP],
        [START, START, *text("Hi"), END, STOP],
        [{"type": "message_start"}, *text("Hi"), END, STOP],
        [START, delta("text_delta", text="Hi"), END, STOP],
        [START, begin(text=""), delta("text_delta", 1, text="Hi"), END, STOP],
        [START, begin("0", text=""), END, STOP],
        [START, begin(text=""), delta("text_delta", text=5), END, STOP],
        [START, begin(text=""), delta("text_delta", text="a"), delta("input_json_delta", partial_json="b"), END, STOP],
        [START, {"type": "content_block_start", "index": 0}, END, STOP],
        [START, *text("Hi"), b"data: {oops\n\n", END, STOP],
        [START, *text("Hi"), b"data: [1]\n\n", END, STOP],
    ],
)
def test_a_stream_that_is_not_whole_is_an_error(wire: Any, chunks: list[Any]) -> None:
    """Cut, out of order or unreadable: to be asked again, and never the part that came."""
    error = wire.cut(*chunks)
    assert type(error) is LLMResponseError
    assert (error.kind, error.retryable, error.endpoint, error.model) == ("transient", True, "e", "claude-opus-5-5")


@pytest.mark.parametrize(
    ("error", "cls", "kind"),
    [
        ({"type": "overloaded_error", "message": "busy"}, ServerError, "overload"),
        ({"type": "rate_limit_error", "message": "slow"}, RateLimitError, "overload"),
        (
            {"type": "rate_limit_error", "message": "-", "details": {"error_code": "enforced_spend_limit_reached"}},
            QuotaExceededError,
            "refused",
        ),
        ({"type": "api_error", "message": "broken"}, ServerError, "transient"),
        ({"type": "timeout_error", "message": "late"}, ServerError, "transient"),
        ({"type": "authentication_error", "message": "key"}, AuthenticationError, "refused"),
        ({"type": "something_new", "message": "?"}, LLMResponseError, "transient"),
        ({}, LLMResponseError, "transient"),
        ("text", LLMResponseError, "transient"),
    ],
)
@pytest.mark.parametrize("before", [[], [START, *text("Hi")], [START, *text("Hi"), END]])
def test_an_error_in_the_middle_is_that_error(wire: Any, error: Any, cls: type, kind: str, before: list[Any]) -> None:
    """By its type, wherever it comes before the end; with the id that it names."""
    data = {"type": "error", "error": error, "request_id": "req_9"}
    caught = wire.cut(*before, b"event: error\ndata: " + encode_json(data) + b"\n\n", END, STOP)
    assert (type(caught), caught.kind, caught.endpoint) == (cls, kind, "e")
    if cls is not LLMResponseError:
        assert caught.request_id == "req_9"
        assert "inside HTTP 200" in str(caught)


def test_arguments_that_are_no_json_stay_as_written(wire: Any) -> None:
    """As when the limit cut them: the text in the call, wrapped for the next turn."""
    chunks = [
        START,
        begin(kind="tool_use", id="a", name="f", input={}),
        delta("input_json_delta", partial_json='{"town": "Br'),
        {**END, "delta": {"stop_reason": "max_tokens"}},
        STOP,
    ]
    _, result = wire.answer(*chunks)
    assert result.tool_calls == (ToolCall("a", "f", '{"town": "Br'),)
    assert result.finish_reason == "length"
    [block] = result.assistant_message["claude_message"]["content"]
    assert block["input"] == {"INVALID_JSON": '{"town": "Br'}
    turns = wire.body([{"role": "user", "content": "?"}, result.assistant_message, {"role": "user", "content": "!"}])
    assert turns["messages"][1]["content"] == [block]


def test_an_input_that_came_with_its_start(wire: Any) -> None:
    """Servers that do not stream arguments send them at once."""
    _, result = wire.answer(START, begin(kind="tool_use", id="a", name="f", input={"x": 1}), END, STOP)
    assert result.tool_calls == (ToolCall("a", "f", '{"x":1}'),)


def test_a_refusal_shows_its_explanation(wire: Any) -> None:
    """What the result holds has been shown."""
    refusal = {
        **END,
        "delta": {"stop_reason": "refusal", "stop_details": {"type": "refusal", "explanation": "A policy."}},
    }
    events, result = wire.answer(START, refusal, STOP)
    assert events == [StreamEvent("content", "A policy.")]
    assert (result.content, result.finish_reason) == ("A policy.", "content_filter")
    events, result = wire.answer(START, *text("So"), refusal, STOP)
    assert (events, result.content) == ([StreamEvent("content", "So")], "So")


def test_an_empty_stream_is_suspicious(wire: Any) -> None:
    """It is whole, but says nothing."""
    error = wire.cut(START, END, STOP)
    assert isinstance(error, LLMRequestError)
    assert error.kind == "suspicious"
