"""The wire of Claude, Anthropic's Messages API: from a ChatRequest to an HTTP request.

Sources: the types of the anthropic SDK and the pages of platform.claude.com. The same body goes to
Claude on Vertex, under another URL. How answers are read is in `decode.py` and `stream.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from flexllm_core.errors import InputError
from flexllm_core.json_codec import encode_json
from flexllm_core.requests import ChatRequest
from flexllm_providers.claude.capabilities import UNKNOWN, ClaudeModel
from flexllm_providers.claude.messages import encode_messages, plain_text
from flexllm_providers.claude.params import JSON_PROMPT, encode_params, wants_json_prompt
from flexllm_providers.claude.target import VERTEX_VERSION, ClaudeTarget, api_url, claude_target, vertex_url
from flexllm_providers.dialects import merge_body
from flexllm_providers.http import HttpRequest
from flexllm_providers.target import Target


def encode(request: ChatRequest, target: Target, *, stream: bool) -> HttpRequest:
    """The HTTP request that asks Anthropic's API, or a server that speaks it.

    Raises:
        ConfigError: The model cannot do what the params ask for.
        InputError: The messages cannot be given to Claude, or written as JSON.
    """
    claude = claude_target(target)
    headers = with_headers(claude.api_headers, request.extra_headers)
    body = encode_json(message_body(request, claude, stream=stream))
    return HttpRequest("POST", api_url(claude.base_url, "messages"), headers, body)


def message_body(request: ChatRequest, target: Target, *, stream: bool = False) -> dict[str, Any]:
    """The JSON of a message's request, as calls and the items of batches have it.

    Raises:
        ConfigError: There is no model, or it cannot do what the params ask for.
        InputError: The messages cannot be given to Claude.
    """
    claude = claude_target(target)
    model = claude.model_of(request)
    return {"model": model, **_body(request, claude, model, stream=stream)}


def encode_vertex(request: ChatRequest, target: Target, *, stream: bool) -> HttpRequest:
    """The HTTP request that asks a Claude model on Vertex; the bearer token comes from elsewhere.

    Raises:
        ConfigError: The model cannot do what the params ask for.
        InputError: The messages cannot be given to Claude, or written as JSON.
    """
    claude = claude_target(target)
    model = claude.model_of(request)
    version = claude.version or VERTEX_VERSION
    body = {"anthropic_version": version, **_body(request, claude, model, stream=stream)}
    headers = with_headers(claude.vertex_headers, request.extra_headers)
    return HttpRequest("POST", vertex_url(claude.base_url, model, stream=stream), headers, encode_json(body))


def _body(request: ChatRequest, target: ClaudeTarget, model: str, *, stream: bool) -> dict[str, Any]:
    """Everything but the model and the version."""
    row = target.row_of(model)
    who = f"{target.label} ({model})"

    def takes_back(other: str) -> bool:
        return _is_same_model(other, model, row, target)

    system, turns = encode_messages(request.messages, takes_back)
    _check_end(turns, row, who)
    params = request.params
    if wants_json_prompt(params, who):
        system.append({"type": "text", "text": JSON_PROMPT})
    body = encode_params(params, row, who, sampling=target.allows_sampling)
    if system:
        body["system"] = plain_text(system)
    body["messages"] = turns
    merge_body(body, params.get("extra_body") or {})
    if stream:
        body["stream"] = True
    return body


def _is_same_model(other: str, model: str, row: ClaudeModel, target: ClaudeTarget) -> bool:
    """Whether the thinking of `other` may go to `model`: it is refused only where both are known to differ.

    An id may be a proxy's own name for the model whose answer says another, and thinking that is left
    out of a loop of tool calls is refused too.
    """
    other_row = target.row_of(other)
    return UNKNOWN.name in (row.name, other_row.name) or _family(other, other_row) == _family(model, row)


def _family(model: str, row: ClaudeModel) -> str:
    """The name of a model without its date or its cloud's version."""
    name = model[max(model.rfind("claude-"), 0) :].replace(".", "-")
    return max((prefix for prefix in row.ids if name.startswith(prefix)), key=len, default=row.name)


def _check_end(turns: list[dict[str, Any]], row: ClaudeModel, who: str) -> None:
    """Refuse to send what would be refused: an answer to go on from, unless it paused for the server's tools."""
    if row.prefill or turns[-1]["role"] != "assistant":
        return
    blocks = turns[-1]["content"]
    if isinstance(blocks, str) or not any(block.get("type") == "server_tool_use" for block in blocks):
        raise InputError(f"{who} does not go on from an assistant message; expected the user's message at the end")


def with_headers(headers: Mapping[str, str], more: Mapping[str, str]) -> Mapping[str, str]:
    """Headers of an endpoint, and above them those of a request."""
    return {**headers, **{name.lower(): value for name, value in more.items()}} if more else headers
