"""Gemini's model list, page by page."""

from __future__ import annotations

import json
from typing import Any

from flexllm_mock.asgi import ApiError, ApiRequest, Reply
from flexllm_mock.config import MockConfig
from flexllm_mock.gemini.keyed import KeyedEndpoint
from flexllm_mock.gemini.lists import page
from flexllm_mock.scripted import Prescribed

_DEFAULT_SIZE, _MOST = 50, 1000


class GeminiModelsEndpoint(KeyedEndpoint):
    """`GET {prefix}/models` and `GET {prefix}/models/{name}` as Gemini answers them."""

    methods = frozenset(("GET",))

    def __init__(self, config: MockConfig) -> None:
        super().__init__(config.seed)
        self._models = config.models

    def read(self, request: ApiRequest) -> None:
        """Take the name of the model from the path."""
        request.model = request.path.partition("/models/")[2] or None

    def reply(self, request: ApiRequest, literal: Prescribed | None = None) -> Reply:
        """List a page of models, or describe one."""
        if request.model is None:
            found = page(request, "models", [_described(name) for name in self._models], size=_DEFAULT_SIZE, most=_MOST)
        elif request.model in self._models:
            found = _described(request.model)
        else:
            raise ApiError(404, f"models/{request.model} is not found. Call ListModels to see the available models.")
        return Reply(200, b"", body=json.dumps(found, separators=(",", ":")).encode())


def _described(name: str) -> dict[str, Any]:
    return {
        "name": f"models/{name}",
        "version": "001",
        "displayName": name,
        "description": "A model of the mock server",
        "inputTokenLimit": 1_048_576,
        "outputTokenLimit": 65_536,
        "supportedGenerationMethods": ["generateContent", "countTokens", "embedContent", "batchGenerateContent"],
        "temperature": 1,
        "maxTemperature": 2,
        "topP": 0.95,
        "topK": 64,
        "thinking": True,
    }
