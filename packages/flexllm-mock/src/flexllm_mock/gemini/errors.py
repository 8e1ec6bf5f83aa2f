"""Google's errors: their shape, and the ones that several endpoints give."""

from __future__ import annotations

import json
from typing import Any

from flexllm_mock.asgi import BAD_KEY_CODE, SPENT_CODE, ApiError, ApiRequest, Limit, Reply, Vendor
from flexllm_mock.identity import seed_bytes

_STATUSES = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    405: "UNIMPLEMENTED",
    408: "DEADLINE_EXCEEDED",
    409: "ABORTED",
    429: "RESOURCE_EXHAUSTED",
    499: "CANCELLED",
    500: "INTERNAL",
    501: "UNIMPLEMENTED",
    503: "UNAVAILABLE",
    504: "DEADLINE_EXCEEDED",
}
_RPC_CODES = {401: 16, 403: 7, 404: 5, 408: 4, 409: 10, 429: 8, 499: 1, 501: 12, 503: 14, 504: 4}
_TYPE = "type.googleapis.com/google.rpc."
_SERVICE = "generativelanguage.googleapis.com"
_BAD_KEY = {
    400: "API key not valid. Please pass a valid API key.",
    401: "Request had invalid authentication credentials. Expected OAuth 2 access token or other valid credential.",
}
_QUOTAS: dict[Limit, tuple[str, str]] = {
    "requests": ("generate_content_requests", "GenerateRequestsPerMinutePerProjectPerModel"),
    "input_tokens": ("generate_content_input_token_count", "GenerateContentInputTokensPerModelPerMinute"),
    "output_tokens": ("generate_content_output_token_count", "GenerateContentOutputTokensPerModelPerMinute"),
    "concurrency": ("concurrent_requests", "ConcurrentRequestsPerProjectPerModel"),
}
_DAILY_QUOTA = "GenerateRequestsPerDayPerProjectPerModel"
_SHOWN = 60


class GoogleErrors:
    """Gives errors Google's shape."""

    vendor: Vendor = "gemini"
    url_key = False
    open = False
    bad_key_status = 401

    def __init__(self, seed: int) -> None:
        self._key = seed_bytes(seed)

    def refuse(self, request: ApiRequest, problem: ApiError) -> Reply:
        """Answer with code, message and status; with details for a bad key, a quota and a wrong field."""
        status, message = problem.status, problem.message
        if problem.code == BAD_KEY_CODE:
            status = self.bad_key_status
            message = _BAD_KEY[status]
        error: dict[str, Any] = {
            "code": status,
            "message": message,
            "status": problem.kind or _STATUSES.get(status) or ("UNAVAILABLE" if status >= 500 else "INVALID_ARGUMENT"),
        }
        details = _details(problem, status)
        if details:
            error["details"] = details
        body = json.dumps({"error": error}, separators=(",", ":")).encode()
        return Reply(status, b"", body=body, headers=problem.headers)


def rpc_code(status: int) -> int:
    """Return the code of google.rpc.Code that stands for an HTTP status."""
    return _RPC_CODES.get(status, 13 if status >= 500 else 3)


def _details(problem: ApiError, status: int) -> list[dict[str, Any]]:
    if problem.code == BAD_KEY_CODE and status == 400:
        reason = {"reason": "API_KEY_INVALID", "domain": "googleapis.com"}
        return [{"@type": _TYPE + "ErrorInfo", **reason, "metadata": {"service": _SERVICE}}]
    if status == 429:
        return _quota_details(problem)
    if problem.param is not None:
        violation = {"field": problem.param, "description": problem.message}
        return [{"@type": _TYPE + "BadRequest", "fieldViolations": [violation]}]
    return []


def _quota_details(problem: ApiError) -> list[dict[str, Any]]:
    """Say which quota is used up and, when the error knows it or has a `retry-after` in seconds, when to come back."""
    metric, quota = _QUOTAS[problem.limit]
    if problem.code == SPENT_CODE:
        quota = _DAILY_QUOTA
    violation = {"quotaMetric": f"{_SERVICE}/{metric}", "quotaId": quota}
    details: list[dict[str, Any]] = [{"@type": _TYPE + "QuotaFailure", "violations": [violation]}]
    delay = "" if problem.retry_in is None else f"{problem.retry_in:.3f}".rstrip("0").rstrip(".")
    for name, value in problem.headers:
        if name == b"retry-after" and value.replace(b".", b"", 1).isdigit():
            delay = value.decode()
    if delay:
        details.append({"@type": _TYPE + "RetryInfo", "retryDelay": f"{delay}s"})
    return details


def invalid(place: str, problem: str) -> ApiError:
    """Return the 400 for one place of the body, such as `generation_config.top_k`."""
    return ApiError(400, f"Invalid value at '{place}': {problem}", param=place)


def wrong(place: str, wanted: str, value: object) -> ApiError:
    """Return the 400 for a field whose value is not what it must be."""
    shown = repr(value)
    shown = shown if len(shown) <= _SHOWN else shown[:_SHOWN] + "..."
    return invalid(place, f"expected {wanted}, got {shown}")


def unknown_field(name: str, place: str) -> ApiError:
    """Return the 400 for a field that does not exist; `place` is empty at the top of the body."""
    at = f" at '{place}'" if place else ""
    message = f'Invalid JSON payload received. Unknown name "{name}"{at}: Cannot find field.'
    return ApiError(400, message, param=place or name)
