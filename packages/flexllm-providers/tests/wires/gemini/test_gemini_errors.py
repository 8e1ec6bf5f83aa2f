"""Errors: what they are, whose fault, whether and when to try again."""

from __future__ import annotations

from typing import Any

import pytest

from flexllm_core.errors import (
    AuthenticationError,
    BadRequestError,
    ContextLengthError,
    LLMHTTPError,
    LLMResponseError,
    NotFoundError,
    QuotaExceededError,
    RateLimitError,
    ServerError,
)
from flexllm_core.requests import ChatRequest

RPC = "type.googleapis.com/google.rpc."


def body(code: int, status: str, message: str = "what", **details: Any) -> dict[str, Any]:
    """An error body; details by the name of their type."""
    listed = [{"@type": RPC + kind, **value} for kind, value in details.items()]
    return {"error": {"code": code, "status": status, "message": message, **({"details": listed} if listed else {})}}


def quota(**violation: Any) -> dict[str, Any]:
    """A 429 with one violation of a quota."""
    return body(429, "RESOURCE_EXHAUSTED", QuotaFailure={"violations": [violation]}, RetryInfo={"retryDelay": "31s"})


@pytest.mark.parametrize("listed", [False, True])
def test_the_documented_error(gemini_wire: Any, examples: Any, listed: bool) -> None:
    """A rate limit with the wait that RetryInfo asks for; a stream call has it in a list."""
    error = gemini_wire.fail(429, [examples["error"]] if listed else examples["error"])
    assert type(error) is RateLimitError
    assert (error.retry_after, error.kind, error.retryable) == (12.5, "overload", True)
    assert (error.status_code, error.code) == (429, "RESOURCE_EXHAUSTED")
    assert str(error) == "e: HTTP 429: Too many requests this minute."


@pytest.mark.parametrize(
    ("status", "word", "cls", "kind", "fault"),
    [
        (400, "INVALID_ARGUMENT", BadRequestError, "refused", "caller"),
        (400, "FAILED_PRECONDITION", BadRequestError, "refused", "account"),
        (401, "UNAUTHENTICATED", AuthenticationError, "refused", "account"),
        (403, "PERMISSION_DENIED", AuthenticationError, "refused", "account"),
        (404, "NOT_FOUND", NotFoundError, "refused", "endpoint"),
        (429, "RESOURCE_EXHAUSTED", RateLimitError, "overload", "endpoint"),
        (499, "CANCELLED", LLMHTTPError, "transient", "endpoint"),
        (500, "INTERNAL", ServerError, "transient", "endpoint"),
        (503, "UNAVAILABLE", ServerError, "overload", "endpoint"),
        (504, "DEADLINE_EXCEEDED", ServerError, "transient", "endpoint"),
    ],
)
def test_each_status(gemini_wire: Any, status: int, word: str, cls: type, kind: str, fault: str) -> None:
    """As an HTTP status, and the same inside a 200, there also by its word alone."""
    inside = gemini_wire.refuse(body(status, word))
    by_word = gemini_wire.refuse({"error": {"status": word, "message": "what"}})
    for error in (gemini_wire.fail(status, body(status, word)), inside, by_word):
        assert type(error) is cls
        assert (error.status_code, error.kind, error.fault, error.code) == (status, kind, fault, word)
        assert error.retryable == (kind != "refused")


@pytest.mark.parametrize(
    "data",
    [
        body(400, "INVALID_ARGUMENT", ErrorInfo={"reason": "API_KEY_INVALID", "domain": "googleapis.com"}),
        body(400, "INVALID_ARGUMENT", "API key not valid. Please pass a valid API key."),
        body(400, "INVALID_ARGUMENT", "API key expired. Please renew the API key."),
    ],
)
def test_a_bad_key_is_a_400_here(gemini_wire: Any, data: Any) -> None:
    """It is the account's fault and not the row's; the status stays the server's."""
    for error in (gemini_wire.fail(400, data), gemini_wire.fail(400, [data]), gemini_wire.refuse(data)):
        assert type(error) is AuthenticationError
        assert (error.status_code, error.fault, error.retryable) == (400, "account", False)
    assert gemini_wire.fail(400, data).code in ("API_KEY_INVALID", "INVALID_ARGUMENT")


