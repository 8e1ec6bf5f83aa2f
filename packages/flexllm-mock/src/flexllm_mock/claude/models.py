"""Claude's model list, page by page."""

from __future__ import annotations

import json
from typing import Any

from flexllm_mock.asgi import ApiRequest, Reply, query_fields
from flexllm_mock.claude.errors import REQUEST_ID_HEADER, ClaudeErrors, unknown_model
from flexllm_mock.claude.lists import page
from flexllm_mock.config import MockConfig
from flexllm_mock.scripted import Prescribed

_CREATED = "2025-11-20T00:00:00Z"
_YES, _NO = {"supported": True}, {"supported": False}
_CAPABILITIES = {
    "batch": _YES,
    "citations": _NO,
    "code_execution": _NO,
    "context_management": {"supported": False},
    "effort": {"supported": True} | dict.fromkeys(("low", "medium", "high", "xhigh", "max"), _YES),
    "image_input": _YES,
    "pdf_input": _YES,
    "server_tools": {"supported": False, "code_execution": _NO, "web_search": _NO},
    "structured_outputs": _YES,
    "thinking": {
        "supported": True,
        "types": dict.fromkeys(("adaptive", "between_tools", "disabled", "enabled"), _YES),
    },
}


class ClaudeModelsEndpoint(ClaudeErrors):
    """`GET {prefix}/models` and `GET {prefix}/models/{id}` as Claude answers them."""

    methods = frozenset(("GET",))
    generates = False

    def __init__(self, config: MockConfig) -> None:
        super().__init__(config.seed)
        self._models = config.models

    def read(self, request: ApiRequest) -> None:
        """Take the name of the model from the path."""
        request.model = request.path.partition("/models/")[2] or None

    def reply(self, request: ApiRequest, literal: Prescribed | None = None) -> Reply:
        """List a page of models, or describe one."""
        if request.model is None:
            found = page([_described(name) for name in self._models], dict(query_fields(request.query)))
        elif request.model in self._models:
            found = _described(request.model)
        else:
            raise unknown_model(request.model)
        body = json.dumps(found, separators=(",", ":")).encode()
        return Reply(200, self._request_id(request), body=body, id_header=REQUEST_ID_HEADER)


def _described(name: str) -> dict[str, Any]:
    return {
        "type": "model",
        "id": name,
        "display_name": name,
        "created_at": _CREATED,
        "lifecycle": "active",
        "max_input_tokens": 200_000,
        "max_tokens": 64_000,
        "capabilities": _CAPABILITIES,
    }
