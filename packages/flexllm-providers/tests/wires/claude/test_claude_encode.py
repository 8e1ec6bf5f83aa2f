"""What is sent: URL, headers, params, and what Claude has no word for."""

from __future__ import annotations

import json
from typing import Any

import pytest

from flexllm_core.endpoint import endpoint_from
from flexllm_core.errors import ConfigError, InputError
from flexllm_core.requests import ChatRequest
from flexllm_providers.claude import encode as claude_encode
from flexllm_providers.claude.params import JSON_PROMPT
from flexllm_providers.claude.target import claude_target, claude_target_from
from flexllm_providers.target import Target, target_from

SCHEMA = {"type": "object", "properties": {"t": {"type": "string"}}, "required": ["t"], "additionalProperties": False}
TOOL = {"type": "function", "function": {"name": "tide_table", "description": "d", "parameters": SCHEMA}}
OLD = "claude-sonnet-4-5"


def test_a_plain_question(wire: Any) -> None:
    """URL, headers with the key in its own, and the smallest body."""
    request = wire.encode("hi", OLD)
    assert (request.method, request.url) == ("POST", "http://h/v1/messages")
    assert request.headers == {
        "content-type": "application/json",
        "x-api-key": wire.KEY,
        "anthropic-version": "2023-06-01",
        "user-agent": "flexllm",
    }
    assert json.loads(request.body) == {
        "model": OLD,
        "max_tokens": 4096,
        "messages": [{"role": "user", "content": "hi"}],
    }
    assert wire.KEY not in repr(request)


@pytest.mark.parametrize(
    ("base_url", "url"),
    [
        ("https://api.anthropic.com", "https://api.anthropic.com/v1/messages"),
        ("https://api.anthropic.com/v1/", "https://api.anthropic.com/v1/messages"),
        ("https://proxy/anthropic", "https://proxy/anthropic/v1/messages"),
        (None, "https://api.anthropic.com/v1/messages"),
    ],
)
def test_the_base_may_end_before_or_behind_the_version(wire: Any, base_url: str | None, url: str) -> None:
    """Anthropic's SDKs leave the version out, ours names it: both are written."""
    assert wire.encode(target=wire.target(base_url=base_url)).url == url


def test_headers_can_be_set(wire: Any) -> None:
    """A version, a bearer token, the user's own headers and those of the call, which win."""
    target = wire.target(headers={"Anthropic-Beta": "a,b"}, dialect={"version": "2026-10-21", "auth": "bearer"})
    request = claude_encode.encode(
        ChatRequest(wire.REQUEST.messages, "m", extra_headers={"Anthropic-Beta": "c"}), target, stream=False
    )
    assert request.headers["authorization"] == f"Bearer {wire.KEY}"
    assert "x-api-key" not in request.headers
    assert request.headers["anthropic-version"] == "2026-10-21"
    assert request.headers["anthropic-beta"] == "c"


def test_without_a_key_no_key_is_sent(wire: Any) -> None:
    """A local server needs none."""
    assert "x-api-key" not in wire.encode(target=wire.target(api_key=None)).headers


@pytest.mark.parametrize(
    ("dialect", "said"),
    [
        ({"version": "soon"}, "dialect.version"),
        ({"auth": "basic"}, "dialect.auth"),
        ({"kind": "claude-2"}, "dialect.kind"),
        ({"adaptiv": True}, "did you mean 'adaptive'"),
        ({"adaptive": 1}, "dialect.adaptive: expected bool"),
        ({"max_tokens": True}, "dialect.max_tokens: expected int"),
        ({"max_tokens": 0}, "dialect.max_tokens"),
        ({"efforts": ["low", "ultra"]}, "dialect.efforts"),
        ({"efforts": "low"}, "dialect.efforts"),
    ],
)
def test_a_wrong_setting_is_refused_at_the_start(wire: Any, dialect: dict[str, Any], said: str) -> None:
    """The error names the key."""
    with pytest.raises(ConfigError, match=said):
        wire.target(dialect=dialect)


