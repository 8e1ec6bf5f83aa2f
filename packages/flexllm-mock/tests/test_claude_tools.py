"""Claude's tool use and structured output over HTTP."""

from __future__ import annotations

import json

import pytest

WEATHER = {
    "name": "get_weather",
    "description": "d",
    "input_schema": {
        "type": "object",
        "properties": {"city": {"type": "string"}, "unit": {"enum": ["c", "f"]}, "days": {"type": "integer"}},
        "required": ["city", "unit"],
        "additionalProperties": False,
    },
}
TIME = {"name": "get_time", "input_schema": {"type": "object", "properties": {}}}
ASKS_BOTH = "First get_time, please, then get_weather for Oslo."


def uses_of(answer):
    assert answer.status == 200, answer.body
    return [block for block in answer.json["content"] if block["type"] == "tool_use"]


def test_tools_are_used(client, broken_by):
    """A request with tools gets a tool use whose input is an object that satisfies the tool's schema."""
    for number in range(20):
        answer = client.messages(f"Weather {number}?", tools=[WEATHER])
        [use] = answer.json["content"]
        assert (use["type"], use["name"], answer.json["stop_reason"]) == ("tool_use", "get_weather", "tool_use")
        assert use["id"].startswith("toolu_")
        assert broken_by(WEATHER["input_schema"], use["input"]) == []


@pytest.mark.parametrize("choice", [None, {"type": "auto"}, {"type": "any"}])
def test_auto_and_any_pick_among_the_tools(client, choice):
    """Different prompts use different tools."""
    answers = [client.messages(f"Q{n}", tools=[WEATHER, TIME], tool_choice=choice) for n in range(20)]
    assert {use["name"] for answer in answers for use in uses_of(answer)} == {"get_weather", "get_time"}
    assert all(len(uses_of(answer)) == 1 for answer in answers)


def test_named_tool_is_used(client):
    """The named tool is used, even if the text names another."""
    choice = {"type": "tool", "name": "get_time"}
    for text in ("Q1", "Q2", "get_weather now"):
        [use] = uses_of(client.messages(text, tools=[WEATHER, TIME], tool_choice=choice))
        assert (use["name"], use["input"]) == ("get_time", {})


def test_text_when_no_tool_is_wanted(client):
    """tool_choice none, an empty list and tools that the vendor runs give text."""
    for options in (
        {"tools": [WEATHER], "tool_choice": {"type": "none"}},
        {"tools": []},
        {"tools": [{"type": "web_search_20250305", "name": "web_search"}]},
    ):
        answer = client.messages(**options)
        assert [block["type"] for block in answer.json["content"]] == ["text"]


def test_each_named_tool_is_used(client):
    """Tools that the user's text names are used once each, in its order, with ids of their own."""
    uses = uses_of(client.messages(ASKS_BOTH, tools=[WEATHER, TIME]))
    assert [use["name"] for use in uses] == ["get_time", "get_weather"]
    assert len({use["id"] for use in uses}) == 2
    for text in ("get_weather_now and get_times", "no names"):
        assert len(uses_of(client.messages(text, tools=[WEATHER, TIME]))) == 1


def test_parallel_use_can_be_disabled(client):
    """With disable_parallel_tool_use only the first named tool is used."""
    choice = {"type": "auto", "disable_parallel_tool_use": True}
    [use] = uses_of(client.messages(ASKS_BOTH, tools=[WEATHER, TIME], tool_choice=choice))
    assert use["name"] == "get_time"


def test_text_after_tool_results(client):
    """When the last turn holds the results the answer is text, unless a tool is required."""
    uses = uses_of(client.messages(ASKS_BOTH, tools=[WEATHER, TIME]))
    results = [{"type": "tool_result", "tool_use_id": use["id"], "content": "done"} for use in uses]
    messages = [
        {"role": "user", "content": ASKS_BOTH},
        {"role": "assistant", "content": uses},
        {"role": "user", "content": results},
    ]
    answer = client.messages(messages=messages, tools=[WEATHER, TIME])
    assert (answer.json["stop_reason"], answer.json["content"][0]["type"]) == ("end_turn", "text")
    assert uses_of(client.messages(messages=messages, tools=[WEATHER, TIME], tool_choice={"type": "any"}))
    half = [*messages[:2], {"role": "user", "content": results[:1]}]
    assert uses[1]["id"] in client.messages(messages=half, tools=[WEATHER, TIME]).claude_error["message"]


