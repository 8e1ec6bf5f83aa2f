"""OpenAI's errors: their shape, and the ones that several endpoints give."""

from __future__ import annotations

import json
import math

from flexllm_mock.asgi import SPENT_CODE, ApiError, ApiRequest, Reply, Vendor
from flexllm_mock.identity import request_mark, seed_bytes

_KINDS = {403: "permission_error", 429: "requests"}
_LIMIT_KINDS = {"input_tokens": "tokens", "output_tokens": "tokens"}
_CODES = {401: "invalid_api_key", 429: "rate_limit_exceeded", 500: "internal_error", 503: "overloaded"}


class OpenAIErrors:
    """Gives errors OpenAI's shape."""

    vendor: Vendor = "openai"
    url_key = False
    open = False

    def __init__(self, seed: int) -> None:
        self._key = seed_bytes(seed)

    def refuse(self, request: ApiRequest, problem: ApiError) -> Reply:
        """Answer with the four keys of OpenAI's error object."""
        status = problem.status
        error = {
            "message": problem.message,
            "type": problem.kind or _kind(problem),
            "param": problem.param,
            "code": problem.code or _CODES.get(status),
        }
        body = json.dumps({"error": error}, separators=(",", ":")).encode()
        return Reply(
            status, self._request_id(request), body=body, headers=problem.headers + _retry_headers(problem.retry_in)
        )

    def _request_id(self, request: ApiRequest) -> bytes:
        return b"req_" + request_mark(self._key, request).encode()


def _kind(problem: ApiError) -> str:
    if problem.code == SPENT_CODE:
        return SPENT_CODE
    if problem.status == 429 and problem.limit in _LIMIT_KINDS:
        return _LIMIT_KINDS[problem.limit]
    return _KINDS.get(problem.status) or ("server_error" if problem.status >= 500 else "invalid_request_error")


def _retry_headers(seconds: float | None) -> tuple[tuple[bytes, bytes], ...]:
    """Tell when to ask again: in whole seconds, and in milliseconds where these say more."""
    if seconds is None:
        return ()
    headers: tuple[tuple[bytes, bytes], ...] = ((b"retry-after", b"%d" % math.ceil(seconds)),)
    if seconds % 1:
        headers += ((b"retry-after-ms", b"%d" % math.ceil(seconds * 1000)),)
    return headers


def unknown_model(name: str) -> ApiError:
    """Return the error for a model that is not served."""
    return ApiError(404, f"The model {name!r} does not exist.", param="model", code="model_not_found")
