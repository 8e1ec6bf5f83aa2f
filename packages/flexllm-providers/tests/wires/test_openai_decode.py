"""Answers of every shape, read into the right result."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from flexllm_core.errors import LLMResponseError
from flexllm_core.messages import normalize_messages
from flexllm_core.requests import ChatRequest
from flexllm_core.results import ToolCall, Usage


def answer(message: Any, finish_reason: Any = "stop", **more: Any) -> dict[str, Any]:
    """A chat completion with this message."""
    choice = {"index": 0, "message": message, "finish_reason": finish_reason}
    return {"id": "c-1", "model": "m-real", "choices": [choice], **more}


def said(content: Any, **more: Any) -> dict[str, Any]:
    """An assistant message."""
    return {"role": "assistant", "content": content, **more}


def test_the_documented_answer(wire: Any) -> None:
    """Every field of OpenAI's answer lands where it belongs."""
    usage = {
        "prompt_tokens": 20,
        "completion_tokens": 12,
        "total_tokens": 32,
        "prompt_tokens_details": {"cached_tokens": 8},
    }
    data = answer(said("Hi", refusal=None), usage=usage, object="chat.completion", created=1, system_fingerprint="fp")
    result = wire.read(data)
    assert (result.content, result.finish_reason, result.tool_calls) == ("Hi", "stop", ())
    assert (result.model, result.response_id, result.provider, result.endpoint) == ("m-real", "c-1", "openai", "e")
    assert result.usage == Usage(20, 12, 32, cached_tokens=8)
    assert result.assistant_message == {"role": "assistant", "content": "Hi"}
    assert (result.raw, result.cost, result.reasoning_content, result.choices) == (None, None, None, ())


def test_raw_is_kept_only_when_asked(wire: Any) -> None:
    """Memory for those who want it."""
    data = answer(said("Hi"))
    assert wire.read(data, ChatRequest([], "m", keep_raw=True)).raw == data


def test_what_may_be_missing_may_be_missing(wire: Any) -> None:
    """Clones leave out everything behind `choices`."""
    result = wire.read({"choices": [{"message": {"content": "Hi"}}]})
    assert (result.content, result.finish_reason, result.usage, result.response_id) == ("Hi", None, None, None)
    assert result.model == "m"
    assert result.assistant_message == {"role": "assistant", "content": "Hi"}


@pytest.mark.parametrize(
    ("message", "reasoning"),
    [
        (said("Hi", reasoning_content="why"), "why"),
        (said("Hi", reasoning="why"), "why"),
        (said("Hi", reasoning_content="", reasoning="why"), "why"),
        (said("Hi", reasoning_content="why", reasoning="other"), "why"),
        (said("Hi", reasoning_content=None, reasoning=None), None),
        (said("Hi", reasoning_content=""), None),
        (said("Hi", reasoning_content=["why"]), None),
        (said("Hi", reasoning="why", reasoning_details=[{"type": "reasoning.text", "text": "why"}]), "why"),
    ],
)
def test_reasoning_in_either_place(wire: Any, message: dict[str, Any], reasoning: str | None) -> None:
    """And the message that goes back keeps the server's own keys."""
    result = wire.read(answer(message))
    assert (result.content, result.reasoning_content) == ("Hi", reasoning)
    assert result.assistant_message == {key: value for key, value in message.items() if value is not None}


def test_think_tags_are_split_only_where_the_dialect_says_so(wire: Any) -> None:
    """Splitting could damage an answer that talks about tags; the message that goes back stays whole."""
    text = "<think>why</think>\nHi"
    assert wire.read(answer(said(text))).content == text
    result = wire.read(answer(said(text)), dialect={"think_tags": True})
    assert (result.content, result.reasoning_content) == ("Hi", "why")
    assert result.assistant_message == {"role": "assistant", "content": text}


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ([{"type": "text", "text": "a"}, {"type": "text", "text": "b"}], "ab"),
        ([{"type": "thinking", "thinking": [{"type": "text", "text": "why"}]}, {"type": "text", "text": "a"}], "a"),
        ([{"text": "a"}, 5, None, {"text": 5}], "a"),
    ],
)
def test_content_in_parts(wire: Any, content: Any, text: str) -> None:
    """As some servers send it; what goes back is always valid."""
    result = wire.read(answer(said(content)))
    assert result.content == text
    assert result.assistant_message is not None
    assert normalize_messages([result.assistant_message])


def test_several_choices(wire: Any) -> None:
    """`content` is the first; all of them are in `choices`."""
    data = answer(said("a"))
    data["choices"] += [{"index": 1, "message": said("b")}, {"index": 2}, {"index": 3, "message": said(None)}, 5]
    result = wire.read(data)
    assert (result.content, result.choices) == ("a", ("a", "b", None, None, None))


