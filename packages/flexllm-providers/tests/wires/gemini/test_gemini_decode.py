"""Whole answers: candidates and parts as a result, or a typed error."""

from __future__ import annotations

from typing import Any

import pytest

from flexllm_core.errors import ContentFilterError, LLMResponseError
from flexllm_core.requests import ChatRequest
from flexllm_core.results import ToolCall, Usage

CALL = {"functionCall": {"id": "k1", "name": "f", "args": {"city": "Łódź", "n": 1.5}}, "thoughtSignature": "c2ln"}


def test_the_documented_answer(gemini_wire: Any, examples: Any) -> None:
    """Text, thoughts, usage, ids, and the message to send back with the signature on it."""
    result = gemini_wire.read(examples["response"])
    assert (result.content, result.reasoning_content, result.finish_reason) == ("Good day!", "The user greets.", "stop")
    assert (result.model, result.response_id) == ("gemini-3.7-flash", "r-17")
    assert (result.provider, result.endpoint) == ("gemini", "e")
    assert result.usage == Usage(64, 16, 80, cached_tokens=32, reasoning_tokens=11)
    assert result.assistant_message == {
        "role": "assistant",
        "content": "Good day!",
        "reasoning_content": "The user greets.",
        "gemini_parts": examples["response"]["candidates"][0]["content"]["parts"],
        "gemini_model": "gemini-3.7-flash",
    }
    assert (result.raw, result.choices, result.tool_calls) == (None, (), ())


def test_raw_is_kept_when_asked(gemini_wire: Any, examples: Any) -> None:
    """As the server sent it."""
    request = ChatRequest([], "gemini-3.7-flash", keep_raw=True)
    assert gemini_wire.read(examples["response"], request).raw == examples["response"]


def test_vertex_is_named_as_the_provider(gemini_wire: Any, examples: Any) -> None:
    """The wire is the same."""
    result = gemini_wire.read(examples["response"], provider="vertex", dialect={"project_id": "p"})
    assert result.provider == "vertex"


def test_a_plain_answer_has_a_plain_message(gemini_wire: Any) -> None:
    """Nothing opaque where the text says all."""
    result = gemini_wire.read(gemini_wire.candidate("a", "b"))
    assert result.assistant_message == {"role": "assistant", "content": "ab"}
    assert (result.model, result.usage, result.response_id) == ("gemini-3.7-flash", None, None)


def test_function_calls(gemini_wire: Any) -> None:
    """STOP is said for them too; the arguments become JSON text."""
    result = gemini_wire.read(gemini_wire.candidate(CALL, {"functionCall": {"name": "g"}}))
    assert result.tool_calls == (ToolCall("k1", "f", '{"city":"Łódź","n":1.5}'), ToolCall("call_1", "g", "{}"))
    assert (result.content, result.finish_reason) == (None, "tool_calls")
    assert result.assistant_message["tool_calls"] == [call.to_dict() for call in result.tool_calls]
    assert result.assistant_message["content"] is None


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("STOP", "stop"),
        ("MAX_TOKENS", "length"),
        ("CONTINUATION", "length"),
        *[
            (reason, "content_filter")
            for reason in (
                "SAFETY",
                "RECITATION",
                "BLOCKLIST",
                "PROHIBITED_CONTENT",
                "SPII",
                "LANGUAGE",
                "MODEL_ARMOR",
                "IMAGE_SAFETY",
                "IMAGE_PROHIBITED_CONTENT",
                "IMAGE_RECITATION",
            )
        ],
        *[(reason, "other") for reason in ("OTHER", "NO_IMAGE", "IMAGE_OTHER", "ESCALATION", "PUP_LIMITED_DISABLED")],
        ("FINISH_REASON_UNSPECIFIED", None),
        (None, None),
        ("BRAND_NEW", "BRAND_NEW"),
        (5, None),
    ],
)
def test_every_finish_reason(gemini_wire: Any, given: Any, expected: str | None) -> None:
    """In OpenAI's words; what is not known stays as it came."""
    assert gemini_wire.read(gemini_wire.candidate("text", reason=given)).finish_reason == expected


@pytest.mark.parametrize(
    "reason",
    [
        "MALFORMED_FUNCTION_CALL",
        "UNEXPECTED_TOOL_CALL",
        "TOO_MANY_TOOL_CALLS",
        "MISSING_THOUGHT_SIGNATURE",
        "MALFORMED_RESPONSE",
    ],
)
def test_a_broken_answer_is_asked_once_more(gemini_wire: Any, reason: str) -> None:
    """It is no answer, whatever text came with it; the server's word for it is told."""
    error = gemini_wire.refuse(gemini_wire.candidate("half", reason=reason, finishMessage="print(f())"))
    assert isinstance(error, LLMResponseError)
    assert (error.kind, error.code, error.retryable) == ("suspicious", reason, True)
    assert "print(f())" in str(error)


def test_made_up_ids_are_ids_of_their_own(gemini_wire: Any) -> None:
    """Also beside an id that looks like one of ours."""
    parts = [
        {"functionCall": {"name": name, **({"id": own} if own else {})}} for name, own in (("f", "call_1"), ("g", ""))
    ]
    assert [call.id for call in gemini_wire.read(gemini_wire.candidate(*parts)).tool_calls] == ["call_1", "call_1_"]


def test_length_with_a_call_stays_length(gemini_wire: Any) -> None:
    """The calls may not be all."""
    assert gemini_wire.read(gemini_wire.candidate(CALL, reason="MAX_TOKENS")).finish_reason == "length"


