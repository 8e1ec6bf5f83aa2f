"""What a Claude request must hold, and how the mock says what is wrong."""

from __future__ import annotations

import pytest

HELLO = [{"role": "user", "content": "Hello"}]
VERSION = {"anthropic-version": "2023-06-01"}
TOOL = {"name": "f", "input_schema": {"type": "object"}}
USE = {"type": "tool_use", "id": "toolu_1", "name": "f", "input": {}}
RESULT = {"type": "tool_result", "tool_use_id": "toolu_1", "content": "4 C"}
TEXT = {"type": "text", "text": "x"}


def user(*blocks):
    return {"role": "user", "content": list(blocks)}


def assistant(*blocks):
    return {"role": "assistant", "content": list(blocks)}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model": None}, "model: Field required"),
        ({"model": 3}, "model: Input should be a valid string"),
        ({"max_tokens": None}, "max_tokens: Field required"),
        ({"max_tokens": "9"}, "max_tokens: Input should be a valid integer"),
        ({"max_tokens": True}, "max_tokens: Input should be a valid integer"),
        ({"max_tokens": -1}, "max_tokens: Input should be greater"),
        ({"messages": None}, "messages: Field required"),
        ({"messages": []}, "messages: at least one message is required"),
        ({"messages": "hi"}, "messages: Input should be a valid list"),
        ({"messages": ["hi"]}, "messages.0: Input should be an object"),
        ({"messages": [{"content": "x"}]}, "messages.0.role: Field required"),
        ({"messages": [{"role": "tool", "content": "x"}]}, "messages.0.role: Input should be 'user' or 'assistant'"),
        ({"messages": [{"role": ["user"], "content": "x"}]}, "messages.0.role"),
        ({"messages": [{"role": "user"}]}, "messages.0.content: Field required"),
        ({"messages": [{"role": "user", "content": 5}]}, "messages.0.content: Input should be a valid string or list"),
        ({"messages": [{"role": "user", "content": ""}]}, "messages.0: all messages must have non-empty content"),
        ({"messages": [user()]}, "messages.0: all messages must have non-empty content"),
        ({"messages": [{"role": "assistant", "content": "x"}]}, 'messages: first message must use the "user" role'),
        ({"messages": [user(5)]}, "messages.0.content.0: Input should be an object"),
        ({"messages": [user({"text": "x"})]}, "messages.0.content.0.type: Field required"),
        ({"messages": [user({"type": "image_url"})]}, "messages.0.content.0: Input tag 'image_url'"),
        ({"messages": [user({"type": "text"})]}, "messages.0.content.0.text: Field required"),
        ({"messages": [user({"type": "text", "text": " "})]}, "messages.0.content.0: text content blocks must contain"),
        ({"messages": [user({"type": "image", "source": {}})]}, "messages.0.content.0.source.type"),
        (
            {
                "messages": [
                    user({"type": "image", "source": {"type": "base64", "data": "x", "media_type": "image/bmp"}})
                ]
            },
            "messages.0.content.0.source.media_type",
        ),
        ({"messages": [user({"type": "image", "source": {"type": "url"}})]}, "messages.0.content.0.source.url: Field"),
        ({"messages": [user(USE)]}, "messages.0.content.0: `tool_use` blocks can only be in `assistant` messages"),
        ({"messages": [*HELLO, assistant(RESULT)]}, "messages.1.content.0: `tool_result` blocks can only be in `user`"),
        ({"messages": [*HELLO, assistant({**USE, "input": "{}"})]}, "messages.1.content.0.input"),
        ({"messages": [user(RESULT)]}, "messages.0: unexpected `tool_use_id` found in `tool_result` blocks: toolu_1"),
        ({"messages": [*HELLO, assistant(USE)]}, "messages.1: `tool_use` ids were found without `tool_result` blocks"),
        ({"messages": [*HELLO, assistant(USE), *HELLO]}, "messages.2: `tool_use` ids were found without `tool_result`"),
        ({"messages": [*HELLO, assistant(USE), user(TEXT, RESULT)]}, "messages.2: `tool_use` ids were found without"),
        ({"messages": [*HELLO, assistant(USE), user(RESULT, RESULT)]}, "messages.2: each tool_use must have a single"),
        ({"messages": [*HELLO, assistant(USE, USE), user(RESULT)]}, "messages.1: `tool_use` ids must be unique"),
        ({"messages": [*HELLO, assistant(USE), user({**RESULT, "content": 5})]}, "messages.2.content.0.content"),
        ({"messages": [*HELLO, assistant(USE), user({**RESULT, "is_error": "no"})]}, "messages.2.content.0.is_error"),
        ({"system": 5}, "system: Input should be a valid string or list"),
        ({"system": [{"type": "image"}]}, "system.0.type: Input should be 'text'"),
        ({"stop_sequences": "x"}, "stop_sequences: Input should be a list of strings"),
        ({"stop_sequences": [" "]}, "stop_sequences: each stop sequence must contain non-whitespace"),
        ({"stream": "yes"}, "stream: Input should be a valid boolean"),
        ({"temperature": 1.5}, "temperature: Input should be a number from 0 to 1"),
        ({"top_k": "5"}, "top_k: Input should be a number"),
        ({"n": 2}, "n: Extra inputs are not permitted"),
        ({"seed": 7}, "seed: Extra inputs are not permitted"),
        ({"response_format": {"type": "json_object"}}, "response_format: Extra inputs are not permitted"),
        ({"anthropic_version": "x"}, "anthropic_version: Extra inputs are not permitted"),
        ({"thinking": True}, "thinking: Input should be an object"),
        ({"thinking": {"type": "on"}}, "thinking.type: Input should be 'enabled'"),
        ({"thinking": {"type": "enabled"}}, "thinking.enabled.budget_tokens: Field required"),
        (
            {"thinking": {"type": "enabled", "budget_tokens": 1000}},
            "thinking.enabled.budget_tokens: Input should be gr",
        ),
        ({"thinking": {"type": "enabled", "budget_tokens": "5"}}, "thinking.enabled.budget_tokens: Input should be a"),
        ({"thinking": {"type": "enabled", "budget_tokens": 4096}}, "`max_tokens` must be greater than"),
        ({"thinking": {"type": "adaptive", "display": "full"}}, "thinking.display"),
        ({"output_config": {"effort": "ultra"}}, "output_config.effort"),
        ({"output_config": {"format": {"type": "json_object"}}}, "output_config.format.type"),
        ({"output_config": {"format": {"type": "json_schema"}}}, "output_config.format.schema: Field required"),
        (
            {"output_config": {"format": {"type": "json_schema", "schema": {"not": {}}}}},
            "output_config.format.schema: Invalid schema",
        ),
        ({"tools": {}}, "tools: Input should be a valid list"),
        ({"tools": ["f"]}, "tools.0: Input should be an object"),
        ({"tools": [{"name": "f g", "input_schema": {"type": "object"}}]}, "tools.0.custom.name"),
        ({"tools": [{"name": "f"}]}, "tools.0.custom.input_schema: Field required"),
        ({"tools": [{"name": "f", "input_schema": {"type": "string"}}]}, "tools.0.custom.input_schema.type"),
        ({"tools": [TOOL, TOOL]}, "tools: Tool names must be unique"),
        ({"tools": [{"name": "f", "input_schema": {"type": "object", "not": {}}}]}, "tools: Invalid schema"),
        ({"tool_choice": {"type": "auto"}}, "tool_choice may only be specified while providing tools"),
        ({"tools": [TOOL], "tool_choice": "auto"}, "tool_choice.type"),
        ({"tools": [TOOL], "tool_choice": {"type": "required"}}, "tool_choice.type"),
        ({"tools": [TOOL], "tool_choice": {"type": "tool"}}, "tool_choice.tool.name: Field required"),
        ({"tools": [TOOL], "tool_choice": {"type": "tool", "name": "g"}}, "Tool 'g' not found in provided tools"),
        (
            {"tools": [TOOL], "tool_choice": {"type": "auto", "disable_parallel_tool_use": 1}},
            "tool_choice.disable_parallel_tool_use",
        ),
        (
            {"tools": [TOOL], "tool_choice": {"type": "any"}, "thinking": {"type": "adaptive"}},
            "Thinking may not be enabled when tool_choice forces tool use",
        ),
        ({"system": [{**TEXT, "cache_control": {"type": "forever"}}]}, "system.0.cache_control.type"),
        ({"system": [{**TEXT, "cache_control": {"type": "ephemeral", "ttl": "2h"}}]}, "system.0.cache_control.ttl"),
        (
            {"system": [{**TEXT, "cache_control": {"type": "ephemeral"}}] * 5},
            "A maximum of 4 blocks with cache_control",
        ),
    ],
)
def test_what_is_wrong_is_named(client, change, message):
    """A field that is missing or wrong gives 400 in Claude's shape, with the place in the body."""
    answer = client.post("/v1/messages", {"model": "m", "max_tokens": 4096, "messages": HELLO, **change}, **VERSION)
    assert answer.status == 400
    assert answer.claude_error["type"] == "invalid_request_error"
    assert answer.claude_error["message"].startswith(message)


