"""The cache's key: whatever can change the answer changes it, and nothing else does."""

from __future__ import annotations

from typing import Any

import pytest

from flexllm_batch.cache.key import endpoint_identity, fingerprint_key, identity_tag
from flexllm_core.endpoint import endpoint_from
from flexllm_core.options import PARAM_NAMES, params_from_options
from flexllm_core.requests import ChatRequest
from flexllm_providers.client import ProviderClient

ENDPOINT: dict[str, Any] = {"base_url": "https://api.example.com/v1", "model": "m", "api_key": "sk-0123456789abcdef"}
TOOL = {"type": "function", "function": {"name": "look", "parameters": {"type": "object"}}}
SCHEMA = {"type": "json_schema", "json_schema": {"name": "a", "schema": {"type": "object"}}}

OPTIONS: dict[str, tuple[Any, Any]] = {
    "temperature": (0.0, 0.1),
    "max_tokens": (1, 2),
    "top_p": (0.5, 0.6),
    "top_k": (1, 2),
    "stop": ("a", ["a", "b"]),
    "seed": (1, 2),
    "n": (2, 3),
    "presence_penalty": (0.1, 0.2),
    "frequency_penalty": (0.1, 0.2),
    "logit_bias": ({"1": 1}, {"1": 2}),
    "logprobs": (True, False),
    "top_logprobs": (1, 2),
    "tools": ([TOOL], [TOOL, TOOL]),
    "tool_choice": ("auto", "required"),
    "parallel_tool_calls": (True, False),
    "response_format": (SCHEMA, {"type": "json_object"}),
    "thinking": (True, 1024),
    "verbosity": ("low", "high"),
    "service_tier": ("flex", "priority"),
    "user": ("a", "b"),
    "extra_body": ({"guided_regex": "a"}, {"guided_regex": "b"}),
}
"""Two values of each param."""


def key(
    messages: Any = "why?",
    model: str | None = "m",
    endpoint: dict[str, Any] | None = None,
    *,
    headers: dict[str, str] | None = None,
    sample: int = 0,
    keep_raw: bool = False,
    **params: Any,
) -> bytes:
    client = ProviderClient(endpoint_from({**ENDPOINT, **(endpoint or {})}))
    content = [{"role": "user", "content": messages}] if isinstance(messages, str) else messages
    request = ChatRequest(
        content, model, params_from_options(params), extra_headers=headers or {}, sample=sample, keep_raw=keep_raw
    )
    return fingerprint_key(request.fingerprint(), identity_tag(endpoint_identity(client)))


def test_every_param_is_tried() -> None:
    """A param that is added later must be added here too."""
    assert set(OPTIONS) == PARAM_NAMES


@pytest.mark.parametrize("name", sorted(OPTIONS))
def test_each_param_changes_the_key(name: str) -> None:
    """With it, without it and with another value of it are three questions."""
    one, other = OPTIONS[name]
    assert len({key(), key(**{name: one}), key(**{name: other})}) == 3


@pytest.mark.parametrize(
    "other",
    [
        {"messages": "why not?"},
        {"messages": [{"role": "system", "content": "why?"}]},
        {"messages": [{"role": "user", "content": [{"type": "text", "text": "why?"}]}]},
        {"model": "m-2"},
        {"model": None},
        {"sample": 1},
        {"endpoint": {"base_url": "https://api.example.com/v2"}},
        {"endpoint": {"base_url": "http://api.example.com/v1"}},
        {"endpoint": {"base_url": "https://api.example.com:444/v1"}},
        {"endpoint": {"provider": "claude"}},
        {"endpoint": {"provider": "gemini"}},
        {"endpoint": {"dialect": {"kind": "vllm"}}},
    ],
    ids=str,
)
def test_what_else_makes_another_question(other: dict[str, Any]) -> None:
    """Messages, model, sample, base URL, wire and dialect are part of the question."""
    assert key(**other) != key()


@pytest.mark.parametrize(
    "other",
    [
        {"endpoint": {"api_key": "sk-another-0123456789"}},
        {"endpoint": {"headers": {"x-team": "b"}}},
        {"endpoint": {"timeout": 3}},
        {"endpoint": {"retry_times": 1, "max_qps": 5, "concurrency_limit": 7}},
        {"endpoint": {"proxy": "http://proxy:1"}},
        {"endpoint": {"verify": False}},
        {"endpoint": {"name": "mine"}},
        {"endpoint": {"price": {"input": 1, "output": 2}}},
        {"endpoint": {"base_url": "https://API.example.com/v1/"}},
        {"endpoint": {"provider": "openai"}},
        {"headers": {"x-trace": "1"}},
        {"keep_raw": True},
    ],
    ids=str,
)
def test_what_does_not_make_another_question(other: dict[str, Any]) -> None:
    """Keys, headers, timeouts, limits, proxies, names and prices are not."""
    assert key(**other) == key()


def test_the_model_of_an_endpoint_counts_where_the_request_names_none() -> None:
    """Two endpoints that differ in their own model only are two, for a request that leaves the model to them."""
    other = {"endpoint": {"model": "m-2"}}
    assert key(model=None) != key(model=None, **other)
