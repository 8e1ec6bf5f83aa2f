"""The list of models, which several vendors have at the same path."""

from __future__ import annotations

import re

from flexllm_mock.asgi import ApiError, ApiRequest, Endpoint, Reply
from flexllm_mock.claude_models import ClaudeModelsEndpoint
from flexllm_mock.config import MockConfig
from flexllm_mock.gemini_models import GeminiModelsEndpoint
from flexllm_mock.openai_models import OpenAIModelsEndpoint
from flexllm_mock.scripted import Prescribed
from flexllm_mock.vendor import Vendor, vendor_of

_PATH = re.compile(r".*/models(/.+)?")


class ModelsWire:
    """`{prefix}/models` and `{prefix}/models/{id}`."""

    def __init__(self, config: MockConfig) -> None:
        self._models = ModelsEndpoint(config)

    def find(self, path: str) -> Endpoint | None:
        """Return the endpoint that serves a path, or None."""
        return self._models if _PATH.fullmatch(path) else None


class ModelsEndpoint:
    """The models as the vendor lists them whom the client seems to mean."""

    methods = frozenset(("GET",))
    generates = False
    url_key = True

    def __init__(self, config: MockConfig) -> None:
        self._lists: dict[Vendor, OpenAIModelsEndpoint | ClaudeModelsEndpoint | GeminiModelsEndpoint] = {
            "openai": OpenAIModelsEndpoint(config),
            "claude": ClaudeModelsEndpoint(config),
            "gemini": GeminiModelsEndpoint(config),
        }

    def read(self, request: ApiRequest) -> None:
        """Take the name of the model from the path."""
        self._lists[vendor_of(request)].read(request)

    def reply(self, request: ApiRequest, literal: Prescribed | None = None) -> Reply:
        """List the models, or describe one."""
        return self._lists[vendor_of(request)].reply(request, literal)

    def refuse(self, request: ApiRequest, problem: ApiError) -> Reply:
        """Give an error the vendor's shape."""
        return self._lists[vendor_of(request)].refuse(request, problem)