@pytest.mark.parametrize(
    "change",
    [
        {
            "stop_sequences": None,
            "stream": None,
            "tools": None,
            "thinking": None,
            "output_config": None,
            "system": None,
        },
        {"system": ""},
        {"system": [TEXT]},
        {"messages": [*HELLO, {"role": "assistant", "content": ""}]},
        {"messages": [*HELLO, {"role": "assistant", "content": "Prefill"}]},
        {"messages": [*HELLO, assistant(USE), user(RESULT, TEXT)]},
        {"messages": [*HELLO, assistant(TEXT, USE), user({**RESULT, "content": [TEXT]}), *HELLO]},
        {"messages": [*HELLO, assistant(USE), user({"type": "tool_result", "tool_use_id": "toolu_1"})]},
        {"messages": [{"role": "system", "content": "s"}, *HELLO, {"role": "system", "content": "later"}, *HELLO]},
        {"messages": [user({"type": "image", "source": {"type": "url", "url": "https://example.com/a.png"}})]},
        {"messages": [user({"type": "document", "source": {"type": "text", "data": "x"}}, TEXT)]},
        {"messages": [*HELLO, assistant({"type": "redacted_thinking", "data": "x"}, TEXT), *HELLO]},
        {"messages": [*HELLO, assistant({"type": "server_tool_use", "id": "s", "name": "web_search", "input": {}})]},
        {"tools": [{"type": "web_search_20250305", "name": "web_search"}]},
        {"thinking": {"type": "disabled"}},
        {"output_config": {"effort": "max"}},
        {"temperature": 0, "top_p": 1, "top_k": 5, "service_tier": "auto", "metadata": {"user_id": "u"}},
    ],
)
def test_what_is_right_is_accepted(client, change):
    """Everything that the API allows is answered."""
    answer = client.post("/v1/messages", {"model": "m", "max_tokens": 4096, "messages": HELLO, **change}, **VERSION)
    assert (answer.status, answer.json["stop_reason"]) == (200, "end_turn")


