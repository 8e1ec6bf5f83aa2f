"""Counting tokens, as pure functions: what is asked, and what answers are refused."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest

from flexllm_core.endpoint import EndpointConfig
from flexllm_core.errors import ConfigError, LLMHTTPError, LLMResponseError, RateLimitError
from flexllm_core.requests import ChatRequest
from flexllm_providers.claude import token_count as claude_count
from flexllm_providers.client import ProviderClient
from flexllm_providers.gemini import token_count as gemini_count
from flexllm_providers.http import HttpResponse
from flexllm_providers.token_counter import TokenCounter
from flexllm_providers.vertex import wire as vertex_wire
from flexllm_providers.wires import find_wire

KEY = "s3cret-key-000000"
MESSAGES: Any = [{"role": "system", "content": "Be brief"}, {"role": "user", "content": "Hi"}]
PARAMS = {"temperature": 0.5, "max_tokens": 50, "stop": ["END"]}
VERTEX = "https://us-central1-aiplatform.googleapis.com/v1/projects/p/locations/us-central1"
MODULES = {"claude": claude_count, "gemini": gemini_count, "vertex": vertex_wire}


def target(provider: str, model: str = "m", **more: Any) -> Any:
    endpoint = EndpointConfig(**{"provider": provider, "api_key": KEY, "model": model, "base_url": None, **more})
    return ProviderClient(endpoint).target


def test_claude() -> None:
    """Of a message's request only what is in the prompt."""
    request = claude_count.encode_count(ChatRequest(MESSAGES, "claude-sonnet-4-5", PARAMS), target("claude"))
    assert request.url == "https://api.anthropic.com/v1/messages/count_tokens"
    assert request.headers["x-api-key"] == KEY
    user = {"role": "user", "content": "Hi"}
    assert json.loads(request.body) == {"model": "claude-sonnet-4-5", "system": "Be brief", "messages": [user]}


def test_gemini() -> None:
    """A whole request, as only this way the system prompt is counted."""
    request = gemini_count.encode_count(ChatRequest(MESSAGES, "gemini-2.5-flash", PARAMS), target("gemini"))
    base = "https://generativelanguage.googleapis.com/v1beta"
    assert request.url == f"{base}/models/gemini-2.5-flash:countTokens"
    assert request.headers["x-goog-api-key"] == KEY
    inner = json.loads(request.body)["generateContentRequest"]
    assert inner["model"] == "models/gemini-2.5-flash"
    assert inner["systemInstruction"] == {"parts": [{"text": "Be brief"}]}
    assert inner["contents"] == [{"role": "user", "parts": [{"text": "Hi"}]}]
    tuned = gemini_count.encode_count(ChatRequest(MESSAGES, "tunedModels/t"), target("gemini"))
    assert json.loads(tuned.body)["generateContentRequest"]["model"] == "tunedModels/t"


def test_vertex() -> None:
    """Its own shape for Gemini's models, and Anthropic's way for Claude's, whose model is in the body."""
    safe = {"extra_body": {"safetySettings": [], "toolConfig": {}}}
    request = vertex_wire.encode_count(
        ChatRequest(MESSAGES, "gemini-2.5-flash", {**PARAMS, **safe}, {"X-Goog-User-Project": "q"}),
        target("vertex", base_url=VERTEX),
    )
    assert request.url == f"{VERTEX}/publishers/google/models/gemini-2.5-flash:countTokens"
    assert request.headers["x-goog-user-project"] == "q"
    assert set(json.loads(request.body)) == {"contents", "systemInstruction", "generationConfig"}
    request = vertex_wire.encode_count(
        ChatRequest(MESSAGES, "claude-sonnet-4-5", PARAMS), target("vertex", base_url=VERTEX)
    )
    assert request.url == f"{VERTEX}/publishers/anthropic/models/count-tokens:rawPredict"
    assert request.headers["authorization"] == f"Bearer {KEY}"
    body = json.loads(request.body)
    assert body.pop("anthropic_version").startswith("vertex-")
    assert set(body) == {"model", "system", "messages"}


@pytest.mark.parametrize("provider", MODULES)
def test_a_number_is_read(provider: str) -> None:
    """Whatever else stands beside it."""
    body = b'{"input_tokens": 14, "totalTokens": 14, "more": [1]}'
    request = ChatRequest(MESSAGES, "gemini-2.5-flash")
    assert MODULES[provider].decode_count(HttpResponse(200, {}, body), request, target("claude"), 0.0) == 14


@pytest.mark.parametrize("provider", MODULES)
@pytest.mark.parametrize(
    "body",
    [b"", b"{}", b"[]", b"null", b"14", b"<html>", b'{"input_tokens": -1, "totalTokens": -1}']
    + [b'{"input_tokens": %s, "totalTokens": %s}' % (value, value) for value in (b"null", b'"14"', b"1.5", b"true")],
)
def test_anything_else_is_no_count(provider: str, body: bytes) -> None:
    """A typed error, never 0 and never another exception."""
    request = ChatRequest(MESSAGES, "gemini-2.5-flash")
    with pytest.raises(LLMResponseError, match="no count of tokens"):
        MODULES[provider].decode_count(HttpResponse(200, {}, body), request, target("claude"), 0.0)


def test_an_error_inside_a_200_is_an_error() -> None:
    """In each vendor's shape."""
    request = ChatRequest(MESSAGES, "m")
    claude = b'{"type": "error", "error": {"type": "rate_limit_error", "message": "slow down"}}'
    gemini = b'{"error": {"code": 429, "message": "slow down", "status": "RESOURCE_EXHAUSTED"}}'
    for module, body in ((claude_count, claude), (gemini_count, gemini)):
        with pytest.raises(RateLimitError, match="slow down"):
            module.decode_count(HttpResponse(200, {}, body), request, target("claude"), 0.0)


async def test_an_error_status_is_that_of_the_wire() -> None:
    """With the endpoint and the model."""

    def refuse(_: httpx.Request) -> httpx.Response:
        return httpx.Response(400, json={"type": "error", "error": {"type": "invalid_request_error", "message": "no"}})

    endpoint = EndpointConfig(provider="claude", api_key=KEY, model="claude-sonnet-4-5", base_url="http://h/v1")
    client = ProviderClient(endpoint, transport=httpx.MockTransport(refuse))
    with pytest.raises(LLMHTTPError) as caught:
        await client.count_tokens(ChatRequest(MESSAGES))
    assert (caught.value.endpoint, caught.value.model) == ("http://h/v1", "claude-sonnet-4-5")
    with pytest.raises(LLMHTTPError):
        _ = [event async for event in TokenCounter(client).stream(ChatRequest(MESSAGES))]
    await TokenCounter(client).aclose()
    await client.aclose()


async def test_openai_compatible_endpoints_cannot_count() -> None:
    """The error says where the number is found."""
    client = ProviderClient(EndpointConfig(base_url="http://localhost:1/v1", model="m"))
    assert find_wire("openai").token_count is None
    assert not client.counts_tokens
    with pytest.raises(ConfigError, match=r"result\.usage\.prompt_tokens"):
        await client.count_tokens(ChatRequest(MESSAGES))
