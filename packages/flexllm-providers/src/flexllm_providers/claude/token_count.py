"""How many tokens a request has for a Claude model: `count_tokens` of the Messages API, and the same on Vertex.

Sources: the types and clients of the anthropic SDK.
"""

from __future__ import annotations

from typing import Any

from flexllm_core.json_codec import decode_json, encode_json
from flexllm_core.requests import ChatRequest
from flexllm_providers.claude.encode import message_body, with_headers
from flexllm_providers.claude.errors import error_in_body, is_error
from flexllm_providers.claude.target import VERTEX_VERSION, api_url, claude_target, vertex_url
from flexllm_providers.http import HttpRequest, HttpResponse
from flexllm_providers.target import Target
from flexllm_providers.wire_errors import unusable

_NOT_COUNTED = (
    "max_tokens",
    "metadata",
    "service_tier",
    "stop_sequences",
    "stream",
    "temperature",
    "top_k",
    "top_p",
)
"""What a message's request has and a count refuses: it says how to answer, and is no part of the prompt."""

_VERTEX_MODEL = "count-tokens"
"""Stands in the URL on Vertex where the model does otherwise; the model is in the body there."""


def encode_count(request: ChatRequest, target: Target) -> HttpRequest:
    """The HTTP request that asks Anthropic's API, or a server that speaks it; raises as `encode.encode`."""
    claude = claude_target(target)
    headers = with_headers(claude.api_headers, request.extra_headers)
    body = encode_json(_body(request, target))
    return HttpRequest("POST", api_url(claude.base_url, "messages/count_tokens"), headers, body)


def encode_vertex_count(request: ChatRequest, target: Target) -> HttpRequest:
    """The HTTP request that asks Vertex; raises as `encode.encode_vertex`."""
    claude = claude_target(target)
    body = {"anthropic_version": claude.version or VERTEX_VERSION, **_body(request, target)}
    headers = with_headers(claude.vertex_headers, request.extra_headers)
    url = vertex_url(claude.base_url, _VERTEX_MODEL, stream=False)
    return HttpRequest("POST", url, headers, encode_json(body))


def decode_count(response: HttpResponse, request: ChatRequest, target: Target, now: float) -> int:
    """The number of tokens in a 2xx response. `now` is wall-clock seconds since 1970.

    Raises:
        LLMRequestError: The body holds an error or no number.
    """
    try:
        data = decode_json(response.body)
    except ValueError:
        data = None
    if isinstance(data, dict) and is_error(data):
        raise error_in_body(data, response.body, response.headers, request, target, now)
    tokens = data.get("input_tokens") if isinstance(data, dict) else None
    if type(tokens) is not int or tokens < 0:
        raise unusable(target, request, "the answer is no count of tokens", response.body)
    return tokens


def _body(request: ChatRequest, target: Target) -> dict[str, Any]:
    body = message_body(request, target)
    return {key: value for key, value in body.items() if key not in _NOT_COUNTED}
