"""Claude's errors: with an error status, inside a 200, and in the middle of a stream."""

from __future__ import annotations

from collections.abc import Mapping

from flexllm_core.errors import LLMHTTPError, LLMRequestError
from flexllm_core.requests import ChatRequest
from flexllm_providers.http import HttpResponse
from flexllm_providers.http_errors import ErrorFacts, error_facts
from flexllm_providers.target import Target
from flexllm_providers.wire_errors import inside_200, read_refusal, refusal_message, status_error

_STATUSES = {
    "invalid_request_error": 400,
    "authentication_error": 401,
    "billing_error": 402,
    "permission_error": 403,
    "not_found_error": 404,
    "conflict_error": 409,
    "request_too_large": 413,
    "rate_limit_error": 429,
    "api_error": 500,
    "timeout_error": 504,
    "overloaded_error": 529,
}
"""The status that each type of error has when it is not inside a 200."""

_SPEND_LIMITS = frozenset({"enforced_spend_limit_reached", "contract_spend_limit_reached"})
"""Codes of a 429 that waiting does not help."""

_NO_MONEY = ("credit balance is too low", "specified api usage limits", "specified workspace api usage limits")
"""What a 400 says, without a code of its own, when the account's credit or own limit is used up."""

_TOO_LONG = ("exceed context limit",)


def decode_error(response: HttpResponse, request: ChatRequest, target: Target, now: float) -> LLMHTTPError:
    """The typed error in a response with an error status. `now` is wall-clock seconds since 1970."""
    data, text = read_refusal(response, request, target)
    facts = claude_facts(data, text)
    what = refusal_message(response.status, facts)
    headers = _with_request_id(response.headers, data)
    return status_error(response.status, what, facts, text, headers, request, target, now)


def is_error(data: Mapping[str, object]) -> bool:
    """Whether a body or an event is an error."""
    return data.get("type") == "error" or bool(data.get("error"))


def error_in_body(
    data: Mapping[str, object],
    body: bytes,
    headers: Mapping[str, str],
    request: ChatRequest,
    target: Target,
    now: float,
) -> LLMRequestError:
    """The typed error for an error that came with status 200, in a body or in a stream.

    Args:
        data: The object that holds the error.
        body: What the server sent, to be kept with the error.
        headers: Of the response.
        request: What was asked.
        target: Who was asked.
        now: Wall-clock seconds since 1970.
    """
    facts = claude_facts(data, target.excerpt(body, request.extra_headers.values()))
    status = next((status for word, status in _STATUSES.items() if word in facts.words), None)
    return inside_200(status, facts, body, _with_request_id(headers, data), request, target, now)


def claude_facts(data: object, text: str) -> ErrorFacts:
    """Read an error body: Anthropic's, or that of whatever stands in front of it."""
    facts = error_facts(data, text)
    error = data.get("error") if isinstance(data, dict) else None
    details = error.get("details") if isinstance(error, dict) else None
    code = details.get("error_code") if isinstance(details, dict) else None
    words, said = set(facts.words), facts.message.lower()
    if isinstance(code, str) and code:
        words.add(code.lower())
    if words & _SPEND_LIMITS or any(phrase in said for phrase in _NO_MONEY):
        words.add("insufficient_quota")
    if any(phrase in said for phrase in _TOO_LONG):
        words.add("context_length_exceeded")
    return ErrorFacts(facts.message, code if isinstance(code, str) and code else facts.code, frozenset(words))


def _with_request_id(headers: Mapping[str, str], data: object) -> Mapping[str, str]:
    """The headers with the id that the body names where they have none: proxies drop it, streams are past them."""
    found = data.get("request_id") if isinstance(data, dict) else None
    return {**headers, "request-id": found} if isinstance(found, str) and "request-id" not in headers else headers