@pytest.mark.parametrize(
    "data",
    [
        quota(quotaId="GenerateRequestsPerDayPerProjectPerModel-FreeTier", quotaValue="50"),
        quota(quotaId="GenerateContentInputTokensPerModelPerMinute-FreeTier", quotaValue="0"),
        body(429, "RESOURCE_EXHAUSTED", "Your prepayment credits are depleted."),
        body(429, "RESOURCE_EXHAUSTED", "The project has reached its monthly spending cap."),
    ],
)
def test_a_used_up_quota_is_never_retried(gemini_wire: Any, data: Any) -> None:
    """Of the day, of nothing at all, or of money: RetryInfo's half minute would not help."""
    for error in (gemini_wire.fail(429, data), gemini_wire.refuse(data)):
        assert type(error) is QuotaExceededError
        assert (error.retryable, error.fault) == (False, "account")


def test_a_used_up_quota_is_not_retried_even_if_the_server_says_so(gemini_wire: Any) -> None:
    """One of several violations is enough, and no header changes it."""
    both = {"violations": [{"quotaId": "RequestsPerMinute"}, {"quotaId": "RequestsPerDayPerProject"}]}
    data = body(429, "RESOURCE_EXHAUSTED", QuotaFailure=both)
    assert not gemini_wire.fail(429, data, x_should_retry="true").retryable


@pytest.mark.parametrize(
    ("delay", "seconds"),
    [
        ("37s", 37.0),
        ("1.5s", 1.5),
        ("0.25s", 0.25),
        ("0s", 0.0),
        ("37", None),
        ("-1s", None),
        (5, None),
        ("1e9s", None),
    ],
)
def test_retry_info(gemini_wire: Any, delay: Any, seconds: float | None) -> None:
    """Seconds, with or without a fraction; what cannot be read is nothing."""
    data = body(429, "RESOURCE_EXHAUSTED", RetryInfo={"retryDelay": delay})
    assert gemini_wire.fail(429, data).retry_after == seconds


def test_a_header_says_it_first(gemini_wire: Any) -> None:
    """As a proxy in front may have its own limit."""
    data = body(429, "RESOURCE_EXHAUSTED", RetryInfo={"retryDelay": "37s"})
    assert gemini_wire.fail(429, data, retry_after="5").retry_after == 5.0
    assert gemini_wire.fail(429, data, retry_after_ms="2500").retry_after == 2.5


def test_a_prompt_that_is_too_long(gemini_wire: Any) -> None:
    """By the words of the message, as there is no code for it."""
    said = "The input token count (2097152) exceeds the maximum number of tokens allowed (1048576)."
    assert type(gemini_wire.fail(400, body(400, "INVALID_ARGUMENT", said))) is ContextLengthError


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "no text"),
        (b"upstream connect error", "upstream connect error"),
        (b"<html>Bad gateway</html>", "Bad gateway"),
        ({"error": "short"}, "short"),
        ({"error": {"message": {"deep": 1}}}, '{"deep":1}'),
        ([], "[]"),
        ([5], "[5]"),
        ({"detail": "no route"}, "no route"),
    ],
)
def test_bodies_of_other_shapes(gemini_wire: Any, data: Any, said: str) -> None:
    """Load balancers and proxies answer too."""
    error = gemini_wire.fail(502, data)
    assert type(error) is ServerError
    assert said in str(error)


def test_an_error_in_a_200_without_a_status(gemini_wire: Any) -> None:
    """May be tried again."""
    error = gemini_wire.refuse({"error": {"message": "oops"}})
    assert isinstance(error, LLMResponseError)
    assert (error.kind, str(error)) == ("transient", "e: oops")


def test_a_redirect_is_an_error(gemini_wire: Any) -> None:
    """It is never followed: the key would go with it."""
    error = gemini_wire.fail(302, b"", location="https://elsewhere.example")
    assert "not followed" in str(error)
    assert not error.retryable


def test_no_secret_is_in_an_error(gemini_wire: Any) -> None:
    """Servers echo keys and headers."""
    request = ChatRequest([], "m", extra_headers={"x-team": "team-secret-1"})
    text = f"bad {gemini_wire.KEY} and team-secret-1 and AIzaSyA1234567890abcdefghijklmnopqrstu"
    data = body(400, "INVALID_ARGUMENT", text, ErrorInfo={"reason": f"API_KEY_{gemini_wire.KEY}"})
    for error in (gemini_wire.fail(400, data, request), gemini_wire.refuse(data, request)):
        told = f"{error} {error.body} {error.code} {error.to_dict()} {error!r}"
        assert gemini_wire.KEY not in told
        assert "team-secret-1" not in told
        assert "AIzaSyA1234567890" not in told
