"""Conversations: the system prompt apart, turns that alternate, media, tool calls and their results."""

from __future__ import annotations

import base64
import itertools
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flexllm_core.errors import InputError

PNG = "iVBORw0KGgo="
OLD = "claude-sonnet-4-5"


def call(call_id: Any, name: str = "f", arguments: Any = "{}") -> dict[str, Any]:
    """A tool call in OpenAI's shape."""
    return {"id": call_id, "type": "function", "function": {"name": name, "arguments": arguments}}


def user(*parts: Any) -> dict[str, Any]:
    """A message of the user: a text, or parts."""
    return {"role": "user", "content": parts[0] if len(parts) == 1 and isinstance(parts[0], str) else list(parts)}


def sent(wire: Any, *messages: Any, model: str = OLD) -> list[Any]:
    """The turns that are sent."""
    turns: list[Any] = wire.body(list(messages), model)["messages"]
    return turns


def test_system_prompts_stand_apart(wire: Any) -> None:
    """One as a text, several or marked ones as blocks, wherever they stand."""
    assert wire.body([{"role": "system", "content": "A"}, user("hi")])["system"] == "A"
    marked = {"type": "text", "text": "B", "cache_control": {"type": "ephemeral", "ttl": "1h"}}
    body = wire.body(
        [{"role": "system", "content": "A"}, user("hi"), {"role": "developer", "content": [marked]}, user("there")]
    )
    assert body["system"] == [{"type": "text", "text": "A"}, marked]
    assert body["messages"] == [
        {"role": "user", "content": [{"type": "text", "text": "hi"}, {"type": "text", "text": "there"}]}
    ]
    assert "system" not in wire.body([{"role": "system", "content": ""}, user("hi")])


def test_only_system_prompts_are_no_conversation(wire: Any) -> None:
    """Said before anything is sent."""
    with pytest.raises(InputError, match="needs a message of the user"):
        wire.body([{"role": "system", "content": "A"}])


@pytest.mark.parametrize(
    ("part", "block"),
    [
        ({"type": "text", "text": "a"}, {"type": "text", "text": "a"}),
        ({"type": "refusal", "refusal": "a"}, {"type": "text", "text": "a"}),
        (
            {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PNG}", "detail": "high"}},
            {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PNG}},
        ),
        (
            {"type": "image_url", "image_url": f"DATA:image/JPG;base64,{PNG}", "cache_control": {"type": "ephemeral"}},
            {
                "type": "image",
                "source": {"type": "base64", "media_type": "image/jpeg", "data": PNG},
                "cache_control": {"type": "ephemeral"},
            },
        ),
        (
            {"type": "image_url", "image_url": {"url": "https://x/y.png"}},
            {"type": "image", "source": {"type": "url", "url": "https://x/y.png"}},
        ),
        (
            {"type": "file", "file": {"file_data": "data:application/pdf;base64,JVBERi0=", "filename": "a.pdf"}},
            {
                "type": "document",
                "source": {"type": "base64", "media_type": "application/pdf", "data": "JVBERi0="},
                "title": "a.pdf",
            },
        ),
        (
            {"type": "file", "file": {"file_data": "JVBERi0=", "filename": "a.PDF"}},
            {
                "type": "document",
                "source": {"type": "base64", "media_type": "application/pdf", "data": "JVBERi0="},
                "title": "a.PDF",
            },
        ),
        (
            {"type": "file", "file": {"file_data": "https://x/a.pdf"}},
            {"type": "document", "source": {"type": "url", "url": "https://x/a.pdf"}},
        ),
        (
            {"type": "file", "file": {"file_id": "file_1"}},
            {"type": "document", "source": {"type": "file", "file_id": "file_1"}},
        ),
        (
            {"type": "file", "file": {"file_data": f"data:image/webp;base64,{PNG}", "filename": "a.webp"}},
            {"type": "image", "source": {"type": "base64", "media_type": "image/webp", "data": PNG}},
        ),
        (
            {"type": "file", "file": {"file_data": "data:text/csv;charset=utf-8;base64,w6ksMQ=="}},
            {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "é,1"}},
        ),
        (
            {"type": "file", "file": {"file_data": "data:,a%20b"}},
            {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "a b"}},
        ),
        (
            {"type": "image_url", "image_url": {"url": "data:image/gif,%00%01"}},
            {"type": "image", "source": {"type": "base64", "media_type": "image/gif", "data": "AAE="}},
        ),
        ({"type": "search_result", "source": "s", "title": "t", "content": []},) * 2,
    ],
)
def test_parts(wire: Any, part: dict[str, Any], block: dict[str, Any]) -> None:
    """OpenAI's parts in Claude's blocks; Claude's own pass."""
    first = {"type": "text", "text": "look"}
    assert sent(wire, user(first, part)) == [{"role": "user", "content": [first, block]}]