@pytest.mark.parametrize(
    ("calls", "expected"),
    [
        (
            [{"id": "call_1", "type": "function", "function": {"name": "f", "arguments": '{"a":1}'}}],
            [ToolCall("call_1", "f", '{"a":1}')],
        ),
        ([{"function": {"name": "f", "arguments": ""}}], [ToolCall("call_0", "f", "{}")]),
        ([{"id": None, "function": {"name": "f"}}], [ToolCall("call_0", "f", "{}")]),
        ([{"id": "x", "function": {"name": "f", "arguments": {"a": 1}}}], [ToolCall("x", "f", '{"a":1}')]),
        ([{"id": "x", "function": {"name": "f", "arguments": "not json"}}], [ToolCall("x", "f", "not json")]),
        (
            [{"id": "x", "function": {"name": "f", "arguments": "{}"}}, {"function": {"name": "g"}}],
            [ToolCall("x", "f", "{}"), ToolCall("call_1", "g", "{}")],
        ),
        ([{"id": "x", "type": "custom", "custom": {"name": "f", "input": "free"}}], [ToolCall("x", "f", "free")]),
        (
            [5, {}, {"function": 5}, {"function": {"name": ""}}, {"function": {"name": "f"}}],
            [ToolCall("call_4", "f", "{}")],
        ),
    ],
)
def test_tool_calls_of_every_shape(wire: Any, calls: Any, expected: list[ToolCall]) -> None:
    """Missing ids, missing or unfinished arguments, objects for texts; and they can be answered."""
    result = wire.read(answer(said(None, tool_calls=calls), "tool_calls"))
    assert list(result.tool_calls) == expected
    assert result.assistant_message is not None
    assert normalize_messages([result.assistant_message]) == [result.assistant_message]
    assert [call["id"] for call in result.assistant_message["tool_calls"]] == [call.id for call in expected]


def test_opaque_keys_of_a_tool_call_go_back(wire: Any) -> None:
    """Gemini's thought signatures stand there."""
    call = {
        "id": "x",
        "type": "function",
        "function": {"name": "f", "arguments": "{}"},
        "extra_content": {"google": {"thought_signature": "s"}},
    }
    result = wire.read(answer(said(None, tool_calls=[call]), "tool_calls"))
    assert result.assistant_message == {"role": "assistant", "content": None, "tool_calls": [call]}


def test_the_legacy_function_call(wire: Any) -> None:
    """Reads as a tool call."""
    result = wire.read(answer(said(None, function_call={"name": "f", "arguments": "{}"}), "function_call"))
    assert (result.tool_calls, result.finish_reason) == ((ToolCall("call_0", "f", "{}"),), "tool_calls")


def test_a_refusal_is_an_answer_with_its_reason(wire: Any) -> None:
    """The model's own words, marked as filtered."""
    result = wire.read(answer(said(None, refusal="I cannot")))
    assert (result.content, result.finish_reason) == ("I cannot", "content_filter")


@pytest.mark.parametrize("role", ["model", None, 5, "user"])
def test_an_answer_is_always_the_assistants(wire: Any, role: Any) -> None:
    """Whatever role a clone gives it, it goes back as what it was."""
    assert wire.read(answer({"role": role, "content": "Hi"})).assistant_message == {
        "role": "assistant",
        "content": "Hi",
    }


@pytest.mark.parametrize("reason", ["length", "content_filter"])
def test_an_empty_answer_with_a_reason_is_an_answer(wire: Any, reason: str) -> None:
    """The reason is shown."""
    assert wire.read(answer(said(""), reason)).finish_reason == reason


@pytest.mark.parametrize("reason", [None, "", "null", 5])
def test_a_reason_that_is_none_is_none(wire: Any, reason: Any) -> None:
    """Servers write it in several ways."""
    assert wire.read(answer(said("Hi"), reason)).finish_reason is None


@pytest.mark.parametrize("reason", ["error", "abort", "insufficient_system_resource"])
def test_an_answer_that_the_server_broke_off_is_no_answer(wire: Any, reason: str) -> None:
    """A prefix is never handed back as whole; a retry may help."""
    error = wire.refuse(answer(said("half an ans"), reason))
    assert (type(error), error.kind, error.retryable) == (LLMResponseError, "transient", True)


def test_a_cost_that_the_provider_reports_is_taken(wire: Any) -> None:
    """OpenRouter's, with its source."""
    result = wire.read(answer(said("Hi"), usage={"prompt_tokens": 1, "completion_tokens": 1, "cost": 0.00012}))
    assert (result.cost, result.cost_source) == (Decimal("0.00012"), "provider")


def test_a_custom_call_without_its_type_can_be_sent_back(wire: Any) -> None:
    """The type is known by the key that it has."""
    call = {"id": "c1", "type": None, "custom": {"name": "sql", "input": "select 1"}}
    result = wire.read({"choices": [{"message": {"tool_calls": [call]}, "finish_reason": "tool_calls"}]})
    assert result.assistant_message["tool_calls"] == [{**call, "type": "custom"}]
