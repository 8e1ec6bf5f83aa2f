"""Claude's errors: their shape, and the ones that several endpoints give."""

from __future__ import annotations

import json
import math
from typing import Any

from flexllm_mock.asgi import BAD_KEY_CODE, SPENT_CODE, ApiError, ApiRequest, Reply, Vendor
from flexllm_mock.identity import request_mark, seed_bytes

REQUEST_ID_HEADER = b"request-id"

_KINDS = {
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    409: "conflict_error",
    413: "request_too_large",
    429: "rate_limit_error",
    504: "timeout_error",
    529: "overloaded_error",
}
_SHOWN = 60


class ClaudeErrors:
    """Gives errors Claude's shape."""

    vendor: Vendor = "claude"
    url_key = False
    open = False

    def __init__(self, seed: int) -> None:
        self._key = seed_bytes(seed)

    def refuse(self, request: ApiRequest, problem: ApiError) -> Reply:
        """Answer with a typed error that also holds the request id."""
        status = problem.status
        kind = problem.kind or _KINDS.get(status) or ("api_error" if status >= 500 else "invalid_request_error")
        message = "invalid x-api-key" if problem.code == BAD_KEY_CODE else problem.message
        request_id = self._request_id(request)
        described: dict[str, Any] = {"type": kind, "message": message}
        if problem.code == SPENT_CODE:
            described["details"] = {"error_code": "enforced_spend_limit_reached"}
        error = {"type": "error", "error": described, "request_id": request_id.decode()}
        body = json.dumps(error, separators=(",", ":")).encode()
        headers = problem.headers
        if problem.retry_in is not None:
            headers += ((b"retry-after", b"%d" % math.ceil(problem.retry_in)),)
        return Reply(status, request_id, body=body, headers=headers, id_header=REQUEST_ID_HEADER)

    def _request_id(self, request: ApiRequest) -> bytes:
        return b"req_" + request_mark(self._key, request)[:24].encode()


def invalid(place: str, problem: str) -> ApiError:
    """Return the 400 for one place of the body, such as `messages.0.content`."""
    return ApiError(400, f"{place}: {problem}", param=place)


def missing(place: str) -> ApiError:
    """Return the 400 for a field that must be there."""
    return invalid(place, "Field required")


def wrong(place: str, wanted: str, value: object) -> ApiError:
    """Return the 400 for a field whose value is not what it must be."""
    shown = repr(value)
    shown = shown if len(shown) <= _SHOWN else shown[:_SHOWN] + "..."
    return invalid(place, f"Input should be {wanted}, not {shown}")


def unknown_model(name: str) -> ApiError:
    """Return the error for a model that is not served."""
    return ApiError(404, f"model: {name}")