@pytest.mark.parametrize("thinking", [None, {"type": "adaptive"}])
def test_streamed_use_is_the_same_use(client, thinking):
    """In a stream each use starts with an empty input and an empty fragment; the fragments add up to the input."""
    options = {"content": ASKS_BOTH, "tools": [WEATHER, TIME], "thinking": thinking}
    single, streamed = client.messages(**options), client.messages(**options, stream=True)
    blocks, fragments, order = {}, {}, []
    for event in streamed.claude_events:
        order.append((event["type"], event.get("index")))
        if event["type"] == "content_block_start":
            blocks[event["index"]] = event["content_block"]
        elif event["type"] == "content_block_delta" and event["delta"]["type"] == "input_json_delta":
            fragments.setdefault(event["index"], []).append(event["delta"]["partial_json"])
    expected = single.json["content"]
    for index, block in enumerate(expected):
        assert order.index(("content_block_start", index)) < order.index(("content_block_stop", index))
        if block["type"] == "tool_use":
            assert blocks[index] == {**block, "input": {}}
            assert fragments[index][0] == ""
            assert json.loads("".join(fragments[index])) == block["input"]
    assert len(fragments) == 2
    assert [index for kind, index in order if kind == "content_block_stop"] == list(range(len(expected)))
    assert streamed.claude_events[-2]["delta"]["stop_reason"] == "tool_use"


def test_use_that_does_not_fit_is_cut(client):
    """A limit cuts the fragments with stop reason max_tokens; a document then has an empty input."""
    cut = client.messages(tools=[WEATHER], max_tokens=2)
    [use] = uses_of(cut)
    assert (use["input"], cut.json["stop_reason"]) == ({}, "max_tokens")
    streamed = client.messages(tools=[WEATHER], max_tokens=2, stream=True)
    deltas = [event["delta"] for event in streamed.claude_events if event["type"] == "content_block_delta"]
    text = "".join(delta["partial_json"] for delta in deltas)
    assert text.startswith("{")
    with pytest.raises(ValueError, match=r"Expecting|Unterminated"):
        json.loads(text)
    both = client.messages(ASKS_BOTH, tools=[WEATHER, TIME], max_tokens=1)
    assert [use["name"] for use in uses_of(both)] == ["get_time"]


SCHEMA = {
    "type": "object",
    "properties": {
        "title": {"type": "string", "maxLength": 20},
        "tags": {"type": "array", "items": {"$ref": "#/$defs/tag"}, "minItems": 2, "maxItems": 4},
        "status": {"enum": ["open", "closed", None]},
    },
    "required": ["title", "tags", "status"],
    "additionalProperties": False,
    "$defs": {"tag": {"type": "string", "enum": ["x", "y", "z\u4e2d"]}},
}


@pytest.mark.parametrize("stream", [False, True])
def test_json_schema(client, broken_by, stream):
    """output_config.format gives JSON that satisfies the schema, as a text block."""
    wanted = {"format": {"type": "json_schema", "schema": SCHEMA}}
    for number in range(20):
        answer = client.messages(f"Q{number}", output_config=wanted, stream=stream)
        if stream:
            deltas = [event["delta"] for event in answer.claude_events if event["type"] == "content_block_delta"]
            text = "".join(delta["text"] for delta in deltas)
        else:
            text = answer.json["content"][0]["text"]
        assert broken_by(SCHEMA, json.loads(text)) == []


def test_tools_come_before_the_format(client):
    """With tools and a format a tool is used first."""
    wanted = {"format": {"type": "json_schema", "schema": SCHEMA}}
    assert uses_of(client.messages(output_config=wanted, tools=[TIME]))