def test_a_target_of_another_wire_gets_the_defaults(wire: Any) -> None:
    """So that nothing depends on who made it."""
    plain = target_from(endpoint_from({"name": "e", "base_url": "http://h/v1", "api_key": wire.KEY}), "http://x")
    assert type(plain) is Target
    assert claude_target(plain).api_headers == wire.target().api_headers
    assert repr(claude_target(plain)).count(wire.KEY) == 0


def test_a_request_without_a_model_is_refused(wire: Any) -> None:
    """The API demands one; the endpoint's own is the default."""
    request = ChatRequest([{"role": "user", "content": "hi"}])
    with pytest.raises(ConfigError, match="no model"):
        claude_encode.encode(request, wire.target(), stream=False)
    sent = claude_encode.encode(request, wire.target(model="claude-x"), stream=False)
    assert json.loads(sent.body)["model"] == "claude-x"


def test_params_by_claudes_names(wire: Any) -> None:
    """What has another name there gets it; extra_body is merged last."""
    body = wire.body(
        model=OLD,
        max_tokens=100,
        temperature=0.5,
        top_p=0.9,
        top_k=5,
        stop=["END", "STOP"],
        user="u-1",
        service_tier="default",
        n=1,
        stream=True,
        extra_body={"metadata": {"trace": 1}, "top_k": 9},
    )
    assert body == {
        "model": OLD,
        "max_tokens": 100,
        "temperature": 0.5,
        "top_p": 0.9,
        "top_k": 9,
        "stop_sequences": ["END", "STOP"],
        "metadata": {"user_id": "u-1", "trace": 1},
        "service_tier": "standard_only",
        "messages": [{"role": "user", "content": "hi"}],
        "stream": True,
    }
    assert wire.body(stop="END")["stop_sequences"] == ["END"]


def test_what_claude_has_not_is_left_out_with_one_warning(wire: Any, warnings_said: Any) -> None:
    """It names the endpoint, the model and the params, once."""
    params = {"n": 2, "seed": 1, "presence_penalty": 0.5, "frequency_penalty": 0.5, "logprobs": True}
    for _ in range(2):
        body = wire.body(model=OLD, **params, top_logprobs=2, logit_bias={"1": 1}, verbosity="low", service_tier="flex")
        assert body.keys() == {"model", "max_tokens", "messages"}
    [record] = warnings_said.records
    for word in (
        "e (claude-sonnet-4-5)",
        "n",
        "service_tier 'flex'",
        *params,
        "top_logprobs",
        "logit_bias",
        "verbosity",
    ):
        assert word in record.getMessage()


def test_warnings_are_bounded(wire: Any, warnings_said: Any) -> None:
    """Rows may each name a model of their own."""
    for number in range(1500):
        wire.encode("hi", f"house-{number}", seed=1)
    assert len(warnings_said.records) == 1000


@pytest.mark.parametrize(
    ("model", "dialect", "more", "sent"),
    [
        (OLD, {}, {}, True),
        ("claude-opus-4-7", {}, {}, False),
        ("claude-opus-5-5", {}, {}, False),
        ("claude-opus-5-5", {"sampling": True}, {}, True),
        (OLD, {"version": "2026-10-21"}, {}, False),
        (OLD, {}, {"thinking": True}, False),
        (OLD, {}, {"thinking": False}, True),
    ],
)
def test_sampling_where_it_is_taken(
    wire: Any, warnings_said: Any, model: str, dialect: dict[str, Any], more: dict[str, Any], sent: bool
) -> None:
    """Newer models, the newer version and thinking refuse it: then it is left out, and said."""
    body = wire.body("hi", model, temperature=0.2, top_p=0.5, top_k=3, target=wire.target(dialect=dialect), **more)
    assert [name in body for name in ("temperature", "top_p", "top_k")] == [sent] * 3
    assert ("temperature" in warnings_said.text) is not sent


