"""Streams: the events and the whole answer, or an error; never a part of an answer as the whole."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flexllm_core.errors import (
    LLMRequestError,
    LLMResponseError,
    QuotaExceededError,
    RateLimitError,
    ServerError,
)
from flexllm_core.requests import ChatRequest
from flexllm_core.results import StreamEvent, Usage
from flexllm_providers.openai.stream import OpenAIStreamDecoder
from flexllm_providers.sse import SSEParser

HEAD = {"id": "c-1", "object": "chat.completion.chunk", "created": 1, "model": "m-real"}
STOP = {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}
USAGE = {"prompt_tokens": 9, "completion_tokens": 3, "total_tokens": 12}
DONE = "[DONE]"


def chunk(finish_reason: Any = None, index: Any = 0, **delta: Any) -> dict[str, Any]:
    """One chunk with this delta."""
    return {**HEAD, "choices": [{"index": index, "delta": delta, "finish_reason": finish_reason}]}


def refuse(wire: Any, *chunks: Any) -> LLMRequestError:
    """The error of a stream."""
    with pytest.raises(LLMRequestError) as caught:
        wire.events(*chunks)
    return caught.value


PLAIN = (
    {**chunk(role="assistant", content=""), "usage": None},
    chunk(reasoning_content="think"),
    chunk(content="Hi"),
    {**chunk(content=" there"), "obfuscation": "xyz"},
    chunk("stop"),
    {**HEAD, "choices": [], "usage": USAGE},
    DONE,
)


def test_the_documented_stream(wire: Any) -> None:
    """Reasoning, text, finish, usage, [DONE]: the events as they come, and the whole answer at the end."""
    events, result = wire.answer(*PLAIN)
    assert events == [
        StreamEvent("reasoning", "think"),
        StreamEvent("content", "Hi"),
        StreamEvent("content", " there"),
    ]
    assert (result.content, result.reasoning_content, result.finish_reason) == ("Hi there", "think", "stop")
    assert (result.model, result.response_id, result.endpoint, result.provider) == ("m-real", "c-1", "e", "openai")
    assert result.usage == Usage(9, 3, 12)
    assert result.assistant_message == {"role": "assistant", "content": "Hi there", "reasoning_content": "think"}
    assert result.raw is None


def test_raw_is_kept_when_asked(wire: Any) -> None:
    """In the form of an answer without streaming."""
    _, result = wire.answer(*PLAIN, keep_raw=True)
    choice = {
        "index": 0,
        "message": {"role": "assistant", "content": "Hi there", "reasoning_content": "think"},
        "finish_reason": "stop",
    }
    assert result.raw == {"id": "c-1", "model": "m-real", "usage": USAGE, "choices": [choice]}


@pytest.mark.parametrize(
    "chunks",
    [
        (chunk(content="Hi"), chunk("stop"), {"choices": [], "usage": USAGE}, DONE),
        (chunk(content="Hi"), {**chunk("stop"), "usage": USAGE}, DONE),
        (chunk("stop", content="Hi"), {"choices": [], "usage": USAGE}),
        (chunk(content="Hi"), {"usage": USAGE}, DONE),
        ({**chunk(content="Hi"), "usage": {"prompt_tokens": 9}}, {**chunk("stop"), "usage": USAGE}),
        (chunk(content="Hi"), {**chunk("stop"), "usage": USAGE}, {"choices": [], "usage": None}, {"usage": {}}, DONE),
        (chunk(content="Hi"), {"choices": None, "usage": USAGE}, chunk("stop"), DONE, chunk(content="ignored")),
        ("", " ", chunk(content="Hi"), {}, {"choices": []}, {"choices": [None, 5]}, {**chunk("stop"), "usage": USAGE}),
    ],
)
def test_the_end_in_every_form(wire: Any, chunks: tuple[Any, ...]) -> None:
    """Usage behind, with or before the finish, on every chunk (the last counts); with and without [DONE]."""
    events, result = wire.answer(*chunks)
    assert events == [StreamEvent("content", "Hi")]
    assert (result.content, result.usage) == ("Hi", Usage(9, 3, 12))


def test_without_usage_it_is_unknown(wire: Any) -> None:
    """Not 0."""
    assert wire.answer(chunk(content="Hi"), chunk("stop"), DONE)[1].usage is None


@pytest.mark.parametrize("key", ["reasoning_content", "reasoning"])
def test_reasoning_in_either_place_goes_back_as_it_came(wire: Any, key: str) -> None:
    """With its opaque details."""
    details: list[dict[str, Any]] = [
        {"type": "reasoning.text", "text": "th", "index": 0},
        {"type": "reasoning.text", "text": "ink"},
    ]
    chunks = [chunk(**{key: d["text"], "reasoning_details": [d]}) for d in details]
    events, result = wire.answer(*chunks, chunk(content="Hi"), chunk("stop"))
    assert [event.text for event in events if event.type == "reasoning"] == ["th", "ink"]
    assert result.reasoning_content == "think"
    message = {"role": "assistant", "content": "Hi", key: "think", "reasoning_details": details}
    assert result.assistant_message == message


def test_further_choices_do_not_mix_into_the_first(wire: Any) -> None:
    """With n above 1 the stream is the first choice's."""
    events, _ = wire.answer(
        chunk(content="a"), chunk(index=1, content="b"), chunk(index=None, content="c"), chunk("stop")
    )
    assert [event.text for event in events] == ["a", "c"]


