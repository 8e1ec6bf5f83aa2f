"""The request on the wire: URL, headers and JSON body, and what each dialect changes."""

from __future__ import annotations

import json
import logging
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flexllm_core.endpoint import endpoint_from
from flexllm_core.errors import ConfigError, InputError
from flexllm_core.options import params_from_options
from flexllm_core.requests import ChatRequest
from flexllm_providers.http import HttpRequest
from flexllm_providers.openai.wire import DEFAULT_BASE_URL, encode
from flexllm_providers.target import target_from

MESSAGES = [{"role": "user", "content": "hi"}]
OPENAI = {"base_url": "https://api.openai.com/v1"}


def http(endpoint: dict[str, Any], *, stream: bool = False, model: str | None = "m", **options: Any) -> HttpRequest:
    """The HTTP request of a call with these options."""
    headers = options.get("extra_headers") or {}
    request = ChatRequest(MESSAGES, model, params_from_options(options), extra_headers=headers)
    return encode(request, target_from(endpoint_from(endpoint), DEFAULT_BASE_URL), stream=stream)


def body(endpoint: dict[str, Any] | None = None, **options: Any) -> dict[str, Any]:
    """The JSON body of a call without model and messages."""
    sent: dict[str, Any] = json.loads(http(endpoint or {"base_url": "http://h/v1"}, **options).body)
    assert sent.pop("messages") == MESSAGES
    sent.pop("model", None)
    return sent


def test_the_plain_request() -> None:
    """Method, URL, headers and nothing but model and messages in the body."""
    request = http({"base_url": "http://h/v1/", "api_key": "my-key"})
    assert (request.method, request.url) == ("POST", "http://h/v1/chat/completions")
    assert request.headers["content-type"] == "application/json"
    assert request.headers["authorization"] == "Bearer my-key"
    assert json.loads(request.body) == {"model": "m", "messages": MESSAGES}


def test_the_default_base_url_is_openais() -> None:
    """Where the endpoint names none."""
    assert http({}).url == "https://api.openai.com/v1/chat/completions"


def test_the_requests_model_wins_over_the_endpoints() -> None:
    """And without any model the key is left out, which single-model servers accept."""
    assert json.loads(http({"model": "own"}).body)["model"] == "m"
    assert json.loads(http({"model": "own"}, model=None).body)["model"] == "own"
    assert "model" not in json.loads(http({}, model=None).body)


def test_the_key_is_in_neither_url_nor_body_nor_repr() -> None:
    """Only in its header."""
    request = http({"api_key": "my-s3cret-key", "headers": {"x-key": "my-s3cret-key"}})
    assert "my-s3cret-key" not in request.url + request.body.decode() + repr(request)


def test_extra_headers_win_and_are_lower_case() -> None:
    """Those of the call over those of the endpoint."""
    endpoint = {"headers": {"X-Team": "a", "X-Other": "b"}}
    headers = http(endpoint, extra_headers={"X-TEAM": "c"}).headers
    assert (headers["x-team"], headers["x-other"]) == ("c", "b")
    assert all(name == name.lower() for name in headers)
    assert http(endpoint).headers["x-team"] == "a"


def test_every_plain_param_goes_through() -> None:
    """By OpenAI's names, to servers that take them all."""
    options = {
        "temperature": 0.5,
        "top_p": 0.9,
        "top_k": 5,
        "stop": ["a"],
        "seed": 0,
        "n": 2,
        "presence_penalty": 0.1,
        "frequency_penalty": 0.2,
        "logit_bias": {"5": 1.5},
        "logprobs": True,
        "top_logprobs": 3,
        "tools": [{"type": "function", "function": {"name": "f", "parameters": {"type": "object", "default": {}}}}],
        "tool_choice": {"type": "function", "function": {"name": "f"}},
        "parallel_tool_calls": False,
        "response_format": {"type": "json_object"},
        "verbosity": "low",
        "service_tier": "flex",
        "user": "u",
    }
    assert body(None, **options) == options


