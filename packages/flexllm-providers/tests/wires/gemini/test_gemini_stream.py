"""Streams: the events and the whole answer, or an error; never a part of an answer as the whole."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flexllm_core.errors import (
    AuthenticationError,
    BadRequestError,
    ContentFilterError,
    LLMRequestError,
    LLMResponseError,
    RateLimitError,
    ServerError,
)
from flexllm_core.requests import ChatRequest
from flexllm_core.results import StreamEvent, ToolCall, Usage
from flexllm_providers.sse import ServerSentEvent, SSEParser

CALL = {"functionCall": {"id": "k1", "name": "f", "args": {"x": 1}}, "thoughtSignature": "c2ln"}


def refuse(wire: Any, *chunks: Any, request: ChatRequest | None = None) -> LLMRequestError:
    """The error of a stream."""
    with pytest.raises(LLMRequestError) as caught:
        wire.events(*chunks, request=request or wire.REQUEST)
    return caught.value


def test_the_documented_stream(gemini_wire: Any, examples: Any) -> None:
    """Thoughts and text as they come; at the end the whole answer, with the last usage and the signature."""
    events, result = gemini_wire.answer(*examples["stream"])
    assert events == [
        StreamEvent("reasoning", "The user "),
        StreamEvent("reasoning", "greets."),
        StreamEvent("content", "Grüß "),
        StreamEvent("content", "dich 🙂"),
    ]
    assert (result.content, result.reasoning_content, result.finish_reason) == (
        "Grüß dich 🙂",
        "The user greets.",
        "stop",
    )
    assert (result.model, result.response_id, result.provider) == ("gemini-3.7-flash", "r-18", "gemini")
    assert result.usage == Usage(6, 11, 17, reasoning_tokens=7)
    assert result.assistant_message["gemini_parts"] == [
        {"text": "The user greets.", "thought": True},
        {"text": "Grüß dich 🙂"},
        {"text": "", "thoughtSignature": "c2lnLTM="},
    ]


def test_raw_has_the_form_of_a_whole_answer(gemini_wire: Any, examples: Any) -> None:
    """So that whoever reads it need not know how it came."""
    request = ChatRequest([], "m", keep_raw=True)
    _, result = gemini_wire.answer(*examples["stream"], request=request)
    again = gemini_wire.read(result.raw)
    assert (again.content, again.usage, again.assistant_message) == (
        result.content,
        result.usage,
        result.assistant_message,
    )


def test_function_calls_come_whole_at_the_end(gemini_wire: Any) -> None:
    """Each with its signature on the message."""
    chunks = [gemini_wire.candidate(CALL, reason=None), gemini_wire.candidate({"functionCall": {"name": "g"}})]
    events, result = gemini_wire.answer(*chunks)
    calls = (ToolCall("k1", "f", '{"x":1}'), ToolCall("call_1", "g", "{}"))
    assert events == [StreamEvent("tool_call", tool_call=call) for call in calls]
    assert (result.tool_calls, result.finish_reason) == (calls, "tool_calls")
    assert result.assistant_message["gemini_parts"] == [CALL, {"functionCall": {"name": "g"}}]


def test_parts_with_other_keys_stay_apart(gemini_wire: Any) -> None:
    """Text and thoughts join with their like; whatever has more keys is kept as it came."""
    signed = {"text": "c", "thoughtSignature": "c2ln"}
    chunks = ["a", "b", signed, "d", {"text": "e", "thought": True}, {"text": "f", "thought": True}, "g"]
    _, result = gemini_wire.answer(*[gemini_wire.candidate(part) for part in chunks])
    assert result.assistant_message["gemini_parts"] == [
        {"text": "ab"},
        signed,
        {"text": "d"},
        {"text": "ef", "thought": True},
        {"text": "g"},
    ]


def test_a_cut_anywhere_is_the_whole_answer_or_an_error(gemini_wire: Any, examples: Any) -> None:
    """At every byte: never a short answer, and `finished` only once the answer is whole."""
    body = gemini_wire.sse(*examples["stream"])
    _, whole = gemini_wire.answer(body)
    wholes = 0
    for cut in range(len(body)):
        try:
            _, result = gemini_wire.answer(body[:cut])
        except LLMResponseError as error:
            assert error.kind == "transient"  # noqa: PT017
        else:
            wholes += 1
            assert result == whole
        decoder, parser = gemini_wire.decoder(), SSEParser()
        for event in parser.feed(body[:cut]):
            decoder.feed(event)
        assert decoder.finished == (cut >= len(body) - 1)
    assert wholes == 4  # the last event without its last line ends


TEXTS = st.text(st.characters(codec="utf-8"), min_size=1, max_size=4)
ANSWERS = st.lists(
    st.one_of(
        TEXTS.map(lambda text: {"text": text}),
        TEXTS.map(lambda text: {"text": text, "thought": True}),
        TEXTS.map(lambda text: {"text": text, "thoughtSignature": text}),
        TEXTS.map(lambda text: {"functionCall": {"name": text, "args": {"x": text}}}),
        st.just({"text": "", "thoughtSignature": "c2ln"}),
    ),
    min_size=1,
    max_size=6,
)


@given(ANSWERS, st.data())
def test_any_stream_cut_anywhere(gemini_wire: Any, parts: list[Any], data: st.DataObject) -> None:
    """As above for any answer in any chunks, split anywhere on the wire."""
    chunks = [gemini_wire.candidate(part, reason=None) for part in parts[:-1]]
    body = gemini_wire.sse(*chunks, gemini_wire.candidate(parts[-1]))
    cut, split = data.draw(st.integers(0, len(body))), data.draw(st.integers(0, len(body)))
    try:
        whole = gemini_wire.read(gemini_wire.candidate(*parts))
    except LLMResponseError:  # nothing but thoughts or signatures
        refuse(gemini_wire, body[:cut])
        return
    try:
        events, result = gemini_wire.answer(body[:cut][:split], body[:cut][split:])
    except LLMResponseError:
        assert cut < len(body)
        return
    assert (result.content, result.reasoning_content) == (whole.content, whole.reasoning_content)
    assert (result.tool_calls, result.finish_reason) == (whole.tool_calls, whole.finish_reason)
    shown = "".join(event.text for event in events if event.type == "content")
    assert shown == (result.content or "")


def test_a_refused_prompt(gemini_wire: Any, examples: Any) -> None:
    """The same error as without streaming."""
    error = refuse(gemini_wire, examples["blocked"])
    assert isinstance(error, ContentFilterError)
    assert (error.code, error.retryable) == ("JAILBREAK", False)


def test_a_filter_in_the_middle(gemini_wire: Any) -> None:
    """What was shown stays; the reason says that it is not all."""
    last = {"candidates": [{"finishReason": "SAFETY", "index": 0}]}
    events, result = gemini_wire.answer(gemini_wire.candidate("a", reason=None), last)
    assert events == [StreamEvent("content", "a")]
    assert (result.content, result.finish_reason) == ("a", "content_filter")


@pytest.mark.parametrize("listed", [False, True])
def test_an_error_in_the_stream(gemini_wire: Any, examples: Any, listed: bool) -> None:
    """By its own status, alone or in a list, also after part of the answer."""
    error = examples["error"]
    caught = refuse(gemini_wire, examples["stream"][0], [error] if listed else error)
    assert isinstance(caught, RateLimitError)
    assert caught.retry_after == 12.5
    overload = {"error": {"code": 503, "message": "busy", "status": "UNAVAILABLE"}}
    assert isinstance(refuse(gemini_wire, examples["stream"][0], overload), ServerError)


@pytest.mark.parametrize("chunk", ["{", "5", '"x"', "null"])
def test_what_is_no_chunk(gemini_wire: Any, examples: Any, chunk: str) -> None:
    """An error that may be tried again; after the end it takes nothing from the answer."""
    assert refuse(gemini_wire, examples["stream"][0], chunk).kind == "transient"
    if chunk == "{":
        _, result = gemini_wire.answer(*examples["stream"], chunk)
        assert result.content == "Grüß dich 🙂"


def test_what_proxies_add_is_passed_over(gemini_wire: Any, examples: Any) -> None:
    """`[DONE]`, empty data and comments."""
    _, result = gemini_wire.answer(b": hello\n\ndata:\n\n", *examples["stream"], "[DONE]")
    assert result.content == "Grüß dich 🙂"


def test_several_candidates_are_told_apart(gemini_wire: Any) -> None:
    """Only the first is shown as it comes; all texts are in `choices`."""
    request = ChatRequest([], "m", {"n": 2})
    chunks = [
        gemini_wire.candidate("b1", reason=None, index=1),
        gemini_wire.candidate("a1", reason=None, index=0),
        gemini_wire.candidate("b2", index=1),
        gemini_wire.candidate("a2", index=0),
    ]
    events, result = gemini_wire.answer(*chunks, request=request)
    assert [event.text for event in events] == ["a1", "a2"]
    assert (result.content, result.choices) == ("a1a2", ("a1a2", "b1b2"))
    for cut in range(4):
        assert "truncated" in str(refuse(gemini_wire, *chunks[:cut], request=request))
    missing = [chunks[1], chunks[3]]
    assert "truncated" in str(refuse(gemini_wire, *missing, request=request))


def test_a_finish_reason_in_every_chunk_proves_nothing(gemini_wire: Any) -> None:
    """Older models send that: then only the end of the body is the end, and a broken connection is an error."""
    decoder = gemini_wire.decoder()
    for text in ("a", "b"):
        decoder.feed(ServerSentEvent("", json.dumps(gemini_wire.candidate(text))))
    assert not decoder.finished
    result = decoder.close()[-1].result
    assert result.content == "ab"


def test_text_after_the_end_needs_an_end_of_its_own(gemini_wire: Any) -> None:
    """A stream that went on and was cut is cut."""
    chunks = [gemini_wire.candidate("a"), gemini_wire.candidate("b", reason=None)]
    assert "truncated" in str(refuse(gemini_wire, *chunks))


def test_usage_and_signatures_after_the_end_are_kept(gemini_wire: Any) -> None:
    """Nothing that can be read is lost."""
    late = {**gemini_wire.candidate({"text": "", "thoughtSignature": "c2ln"}, reason=None), "usageMetadata": {}}
    late["usageMetadata"] = {"promptTokenCount": 1, "candidatesTokenCount": 1, "totalTokenCount": 2}
    _, result = gemini_wire.answer(gemini_wire.candidate("a"), late)
    assert result.usage == Usage(1, 1, 2)
    assert result.assistant_message["gemini_parts"][-1] == {"text": "", "thoughtSignature": "c2ln"}


@pytest.mark.parametrize(
    ("chunk", "cls", "said"),
    [
        ({"code": 429, "message": "Slow down.", "status": "RESOURCE_EXHAUSTED"}, RateLimitError, "Slow down."),
        ({"code": 503, "message": "Busy.", "status": "UNAVAILABLE", "details": []}, ServerError, "Busy."),
        ([{"code": 400, "status": "INVALID_ARGUMENT", "message": "No."}], BadRequestError, "No."),
        ({"code": 401, "message": "Who?"}, AuthenticationError, "Who?"),
    ],
)
def test_an_error_object_alone_is_that_error(gemini_wire: Any, examples: Any, chunk: Any, cls: type, said: str) -> None:
    """Some proxies leave out the `error` around it; it is no cut stream, and is treated by its kind."""
    error = refuse(gemini_wire, *examples["stream"][:2], chunk)
    assert type(error) is cls
    assert said in str(error)
    assert type(gemini_wire.refuse(chunk)) is cls
