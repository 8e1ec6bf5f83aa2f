"""Errors of every shape: with an error status, inside a 200, and what they never show."""

from __future__ import annotations

import json
from typing import Any

import pytest

from flexllm_core.errors import (
    AuthenticationError,
    BadRequestError,
    ContentFilterError,
    ContextLengthError,
    LLMRequestError,
    LLMResponseError,
    NotFoundError,
    QuotaExceededError,
    RateLimitError,
    ServerError,
)
from flexllm_core.requests import ChatRequest

KEY = "s3cret-key-000000"  # the endpoint's, as the fixture has it


def said(content: Any = None, **more: Any) -> dict[str, Any]:
    """A chat completion with this message."""
    return {"choices": [{"message": {"role": "assistant", "content": content, **more}, "finish_reason": "stop"}]}


@pytest.mark.parametrize(
    ("data", "what"),
    [
        (b"", "not JSON"),
        (b"<html><body>502 Bad Gateway</body></html>", "not JSON: <html><body>502 Bad Gateway"),
        (b'{"choices": [{"mess', "not JSON"),
        (b"[1]", "not a JSON object"),
        (b'"text"', "not a JSON object"),
        (b"null", "not a JSON object"),
        ({}, "no choices"),
        ({"choices": None}, "no choices"),
        ({"choices": []}, "no choices"),
        ({"choices": {"0": {}}}, "no choices"),
        ({"choices": [None]}, "no choices"),
        ({"choices": [{}]}, "no choices"),
        ({"choices": [{"message": "Hi"}]}, "no choices"),
        ({"detail": "no such thing"}, "no choices: {"),
        (said(""), "the answer is empty (finish_reason 'stop')"),
        (said(None), "empty"),
        (said(5), "empty"),
        (said([]), "empty"),
        (said(message={}), "empty"),
        (said(None, reasoning_content="why"), "only reasoning"),
        (said(None, tool_calls=[{"function": {}}]), "empty"),
    ],
)
def test_a_200_without_an_answer_is_suspicious(wire: Any, data: Any, what: str) -> None:
    """One retry, and an error that says what came."""
    error = wire.refuse(data)
    assert type(error) is LLMResponseError
    assert (error.kind, error.retryable, error.status_code) == ("suspicious", True, 200)
    assert (error.endpoint, error.model, error.fault) == ("e", "m", "endpoint")
    assert str(error).startswith("e: ")
    assert what in str(error)


@pytest.mark.parametrize(
    ("error", "cls", "kind", "code"),
    [
        ({"code": 429}, RateLimitError, "overload", "429"),
        ({"code": "429"}, RateLimitError, "overload", "429"),
        ({"code": 502, "metadata": {"provider_name": "p"}}, ServerError, "transient", "502"),
        ({"code": 402}, QuotaExceededError, "refused", "402"),
        ({"type": "overloaded_error"}, LLMResponseError, "overload", "overloaded_error"),
        ({"code": "rate_limit_exceeded"}, LLMResponseError, "overload", "rate_limit_exceeded"),
        ({"code": "insufficient_quota"}, QuotaExceededError, "refused", "insufficient_quota"),
        ({"code": "content_filter"}, ContentFilterError, "refused", "content_filter"),
        ({"type": "invalid_request_error"}, BadRequestError, "refused", "invalid_request_error"),
        ({"code": "context_length_exceeded"}, ContextLengthError, "refused", "context_length_exceeded"),
        ({"code": "invalid_api_key"}, AuthenticationError, "refused", "invalid_api_key"),
        ({"code": "something new"}, LLMResponseError, "transient", "something new"),
        ({}, LLMResponseError, "transient", None),
    ],
)
@pytest.mark.parametrize("place", ["error", "body", "choice"])
def test_an_error_inside_a_200_is_an_error(
    wire: Any, error: dict[str, Any], cls: type[LLMRequestError], kind: str, code: str | None, place: str
) -> None:
    """By the status that it names, else by its words; in the body, as the body, or in a choice that had begun."""
    error = {"message": "the reason", **error}
    bodies = {
        "error": {"error": error},
        "body": {"object": "error", **error},
        "choice": {"choices": [{"error": error, "message": {"content": "half"}}]},
    }
    caught: LLMRequestError = wire.refuse(bodies[place])
    assert caught.__class__ is cls
    assert (caught.kind, caught.code, caught.endpoint, caught.model) == (kind, code, "e", "m")
    assert "the reason" in str(caught)


@pytest.mark.parametrize("error", ["boom", True, ["boom"], {"message": ["a", {"b": 1}]}])
def test_an_error_of_another_type_is_one_too(wire: Any, error: Any) -> None:
    """Texts, lists and objects without a text."""
    caught = wire.refuse({"error": error})
    assert (type(caught), caught.kind, caught.code) == (LLMResponseError, "transient", None)


