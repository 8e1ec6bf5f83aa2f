"""The list of models, which several vendors have at the same path."""

from __future__ import annotations

import re

from flexllm_mock.asgi import Endpoint
from flexllm_mock.claude.models import ClaudeModelsEndpoint
from flexllm_mock.config import MockConfig
from flexllm_mock.gemini.models import GeminiModelsEndpoint
from flexllm_mock.openai.models import OpenAIModelsEndpoint
from flexllm_mock.vendor import VendorEndpoint

_PATH = re.compile(r".*/models(/.+)?")


class ModelsWire:
    """`{prefix}/models` and `{prefix}/models/{id}`."""

    def __init__(self, config: MockConfig) -> None:
        self._models = VendorEndpoint(
            {
                "openai": OpenAIModelsEndpoint(config),
                "claude": ClaudeModelsEndpoint(config),
                "gemini": GeminiModelsEndpoint(config),
            }
        )

    def find(self, path: str) -> Endpoint | None:
        """Return the endpoint that serves a path, or None."""
        return self._models if _PATH.fullmatch(path) else None
