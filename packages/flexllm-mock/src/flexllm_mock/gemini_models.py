"""Gemini's model list, page by page."""

from __future__ import annotations

import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from typing import Any

from flexllm_mock.asgi import ApiError, ApiRequest, Reply, query_fields
from flexllm_mock.config import MockConfig
from flexllm_mock.gemini_fields import camel_case
from flexllm_mock.google_errors import GoogleErrors, wrong
from flexllm_mock.scripted import Prescribed

_DEFAULT_SIZE, _MOST = 50, 1000
_TOKEN_PREFIX = b"page:"


class GeminiModelsEndpoint(GoogleErrors):
    """`GET {prefix}/models` and `GET {prefix}/models/{name}` as Gemini answers them."""

    methods = frozenset(("GET",))
    generates = False
    url_key = True
    bad_key_status = 400

    def __init__(self, config: MockConfig) -> None:
        super().__init__(config.seed)
        self._models = config.models

    def read(self, request: ApiRequest) -> None:
        """Take the name of the model from the path."""
        request.model = request.path.partition("/models/")[2] or None

    def reply(self, request: ApiRequest, literal: Prescribed | None = None) -> Reply:
        """List a page of models, or describe one."""
        if request.model is None:
            found = self._page({camel_case(name): value for name, value in query_fields(request.query)})
        elif request.model in self._models:
            found = _described(request.model)
        else:
            raise ApiError(404, f"models/{request.model} is not found. Call ListModels to see the available models.")
        return Reply(200, b"", body=json.dumps(found, separators=(",", ":")).encode())

    def _page(self, query: dict[str, str]) -> dict[str, Any]:
        size = _size(query.get("pageSize"))
        first = _position(query.get("pageToken"), len(self._models))
        page = {"models": [_described(name) for name in self._models[first : first + size]]}
        if first + size < len(self._models):
            return {**page, "nextPageToken": _token(first + size)}
        return page


def _size(text: str | None) -> int:
    if not text:
        return _DEFAULT_SIZE
    if not text.isdecimal() or len(text) > len(str(_MOST)):
        raise wrong("page_size", f"an integer from 0 to {_MOST}", text)
    return min(int(text), _MOST) or _DEFAULT_SIZE


def _token(position: int) -> str:
    return urlsafe_b64encode(_TOKEN_PREFIX + str(position).encode()).decode().rstrip("=")


def _position(token: str | None, end: int) -> int:
    if not token:
        return 0
    try:
        text = urlsafe_b64decode(token + "=" * (-len(token) % 4))
        position = int(text.removeprefix(_TOKEN_PREFIX)) if text.startswith(_TOKEN_PREFIX) else end
    except ValueError:
        position = end
    if not 0 < position < end:
        raise wrong("page_token", "a token from the page before", token)
    return position


def _described(name: str) -> dict[str, Any]:
    return {
        "name": f"models/{name}",
        "version": "001",
        "displayName": name,
        "description": "A model of the mock server",
        "inputTokenLimit": 1_048_576,
        "outputTokenLimit": 65_536,
        "supportedGenerationMethods": ["generateContent", "countTokens"],
        "temperature": 1,
        "maxTemperature": 2,
        "topP": 0.95,
        "topK": 64,
        "thinking": True,
    }
