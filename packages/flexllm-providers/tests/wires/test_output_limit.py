"""How long an answer may get at most, by what each wire will send."""

from __future__ import annotations

from typing import Any

import pytest

from flexllm_core.endpoint import EndpointConfig
from flexllm_core.requests import ChatRequest
from flexllm_providers.client import ProviderClient

QWEN = "https://dashscope-intl.aliyuncs.com/compatible-mode/v1"
VERTEX = "https://us-central1-aiplatform.googleapis.com/v1/projects/p/locations/us-central1"


def limit(params: dict[str, Any], **endpoint: Any) -> int | None:
    client = ProviderClient(EndpointConfig(**{"api_key": "k", "base_url": "http://localhost:1/v1", **endpoint}))
    return client.output_limit(ChatRequest([{"role": "user", "content": "hi"}], endpoint.get("model", "m"), params))


@pytest.mark.parametrize(
    ("params", "expected"),
    [
        ({}, None),
        ({"max_tokens": 100}, 100),
        ({"max_tokens": 100, "n": 3}, 300),
        ({"max_tokens": 100, "extra_body": {"max_completion_tokens": 700}}, 700),
        ({"extra_body": {"max_tokens": 7, "n": 2}}, 14),
        ({"max_tokens": "many"}, None),
        ({"max_tokens": True}, None),
        ({"max_tokens": 100, "thinking": True}, 100),
    ],
)
def test_openai(params: dict[str, Any], expected: int | None) -> None:
    """The limit for all choices; whatever extra_body may put in its place is counted if it is more."""
    assert limit(params) == expected


@pytest.mark.parametrize(
    ("params", "expected"),
    [
        ({"max_tokens": 100}, 100),
        ({"max_tokens": 100, "thinking": False}, 100),
        ({"max_tokens": 100, "thinking": 50}, 150),
        ({"max_tokens": 100, "thinking": True}, None),
        ({"max_tokens": 100, "thinking": "high"}, None),
        ({"max_tokens": 100, "extra_body": {"enable_thinking": True}}, None),
        ({"max_tokens": 100, "extra_body": {"enable_thinking": True, "thinking_budget": 30}}, 130),
    ],
)
def test_thinking_that_max_tokens_does_not_limit(params: dict[str, Any], expected: int | None) -> None:
    """On DashScope and SiliconFlow it needs a budget of its own."""
    assert limit(params, base_url=QWEN) == expected
    assert limit(params, base_url="https://api.siliconflow.com/v1") == expected
    assert limit(params, base_url=QWEN, dialect={"thinking_is_limited": True}) in (100, None)


def test_claude() -> None:
    """Its API has no request without a limit; thinking is within it."""
    model = "claude-sonnet-4-5"
    settings = {"provider": "claude", "model": model, "base_url": "https://api.anthropic.com"}
    assert limit({"max_tokens": 100, "n": 5}, **settings) == 100
    assert limit({}, **settings) == 4096
    assert limit({"thinking": "low"}, **settings) == 4096 + 4096
    assert limit({"extra_body": {"max_tokens": 9}}, **settings) == 9


@pytest.mark.parametrize("base_url", ["https://generativelanguage.googleapis.com/v1beta", VERTEX])
def test_gemini(base_url: str) -> None:
    """Thoughts are within the limit; candidates multiply it."""
    settings = {
        "provider": "vertex" if base_url == VERTEX else "gemini",
        "model": "gemini-2.5-flash",
        "base_url": base_url,
    }
    assert limit({}, **settings) is None
    assert limit({"max_tokens": 100, "n": 2}, **settings) == 200
    assert limit({"max_tokens": 1, "extra_body": {"generationConfig": {"maxOutputTokens": 70}}}, **settings) == 70


def test_claude_on_vertex() -> None:
    """By the model."""
    assert limit({}, provider="vertex", model="claude-sonnet-4-5", base_url=VERTEX) == 4096