@pytest.mark.parametrize(
    ("part", "said"),
    [
        ({"type": "input_audio", "input_audio": {}}, "Claude takes no input_audio parts"),
        ({"type": "video_url"}, "Claude takes no video_url parts"),
        ({"type": "text"}, r"content\[1\].text: expected a text"),
        ({"type": "image_url", "image_url": {"url": 5}}, r"content\[1\].image_url"),
        ({"type": "image_url", "image_url": {"url": "/etc/passwd"}}, "expected a data URI or an http"),
        ({"type": "image_url", "image_url": {"url": "file:///x"}}, "expected a data URI or an http"),
        ({"type": "image_url", "image_url": {"url": "data:image/png"}}, "without a comma"),
        ({"type": "image_url", "image_url": {"url": "data:audio/wav;base64,AA=="}}, "not 'audio/wav'"),
        ({"type": "file", "file": "x"}, r"content\[1\].file"),
        ({"type": "file", "file": {"file_data": "AAAA"}}, "expected file_data as a data URI"),
        ({"type": "file", "file": {"file_data": "data:text/plain;base64,/w=="}}, "UTF-8"),
        ({"type": "file", "file": {"file_data": "data:text/plain;base64,@"}}, "UTF-8"),
        ("text", r"content\[1\]: expected an object"),
    ],
)
def test_a_part_that_claude_cannot_have_is_the_rows_error(wire: Any, part: Any, said: str) -> None:
    """With the place of the part."""
    with pytest.raises(InputError, match=said) as caught:
        sent(wire, user({"type": "text", "text": "a"}, part))
    assert str(caught.value).startswith("messages[0].content[1]")


def test_tool_calls_and_their_results(wire: Any) -> None:
    """Objects for arguments; all results of a turn in one turn of the user, before its text."""
    turns = sent(
        wire,
        user("Tides?"),
        {"role": "assistant", "content": "I look.", "tool_calls": [call("a", "f", '{"x": 1}'), call("b", "g", "")]},
        {"role": "tool", "tool_call_id": "a", "content": "4 m"},
        user("and quickly"),
        {
            "role": "tool",
            "tool_call_id": "b",
            "content": [{"type": "text", "text": "no"}, {"type": "image_url", "image_url": {"url": "https://x/y"}}],
            "is_error": True,
            "cache_control": {"type": "ephemeral"},
        },
    )
    assert turns[1] == {
        "role": "assistant",
        "content": [
            {"type": "text", "text": "I look."},
            {"type": "tool_use", "id": "a", "name": "f", "input": {"x": 1}},
            {"type": "tool_use", "id": "b", "name": "g", "input": {}},
        ],
    }
    image = {"type": "image", "source": {"type": "url", "url": "https://x/y"}}
    assert turns[2] == {
        "role": "user",
        "content": [
            {"type": "tool_result", "tool_use_id": "a", "content": "4 m"},
            {
                "type": "tool_result",
                "tool_use_id": "b",
                "content": [{"type": "text", "text": "no"}, image],
                "is_error": True,
                "cache_control": {"type": "ephemeral"},
            },
            {"type": "text", "text": "and quickly"},
        ],
    }
    assert len(turns) == 3


@pytest.mark.parametrize(
    ("arguments", "sent_input"),
    [
        ("", {}),
        ("  ", {}),
        ('{"a": [1.5, null]}', {"a": [1.5, None]}),
        ('{"a": ', {"INVALID_JSON": '{"a": '}),
        ("[1]", {"INVALID_JSON": "[1]"}),
        ('{"a": 1e999}', {"a": None}),
    ],
)
def test_arguments_become_an_object(wire: Any, arguments: str, sent_input: dict[str, Any]) -> None:
    """What is none is wrapped in one, as Anthropic asks for it."""
    turns = sent(wire, user("hi"), {"role": "assistant", "content": None, "tool_calls": [call("a", "f", arguments)]})
    assert turns[1]["content"][0]["input"] == sent_input