def test_tools(wire: Any) -> None:
    """Functions in Claude's shape; its own tools as they are."""
    own = {"type": "web_search_20250305", "name": "web_search", "max_uses": 1}
    strict = {"type": "function", "function": {"name": "f", "strict": True}, "cache_control": {"type": "ephemeral"}}
    assert wire.body(tools=[TOOL, strict, own])["tools"] == [
        {"name": "tide_table", "description": "d", "input_schema": SCHEMA},
        {
            "name": "f",
            "input_schema": {"type": "object", "properties": {}},
            "strict": True,
            "cache_control": {"type": "ephemeral"},
        },
        own,
    ]


@pytest.mark.parametrize(
    ("choice", "parallel", "sent"),
    [
        (None, None, None),
        (None, True, None),
        (None, False, {"type": "auto", "disable_parallel_tool_use": True}),
        ("auto", None, {"type": "auto"}),
        ("none", False, {"type": "none"}),
        ("required", None, {"type": "any"}),
        ("required", False, {"type": "any", "disable_parallel_tool_use": True}),
        ({"type": "function", "function": {"name": "f"}}, None, {"type": "tool", "name": "f"}),
        ({"type": "tool", "name": "f"}, False, {"type": "tool", "name": "f", "disable_parallel_tool_use": True}),
    ],
)
def test_tool_choice(wire: Any, choice: Any, parallel: Any, sent: Any) -> None:
    """OpenAI's words in Claude's."""
    params = {"tool_choice": choice, "parallel_tool_calls": parallel}
    given = {name: value for name, value in params.items() if value is not None}
    assert wire.body(model=OLD, tools=[TOOL], **given).get("tool_choice") == sent
    assert "tool_choice" not in wire.body(model=OLD, **given)


@pytest.mark.parametrize(
    ("params", "said"),
    [
        ({"tools": [TOOL], "tool_choice": "sometimes"}, "tool_choice is 'sometimes'"),
        ({"tools": [TOOL], "tool_choice": {"type": "allowed_tools"}}, "tool_choice"),
        ({"tools": [TOOL], "tool_choice": "required"}, r"e \(claude-opus-5-5\) cannot be forced to call a tool"),
        ({"tools": 5}, "tools: expected a list"),
        ({"tools": ["f"]}, r"tools\[0\]"),
        ({"tools": [{"type": "function", "function": {}}]}, r"tools\[0\].function"),
        ({"tools": [{"type": "custom", "custom": {"name": "f"}}]}, "free text"),
        ({"max_tokens": "many"}, "max_tokens"),
        ({"response_format": {"type": "grammar"}}, "response_format"),
        ({"response_format": {"type": "json_schema", "json_schema": {"name": "x"}}}, "response_format"),
    ],
)
def test_what_cannot_be_asked_is_refused(wire: Any, params: dict[str, Any], said: str) -> None:
    """With an error that says what and where."""
    with pytest.raises(ConfigError, match=said):
        wire.encode(**params)


def test_a_schema_for_the_answer(wire: Any) -> None:
    """It stands beside the effort; a model that has none refuses."""
    wanted = {"type": "json_schema", "json_schema": {"name": "x", "schema": SCHEMA, "strict": True}}
    body = wire.body(response_format=wanted, thinking="low")
    assert body["output_config"] == {"effort": "low", "format": {"type": "json_schema", "schema": SCHEMA}}
    with pytest.raises(ConfigError, match="claude-sonnet-4-20250514"):
        wire.encode(model="claude-sonnet-4-20250514", response_format=wanted)
    assert "output_config" not in wire.body(response_format={"type": "text"})


def test_json_without_a_schema_is_asked_for_in_the_system_prompt(wire: Any, warnings_said: Any) -> None:
    """Behind the user's own, and said once that it is no guarantee."""
    messages = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "hi"}]
    for _ in range(2):
        body = wire.body(messages, response_format={"type": "json_object"})
        assert body["system"] == [{"type": "text", "text": "Be brief."}, {"type": "text", "text": JSON_PROMPT}]
        assert "output_config" not in body
    assert [record.getMessage().startswith("e (claude-opus-5-5)") for record in warnings_said.records] == [True]


