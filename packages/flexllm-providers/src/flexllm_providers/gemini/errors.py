"""Errors of the Gemini API: what their details say about quotas, keys and when to try again."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from flexllm_core.errors import LLMHTTPError, LLMRequestError
from flexllm_core.requests import ChatRequest
from flexllm_providers.http import HttpResponse
from flexllm_providers.http_errors import ErrorFacts, error_facts
from flexllm_providers.target import Target
from flexllm_providers.wire_errors import inside_200, read_refusal, refusal_message, status_error

_STATUSES = {
    "INVALID_ARGUMENT": 400,
    "FAILED_PRECONDITION": 400,
    "OUT_OF_RANGE": 400,
    "UNAUTHENTICATED": 401,
    "PERMISSION_DENIED": 403,
    "NOT_FOUND": 404,
    "ABORTED": 409,
    "ALREADY_EXISTS": 409,
    "RESOURCE_EXHAUSTED": 429,
    "CANCELLED": 499,
    "UNKNOWN": 500,
    "INTERNAL": 500,
    "DATA_LOSS": 500,
    "UNIMPLEMENTED": 501,
    "UNAVAILABLE": 503,
    "DEADLINE_EXCEEDED": 504,
}
"""HTTP statuses of Google's canonical codes."""

_KEY_REASONS = ("API_KEY_", "ACCESS_TOKEN_", "CREDENTIALS_")
_KEY_PHRASES = ("api key not valid", "api key expired", "api key not found")
_MONEY_PHRASES = ("credits are depleted", "spending cap", "spend cap")
_CONTEXT_PHRASE = re.compile(r"token count.{0,40}exceeds the maximum", re.IGNORECASE)
_SECONDS = re.compile(r"(\d{1,9}(?:\.\d{1,9})?)s")


def decode_error(response: HttpResponse, request: ChatRequest, target: Target, now: float) -> LLMHTTPError:
    """The typed error in a response with an error status. `now` is wall-clock seconds since 1970."""
    data, text = read_refusal(response, request, target)
    facts, error = _facts(data, text), _error(data)
    what = refusal_message(response.status, facts)
    meant, headers = _meant_status(response.status, facts), _with_delay(response.headers, error)
    return _as_given(status_error(meant, what, facts, text, headers, request, target, now), response.status, error)


def has_error(data: object) -> bool:
    """Whether an answer or a chunk is an error, or a list that holds one."""
    return _holder(data) is not None


def error_in_body(
    data: object,
    body: bytes,
    headers: Mapping[str, str],
    request: ChatRequest,
    target: Target,
    now: float,
) -> LLMRequestError:
    """The typed error for an error that came with status 200, in a body or in a stream.

    Args:
        data: The object that holds the error, or a list of it.
        body: What the server sent, to be kept with the error.
        headers: Of the response.
        request: What was asked.
        target: Who was asked.
        now: Wall-clock seconds since 1970.
    """
    facts = _facts(data, target.excerpt(body, request.extra_headers.values()))
    error = _error(data)
    code = error.get("code")
    status = code if type(code) is int and 400 <= code < 600 else _STATUSES.get(str(error.get("status")))
    meant = status and _meant_status(status, facts)
    out = inside_200(meant, facts, body, _with_delay(headers, error), request, target, now)
    return _as_given(out, status, error) if isinstance(out, LLMHTTPError) else out


def _with_delay(headers: Mapping[str, str], error: Mapping[str, Any]) -> Mapping[str, str]:
    """The headers with the delay that the error asks for, where they name none."""
    delay = _retry_delay(error)
    if delay is None or "retry-after" in headers or "retry-after-ms" in headers:
        return headers
    return {**headers, "retry-after": delay}


def _as_given(out: LLMHTTPError, status: int | None, error: Mapping[str, Any]) -> LLMHTTPError:
    """An error with the status that the server gave, whatever it meant."""
    out.status_code = status or out.status_code
    if error.get("status") == "FAILED_PRECONDITION":
        out.fault = "account"  # of a country or without billing: every row's lot
    return out


def _meant_status(status: int, facts: ErrorFacts) -> int:
    """The status by which other vendors say the same."""
    if status == 400 and "invalid_api_key" in facts.words:
        return 401
    return 408 if status == 499 else status  # cancelled, and not by us


def _facts(data: object, text: str) -> ErrorFacts:
    """What an error says, in the words by which the error tree knows it."""
    holder = _holder(data)
    facts = error_facts(holder if holder is not None else data, text)
    error = _error(data)
    reasons = [str(detail.get("reason")) for detail in _details(error, "ErrorInfo") if detail.get("reason")]
    message = facts.message.lower()
    words = set(facts.words) | {reason.lower() for reason in reasons}
    if any(reason.startswith(_KEY_REASONS) for reason in reasons) or any(said in message for said in _KEY_PHRASES):
        words.add("invalid_api_key")
    if _is_used_up(error) or any(said in message for said in _MONEY_PHRASES):
        words.add("insufficient_quota")
    if _CONTEXT_PHRASE.search(facts.message):
        words.add("context_length_exceeded")
    status = error.get("status")
    code = reasons[0] if reasons else status if isinstance(status, str) else facts.code
    return replace(facts, code=code, words=frozenset(words))


def _is_used_up(error: Mapping[str, Any]) -> bool:
    """Whether a quota of the day is used up, or is 0 for this account: waiting a minute does not help."""
    for detail in _details(error, "QuotaFailure"):
        violations = detail.get("violations")
        for violation in violations if isinstance(violations, list) else ():
            if isinstance(violation, dict) and (
                "PerDay" in str(violation.get("quotaId")) or violation.get("quotaValue") == "0"
            ):
                return True
    return False


def _retry_delay(error: Mapping[str, Any]) -> str | None:
    """Seconds that RetryInfo asks to wait, as a header has them."""
    for detail in _details(error, "RetryInfo"):
        match = _SECONDS.fullmatch(str(detail.get("retryDelay")))
        if match:
            return match[1]
    return None


def _details(error: Mapping[str, Any], kind: str) -> Iterator[Mapping[str, Any]]:
    """The details of a kind, such as `google.rpc.RetryInfo`."""
    details = error.get("details")
    for detail in details if isinstance(details, list) else ():
        if isinstance(detail, dict) and str(detail.get("@type")).endswith(f"google.rpc.{kind}"):
            yield detail


def _holder(data: object) -> Mapping[str, Any] | None:
    """The object that has the error; a stream call's error stands in a list."""
    for item in data if isinstance(data, list) else (data,):
        if isinstance(item, dict) and (item.get("error") or _is_bare(item)):
            return item
    return None


def _is_bare(item: Mapping[str, Any]) -> bool:
    """Whether an object is an error without the `error` around it, as some streams and proxies send them."""
    said = isinstance(item.get("message"), str) or isinstance(item.get("status"), str)
    return said and type(item.get("code")) is int and "candidates" not in item


def _error(data: object) -> Mapping[str, Any]:
    holder = _holder(data)
    if holder is None:
        return {}
    error = holder.get("error", holder)
    return error if isinstance(error, dict) else {}