@pytest.mark.parametrize(
    ("reason", "expected"), [("SAFETY", "content_filter"), ("MAX_TOKENS", "length"), ("CONTINUATION", "length")]
)
@pytest.mark.parametrize("content", [None, {}, {"role": "model"}, {"parts": None}, {"parts": []}])
def test_a_candidate_without_content(gemini_wire: Any, reason: str, expected: str, content: Any) -> None:
    """The reason is the answer."""
    result = gemini_wire.read({"candidates": [{"content": content, "finishReason": reason}]})
    assert (result.content, result.finish_reason) == (None, expected)
    assert result.assistant_message == {"role": "assistant", "content": None}


@pytest.mark.parametrize("reason", ["STOP", "OTHER", None])
def test_an_empty_answer_is_no_answer(gemini_wire: Any, reason: str | None) -> None:
    """Nor are thoughts alone."""
    assert "the answer is empty" in str(gemini_wire.refuse({"candidates": [{"finishReason": reason}]}))
    thought = gemini_wire.candidate({"text": "hm", "thought": True}, reason=reason)
    assert "only reasoning" in str(gemini_wire.refuse(thought))


def test_the_token_to_go_on_with_is_kept(gemini_wire: Any) -> None:
    """An answer that is to be asked again."""
    result = gemini_wire.read(gemini_wire.candidate("half", reason="CONTINUATION", continuationToken="tok"))
    assert result.assistant_message["gemini_continuation_token"] == "tok"


def test_a_refused_prompt(gemini_wire: Any, examples: Any) -> None:
    """A ContentFilterError: the row's own fault, never asked again."""
    error = gemini_wire.refuse(examples["blocked"])
    assert isinstance(error, ContentFilterError)
    assert (error.code, error.status_code, error.retryable, error.fault) == ("JAILBREAK", 200, False, "caller")
    assert str(error) == "e: the prompt was refused (JAILBREAK)"


@pytest.mark.parametrize("candidates", [None, [], {}, "x", [5]])
def test_no_candidates_and_no_reason(gemini_wire: Any, candidates: Any) -> None:
    """An error that may be asked once more; no IndexError."""
    error = gemini_wire.refuse({"candidates": candidates, "promptFeedback": {}})
    assert isinstance(error, LLMResponseError)
    assert "no candidates" in str(error)


def test_several_candidates(gemini_wire: Any) -> None:
    """The first is the answer, `choices` has the texts of all."""
    both = [gemini_wire.candidate(text)["candidates"][0] for text in ("one", "two")]
    result = gemini_wire.read({"candidates": [*both, {"finishReason": "SAFETY"}]})
    assert (result.content, result.choices) == ("one", ("one", "two", None))


def test_an_image_is_an_answer(gemini_wire: Any) -> None:
    """It was paid for: it stands in the text."""
    blob = {"inlineData": {"mimeType": "image/png", "data": "AAAA"}}
    result = gemini_wire.read(gemini_wire.candidate("Here: ", blob))
    assert result.content == "Here: ![](data:image/png;base64,AAAA)"
    assert result.assistant_message["gemini_parts"][1] == blob


@pytest.mark.parametrize("more", [{"partialArgs": [{"jsonPath": "$.x", "numberValue": 1}]}, {"willContinue": True}])
def test_arguments_in_pieces_are_refused(gemini_wire: Any, more: dict[str, Any]) -> None:
    """They only come where they were asked for, and half of them would be a wrong call."""
    error = gemini_wire.refuse(gemini_wire.candidate({"functionCall": {"name": "f", **more}}))
    assert "streamFunctionCallArguments" in str(error)
    assert not error.retryable


def test_a_stream_that_came_as_an_array(gemini_wire: Any, examples: Any) -> None:
    """Servers that do not know `alt=sse` send that; without its end it is truncated."""
    result = gemini_wire.read(examples["stream"])
    assert (result.content, result.usage) == ("Grüß dich 🙂", Usage(6, 11, 17, reasoning_tokens=7))
    error = gemini_wire.refuse(examples["stream"][:-1])
    assert (error.kind, "truncated" in str(error)) == ("transient", True)


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"5", b'"x"', b"null", b"<html>"])
def test_what_is_no_answer_at_all(gemini_wire: Any, body: bytes) -> None:
    """An LLMResponseError that shows what came."""
    assert isinstance(gemini_wire.refuse(body), LLMResponseError)


@pytest.mark.parametrize(
    ("usage", "expected"),
    [
        (None, None),
        ({}, None),
        ({"trafficType": "ON_DEMAND"}, None),
        ({"promptTokenCount": "5"}, None),
        ({"promptTokenCount": 8, "totalTokenCount": 8}, Usage(8, 0, 8)),
        (
            {"promptTokenCount": 8, "toolUsePromptTokenCount": 4, "candidatesTokenCount": 2, "thoughtsTokenCount": 3},
            Usage(12, 5, 17, reasoning_tokens=3),
        ),
        ({"promptTokenCount": -1, "candidatesTokenCount": True, "totalTokenCount": 7}, Usage(0, 0, 7)),
    ],
)
def test_usage(gemini_wire: Any, usage: Any, expected: Usage | None) -> None:
    """Tools' prompts count as input, thoughts as output; unknown is not 0."""
    assert gemini_wire.read({**gemini_wire.candidate("x"), "usageMetadata": usage}).usage == expected