def test_content_in_parts(wire: Any) -> None:
    """As some servers stream it."""
    parts = [{"type": "text", "text": "H"}, {"type": "text", "text": "i"}]
    events, result = wire.answer(chunk(content=parts), chunk(content=[]), chunk("stop"))
    assert events == [StreamEvent("content", "Hi")]
    assert result.content == "Hi"


def test_a_refusal_is_shown(wire: Any) -> None:
    """As the answer, with its reason."""
    events, result = wire.answer(chunk(refusal="I can"), chunk(refusal="not"), chunk("stop"))
    assert "".join(event.text for event in events) == "I cannot"
    assert (result.content, result.finish_reason) == ("I cannot", "content_filter")


def test_think_tags_are_told_apart_while_streaming(wire: Any) -> None:
    """Where the dialect says so: the live display shows no tags, and the same as the result."""
    pieces = ["<thi", "nk>wh", "y</th", "ink>\n", "\nHi", " there"]
    events, result = wire.answer(
        *[chunk(content=piece) for piece in pieces], chunk("stop"), dialect={"think_tags": True}
    )
    shown = {kind: "".join(event.text for event in events if event.type == kind) for kind in ("reasoning", "content")}
    assert shown == {"reasoning": "why", "content": "Hi there"}
    assert (result.reasoning_content, result.content) == ("why", "Hi there")
    assert wire.answer(*[chunk(content=piece) for piece in pieces], chunk("stop"))[1].content == "".join(pieces)


def test_an_answer_without_tags_is_whole_too(wire: Any) -> None:
    """It is held until its end, for a closing tag could still come."""
    events, result = wire.answer(
        chunk(content="Hi"), chunk(content=" there"), chunk("stop"), dialect={"think_tags": True}
    )
    assert ("".join(event.text for event in events), result.content) == ("Hi there", "Hi there")


@pytest.mark.parametrize(
    ("chunks", "cls", "kind"),
    [
        ([{"error": {"message": "x", "code": 429}}], RateLimitError, "overload"),
        ([{"error": {"message": "x", "code": 502}}], ServerError, "transient"),
        ([{"error": {"message": "x", "type": "overloaded_error"}}], LLMResponseError, "overload"),
        ([{"error": {"message": "x", "code": "insufficient_quota"}}], QuotaExceededError, "refused"),
        ([{"error": "boom"}], LLMResponseError, "transient"),
        ([{"object": "error", "message": "x", "code": 503}], ServerError, "overload"),
        ([{"choices": [{"index": 0, "error": {"code": 502, "message": "x"}, "delta": {}}]}], ServerError, "transient"),
        ([chunk("error")], LLMResponseError, "transient"),
        ([chunk("abort")], LLMResponseError, "transient"),
        (["not json"], LLMResponseError, "transient"),
        (["[1]"], LLMResponseError, "transient"),
        (['{"choices": [{"del'], LLMResponseError, "transient"),
        ([chunk(content={"a": 1}), STOP], LLMResponseError, "transient"),
        ([chunk(content=5), STOP], LLMResponseError, "transient"),
        ([chunk(tool_calls=["f"]), STOP], LLMResponseError, "transient"),
        ([chunk(tool_calls=[{"index": 0, "function": {"arguments": "{}"}}]), STOP], LLMResponseError, "transient"),
    ],
)
def test_an_error_in_the_middle_is_an_error(wire: Any, chunks: list[Any], cls: type[Exception], kind: str) -> None:
    """However much text came before."""
    for before in ((), (chunk(content="half an ans"),)):
        error = refuse(wire, *before, *chunks, DONE)
        assert type(error) is cls
        assert (error.kind, error.endpoint, error.model) == (kind, "e", "m")


