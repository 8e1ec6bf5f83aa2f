"""Claude's model list, page by page."""

from __future__ import annotations

import json
from typing import Any

from flexllm_mock.asgi import ApiError, ApiRequest, Reply, query_fields
from flexllm_mock.claude_errors import REQUEST_ID_HEADER, ClaudeErrors, invalid, unknown_model
from flexllm_mock.config import MockConfig
from flexllm_mock.scripted import Prescribed

_DEFAULT_LIMIT, _MOST = 20, 1000
_CREATED = "2025-11-20T00:00:00Z"
_YES, _NO = {"supported": True}, {"supported": False}
_CAPABILITIES = {
    "batch": _NO,
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
            found = self._page(dict(query_fields(request.query)))
        elif request.model in self._models:
            found = _described(request.model)
        else:
            raise unknown_model(request.model)
        body = json.dumps(found, separators=(",", ":")).encode()
        return Reply(200, self._request_id(request), body=body, id_header=REQUEST_ID_HEADER)

    def _page(self, query: dict[str, str]) -> dict[str, Any]:
        limit = _limit(query.get("limit"))
        after, before = query.get("after_id"), query.get("before_id")
        if after and before:
            raise ApiError(400, "Only one of `before_id` and `after_id` may be specified.")
        first, last = 0, len(self._models)
        if after:
            first = self._position(after, "after_id") + 1
        if before:
            last = self._position(before, "before_id")
        page = self._models[max(first, last - limit) : last] if before else self._models[first : first + limit]
        return {
            "data": [_described(name) for name in page],
            "has_more": len(page) < last - first,
            "first_id": page[0] if page else None,
            "last_id": page[-1] if page else None,
        }

    def _position(self, name: str, parameter: str) -> int:
        if name not in self._models:
            raise invalid(parameter, f"no model {name!r}")
        return self._models.index(name)


def _limit(text: str | None) -> int:
    if text is None:
        return _DEFAULT_LIMIT
    if not text.isdecimal() or len(text) > len(str(_MOST)) or not 1 <= int(text) <= _MOST:
        raise invalid("limit", f"Input should be an integer from 1 to {_MOST}")
    return int(text)


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