@pytest.mark.parametrize(
    ("base_url", "key"),
    [
        ("https://api.openai.com/v1", "max_completion_tokens"),
        ("https://api.deepseek.com", "max_tokens"),
        ("http://h/v1", "max_tokens"),
    ],
)
def test_max_tokens_has_the_endpoints_name(base_url: str, key: str) -> None:
    """OpenAI's newer models refuse the old name, others do not know the new one."""
    assert body({"base_url": base_url}, max_tokens=5) == {key: 5}


@pytest.mark.parametrize(
    ("base_url", "options"),
    [
        ("https://api.openai.com/v1", {"top_k": 5}),
        ("https://api.deepseek.com", {"top_k": 5, "seed": 1}),
        ("http://localhost:11434/v1", {"n": 2, "logit_bias": {"1": 1}, "user": "u", "tool_choice": "auto"}),
        ("https://api.x.ai/v1", {"presence_penalty": 1, "frequency_penalty": 1, "stop": ["a"], "top_k": 5}),
    ],
)
def test_refused_params_are_left_out_with_one_warning(
    base_url: str, options: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    """The warning names endpoint and params, once for each endpoint and not for each row."""
    name = f"endpoint-{base_url}"
    with caplog.at_level(logging.WARNING, "flexllm"):
        for _ in range(3):
            assert body({"base_url": base_url, "name": name}, temperature=0, **options) == {"temperature": 0.0}
    expected = f"{name} does not take {', '.join(sorted(options))}; left out"
    assert [record.getMessage() for record in caplog.records] == [expected]


def test_a_stream_asks_for_its_usage() -> None:
    """Unless the dialect says that the server refuses that."""
    assert body(None, stream=True) == {"stream": True, "stream_options": {"include_usage": True}}
    assert body({"dialect": {"stream_options": False}}, stream=True) == {"stream": True}


def test_openrouter_is_asked_for_the_cost() -> None:
    """With and without other params; the table is not changed by it."""
    router = {"base_url": "https://openrouter.ai/api/v1"}
    assert body(router) == {"usage": {"include": True}}
    assert body(router, extra_body={"usage": {"more": 1}}) == {"usage": {"include": True, "more": 1}}
    assert body(router) == {"usage": {"include": True}}


def test_thinking_is_translated() -> None:
    """By the endpoint's dialect; what it cannot do is an error that names it."""
    assert body(OPENAI, thinking="high") == {"reasoning_effort": "high"}
    assert body({"base_url": "http://h/v1", "dialect": {"kind": "vllm"}}, thinking=100)["thinking_token_budget"] == 100
    assert body(OPENAI, thinking=None) == {}
    with pytest.raises(ConfigError, match=r"my-openai \(openai\) cannot do thinking=2048"):
        body({**OPENAI, "name": "my-openai"}, thinking=2048)


def test_extra_body_is_merged_last() -> None:
    """It wins over params and dialect, and mappings are merged key by key."""
    extra = {"chat_template_kwargs": {"custom": 1, "thinking": "x"}, "temperature": 2, "new": [1]}
    assert body(None, temperature=1, thinking=True, extra_body=extra) == {
        "temperature": 2,
        "chat_template_kwargs": {"enable_thinking": True, "thinking": "x", "custom": 1},
        "new": [1],
    }
    assert extra["chat_template_kwargs"] == {"custom": 1, "thinking": "x"}


def test_opaque_keys_of_messages_go_back_unchanged() -> None:
    """Reasoning and signatures of an earlier turn reach the server."""
    messages = [{"role": "assistant", "content": None, "reasoning_details": [{"type": "x"}], "tool_calls": []}]
    target = target_from(endpoint_from({}), DEFAULT_BASE_URL)
    assert json.loads(encode(ChatRequest(messages, "m"), target, stream=False).body)["messages"] == messages


def test_what_json_cannot_hold_is_an_input_error() -> None:
    """Before anything is sent."""
    with pytest.raises(InputError):
        body(None, extra_body={"x": object()})


@given(st.text(st.characters(codec=None, categories=None)))
def test_any_text_can_be_asked(text: str) -> None:
    """Lone surrogates too."""
    target = target_from(endpoint_from({}), DEFAULT_BASE_URL)
    request = encode(ChatRequest([{"role": "user", "content": text}], "m"), target, stream=False)
    assert json.loads(request.body)["messages"][0]["content"] == text