@pytest.mark.parametrize("stream", [False, True])
def test_vertex(wire: Any, stream: bool) -> None:
    """Its own URL, the version in the body, no model; the key is an access token."""
    base = "https://eu-aiplatform.example/v1/projects/p/locations/l"
    request = claude_encode.encode_vertex(
        ChatRequest(wire.REQUEST.messages, "claude-opus-4-5@20251101", {"max_tokens": 5}),
        wire.target(base_url=base),
        stream=stream,
    )
    method = "streamRawPredict" if stream else "rawPredict"
    assert request.url == f"{base}/publishers/anthropic/models/claude-opus-4-5@20251101:{method}"
    expected = {
        "anthropic_version": "vertex-2023-10-16",
        "max_tokens": 5,
        "messages": [{"role": "user", "content": "hi"}],
    }
    assert json.loads(request.body) == (expected | {"stream": True} if stream else expected)
    token = f"Bearer {wire.target().key}"
    assert request.headers == {"content-type": "application/json", "user-agent": "flexllm", "authorization": token}


def test_vertex_model_ids_cannot_leave_the_path(wire: Any) -> None:
    """Whatever a row asks for as its model."""
    request = claude_encode.encode_vertex(ChatRequest(wire.REQUEST.messages, "../x?y#z"), wire.target(), stream=False)
    assert request.url == "http://h/v1/publishers/anthropic/models/..%2Fx%3Fy%23z:rawPredict"


def test_an_answer_at_the_end_where_the_model_does_not_go_on(wire: Any) -> None:
    """A row's error before anything is sent, unless the answer had paused for the server's own tools."""
    messages = [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "He"}]
    assert wire.body(messages, OLD)["messages"][-1] == {"role": "assistant", "content": "He"}
    with pytest.raises(InputError, match=r"e \(claude-opus-5-5\)"):
        wire.encode(messages)
    search = {"type": "server_tool_use", "id": "srv_1", "name": "web_search", "input": {}}
    paused = {"role": "assistant", "content": None, "claude_message": {"model": None, "content": [search]}}
    assert wire.body([messages[0], paused])["messages"][-1]["content"] == [search]


@pytest.mark.parametrize(
    ("env", "key", "dialect", "header"),
    [
        ({"ANTHROPIC_AUTH_TOKEN": "token-0000"}, "token-0000", {}, "authorization"),
        ({"ANTHROPIC_AUTH_TOKEN": " token-0000\n"}, "token-0000", {}, "authorization"),
        ({"ANTHROPIC_AUTH_TOKEN": "token-0000"}, "another-key", {}, "x-api-key"),
        ({"ANTHROPIC_AUTH_TOKEN": "both", "ANTHROPIC_API_KEY": "both"}, "both", {}, "x-api-key"),
        ({"ANTHROPIC_AUTH_TOKEN": "token-0000"}, "token-0000", {"auth": "x-api-key"}, "x-api-key"),
        ({}, "a-key", {}, "x-api-key"),
    ],
)
def test_the_auth_token_of_the_environment_is_a_bearer_token(
    env: dict[str, str], key: str, dialect: dict[str, Any], header: str
) -> None:
    """As in Anthropic's SDKs; one of the two headers is sent, never both."""
    endpoint = endpoint_from({"provider": "claude", "api_key": key, "dialect": dialect})
    headers = claude_target_from(endpoint, env=env).api_headers
    assert {name for name in ("authorization", "x-api-key") if name in headers} == {header}
    assert headers[header] == (f"Bearer {key}" if header == "authorization" else key)


def test_the_api_version_is_a_field_too(wire: Any) -> None:
    """The older place still counts; two that differ are refused, and so is what only Google has."""
    assert wire.target(api_version="2026-10-21").api_headers["anthropic-version"] == "2026-10-21"
    both = {"api_version": "2026-10-21", "dialect": {"version": "2026-10-21"}}
    assert wire.target(**both).version == "2026-10-21"
    with pytest.raises(ConfigError, match=r"api_version and dialect\.version differ"):
        wire.target(api_version="2026-10-21", dialect={"version": "2023-06-01"})
    with pytest.raises(ConfigError, match="api_version: expected a date"):
        wire.target(api_version="v1")
    with pytest.raises(ConfigError, match="project_id is not for this provider; expected provider: vertex"):
        wire.target(project_id="p")
