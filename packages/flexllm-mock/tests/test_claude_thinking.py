"""Claude's thinking over HTTP: when there is some, how it is shown, and what happens when it is sent back."""

from __future__ import annotations

import base64

import pytest

ENABLED = {"type": "enabled", "budget_tokens": 1024}
ADAPTIVE = {"type": "adaptive"}
TOOL = {"name": "f", "input_schema": {"type": "object", "properties": {"x": {"type": "string"}}, "required": ["x"]}}


def follow_up(*blocks):
    """A conversation in which the assistant has said something."""
    return [
        {"role": "user", "content": "Hello there"},
        {"role": "assistant", "content": list(blocks)},
        {"role": "user", "content": "And now?"},
    ]


@pytest.mark.parametrize("thinking", [ENABLED, ADAPTIVE, {**ADAPTIVE, "display": "summarized"}])
def test_thinking_comes_before_the_text(client, thinking):
    """Enabled and adaptive thinking give a signed block, whose tokens the usage counts."""
    answer = client.messages(thinking=thinking)
    thought, text = answer.json["content"]
    assert set(thought) == {"type", "thinking", "signature"}
    assert (thought["type"], text["type"]) == ("thinking", "text")
    assert len(base64.b64decode(thought["signature"], validate=True)) > 16
    usage = answer.json["usage"]
    assert usage["output_tokens_details"] == {"thinking_tokens": len(thought["thinking"].split())}
    assert usage["output_tokens"] == len(thought["thinking"].split()) + len(text["text"].split())


@pytest.mark.parametrize("thinking", [None, {"type": "disabled"}, {"type": "between_tools"}])
def test_no_thinking_unless_asked(client, thinking):
    """Disabled thinking, and thinking between tools where there are none, give text only."""
    answer = client.messages(thinking=thinking)
    assert [block["type"] for block in answer.json["content"]] == ["text"]
    assert answer.json["usage"]["output_tokens_details"] == {"thinking_tokens": 0}


def test_thinking_between_tools(client):
    """between_tools thinks after a tool's result."""
    [use] = client.messages(tools=[TOOL], thinking={"type": "between_tools"}).json["content"]
    result = {"type": "tool_result", "tool_use_id": use["id"], "content": "r"}
    messages = [*follow_up(use)[:2], {"role": "user", "content": [result]}]
    answer = client.messages(messages=messages, tools=[TOOL], thinking={"type": "between_tools"})
    assert [block["type"] for block in answer.json["content"]] == ["thinking", "text"]


@pytest.mark.parametrize("stream", [False, True])
def test_thinking_that_is_not_shown(client, stream):
    """With display omitted the block is there with its signature and no text, and its tokens are counted."""
    thinking = {**ADAPTIVE, "display": "omitted"}
    shown, omitted = client.messages(thinking=thinking), client.messages(thinking=thinking, stream=True)
    thought = shown.json["content"][0]
    assert (thought["thinking"], bool(thought["signature"])) == ("", True)
    assert shown.json["usage"]["output_tokens_details"]["thinking_tokens"] > 0
    kinds = [event["delta"]["type"] for event in omitted.claude_events if event["type"] == "content_block_delta"]
    assert kinds[0] == "signature_delta"
    assert "thinking_delta" not in kinds
    assert client.messages(messages=follow_up(thought)).status == 200


def test_streamed_thinking_is_the_same_thinking(client):
    """In a stream thinking comes in pieces with its signature at the end, then the text."""
    single, streamed = client.messages(thinking=ENABLED), client.messages(thinking=ENABLED, stream=True)
    thought, text = single.json["content"]
    events = streamed.claude_events
    assert events[1]["content_block"] == {"type": "thinking", "thinking": "", "signature": ""}
    first = [event["delta"] for event in events if event["type"] == "content_block_delta" and event["index"] == 0]
    assert "".join(delta.get("thinking", "") for delta in first) == thought["thinking"]
    assert [delta["type"] for delta in first][-2:] == ["thinking_delta", "signature_delta"]
    assert first[-1]["signature"] == thought["signature"]
    second = [event["delta"] for event in events if event["type"] == "content_block_delta" and event["index"] == 1]
    assert "".join(delta["text"] for delta in second) == text["text"]
    assert [event["type"] for event in events].count("ping") == 1
    assert events[-2]["usage"]["output_tokens_details"] == single.json["usage"]["output_tokens_details"]


def test_limit_counts_thinking_first(client):
    """A limit that thinking uses up leaves no text."""
    answer = client.messages(thinking=ADAPTIVE, max_tokens=4)
    [thought] = answer.json["content"]
    assert len(thought["thinking"].split()) == 4
    assert answer.json["stop_reason"] == "max_tokens"
    assert client.messages(messages=follow_up(thought)).status == 200


def test_thinking_is_accepted_back(client, serve):
    """A block that is sent back as it came is accepted, by another server with the same seed too."""
    blocks = client.messages(thinking=ENABLED).json["content"]
    for each in (client, serve()):
        assert each.messages(messages=follow_up(*blocks), thinking=ENABLED).status == 200


def test_thinking_goes_before_the_tool_use_it_led_to(client):
    """A loop with tools: thinking and tool use, then with both sent back the text."""
    blocks = client.messages(thinking=ADAPTIVE, tools=[TOOL]).json["content"]
    assert [block["type"] for block in blocks] == ["thinking", "tool_use"]
    result = {"type": "tool_result", "tool_use_id": blocks[1]["id"], "content": "r"}
    messages = [*follow_up(*blocks)[:2], {"role": "user", "content": [result]}]
    answer = client.messages(messages=messages, tools=[TOOL], thinking=ADAPTIVE)
    assert [block["type"] for block in answer.json["content"]] == ["thinking", "text"]


@pytest.mark.parametrize(
    "change",
    [
        {"signature": "EqQB"},
        {"signature": ""},
        {"signature": "not base64!"},
        {"signature": "\ud83d"},
        {"thinking": "Other thoughts."},
        {"thinking": ""},
    ],
)
def test_changed_thinking_is_refused(client, change):
    """A signature that the mock did not make, or one that belongs to other thoughts, is 400."""
    thought, text = client.messages(thinking=ENABLED).json["content"]
    refused = client.messages(messages=follow_up({**thought, **change}, text))
    assert refused.status == 400
    assert refused.claude_error["message"] == "messages.1.content.0: Invalid `signature` in `thinking` block"


def test_thinking_of_another_seed_is_refused(client, serve):
    """A server with another seed does not know the signature."""
    thought = serve(seed=1).messages(thinking=ENABLED).json["content"][0]
    assert client.messages(messages=follow_up(thought)).status == 400
