"""Errors: the documented ones, those of what stands in front of the API, and what they never show."""

from __future__ import annotations

from typing import Any

import pytest

from flexllm_core.errors import (
    AuthenticationError,
    BadRequestError,
    ContextLengthError,
    LLMHTTPError,
    LLMRequestError,
    LLMResponseError,
    NotFoundError,
    QuotaExceededError,
    RateLimitError,
    ServerError,
)
from flexllm_core.requests import ChatRequest

EXPECTED: list[tuple[type[LLMRequestError], str, str, str]] = [
    (ServerError, "overload", "endpoint", "overloaded_error"),
    (RateLimitError, "overload", "endpoint", "rate_limit_error"),
    (QuotaExceededError, "refused", "account", "enforced_spend_limit_reached"),
    (QuotaExceededError, "refused", "account", "contract_spend_limit_reached"),
    (RateLimitError, "overload", "endpoint", "ramp_limit_exceeded"),
    (QuotaExceededError, "refused", "account", "billing_error"),
    (BadRequestError, "refused", "caller", "invalid_request_error"),
    (AuthenticationError, "refused", "account", "authentication_error"),
    (AuthenticationError, "refused", "account", "permission_error"),
    (NotFoundError, "refused", "endpoint", "not_found_error"),
    (LLMHTTPError, "transient", "endpoint", "conflict_error"),
    (ServerError, "transient", "endpoint", "api_error"),
    (ServerError, "transient", "endpoint", "timeout_error"),
]


@pytest.mark.parametrize(("number", "expected"), list(enumerate(EXPECTED)))
def test_the_documented_errors(wire: Any, number: int, expected: tuple[Any, ...]) -> None:
    """With their status, and inside a 200; with the id from the header or the body."""
    status, body = wire.data("errors.json")[number]
    error = wire.fail(status, body, request_id="req_header")
    assert (type(error), error.kind, error.fault, error.code) == expected
    assert error.retryable is (error.kind != "refused")
    assert (error.status_code, error.request_id, error.endpoint) == (status, "req_header", "e")
    assert body["error"]["message"] in str(error)
    assert wire.fail(status, body).request_id == body["request_id"]
    inside = wire.refuse(body)
    assert (type(inside), inside.kind, inside.fault, inside.code) == expected
    assert (inside.status_code, inside.request_id) == (status, body["request_id"])


def test_every_documented_error_is_expected_here(wire: Any) -> None:
    """So that none is forgotten."""
    assert len(wire.data("errors.json")) == len(EXPECTED)


def test_the_server_says_when(wire: Any) -> None:
    """Retry-After in seconds; a spend limit is not retried, whatever a header says."""
    _, limited = wire.data("errors.json")[1]
    assert wire.fail(429, limited, retry_after="12").retry_after == 12.0
    _, spent = wire.data("errors.json")[2]
    assert wire.fail(429, spent, x_should_retry="true").retryable is False
    assert wire.fail(400, {"type": "error", "error": {}}, x_should_retry="true").retryable is True


@pytest.mark.parametrize(
    ("message", "cls"),
    [
        ("Your credit balance is too low to access the API.", QuotaExceededError),
        ("You have reached your specified API usage limits.", QuotaExceededError),
        ("prompt is too long: 210000 tokens > 200000 maximum", ContextLengthError),
        ("input length and `max_tokens` exceed context limit: 190000 + 20000 > 200000", ContextLengthError),
        ("messages.0: unexpected role", BadRequestError),
    ],
)
def test_what_a_400_means(wire: Any, message: str, cls: type) -> None:
    """No money and no room are told from a wrong request by the text alone."""
    error = wire.fail(400, {"type": "error", "error": {"type": "invalid_request_error", "message": message}})
    assert type(error) is cls


@pytest.mark.parametrize(
    ("status", "body", "cls"),
    [
        (502, b"<html>Bad Gateway</html>", ServerError),
        (503, b"", ServerError),
        (413, {"error": {"type": "request_too_large", "message": "big"}}, BadRequestError),
        (429, {"error": {"code": 429, "status": "RESOURCE_EXHAUSTED", "message": "Vertex"}}, RateLimitError),
        (404, {"detail": "Not Found"}, NotFoundError),
        (500, {"type": "error", "error": "text"}, ServerError),
        (400, {"type": "error", "error": {"details": {"error_code": 5}}}, BadRequestError),
        (308, b"", LLMHTTPError),
    ],
)
def test_errors_of_other_shapes(wire: Any, status: int, body: Any, cls: type) -> None:
    """Of proxies and clouds."""
    error = wire.fail(status, body)
    assert (type(error), error.status_code) == (cls, status)


@pytest.mark.parametrize(
    ("data", "what"),
    [
        (b"", "not JSON"),
        (b"<html>", "not JSON: <html>"),
        ([1], "not a JSON object"),
        ({}, "no content"),
        ({"content": None}, "no content"),
        ({"content": "Hi"}, "no content"),
        ({"choices": [{"message": {"content": "Hi"}}]}, "no content"),
        ({"content": [], "stop_reason": "end_turn"}, "the answer is empty (finish_reason 'stop')"),
        ({"content": [{"type": "text", "text": ""}], "stop_reason": "end_turn"}, "empty"),
        ({"content": [], "stop_reason": "pause_turn"}, "empty"),
        ({"content": [{"type": "thinking", "thinking": "why", "signature": ""}]}, "only reasoning"),
        ({"content": [{"type": "text", "text": "a"}, {"type": "tool_use", "id": "b"}]}, "a tool call without a name"),
    ],
)
def test_a_200_without_an_answer_is_suspicious(wire: Any, data: Any, what: str) -> None:
    """One retry, and an error that says what came."""
    error = wire.refuse(data)
    assert type(error) is LLMResponseError
    assert (error.kind, error.retryable, error.endpoint) == ("suspicious", True, "e")
    assert what in str(error)


def test_no_error_shows_a_secret(wire: Any) -> None:
    """Not the endpoint's key and not the call's headers, in message, body, code or id."""
    secret = "another-secret-1234"
    request = ChatRequest([], "m", extra_headers={"x-token": secret})
    said = f"key {wire.KEY} and {secret}"
    body = {
        "type": "error",
        "error": {"type": "api_error", "message": said, "details": {"error_code": said}},
        "request_id": said,
    }
    for error in (wire.fail(500, body, request), wire.refuse(body, request), wire.refuse({"x": said}, request)):
        for shown in (str(error), repr(error), str(error.to_dict()), str(error.body)):
            assert wire.KEY not in shown
            assert secret not in shown
