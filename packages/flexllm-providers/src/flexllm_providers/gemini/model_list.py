"""The list of models of the Gemini API, page by page."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode

from flexllm_core.errors import LLMResponseError
from flexllm_core.json_codec import decode_json
from flexllm_core.requests import ChatRequest
from flexllm_providers.gemini.errors import error_in_body, has_error
from flexllm_providers.gemini.target import gemini_target
from flexllm_providers.gemini.urls import models_url
from flexllm_providers.http import HttpRequest, HttpResponse
from flexllm_providers.target import Target
from flexllm_providers.wire_errors import unusable

PAGE_SIZE = 1000
"""The most that the Developer API gives at once."""
_VERTEX_PAGE_SIZE = 100
_NO_REQUEST = ChatRequest([])


@dataclass(frozen=True, slots=True)
class GeminiModel:
    """One model.

    Attributes:
        id: As requests name it, without `models/`.
        display_name: For a person.
        input_tokens: Most tokens of a prompt.
        output_tokens: Most tokens of an answer.
        methods: What can be called, such as `generateContent`; empty where the server does not say.
        thinking: Whether it thinks; None where the server does not say.
    """

    id: str
    display_name: str | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None
    methods: tuple[str, ...] = ()
    thinking: bool | None = None


@dataclass(frozen=True, slots=True)
class ModelPage:
    """One page of models, and the token that asks for the next one, None on the last."""

    models: tuple[GeminiModel, ...] = field(default=())
    next_page_token: str | None = None


def encode_models(target: Target, page_token: str | None = None) -> HttpRequest:
    """The HTTP request for a page of the list; the first one where there is no token."""
    url = models_url(target.base_url)
    query: dict[str, Any] = {"pageSize": PAGE_SIZE if url.startswith(target.base_url) else _VERTEX_PAGE_SIZE}
    if page_token:
        query["pageToken"] = page_token
    return HttpRequest("GET", f"{url}?{urlencode(query)}", gemini_target(target).api_headers)


def decode_models(response: HttpResponse, target: Target, now: float) -> ModelPage:
    """The models in a 2xx response.

    Raises:
        LLMRequestError: The body holds an error or no list of models.
    """
    try:
        data = decode_json(response.body)
    except ValueError:
        raise _unusable("the list of models is not JSON", response, target) from None
    if has_error(data):
        raise error_in_body(data, response.body, response.headers, _NO_REQUEST, target, now)
    if not isinstance(data, dict):
        raise _unusable("the list of models is not a JSON object", response, target)
    listed = data.get("models") or data.get("publisherModels") or []
    if not isinstance(listed, list):
        raise _unusable("the list of models is none", response, target)
    token = data.get("nextPageToken")
    models = tuple(_model(item) for item in listed if isinstance(item, dict) and isinstance(item.get("name"), str))
    return ModelPage(models, token if isinstance(token, str) and token else None)


def _model(item: dict[str, Any]) -> GeminiModel:
    name, methods, thinking = item["name"], item.get("supportedGenerationMethods"), item.get("thinking")
    display_name = item.get("displayName")
    return GeminiModel(
        id=name.removeprefix("publishers/google/").removeprefix("models/"),
        display_name=display_name if isinstance(display_name, str) else None,
        input_tokens=_limit(item.get("inputTokenLimit")),
        output_tokens=_limit(item.get("outputTokenLimit")),
        methods=tuple(method for method in methods if isinstance(method, str)) if isinstance(methods, list) else (),
        thinking=thinking if isinstance(thinking, bool) else None,
    )


def _limit(value: object) -> int | None:
    return value if type(value) is int and value > 0 else None


def _unusable(what: str, response: HttpResponse, target: Target) -> LLMResponseError:
    return unusable(target, _NO_REQUEST, what, response.body)