@pytest.mark.parametrize("end", [(), (chunk(""),), (chunk("null"),), (chunk(5),), ({"choices": [], "usage": USAGE},)])
def test_a_stream_that_just_ends_was_cut(wire: Any, end: tuple[Any, ...]) -> None:
    """Neither a finish_reason nor [DONE]: an error that may be tried again, not a short answer."""
    error = refuse(wire, chunk(content="half an ans"), *end)
    assert (type(error), error.kind, error.retryable) == (LLMResponseError, "transient", True)
    assert "truncated" in str(error)


@pytest.mark.parametrize("chunks", [(STOP,), (DONE,), (chunk("stop", content=""), DONE), (chunk(reasoning="x"), STOP)])
def test_a_stream_without_an_answer_is_suspicious(wire: Any, chunks: tuple[Any, ...]) -> None:
    """As it is without streaming."""
    assert refuse(wire, *chunks).kind == "suspicious"


def test_an_echoed_key_is_masked(wire: Any) -> None:
    """In errors inside the stream too."""
    error = refuse(wire, {"error": {"message": f"wrong key {wire.KEY}", "code": wire.KEY}})
    assert wire.KEY not in f"{error} {vars(error)}"


CALLS = (
    chunk(tool_calls=[{"index": 0, "id": "a", "function": {"name": "f", "arguments": '{"x":'}}]),
    chunk(tool_calls=[{"index": 0, "function": {"arguments": "1}"}}]),
)


@pytest.fixture(scope="session")
def whole_body(wire: Any) -> bytes:
    """A stream with everything in it."""
    body: bytes = wire.sse(*PLAIN[:3], *CALLS, *PLAIN[3:])
    return body


def test_any_cut_gives_the_whole_answer_or_an_error(wire: Any, whole_body: bytes) -> None:
    """At every byte: an error up to the finish_reason, and from there on the answer that was paid for."""
    whole = wire.events(whole_body)[-1].result
    finish = b'"finish_reason": "stop"}]}'
    finished = whole_body.index(finish) + len(finish)
    for cut in range(finished):
        with pytest.raises(LLMResponseError) as caught:
            wire.events(whole_body[:cut])
        assert caught.value.retryable
    for cut in range(finished, len(whole_body) + 1):
        result = wire.events(whole_body[:cut])[-1].result
        assert (result.content, result.reasoning_content) == (whole.content, whole.reasoning_content)
        assert (result.tool_calls, result.finish_reason) == (whole.tool_calls, "stop")
        assert result.usage in (None, whole.usage)


@given(st.lists(st.integers(0, 2000), max_size=12))
def test_any_split_gives_the_same_events(wire: Any, whole_body: bytes, cuts: list[int]) -> None:
    """However the network cuts the body."""
    edges = [0, *sorted(min(cut, len(whole_body)) for cut in cuts), len(whole_body)]
    pieces = [whole_body[start:end] for start, end in pairwise(edges)]
    assert wire.events(*pieces) == wire.events(whole_body)


@pytest.mark.parametrize("number", range(1, len(PLAIN) + 1))
def test_finished_says_when_nothing_can_be_lost_any_more(wire: Any, number: int) -> None:
    """From the finish_reason on."""
    decoder = OpenAIStreamDecoder(ChatRequest([], "m"), wire.target(), 0.0)
    for event in SSEParser().feed(wire.sse(*PLAIN[:number])):
        decoder.feed(event)
    assert decoder.finished == (number >= 5)
