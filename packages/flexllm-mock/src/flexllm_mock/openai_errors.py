"""OpenAI's errors: their shape, and the ones that several endpoints give."""

from __future__ import annotations

import json

from flexllm_mock.asgi import ApiError, ApiRequest, Reply
from flexllm_mock.identity import request_mark, seed_bytes

_KINDS = {403: "permission_error", 429: "requests"}
_CODES = {401: "invalid_api_key", 429: "rate_limit_exceeded", 500: "internal_error", 503: "overloaded"}


class OpenAIErrors:
    """Gives errors OpenAI's shape."""

    url_key = False
    open = False

    def __init__(self, seed: int) -> None:
        self._key = seed_bytes(seed)

    def refuse(self, request: ApiRequest, problem: ApiError) -> Reply:
        """Answer with the four keys of OpenAI's error object."""
        status = problem.status
        error = {
            "message": problem.message,
            "type": problem.kind
            or _KINDS.get(status)
            or ("server_error" if status >= 500 else "invalid_request_error"),
            "param": problem.param,
            "code": problem.code or _CODES.get(status),
        }
        body = json.dumps({"error": error}, separators=(",", ":")).encode()
        return Reply(status, self._request_id(request), body=body, headers=problem.headers)

    def _request_id(self, request: ApiRequest) -> bytes:
        return b"req_" + request_mark(self._key, request).encode()


def unknown_model(name: str) -> ApiError:
    """Return the error for a model that is not served."""
    return ApiError(404, f"The model {name!r} does not exist.", param="model", code="model_not_found")
