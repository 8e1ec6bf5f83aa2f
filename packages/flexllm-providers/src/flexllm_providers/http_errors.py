"""From an HTTP error to the error tree: what it is, whose fault, and whether and when to try again."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC
from email.utils import parsedate_to_datetime

from flexllm_core.errors import (
    AuthenticationError,
    BadRequestError,
    ContentFilterError,
    ContextLengthError,
    ErrorKind,
    Fault,
    LLMHTTPError,
    NotFoundError,
    QuotaExceededError,
    RateLimitError,
    ServerError,
)
from flexllm_core.json_codec import encode_json

QUOTA_CODES = frozenset(
    {
        "insufficient_quota",
        "insufficient_balance",
        "billing_hard_limit_reached",
        "billing_not_active",
        "billing_error",
        "arrearage",
    }
)
CONTEXT_CODES = frozenset({"context_length_exceeded", "string_above_max_length"})
FILTER_CODES = frozenset(
    {
        "content_filter",
        "content_policy_violation",
        "content_management_policy",
        "data_inspection_failed",
        "datainspectionfailed",
    }
)
OVERLOAD_WORDS = frozenset({"overloaded", "overloaded_error", "rate_limit_exceeded", "rate_limit_error", "server_busy"})
_KEY_WORDS = frozenset({"invalid_api_key", "authentication_error", "permission_error", "permission_denied"})
_CALLER_WORDS = frozenset({"invalid_request_error", "bad_request", "badrequesterror"})
_UNKNOWN_WORDS = frozenset({"model_not_found", "not_found_error", "notfounderror"})
_CONTEXT_PHRASES = ("context length", "context window", "context size", "prompt is too long", "maximum model length")
TRANSIENT_STATUSES = frozenset({408, 409, 425, 500, 502, 504, *range(520, 528)})
_GAVE_UP_STATUSES = frozenset({408, 504, 520, 524})
"""A gateway lost its patience, or the answer: the model behind it may have worked, and be paid for it."""
OVERLOAD_STATUSES = frozenset({429, 503, 529})
BAD_REQUEST_STATUSES = frozenset({400, 413, 415, 422})


@dataclass(frozen=True, slots=True)
class ErrorFacts:
    """What a server's error body says.

    Attributes:
        message: For a person.
        code: The vendor's code, or its type where there is no code.
        words: Everything by which the error may be known: code, type, status words.
    """

    message: str
    code: str | None = None
    words: frozenset[str] = frozenset()


def error_facts(data: object, text: str) -> ErrorFacts:
    """Read an error body of any of the shapes in use: error.message, error, message, detail, or text."""
    error = data.get("error") if isinstance(data, dict) else None
    source = error if isinstance(error, dict) else data if isinstance(data, dict) else {}
    words = [source.get(key) for key in ("code", "type", "status")]
    codes = [str(word) for word in words if isinstance(word, str | int) and not isinstance(word, bool)]
    message = error if isinstance(error, str) else source.get("message") or source.get("detail")
    if message is not None and not isinstance(message, str):
        message = encode_json(message).decode("utf-8", "replace")
    return ErrorFacts(
        message=message or text or "no text",
        code=codes[0] if codes else None,
        words=frozenset(code.lower() for code in codes),
    )


def http_error(
    status: int,
    facts: ErrorFacts,
    headers: Mapping[str, str],
    *,
    now: float,
    message: str,
    endpoint: str,
    model: str | None,
    body: str,
) -> LLMHTTPError:
    """The typed error for an error status.

    Args:
        status: The HTTP status, or the one that an error inside a 200 stands for.
        facts: What the body says.
        headers: Lower-case names.
        now: Wall-clock seconds since 1970, to read Retry-After dates.
        message: The error's text, secrets removed.
        endpoint: Label of the endpoint.
        model: The model that was asked.
        body: The error body, secrets removed.
    """
    cls, kind, fault = _classify(status, facts)
    retryable: bool | None = None
    if not issubclass(cls, QuotaExceededError) and (should := headers.get("x-should-retry")) in ("true", "false"):
        retryable = should == "true"
        if retryable and kind == "refused":
            kind = "transient"
    error = cls(
        message,
        endpoint=endpoint,
        model=model,
        status_code=status,
        code=facts.code,
        request_id=headers.get("x-request-id") or headers.get("request-id") or headers.get("x-generation-id"),
        body=body,
        retryable=retryable,
        retry_after=retry_after(headers, now),
        kind=kind,
        fault=fault,
    )
    error.may_be_billed = status in _GAVE_UP_STATUSES
    return error


def _classify(status: int, facts: ErrorFacts) -> tuple[type[LLMHTTPError], ErrorKind, Fault]:
    words = facts.words
    if status == 402 or words & QUOTA_CODES:
        return QuotaExceededError, "refused", "account"
    if words & FILTER_CODES:
        return ContentFilterError, "refused", "caller"
    if status in (401, 403):
        return AuthenticationError, "refused", "account"
    if status == 404:
        return NotFoundError, "refused", "endpoint"
    if status == 429:
        return RateLimitError, "overload", "endpoint"
    if status in BAD_REQUEST_STATUSES:
        text = facts.message.lower()
        if words & CONTEXT_CODES or any(phrase in text for phrase in _CONTEXT_PHRASES):
            return ContextLengthError, "refused", "caller"
        return BadRequestError, "refused", "caller"
    if status in OVERLOAD_STATUSES or words & OVERLOAD_WORDS:
        return ServerError, "overload", "endpoint"
    if status >= 500:
        return ServerError, "transient" if status in TRANSIENT_STATUSES else "refused", "endpoint"
    if status in TRANSIENT_STATUSES:
        return LLMHTTPError, "transient", "endpoint"
    return LLMHTTPError, "refused", "endpoint" if status < 400 else "caller"


def implied_status(facts: ErrorFacts) -> int | None:
    """The HTTP status that an error inside a 200 stands for by its words, where asking again cannot help."""
    for status, words in (
        (402, QUOTA_CODES),
        (401, _KEY_WORDS),
        (404, _UNKNOWN_WORDS),
        (400, FILTER_CODES | CONTEXT_CODES | _CALLER_WORDS),  # last: OpenAI's `type` is the caller's for all of them
    ):
        if facts.words & words:
            return status
    return None


def retry_after(headers: Mapping[str, str], now: float) -> float | None:
    """Seconds that the server asks to wait: `retry-after-ms`, else `retry-after` as seconds or HTTP date.

    None when there is no such header or it is unreadable; never negative.
    """
    for name, unit in (("retry-after-ms", 0.001), ("retry-after", 1.0)):
        value = headers.get(name)
        if value is None:
            continue
        try:
            seconds = float(value) * unit
        except ValueError:
            try:
                date = parsedate_to_datetime(value)
                seconds = (date if date.tzinfo else date.replace(tzinfo=UTC)).timestamp() - now
            except (ValueError, TypeError, OverflowError):
                continue
        if math.isfinite(seconds):
            return max(0.0, seconds)
    return None
