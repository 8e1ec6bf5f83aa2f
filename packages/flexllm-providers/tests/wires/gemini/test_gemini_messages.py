"""Conversations: from OpenAI's messages to Gemini's turns, and back again unchanged."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flexllm_core.errors import InputError
from flexllm_core.json_codec import decode_json, encode_json
from flexllm_core.messages import normalize_messages
from flexllm_providers.gemini.messages import UNSIGNED, encode_messages


def call(call_id: str | None, name: str = "f", arguments: str = "{}") -> dict[str, Any]:
    """A tool call."""
    own = {} if call_id is None else {"id": call_id}
    return {**own, "type": "function", "function": {"name": name, "arguments": arguments}}


def result(call_id: str, content: Any = "ok", **more: Any) -> dict[str, Any]:
    """A tool's result."""
    return {"role": "tool", "tool_call_id": call_id, "content": content, **more}


def assistant(*calls: dict[str, Any], content: Any = None, **more: Any) -> dict[str, Any]:
    """An assistant message with these tool calls."""
    return {"role": "assistant", "content": content, "tool_calls": list(calls), **more}


def user(content: Any) -> dict[str, Any]:
    """A user message."""
    return {"role": "user", "content": content}


def turns(*messages: dict[str, Any], **options: Any) -> list[dict[str, Any]]:
    """The contents of a conversation."""
    contents: list[dict[str, Any]] = encode_messages(normalize_messages(list(messages)), **options)["contents"]
    return contents


def test_roles_and_the_system_instruction() -> None:
    """System and developer messages stand apart, wherever they were; an assistant is a model."""
    messages = [
        {"role": "system", "content": "a"},
        user("b"),
        {"role": "developer", "content": [{"type": "text", "text": "c"}]},
        {"role": "assistant", "content": "d"},
        user("e"),
    ]
    assert encode_messages(messages) == {
        "systemInstruction": {"parts": [{"text": "a"}, {"text": "c"}]},
        "contents": [
            {"role": "user", "parts": [{"text": "b"}]},
            {"role": "model", "parts": [{"text": "d"}]},
            {"role": "user", "parts": [{"text": "e"}]},
        ],
    }


def test_a_system_message_alone_is_asked() -> None:
    """Gemini answers to a turn only."""
    assert encode_messages([{"role": "system", "content": "a"}]) == {
        "contents": [{"role": "user", "parts": [{"text": "a"}]}]
    }


def test_neighbours_are_merged() -> None:
    """Of one role each; the messages are not changed by it."""
    messages = [user("a"), user("b"), {"role": "assistant", "content": "c"}, {"role": "assistant", "content": "d"}]
    before = json.dumps(messages)
    assert turns(*messages) == [
        {"role": "user", "parts": [{"text": "a"}, {"text": "b"}]},
        {"role": "model", "parts": [{"text": "c"}, {"text": "d"}]},
    ]
    assert json.dumps(messages) == before


def test_the_documented_tool_turns(gemini_wire: Any, examples: Any) -> None:
    """The answer with its calls, read and sent back with the results: the very same parts, results in one turn."""
    asked, answered, results = examples["tool_turns"]
    answer = gemini_wire.read({"candidates": [{"content": answered, "finishReason": "STOP"}]})
    first, second = answer.tool_calls
    assert turns(
        user(asked["parts"][0]["text"]),
        answer.assistant_message,
        result(first.id, "19 degrees"),
        result(second.id, "no station", is_error=True),
    ) == [asked, answered, results]


def test_results_come_in_the_order_of_their_calls() -> None:
    """And go into one turn, before what the user says next."""
    contents = turns(
        user("q"), assistant(call("a", "f"), call("b", "g")), result("b", "2"), result("a", "1"), user("and?")
    )
    assert contents[2]["parts"] == [
        {"functionResponse": {"name": "f", "response": {"output": "1"}, "id": "a"}},
        {"functionResponse": {"name": "g", "response": {"output": "2"}, "id": "b"}},
        {"text": "and?"},
    ]