def test_version_is_required(client):
    """A request without a version, or with one that is none, is refused."""
    body = {"model": "m", "max_tokens": 9, "messages": HELLO}
    assert client.post("/v1/messages", body).claude_error["message"] == "anthropic-version: header is required"
    assert client.post("/v1/messages", body, **{"anthropic-version": "new"}).status == 400
    for version in ("2023-06-01", "2026-10-21"):
        assert client.post("/v1/messages", body, **{"anthropic-version": version}).status == 200


@pytest.mark.parametrize("parameter", [{"temperature": 1}, {"top_p": 1}, {"top_k": 5}])
def test_newer_versions_have_no_sampling(client, parameter):
    """From 2026-10-21 on sampling parameters are refused, even at their defaults."""
    body = {"model": "m", "max_tokens": 9, "messages": HELLO, **parameter}
    assert client.post("/v1/messages", body, **VERSION).status == 200
    refused = client.post("/v1/messages", body, **{"anthropic-version": "2026-10-21"})
    assert (refused.status, refused.claude_error["message"].partition(":")[0]) == (400, next(iter(parameter)))


def test_count_takes_no_limits(client):
    """A token count takes the messages and what goes with them, and refuses what only an answer needs."""
    body = {"model": "m", "messages": HELLO, "system": "s" * 40, "tools": [TOOL]}
    counted = client.post("/v1/messages/count_tokens", body, **VERSION)
    assert counted.json["input_tokens"] > 10
    for extra in ({"max_tokens": 5}, {"stream": True}, {"temperature": 1}):
        assert client.post("/v1/messages/count_tokens", {**body, **extra}, **VERSION).status == 400
    assert client.post("/v1/messages/count_tokens", {"model": "m"}, **VERSION).status == 400


@pytest.mark.parametrize("body", [b"", b"[]", b"\xff", b"[" * 100_000, b'{"model": NaN}'])
def test_body_that_is_no_json_object_is_refused(client, body):
    """Whatever the bytes are, the answer is 400 in Claude's shape."""
    assert client.post("/v1/messages", body, **VERSION).claude_error["type"] == "invalid_request_error"
    assert client.messages().status == 200


def test_deep_but_valid_request_does_not_break_the_server(client):
    """A request nested as deeply as JSON reading allows is answered or refused."""
    for depth in (100, 400, 900, 5_000):
        deep = b'{"a":' * depth + b"1" + b"}" * depth
        body = b'{"model":"m","max_tokens":9,"messages":[{"role":"user","content":"x"}],"metadata":' + deep + b"}"
        assert client.post("/v1/messages", body, **VERSION).status in (200, 400)
        schema = b'{"type":"object","properties":' + deep + b"}"
        body = b'{"model":"m","max_tokens":9,"messages":[{"role":"user","content":"x"}],"tools":[{"name":"f",'
        assert client.post("/v1/messages", body + b'"input_schema":' + schema + b"}]}", **VERSION).status in (200, 400)
