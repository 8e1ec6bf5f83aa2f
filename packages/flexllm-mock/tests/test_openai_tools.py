"""Tool calls and structured output over HTTP."""

from __future__ import annotations

import json

import pytest

WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "d",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string"}, "unit": {"enum": ["c", "f"]}, "days": {"type": "integer"}},
            "required": ["city", "unit"],
            "additionalProperties": False,
        },
    },
}
TIME = {"type": "function", "function": {"name": "get_time"}}


def call_of(answer):
    [call] = answer.message["tool_calls"]
    return call


def test_tools_are_called(client, broken_by):
    """A request with tools gets a call whose arguments satisfy the function's schema."""
    for number in range(20):
        answer = client.chat(f"Weather {number}?", tools=[WEATHER])
        assert answer.json["choices"][0]["finish_reason"] == "tool_calls"
        assert answer.message["content"] is None
        call = call_of(answer)
        assert call["type"] == "function"
        assert call["function"]["name"] == "get_weather"
        arguments = json.loads(call["function"]["arguments"])
        assert broken_by(WEATHER["function"]["parameters"], arguments) == []


def test_auto_picks_among_the_tools(client):
    """Without a named choice different prompts call different tools, and required calls one too."""
    for choice in ("auto", "required"):
        names = {
            call_of(client.chat(f"Q{number}", tools=[WEATHER, TIME], tool_choice=choice))["function"]["name"]
            for number in range(20)
        }
        assert names == {"get_weather", "get_time"}


def test_named_choice_is_obeyed(client):
    """The named function is called, whatever the prompt."""
    choice = {"type": "function", "function": {"name": "get_time"}}
    for number in range(10):
        call = call_of(client.chat(f"Q{number}", tools=[WEATHER, TIME], tool_choice=choice))
        assert call["function"] == {"name": "get_time", "arguments": "{}"}


def test_no_call_when_not_wanted(client):
    """tool_choice none, an empty list, and tools that are no functions give text."""
    for options in (
        {"tools": [WEATHER], "tool_choice": "none"},
        {"tools": []},
        {"tools": [{"type": "custom", "custom": {"name": "x"}}]},
    ):
        answer = client.chat(**options)
        assert "tool_calls" not in answer.message
        assert answer.text


def test_text_after_a_tool_result(client):
    """When the last message is a tool's result the answer is text."""
    call = call_of(client.chat(tools=[WEATHER]))
    messages = [
        {"role": "user", "content": "Weather?"},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": call["id"], "content": "4 C"},
    ]
    answer = client.chat(messages=messages, tools=[WEATHER])
    assert answer.json["choices"][0]["finish_reason"] == "stop"
    assert answer.text


@pytest.mark.parametrize("thinking", [False, True])
def test_streamed_call_is_the_same_call(client, thinking):
    """In a stream id and name come once, the arguments in fragments, and their sum is the call of the document."""
    options = {"tools": [WEATHER], "enable_thinking": thinking}
    single, streamed = client.chat(**options), client.chat(**options, stream=True)
    assert streamed.deltas[0]["role"] == "assistant"
    assert streamed.deltas[0]["content"] is None
    parts = [delta["tool_calls"][0] for delta in streamed.deltas if "tool_calls" in delta]
    assert all(part["index"] == 0 for part in parts)
    assert [set(part) for part in parts[1:]] == [{"index", "function"}] * (len(parts) - 1)
    assert len(parts) > 2
    call = call_of(single)
    assert (parts[0]["id"], parts[0]["function"]["name"]) == (call["id"], "get_weather")
    assert "".join(part["function"]["arguments"] for part in parts) == call["function"]["arguments"]
    assert streamed.events[-1]["choices"][0]["finish_reason"] == "tool_calls"
    assert streamed.joined("reasoning_content") == single.message.get("reasoning_content", "")


def test_call_that_does_not_fit_is_cut(client):
    """A limit cuts the arguments too, with finish reason length; reasoning that uses it up leaves no call."""
    whole = call_of(client.chat(tools=[WEATHER]))["function"]["arguments"]
    cut = client.chat(tools=[WEATHER], max_tokens=2)
    assert cut.json["choices"][0]["finish_reason"] == "length"
    arguments = call_of(cut)["function"]["arguments"]
    assert whole.startswith(arguments)
    assert arguments != whole
    thought = client.chat(tools=[WEATHER], max_tokens=2, enable_thinking=True)
    assert "tool_calls" not in thought.message
    streamed = client.chat(tools=[WEATHER], max_tokens=2, enable_thinking=True, stream=True)
    assert not any("tool_calls" in delta for delta in streamed.deltas)


def test_each_choice_has_a_call_id_of_its_own(client):
    """With n choices the call ids differ."""
    choices = client.chat(tools=[WEATHER], n=3).json["choices"]
    assert len({choice["message"]["tool_calls"][0]["id"] for choice in choices}) == 3


