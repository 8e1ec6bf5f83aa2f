"""Streamed tool calls, as each server sends them."""

from __future__ import annotations

from typing import Any

import pytest

from flexllm_core.messages import normalize_messages
from flexllm_core.results import StreamEvent, ToolCall

X, Y = '{"x":1}', '{"y":2}'
A, B = ToolCall("a", "f", X), ToolCall("b", "g", Y)


def call(index: Any, arguments: Any = None, name: Any = None, call_id: Any = None) -> dict[str, Any]:
    """One fragment of a tool call; what is None is left out."""
    function = {key: value for key, value in (("name", name), ("arguments", arguments)) if value is not None}
    part = {"index": index, "id": call_id, "function": function or None}
    return {key: value for key, value in part.items() if value is not None}


def chunk(finish_reason: Any = None, **delta: Any) -> dict[str, Any]:
    """One chunk with this delta."""
    return {"choices": [{"index": 0, "delta": delta, "finish_reason": finish_reason}]}


def made_up(*calls: tuple[str, str]) -> tuple[ToolCall, ...]:
    """Calls whose ids are made up by position."""
    return tuple(ToolCall(f"call_{number}", name, arguments) for number, (name, arguments) in enumerate(calls))


Case = tuple[str, list[list[dict[str, Any]]], tuple[ToolCall, ...]]
X1, X2 = '{"x":', "1}"  # two fragments of X

CASES: list[Case] = [  # what the server does, the fragments of each chunk, the calls
    (
        "interleaved by index",
        [
            [call(0, "", "f", "a")],
            [call(0, X1)],
            [call(1, "", "g", "b"), call(0, "1")],
            [call(1, Y), call(0, "}")],
        ],
        (A, B),
    ),
    ("whole calls all at index 0", [[call(0, X, "f", "a"), call(0, Y, "g", "b")]], (A, B)),
    ("no index", [[call(None, X1, "f", "a")], [call(None, X2)], [call(None, Y, "g", "b")]], (A, B)),
    (
        "no index, ids repeated and interleaved",
        [
            [call(None, X1, "f", "a"), call(None, '{"y":', "g", "b")],
            [call(None, X2, "f", "a"), call(None, "2}", None, "b")],
        ],
        (A, B),
    ),
    ("neither index nor ids", [[call(None, X, "f"), call(None, Y, "g")]], made_up(("f", X), ("g", Y))),
    ("the same function twice", [[call(None, X, "f"), call(None, Y, "f")]], made_up(("f", X), ("f", Y))),
    ("the name in every fragment", [[call(None, X1, "f")], [call(None, X2, "f")]], made_up(("f", X))),
    ("another id in every fragment", [[call(0, X1, "f", "a")], [call(0, X2, None, "z")]], (A,)),
    ("the same without an index", [[call(None, X1, "f", "a")], [call(None, X2, None, "z")]], (A,)),
    ("id and name repeated", [[call(0, X1, "f", "a")], [call(0, X2, "f", "a")]], (A,)),
    ("no arguments", [[call(0, "", "f"), call(1, None, "g")]], made_up(("f", "{}"), ("g", "{}"))),
    ("unfinished arguments", [[call(0, X1, "f")]], made_up(("f", X1))),
    ("an object for text", [[call(0, {"x": 1}, "f", "a")]], (A,)),
    ("the id comes later", [[call(0, "", "f", "")], [call(0, X, "", "a")]], (A,)),
]


@pytest.mark.parametrize(("chunks", "expected"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_tool_calls_of_every_server(
    wire: Any, chunks: list[list[dict[str, Any]]], expected: tuple[ToolCall, ...]
) -> None:
    """Whole calls at the end, once each, and a message that can go back with the same ids."""
    events, result = wire.answer(*[chunk(tool_calls=parts) for parts in chunks], chunk("tool_calls"), "[DONE]")
    assert events == [StreamEvent("tool_call", tool_call=each) for each in expected]
    assert result.tool_calls == expected
    assert (result.content, result.finish_reason) == (None, "tool_calls")
    assert normalize_messages([result.assistant_message])
    assert [each["id"] for each in result.assistant_message["tool_calls"]] == [each.id for each in expected]


def test_text_and_calls_together(wire: Any) -> None:
    """Text as it comes, calls at the end."""
    events, result = wire.answer(
        chunk(content="Let me see"), chunk(tool_calls=[call(0, X, "f", "a")]), chunk("tool_calls")
    )
    assert events == [StreamEvent("content", "Let me see"), StreamEvent("tool_call", tool_call=A)]
    assert (result.content, result.tool_calls) == ("Let me see", (A,))


def test_one_call_that_is_not_in_a_list(wire: Any) -> None:
    """Reads as a list of one."""
    assert wire.answer(chunk(tool_calls=call(0, X, "f", "a")), chunk("tool_calls"))[1].tool_calls == (A,)


def test_the_legacy_function_call(wire: Any) -> None:
    """Reads as a tool call."""
    fragments = [{"name": "f", "arguments": '{"x":'}, {"arguments": "1}"}]
    _, result = wire.answer(*[chunk(function_call=each) for each in fragments], chunk("function_call"))
    assert (result.tool_calls, result.finish_reason) == ((ToolCall("call_0", "f", X),), "tool_calls")


def test_custom_tools(wire: Any) -> None:
    """Free text as input; the message goes back as such."""
    fragments = [
        {"index": 0, "id": "a", "custom": {"name": "f", "input": "fr"}},
        {"index": 0, "custom": {"input": "ee"}},
    ]
    _, result = wire.answer(*[chunk(tool_calls=[each]) for each in fragments], chunk("tool_calls"))
    assert result.tool_calls == (ToolCall("a", "f", "free"),)
    assert result.assistant_message["tool_calls"] == [
        {"id": "a", "type": "custom", "custom": {"name": "f", "input": "free"}}
    ]


def test_opaque_keys_of_a_tool_call_go_back(wire: Any) -> None:
    """Gemini's thought signatures stand there, in any fragment."""
    signature = {"google": {"thought_signature": "s"}}
    last = {**call(0, "1}"), "extra_content": signature}
    _, result = wire.answer(
        chunk(tool_calls=[call(0, '{"x":', "f", "a")]), chunk(tool_calls=[last]), chunk("tool_calls")
    )
    assert result.assistant_message["tool_calls"] == [{"extra_content": signature, **A.to_dict()}]
