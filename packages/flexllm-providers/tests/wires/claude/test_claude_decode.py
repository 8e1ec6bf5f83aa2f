"""Whole answers: text, thinking, tool calls, usage, why it stopped, and the message for the next turn."""

from __future__ import annotations

from typing import Any

import pytest

from flexllm_core.json_codec import encode_json
from flexllm_core.messages import normalize_messages
from flexllm_core.requests import ChatRequest
from flexllm_core.results import ToolCall, Usage
from flexllm_providers.claude.usage import decode_usage
from flexllm_providers.openai import wire as openai_wire


def test_the_documented_answer(wire: Any) -> None:
    """Every field; the tokens of the cache belong to the prompt, those of thinking to the completion."""
    result = wire.read(wire.data("answer.json"))
    assert (result.content, result.reasoning_content, result.finish_reason) == ("Good evening.", None, "stop")
    assert (result.model, result.response_id) == ("claude-opus-5-5", "msg_01")
    assert (result.provider, result.endpoint, result.tool_calls) == ("claude", "e", ())
    assert result.usage == Usage(
        3207, 44, 3251, cached_tokens=3000, cache_write_tokens=200, reasoning_tokens=31, cache_write_1h_tokens=50
    )
    assert result.raw is None
    assert wire.read(wire.data("answer.json"), ChatRequest([], "m", keep_raw=True)).raw == wire.data("answer.json")


def test_tool_calls_and_thinking(wire: Any) -> None:
    """Calls with JSON text for arguments, the thinking's text, and the blocks as they came."""
    data = wire.data("answer_tools.json")
    result = wire.read(data)
    assert result.content == "I look both up."
    assert result.reasoning_content == "Two towns, two calls."
    assert result.finish_reason == "tool_calls"
    assert result.tool_calls == (
        ToolCall("toolu_A", "tide_table", '{"town":"Brest","days":2}'),
        ToolCall("toolu_B", "tide_table", "{}"),
    )
    assert result.assistant_message == {
        "role": "assistant",
        "content": "I look both up.",
        "tool_calls": [call.to_dict() for call in result.tool_calls],
        "claude_message": {"model": "claude-haiku-4-5-20251001", "content": data["content"]},
    }


def test_the_answer_goes_back_byte_for_byte(wire: Any) -> None:
    """All blocks in their order, thinking unchanged, with the results behind them in one turn."""
    data = wire.data("answer_tools.json")
    message = wire.read(data).assistant_message
    results = [{"role": "tool", "tool_call_id": f"toolu_{name}", "content": name} for name in "AB"]
    messages = [{"role": "user", "content": "Tides?"}, message, *results]
    sent = wire.encode(messages, "claude-haiku-4-5", thinking=2048).body
    assert encode_json({"role": "assistant", "content": data["content"]}) in sent
    assert [block["tool_use_id"] for block in wire.body(messages)["messages"][-1]["content"]] == ["toolu_A", "toolu_B"]


def test_the_answer_goes_to_another_provider(wire: Any) -> None:
    """Its content and calls are OpenAI's; the blocks are one further key."""
    message = wire.read(wire.data("answer_tools.json")).assistant_message
    assert normalize_messages([message]) == [message]
    plain = {key: value for key, value in message.items() if key != "claude_message"}
    choices = [{"message": plain, "finish_reason": "tool_calls"}]
    body = encode_json({"choices": choices})
    again = openai_wire.decode(openai_wire.HttpResponse(200, {}, body), wire.REQUEST, wire.target(), 0.0)
    assert again.tool_calls == wire.read(wire.data("answer_tools.json")).tool_calls


@pytest.mark.parametrize(
    "edit",
    [
        {"content": "I changed this."},
        {"content": None},
        {"tool_calls": []},
        {"tool_calls": None},
        {"claude_message": {"content": "x"}},
        {"claude_message": {"content": [5, {"type": "text"}]}},
        {"claude_message": None},
    ],
)
def test_an_answer_that_was_edited_goes_back_as_edited(wire: Any, edit: dict[str, Any]) -> None:
    """The blocks would undo the edit, so they are left out."""
    message = {**wire.read(wire.data("answer_tools.json")).assistant_message, **edit}
    turns = wire.body([{"role": "user", "content": "?"}, message, {"role": "user", "content": "!"}])["messages"]
    content = turns[1]["content"]
    blocks = content if isinstance(content, list) else [{"type": "text", "text": content}]
    texts = [block["text"] for block in blocks if block["type"] == "text"]
    assert texts == ([message["content"]] if message["content"] else [])
    assert len([block for block in blocks if block["type"] == "tool_use"]) == len(message["tool_calls"] or [])
    assert not [block for block in blocks if "thinking" in block["type"]]


