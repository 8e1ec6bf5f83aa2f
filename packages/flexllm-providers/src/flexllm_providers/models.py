"""The models that an endpoint offers."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from flexllm_core.endpoint import EndpointConfig
from flexllm_core.json_codec import decode_json
from flexllm_providers.claude import model_list as claude_model_list
from flexllm_providers.claude.target import claude_target_from
from flexllm_providers.detect import detect_provider
from flexllm_providers.gemini import errors as gemini_errors
from flexllm_providers.gemini import model_list as gemini_models
from flexllm_providers.gemini.target import GeminiTarget, gemini_target_from
from flexllm_providers.gemini.urls import has_project
from flexllm_providers.http import HttpRequest, HttpResponse, Timeouts, Transport
from flexllm_providers.openai import wire as openai_wire
from flexllm_providers.single_request import NO_CHAT, send, transport_for
from flexllm_providers.target import Target, target_from
from flexllm_providers.vertex.access_token import AccessToken
from flexllm_providers.wire_errors import unusable

DEFAULT_TIMEOUT = 30.0
"""Seconds for one page, where the endpoint has no timeout of its own."""

MAX_PAGES = 100
"""Pages that are read at most: a server may give the next one for ever."""

_CONTEXT_KEYS = ("max_model_len", "context_length", "context_window", "max_context_length", "max_input_tokens")
"""Where vLLM and SGLang, OpenRouter and Together, Groq, Mistral, and gateways say how long the context is."""

_OUTPUT_KEYS = ("max_completion_tokens", "max_output_tokens")


_Page = tuple["list[ModelInfo]", str | None]
"""The models of a page, and the cursor of the next one; None on the last."""


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """One model. Only the id is always there: the rest is None where the server does not say it.

    Attributes:
        id: As requests name it.
        display_name: For a person.
        owned_by: Who made it or serves it.
        context_length: Tokens of prompt and completion together; of the prompt alone at Gemini and Claude.
        max_output_tokens: Most tokens of a completion.
        created: When it was made, in seconds since 1970.
        lifecycle: Such as `active`, `deprecated`.
        methods: What can be called, such as `generateContent`; empty where the server does not say.
    """

    id: str
    display_name: str | None = None
    owned_by: str | None = None
    context_length: int | None = None
    max_output_tokens: int | None = None
    created: int | None = None
    lifecycle: str | None = None
    methods: tuple[str, ...] = ()


async def list_models(endpoint: EndpointConfig, *, transport: Any = None) -> list[ModelInfo]:
    """The models of an endpoint, in the server's order.

    Args:
        endpoint: Where, and with which key. Its `timeout` is for each page (30 s by default).
        transport: Sends the requests instead of one of our own, as for `ProviderClient`; it stays open.

    Raises:
        LLMRequestError: There is no list; `AuthenticationError`, `NotFoundError` ... by status.
        ConfigError: The endpoint's settings are unusable.
        MissingExtraError: Vertex AI without google-auth.
    """
    timeouts = Timeouts(total=endpoint.timeout or DEFAULT_TIMEOUT)
    provider = endpoint.provider if endpoint.provider != "auto" else detect_provider(endpoint.base_url)
    target: Target
    if provider == "claude":
        target, pages = claude_target_from(endpoint), _CLAUDE
    elif provider in ("gemini", "vertex"):
        target, pages = await _with_token(gemini_target_from(endpoint)), _GEMINI
    else:
        target, pages = target_from(endpoint, openai_wire.DEFAULT_BASE_URL), _OPENAI
    async with transport_for(endpoint, target.base_url, transport) as opened:
        return await _all_pages(pages, opened, target, timeouts)


async def _all_pages(pages: _Pages, transport: Transport, target: Target, timeouts: Timeouts) -> list[ModelInfo]:
    found: list[ModelInfo] = []
    seen: set[str] = set()
    cursor: str | None = None
    while True:
        response = await send(transport, pages.encode(target, cursor), target, timeouts)
        models, cursor = pages.decode(response, target, time.time())
        found.extend(models)
        if cursor is None:
            return found
        if cursor in seen or len(seen) + 1 >= MAX_PAGES:
            raise unusable(target, NO_CHAT, "the list of models has no end", kind="refused")
        seen.add(cursor)


async def _with_token(target: GeminiTarget) -> GeminiTarget:
    """The target with an access token, where it is a project on Vertex AI and brings none of its own."""
    if target.key or not has_project(target.base_url) or "authorization" in target.api_headers:
        return target
    return replace(target, key=await AccessToken().get())


def encode_openai_models(target: Target) -> HttpRequest:
    """The request for the list of an OpenAI-compatible server."""
    return HttpRequest("GET", f"{target.base_url}/models", target.bearer_headers)


def decode_openai_models(response: HttpResponse, target: Target, now: float) -> list[ModelInfo]:
    """The list in an OpenAI-compatible server's response. `now` is wall-clock seconds since 1970.

    Entries without an id are left out. Together answers with the list alone, an Ollama without models
    with `"data": null`.

    Raises:
        LLMRequestError: An error status, an error inside a 200, or a body that is no such list.
    """
    if not 200 <= response.status < 300:
        raise openai_wire.decode_error(response, NO_CHAT, target, now)
    try:
        data = decode_json(response.body)
    except ValueError:
        raise unusable(target, NO_CHAT, "the list of models is not JSON", response.body) from None
    if isinstance(data, dict):
        if openai_wire.is_error(data):
            raise openai_wire.error_in_body(data, response.body, response.headers, NO_CHAT, target, now)
        data = [] if "data" in data and data["data"] is None else data.get("data")
    if not isinstance(data, list):
        raise unusable(target, NO_CHAT, "the answer is no list of models", response.body)
    return [_openai_model(item) for item in data if isinstance(item, dict) and _text(item.get("id"))]


def _openai_model(item: Mapping[str, Any]) -> ModelInfo:
    top = item.get("top_provider")  # OpenRouter's limits of a completion
    limits = {**top, **item} if isinstance(top, dict) else item
    return ModelInfo(
        id=item["id"],
        display_name=_text(item.get("display_name")) or _text(item.get("name")),
        owned_by=_text(item.get("owned_by")),
        context_length=_first_number(item, _CONTEXT_KEYS),
        max_output_tokens=_first_number(limits, _OUTPUT_KEYS),
        created=_first_number(item, ("created",)),
    )


def _decode_claude(response: HttpResponse, target: Target, now: float) -> _Page:
    page = claude_model_list.decode_models(response, target, now)
    return [_from_claude(model) for model in page.models], page.after_id


def _from_claude(model: claude_model_list.ClaudeModelInfo) -> ModelInfo:
    return ModelInfo(
        id=model.id,
        display_name=model.display_name,
        owned_by="anthropic",
        context_length=model.max_input_tokens,
        max_output_tokens=model.max_tokens,
        lifecycle=model.lifecycle,
    )


def _decode_gemini(response: HttpResponse, target: Target, now: float) -> _Page:
    if not 200 <= response.status < 300:
        raise gemini_errors.decode_error(response, NO_CHAT, target, now)
    page = gemini_models.decode_models(response, target, now)
    return [_from_gemini(model) for model in page.models], page.next_page_token


def _from_gemini(model: gemini_models.GeminiModel) -> ModelInfo:
    return ModelInfo(
        id=model.id,
        display_name=model.display_name,
        owned_by="google",
        context_length=model.input_tokens,
        max_output_tokens=model.output_tokens,
        methods=model.methods,
    )


@dataclass(frozen=True, slots=True)
class _Pages:
    """How a kind of server lists its models: the request for the page at a cursor, and what is in the answer."""

    encode: Callable[[Target, str | None], HttpRequest]
    decode: Callable[[HttpResponse, Target, float], _Page]


_OPENAI = _Pages(
    lambda target, _: encode_openai_models(target),  # it has one page
    lambda response, target, now: (decode_openai_models(response, target, now), None),
)
_CLAUDE = _Pages(claude_model_list.encode_models, _decode_claude)
_GEMINI = _Pages(gemini_models.encode_models, _decode_gemini)


def _text(value: object) -> str | None:
    return value if isinstance(value, str) and value else None


def _first_number(item: Mapping[str, Any], keys: tuple[str, ...]) -> int | None:
    return next((value for key in keys if type(value := item.get(key)) is int and value > 0), None)