@pytest.mark.parametrize("nothing", [None, "", {}, [], 0, False])
def test_an_empty_error_is_none(wire: Any, nothing: Any) -> None:
    """Some servers always write the key."""
    assert wire.read(said("Hi") | {"error": nothing}).content == "Hi"


@pytest.mark.parametrize(
    ("status", "data", "cls", "code", "message"),
    [
        (
            429,
            {"error": {"message": "Slow down", "type": "requests", "param": None, "code": "rate_limit_exceeded"}},
            RateLimitError,
            "rate_limit_exceeded",
            "Slow down",
        ),
        (
            429,
            {"error": {"message": "no money", "type": "insufficient_quota", "code": "insufficient_quota"}},
            QuotaExceededError,
            "insufficient_quota",
            "no money",
        ),
        (
            400,
            {"object": "error", "message": "bad", "type": "BadRequestError", "code": 400},
            BadRequestError,
            "400",
            "bad",
        ),
        (
            404,
            {"error": {"message": "no x", "type": "not_found_error", "code": None}},
            NotFoundError,
            "not_found_error",
            "no x",
        ),
        (401, {"error": {"message": "bad", "code": "invalid_api_key"}}, AuthenticationError, "invalid_api_key", "bad"),
        (422, {"detail": [{"loc": ["a"], "msg": "no"}]}, BadRequestError, None, '[{"loc":["a"],"msg":"no"}]'),
        (400, {"detail": "nope"}, BadRequestError, None, "nope"),
        (400, {"message": "nope"}, BadRequestError, None, "nope"),
        (400, {"error": "nope"}, BadRequestError, None, "nope"),
        (500, "Internal Server Error", ServerError, None, "Internal Server Error"),
        (502, "<html>\n  <b>Bad\tGateway</b></html>", ServerError, None, "<html> <b>Bad Gateway</b></html>"),
        (503, "", ServerError, None, "no text"),
        (400, [{"error": {"message": "listed"}}], BadRequestError, None, '[{"error": {"message": "listed"}}]'),
        (500, b"\xff\xfe\x00", ServerError, None, "\ufffd\ufffd\x00"),
    ],
)
def test_error_bodies_of_every_shape(
    wire: Any, status: int, data: Any, cls: type[LLMRequestError], code: str | None, message: str
) -> None:
    """error.message, error, message, detail or the text; code, else type."""
    error: LLMRequestError = wire.fail(status, data, x_request_id="r-1")
    assert error.__class__ is cls
    assert (error.code, error.status_code, error.request_id) == (code, status, "r-1")
    assert str(error) == f"e: HTTP {status}: {message}"


def test_a_long_message_is_cut(wire: Any) -> None:
    """An output line does not hold a page of HTML; the body keeps more."""
    for error in (wire.fail(500, "word " * 10_000), wire.fail(400, {"error": {"message": "word " * 10_000}})):
        assert 400 < len(str(error)) < 600
        assert len(error.body) == 2000


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_a_redirect_is_an_error_that_says_what_to_do(wire: Any, status: int) -> None:
    """Neither key nor prompt goes to another host."""
    error = wire.fail(status, "", location="https://elsewhere.com/?key=abc")
    assert not error.retryable
    assert "configure the final URL" in str(error)


def test_headers_decide_when_to_come_back(wire: Any) -> None:
    """Retry-After and x-should-retry of the response."""
    error = wire.fail(429, {"error": {"message": "x"}}, retry_after="7", x_should_retry="false")
    assert (error.retry_after, error.retryable) == (7, False)


@pytest.mark.parametrize("pad", range(440, 520, 1))
def test_no_part_of_a_key_is_left_where_a_message_is_cut(wire: Any, pad: int) -> None:
    """Servers echo keys; half a key is recognised by nobody, so the cut comes last."""
    error = wire.fail(401, {"error": {"message": "x" * pad + KEY + " is wrong"}})
    assert "s3cret" not in str(error) + str(error.body)


@pytest.mark.parametrize("status", [200, 400, 401, 500])
@pytest.mark.parametrize(
    "echo",
    [
        {"error": {"message": f"wrong key {KEY}", "code": KEY, "param": KEY}},
        {"error": f"Authorization: Bearer {KEY}"},
        {"detail": {"headers": {"authorization": KEY}}},
        KEY,
        f"<p>{KEY}</p>",
    ],
)
def test_an_echoed_key_is_masked(wire: Any, status: int, echo: Any) -> None:
    """In message, body and repr, and also a key that only this call has."""
    request = ChatRequest([], "m", extra_headers={"x-other": "An0ther-S3cret"})
    text = echo if isinstance(echo, str) else json.dumps(echo)
    body = (text + " An0ther-S3cret" if isinstance(echo, str) else text).encode()
    error = wire.refuse(body, request) if status == 200 else wire.fail(status, body, request, x_request_id=KEY)
    shown = f"{error} {error!r} {vars(error)} {error.to_dict()}"
    assert KEY not in shown
    assert "An0ther-S3cret" not in shown
