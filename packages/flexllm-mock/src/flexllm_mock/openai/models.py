"""OpenAI's model list."""

from __future__ import annotations

import json
from typing import Any

from flexllm_mock.asgi import ApiRequest, Reply
from flexllm_mock.config import MockConfig
from flexllm_mock.openai.errors import OpenAIErrors, unknown_model
from flexllm_mock.scripted import Prescribed

CREATED = 1_763_600_000
"""Every `created`, in seconds since 1970: a clock would make equal requests differ."""


class OpenAIModelsEndpoint(OpenAIErrors):
    """`GET {prefix}/models` and `GET {prefix}/models/{id}`."""

    methods = frozenset(("GET",))
    generates = False

    def __init__(self, config: MockConfig) -> None:
        super().__init__(config.seed)
        self._models = config.models

    def read(self, request: ApiRequest) -> None:
        """Take the name of the model from the path."""
        _, _, name = request.path.partition("/models/")
        request.model = name or None

    def reply(self, request: ApiRequest, literal: Prescribed | None = None) -> Reply:
        """List the models, or describe one."""
        described = [
            {"id": name, "object": "model", "created": CREATED, "owned_by": "flexllm-mock"} for name in self._models
        ]
        found: Any = {"object": "list", "data": described}
        if request.model is not None:
            if request.model not in self._models:
                raise unknown_model(request.model)
            found = described[self._models.index(request.model)]
        body = json.dumps(found, separators=(",", ":")).encode()
        return Reply(200, self._request_id(request), body=body)