def test_ids_that_were_made_up_are_not_sent(gemini_wire: Any) -> None:
    """Models that give none match by name and order, and would not know ours."""
    parts = [{"functionCall": {"name": "f", "args": {"x": 1}}}, {"functionCall": {"name": "f", "args": {}}}]
    answer = gemini_wire.read(gemini_wire.candidate(*parts))
    assert [(each.id, each.name, each.arguments) for each in answer.tool_calls] == [
        ("call_0", "f", '{"x":1}'),
        ("call_1", "f", "{}"),
    ]
    contents = turns(user("q"), answer.assistant_message, result("call_1", "2"), result("call_0", "1"))
    assert contents[1]["parts"] == parts
    assert contents[2]["parts"] == [
        {"functionResponse": {"name": "f", "response": {"output": "1"}}},
        {"functionResponse": {"name": "f", "response": {"output": "2"}}},
    ]


def test_the_same_made_up_id_in_two_turns_is_the_later_one() -> None:
    """As every turn counts from 0."""
    contents = turns(
        user("q"), assistant(call("call_0", "f")), result("call_0"), assistant(call("call_0", "g")), result("call_0")
    )
    names = [part["functionResponse"]["name"] for turn in (contents[2], contents[4]) for part in turn["parts"]]
    assert names == ["f", "g"]


def test_older_shapes_of_calls_and_results() -> None:
    """`function_call` and the role `function`, which know no ids; a result may also name its function itself."""
    legacy = {"role": "assistant", "content": None, "function_call": {"name": "f", "arguments": ""}}
    contents = turns(user("q"), legacy, {"role": "function", "name": "f", "content": "r"})
    assert contents[1]["parts"] == [{"functionCall": {"name": "f", "args": {}}}]
    assert contents[2]["parts"] == [{"functionResponse": {"name": "f", "response": {"output": "r"}}}]
    lone = turns(user("q"), result("x", "r", name="g"))
    assert lone[0]["parts"][1] == {"functionResponse": {"name": "g", "response": {"output": "r"}, "id": "x"}}


def test_results_with_parts() -> None:
    """Texts are joined, images go beside the response."""
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}
    content = [{"type": "text", "text": "a"}, image, {"type": "text", "text": "b"}]
    contents = turns(user("q"), assistant(call("c")), result("c", content))
    assert contents[2]["parts"][0]["functionResponse"] == {
        "name": "f",
        "response": {"output": "ab"},
        "id": "c",
        "parts": [{"inlineData": {"mimeType": "image/png", "data": "AAAA"}}],
    }


def test_calls_of_another_model_are_signed_where_they_must_be() -> None:
    """The first of each turn, with the text that says so; and not where signatures are unknown."""
    history = (user("q"), assistant(call("a"), call("b"), content="text"), result("a"), result("b"))
    parts = turns(*history, sign_calls=True)[1]["parts"]
    assert [part.get("thoughtSignature") for part in parts] == [None, UNSIGNED, None]
    assert UNSIGNED not in json.dumps(turns(*history))


def test_models_with_levels_get_signed_calls(gemini_wire: Any) -> None:
    """Those refuse unsigned ones; the older ones do not know signatures of this kind."""
    history = [user("q"), assistant(call("a")), result("a")]
    assert UNSIGNED in json.dumps(gemini_wire.body(history, "gemini-3.7-flash"))
    assert UNSIGNED not in json.dumps(gemini_wire.body(history, "gemini-2.5-flash"))


SIGNED = {"functionCall": {"id": "k", "name": "f", "args": {"x": 1}}, "thoughtSignature": "c2ln"}


@pytest.mark.parametrize(
    ("maker", "asked", "goes_back"),
    [
        ("gemini-3.7-flash", "gemini-3.7-flash", True),
        ("gemini-3.7-flash-002", "models/gemini-3.7-flash", True),
        ("gemini-3.7-flash", "gemini-3.8-flash", False),
        ("gemini-2.5-flash", "gemini-2.5-pro", False),
        ("gemini-3.7-flash", "gemini-flash-latest", True),
        ("something-new", "gemini-3.7-flash", True),
    ],
)
def test_signatures_go_back_to_the_model_that_made_them(
    gemini_wire: Any, maker: str, asked: str, goes_back: bool
) -> None:
    """And to no other, which would refuse them; a name that is not known may be another name of it."""
    message = gemini_wire.read({**gemini_wire.candidate(SIGNED), "modelVersion": maker}).assistant_message
    assert message["gemini_model"] == maker
    sent = gemini_wire.body([user("q"), message, result("k")], asked)["contents"][1]["parts"][0]
    assert (sent == SIGNED) is goes_back
    assert sent["functionCall"] == SIGNED["functionCall"]