@pytest.mark.parametrize(
    ("asked", "kept"),
    [
        ("claude-haiku-4-5", True),
        ("claude-haiku-4-5@20251001", True),
        ("anthropic.claude-haiku-4-5-20251001-v1:0", True),
        ("house-model", True),
        ("claude-sonnet-4-5", False),
        ("claude-opus-5-5", False),
    ],
)
def test_thinking_goes_back_to_the_model_that_thought_it(wire: Any, asked: str, kept: bool) -> None:
    """Only where the model is known to be another one is it left out; the rest of the answer is sent."""
    data = wire.data("answer_tools.json")
    message = wire.read(data).assistant_message
    turns = wire.body([{"role": "user", "content": "?"}, message, {"role": "user", "content": "!"}], asked)["messages"]
    rest = [block for block in data["content"] if "thinking" not in block["type"]]
    assert turns[1]["content"] == (data["content"] if kept else rest)


@pytest.mark.parametrize(
    ("stop_reason", "finish_reason"),
    [
        ("end_turn", "stop"),
        ("stop_sequence", "stop"),
        ("max_tokens", "length"),
        ("model_context_window_exceeded", "length"),
        ("tool_use", "tool_calls"),
        ("refusal", "content_filter"),
        ("pause_turn", "stop"),
        ("something_new", "something_new"),
        (None, None),
        ("", None),
        (5, None),
    ],
)
def test_why_it_stopped(wire: Any, stop_reason: Any, finish_reason: str | None) -> None:
    """In OpenAI's words; a pause is no end, and what is not known is kept."""
    assert wire.read(wire.said("Hi", stop_reason=stop_reason)).finish_reason == finish_reason


def test_a_refusal_is_an_answer(wire: Any) -> None:
    """With the server's explanation where the model said nothing, and what it said where it did."""
    result = wire.read(wire.data("answer_refusal.json"))
    assert (result.content, result.finish_reason) == ("This was held back by a policy.", "content_filter")
    assert result.assistant_message == {"role": "assistant", "content": result.content}
    assert wire.read(wire.said("I ca", stop_reason="refusal", stop_details={"explanation": "x"})).content == "I ca"
    silent = wire.read(wire.said(stop_reason="refusal", stop_details=None))
    assert (silent.content, silent.finish_reason) == (None, "content_filter")


def test_an_answer_that_was_cut_by_its_limit_is_one(wire: Any) -> None:
    """Even when only thinking fitted into it."""
    thinking = {"type": "thinking", "thinking": "so", "signature": "s"}
    result = wire.read(wire.said(thinking, stop_reason="max_tokens"))
    assert (result.content, result.reasoning_content, result.finish_reason) == (None, "so", "length")


def test_a_pause_can_be_sent_back(wire: Any) -> None:
    """The server's own tools and their results are kept, unknown blocks too."""
    blocks = [
        {"type": "server_tool_use", "id": "srv_1", "name": "web_search", "input": {"query": "tides"}},
        {"type": "web_search_tool_result", "tool_use_id": "srv_1", "content": []},
        {"type": "new_thing", "text": "", "x": [1]},
    ]
    result = wire.read(wire.said(*blocks, stop_reason="pause_turn"))
    assert (result.content, result.tool_calls) == (None, ())
    assert result.assistant_message["claude_message"]["content"] == blocks
    turns = wire.body([{"role": "user", "content": "?"}, result.assistant_message])["messages"]
    assert turns[1]["content"] == blocks


def test_blocks_that_no_server_would_take_back_are_dropped(wire: Any) -> None:
    """Empty texts and wrong types; a call without an id gets one, an input that is no object is wrapped."""
    result = wire.read(
        wire.said(
            {"type": "text", "text": ""},
            {"type": "text", "text": 5},
            {"type": "thinking", "thinking": None},
            {"type": "redacted_thinking"},
            {"no": "type"},
            7,
            "Hi",
            {"type": "tool_use", "name": "f", "input": None},
            {"type": "tool_use", "id": "b", "name": "g", "input": '{"a": 1}'},
            {"type": "tool_use", "id": "c", "name": "g", "input": [1]},
        )
    )
    assert [block["type"] for block in result.assistant_message["claude_message"]["content"]] == ["text"] + [
        "tool_use"
    ] * 3
    assert result.tool_calls == (
        ToolCall("call_7", "f", "{}"),
        ToolCall("b", "g", '{"a":1}'),
        ToolCall("c", "g", "[1]"),
    )


@pytest.mark.parametrize(
    ("usage", "expected"),
    [
        (None, None),
        ({}, None),
        ({"input_tokens": None, "output_tokens": "5"}, None),
        ({"input_tokens": 5}, Usage(5, 0, 5)),
        ({"input_tokens": 0, "output_tokens": 0}, Usage()),
        ({"input_tokens": -5, "output_tokens": True}, Usage()),
        (
            {"input_tokens": 10, "cache_creation_input_tokens": 50_000, "cache_read_input_tokens": 100_000}
            | {"output_tokens": 5},
            Usage(150_010, 5, 150_015, cached_tokens=100_000, cache_write_tokens=50_000),
        ),
        (
            {"input_tokens": 1, "output_tokens": 1}
            | {"cache_creation": {"ephemeral_5m_input_tokens": 2, "ephemeral_1h_input_tokens": 3, "x": None}},
            Usage(6, 1, 7, cache_write_tokens=5, cache_write_1h_tokens=3),
        ),
    ],
)
def test_usage(usage: Any, expected: Usage | None) -> None:
    """The normal form; unknown is not 0."""
    assert decode_usage(usage) == expected