def test_json_object(client):
    """json_object gives a JSON object, different for different prompts."""
    texts = [client.chat(f"Q{n}", response_format={"type": "json_object"}).text for n in range(5)]
    assert all(isinstance(json.loads(text), dict) for text in texts)
    assert len(set(texts)) == 5


SCHEMA = {
    "type": "object",
    "properties": {
        "title": {"type": "string", "maxLength": 20},
        "score": {"type": "number", "minimum": 0, "maximum": 1},
        "tags": {"type": "array", "items": {"$ref": "#/$defs/tag"}, "minItems": 2, "maxItems": 4},
        "owner": {"anyOf": [{"type": "null"}, {"$ref": "#/$defs/person"}]},
        "status": {"enum": ["open", "closed", None]},
    },
    "required": ["title", "score", "tags", "owner", "status"],
    "additionalProperties": False,
    "$defs": {
        "tag": {"type": "string", "enum": ["x", "y", "z\u4e2d"]},
        "person": {
            "type": "object",
            "properties": {
                "name": {"type": "string"},
                "friends": {"type": "array", "items": {"$ref": "#/$defs/person"}},
            },
            "required": ["name", "friends"],
        },
    },
}


@pytest.mark.parametrize("stream", [False, True])
def test_json_schema(client, broken_by, stream):
    """json_schema gives JSON that satisfies the schema, streamed or not."""
    wanted = {"type": "json_schema", "json_schema": {"name": "out", "strict": True, "schema": SCHEMA}}
    owners = []
    for number in range(20):
        answer = client.chat(f"Q{number}", response_format=wanted, stream=stream)
        value = json.loads(answer.joined("content") if stream else answer.text)
        assert broken_by(SCHEMA, value) == []
        owners.append(value["owner"])
    assert None in owners
    assert any(owners)


def test_tools_come_before_the_format(client):
    """With tools and a response format a tool is called first, and the answer after its result has the format."""
    wanted = {"type": "json_schema", "json_schema": {"name": "out", "schema": SCHEMA}}
    assert call_of(client.chat(tools=[TIME], response_format=wanted))
    messages = [{"role": "user", "content": "Q"}, {"role": "tool", "tool_call_id": "c", "content": "r"}]
    answer = client.chat(messages=messages, tools=[TIME], response_format=wanted)
    assert set(json.loads(answer.text)) == set(SCHEMA["properties"])


ASKS_BOTH = "First get_time, please, then get_weather for Oslo."


def test_each_named_function_is_called(client, broken_by):
    """Functions that the user's text names are called once each, in its order, with ids of their own."""
    for choice in (None, "auto", "required"):
        calls = client.chat(ASKS_BOTH, tools=[WEATHER, TIME], tool_choice=choice).message["tool_calls"]
        assert [call["function"]["name"] for call in calls] == ["get_time", "get_weather"]
        assert len({call["id"] for call in calls}) == 2
        assert broken_by(WEATHER["function"]["parameters"], json.loads(calls[1]["function"]["arguments"])) == []
    for text in ("get_times and xget_weather", "no names"):
        assert call_of(client.chat(text, tools=[WEATHER, TIME]))


def test_one_call_when_not_parallel(client):
    """Without parallel calls the first named function is called, and a named choice is called alone."""
    call = call_of(client.chat(ASKS_BOTH, tools=[WEATHER, TIME], parallel_tool_calls=False))
    assert call["function"]["name"] == "get_time"
    choice = {"type": "function", "function": {"name": "get_weather"}}
    assert (
        call_of(client.chat(ASKS_BOTH, tools=[WEATHER, TIME], tool_choice=choice))["function"]["name"] == "get_weather"
    )


@pytest.mark.parametrize("thinking", [False, True])
def test_streamed_parallel_calls_are_the_same_calls(client, thinking):
    """In a stream each call has its index, begins with id and name, and goes on in fragments."""
    options = {"tools": [WEATHER, TIME], "enable_thinking": thinking, "n": 2}
    single, streamed = client.chat(ASKS_BOTH, **options), client.chat(ASKS_BOTH, **options, stream=True)
    calls = {}
    for event in streamed.events:
        for choice in event["choices"]:
            for part in choice["delta"].get("tool_calls", ()):
                call = calls.setdefault((choice["index"], part["index"]), part)
                if call is not part:
                    assert set(part) == {"index", "function"}
                    call["function"]["arguments"] += part["function"]["arguments"]
    for choice in single.json["choices"]:
        for at, call in enumerate(choice["message"]["tool_calls"]):
            assert calls.pop((choice["index"], at)) == {"index": at, **call}
    assert calls == {}
    assert len({call["id"] for choice in single.json["choices"] for call in choice["message"]["tool_calls"]}) == 4


def test_limit_cuts_parallel_calls(client):
    """A limit within the first call leaves no second one."""
    cut = client.chat(ASKS_BOTH, tools=[WEATHER, TIME], max_tokens=1)
    assert call_of(cut)["function"] == {"name": "get_time", "arguments": "{}"}
    assert cut.json["choices"][0]["finish_reason"] == "length"