@pytest.mark.parametrize(
    "change",
    [
        {"content": "other"},
        {"tool_calls": []},
        {"tool_calls": [call("k", "g", '{"x":1}')]},
        {"tool_calls": [call("k", "f", '{"x":2}')]},
        {"gemini_parts": "junk"},
        {"gemini_parts": []},
        {"gemini_parts": [5]},
    ],
)
def test_a_message_that_was_changed_says_what_it_says_now(gemini_wire: Any, change: dict[str, Any]) -> None:
    """The opaque parts of what is no longer said are left out."""
    message = {**gemini_wire.read(gemini_wire.candidate("text", SIGNED)).assistant_message, **change}
    sent = turns(user("q"), message)[1]["parts"]
    assert "c2ln" not in json.dumps(sent)
    expected = [{"text": message["content"]}] + [
        {
            "functionCall": {
                "id": each["id"],
                "name": each["function"]["name"],
                "args": json.loads(each["function"]["arguments"]),
            }
        }
        for each in message["tool_calls"]
    ]
    assert sent == expected


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=4), inner, max_size=2),
    max_leaves=5,
)
PARTS = st.fixed_dictionaries(
    {},
    optional={
        "text": st.text(max_size=5),
        "thought": st.booleans(),
        "thoughtSignature": st.text(max_size=8),
        "functionCall": st.fixed_dictionaries(
            {"name": st.text(min_size=1, max_size=3)},
            optional={"id": st.text(min_size=1, max_size=3), "args": st.dictionaries(st.text(max_size=3), JSON)},
        ),
        "executableCode": JSON,
        "codeExecutionResult": JSON,
        "newKey": JSON,
    },
)


@given(st.lists(PARTS, max_size=5))
def test_opaque_parts_round_trip_verbatim(gemini_wire: Any, parts: list[dict[str, Any]]) -> None:
    """Whatever stands on them, through the answer, through JSON as a user keeps it, and into the next request."""
    given_parts = [{"text": "seen"}, *parts, {"text": "", "thoughtSignature": "c2ln"}]
    message = gemini_wire.read(gemini_wire.candidate(*given_parts)).assistant_message
    kept = decode_json(encode_json(message))
    sent = decode_json(gemini_wire.http([user("q"), kept]).body)["contents"][1]["parts"]
    assert encode_json(sent) == encode_json(given_parts)


def test_empty_messages() -> None:
    """A user who says nothing says an empty text; an assistant who said nothing has no turn."""
    assert turns(user("a"), {"role": "assistant", "content": ""}, user("b")) == [
        {"role": "user", "parts": [{"text": "a"}, {"text": "b"}]}
    ]
    assert turns({"role": "user"}) == [{"role": "user", "parts": [{"text": ""}]}]
    assert turns(user("q"), {"role": "assistant", "content": None, "refusal": "no"})[1]["parts"] == [{"text": "no"}]


@pytest.mark.parametrize(
    "messages",
    [
        [user("q"), result("nobody")],
        [user("q"), {"role": "tool", "content": "x"}],
        [user("q"), assistant(call("c", "f", "[1]"))],
        [user("q"), assistant(call("c", "f", "{"))],
        [user("q"), assistant(call("c", "f", '{"x":"\ud83d'))],
        [user("q"), assistant(call("c", ""))],
        [user("q"), assistant({"id": "c", "type": "custom", "custom": {"name": "f", "input": "x"}})],
        [{"role": "wizard", "content": "x"}],
        [user("q"), {"role": "assistant", "tool_calls": 5}],
    ],
)
def test_what_cannot_be_said_is_an_input_error(messages: list[dict[str, Any]]) -> None:
    """Before anything is sent, with what is wrong."""
    with pytest.raises(InputError):
        encode_messages(messages)