def test_ids_that_claude_would_refuse_are_made_fit(wire: Any) -> None:
    """Characters that it does not take, and the same id in a later turn; results follow their calls."""
    messages = [user("hi")]
    for _ in range(2):
        messages += [
            {"role": "assistant", "content": None, "tool_calls": [call("functions.f:0"), call("call_1")]},
            {"role": "tool", "tool_call_id": "call_1", "content": "1"},
            {"role": "tool", "tool_call_id": "functions.f:0", "content": "0"},
        ]
    turns = sent(wire, *messages)
    ids = [block["id"] for turn in turns[1::2] for block in turn["content"]]
    results = [block["tool_use_id"] for turn in turns[2::2] for block in turn["content"]]
    assert ids == ["functions_f_0", "call_1", "functions_f_0_2", "call_1_2"]
    assert results == ["call_1", "functions_f_0", "call_1_2", "functions_f_0_2"]


def test_the_calls_of_before_there_were_tools(wire: Any) -> None:
    """`function_call` and messages of a function, which have no ids."""
    turns = sent(
        wire,
        user("hi"),
        {"role": "assistant", "content": None, "function_call": {"name": "f", "arguments": '{"a":1}'}},
        {"role": "function", "name": "f", "content": "1"},
    )
    assert turns[1]["content"] == [{"type": "tool_use", "id": "call_0", "name": "f", "input": {"a": 1}}]
    assert turns[2]["content"] == [{"type": "tool_result", "tool_use_id": "call_0", "content": "1"}]


def test_calls_of_other_shapes(wire: Any) -> None:
    """Free text for a tool, and arguments that are an object already."""
    calls = [{"id": "a", "type": "custom", "custom": {"name": "f", "input": "ls -l"}}, call("b", "g", {"x": 1})]
    turns = sent(wire, user("hi"), {"role": "assistant", "content": None, "tool_calls": calls})
    assert [block["input"] for block in turns[1]["content"]] == [{"INVALID_JSON": "ls -l"}, {"x": 1}]


def test_a_result_of_no_call_is_the_rows_error(wire: Any) -> None:
    """As is a call of no function."""
    with pytest.raises(InputError, match=r"messages\[1\]: a tool result without a tool_call_id"):
        sent(wire, user("hi"), {"role": "tool", "content": "1"})
    with pytest.raises(InputError, match=r"messages\[0\].tool_calls\[0\]"):
        sent(wire, {"role": "assistant", "content": None, "tool_calls": [{"id": "a"}]}, user("hi"))


def test_empty_answers_and_texts_are_left_out(wire: Any) -> None:
    """Claude refuses them; the user's own empty message is the server's to refuse."""
    empty = {"role": "assistant", "content": ""}
    parts = user({"type": "text", "text": ""}, {"type": "text", "text": "b"})
    assert sent(wire, user("a"), empty, parts) == [
        {"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]}
    ]
    assert sent(wire, user("")) == [{"role": "user", "content": ""}]


TEXTS = st.text(max_size=4)
MESSAGES = st.one_of(
    st.builds(lambda text: {"role": "user", "content": text}, TEXTS),
    st.builds(lambda text: {"role": "system", "content": text}, TEXTS),
    st.builds(
        lambda text, ids: {"role": "assistant", "content": text, "tool_calls": [call(i) for i in ids]},
        TEXTS | st.none(),
        st.lists(st.sampled_from(["a", "b.c", "é"]), max_size=3),
    ),
    st.builds(
        lambda text, i: {"role": "tool", "tool_call_id": i, "content": text}, TEXTS, st.sampled_from(["a", "b.c"])
    ),
)


@given(st.lists(MESSAGES, max_size=8))
def test_turns_always_alternate_and_ids_are_unique(wire: Any, messages: list[Any]) -> None:
    """Whatever the order: no neighbours of one role, results first, each id once, no empty block of text."""
    try:
        turns = sent(wire, *messages)
    except InputError:
        assert all(message["role"] == "system" or not message["content"] for message in messages)
        return
    roles = [turn["role"] for turn in turns]
    assert all(one != two for one, two in itertools.pairwise(roles))
    blocks = [turn["content"] for turn in turns if isinstance(turn["content"], list)]
    for content in blocks:
        kinds = [block["type"] for block in content]
        assert kinds == sorted(kinds, key=lambda kind: kind != "tool_result")
        assert all(block.get("text") != "" for block in content)
    ids = [block["id"] for content in blocks for block in content if block["type"] == "tool_use"]
    assert len(ids) == len(set(ids))
    assert all(set(each) <= set("abcdefghijklmnopqrstuvwxyz_0123456789") for each in ids)


@given(st.binary(max_size=20))
def test_data_of_any_bytes_arrives(wire: Any, raw: bytes) -> None:
    """An image's data is passed on as it was written."""
    data = base64.b64encode(raw).decode()
    [turn] = sent(wire, user({"type": "image_url", "image_url": {"url": f"data:image/png;base64,{data}"}}))
    assert turn["content"][0]["source"]["data"] == data
