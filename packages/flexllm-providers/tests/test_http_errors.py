"""From HTTP errors to the error tree: class, kind, fault, and when to try again."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flexllm_core.errors import (
    AuthenticationError,
    BadRequestError,
    ContentFilterError,
    ContextLengthError,
    LLMHTTPError,
    NotFoundError,
    QuotaExceededError,
    RateLimitError,
    ServerError,
)
from flexllm_providers.http_errors import ErrorFacts, http_error, implied_status, retry_after

NOW = 1_792_000_000.0  # Wed, 14 Oct 2026 17:46:40 GMT


def error(status: int, *words: str, message: str = "", **headers: str) -> LLMHTTPError:
    """The error for a status, with the words of its body; header names with underscores for hyphens."""
    return http_error(
        status,
        ErrorFacts(message, words[0] if words else None, frozenset(words)),
        {name.replace("_", "-"): value for name, value in headers.items()},
        now=NOW,
        message=message or "x",
        endpoint="e",
        model="m",
        body="b",
    )


EVENTS: list[tuple[int, type[LLMHTTPError], str, str]] = [
    *[(status, RateLimitError, "overload", "endpoint") for status in (429,)],
    *[(status, ServerError, "overload", "endpoint") for status in (503, 529)],
    (402, QuotaExceededError, "refused", "account"),
    *[(status, AuthenticationError, "refused", "account") for status in (401, 403)],
    (404, NotFoundError, "refused", "endpoint"),
    *[(status, BadRequestError, "refused", "caller") for status in (400, 413, 415, 422)],
    *[(status, LLMHTTPError, "transient", "endpoint") for status in (408, 409, 425)],
    *[(status, ServerError, "transient", "endpoint") for status in (500, 502, 504, *range(520, 525))],
    *[(status, ServerError, "refused", "endpoint") for status in (501, 505)],
    *[(status, LLMHTTPError, "refused", "caller") for status in (405, 410, 418, 451)],
    *[(status, LLMHTTPError, "refused", "endpoint") for status in (300, 301, 302, 307, 308)],
]


@pytest.mark.parametrize(("status", "cls", "kind", "fault"), EVENTS, ids=[str(row[0]) for row in EVENTS])
def test_each_status_has_its_class_kind_and_fault(status: int, cls: type[LLMHTTPError], kind: str, fault: str) -> None:
    """What is retried, what stops a run, and what counts against an endpoint."""
    made = error(status)
    assert type(made) is cls
    assert (made.kind, made.fault, made.retryable) == (kind, fault, kind != "refused")
    assert (made.status_code, made.endpoint, made.model, made.body) == (status, "e", "m", "b")


@pytest.mark.parametrize(
    "word",
    ["insufficient_quota", "billing_hard_limit_reached", "billing_not_active", "insufficient_balance", "arrearage"],
)
@pytest.mark.parametrize("status", [400, 403, 429, 500])
def test_no_money_is_never_retried_whatever_the_status(status: int, word: str) -> None:
    """OpenAI says it with 429; a retry cannot help, and x-should-retry does not change that."""
    made = error(status, word, x_should_retry="true")
    assert type(made) is QuotaExceededError
    assert (made.kind, made.fault, made.retryable, made.code) == ("refused", "account", False, word)


@pytest.mark.parametrize("word", ["content_filter", "content_policy_violation", "data_inspection_failed"])
def test_a_policy_refusal_is_the_callers(word: str) -> None:
    """It does not count against the endpoint."""
    assert type(error(400, word)) is ContentFilterError
    assert error(400, word).fault == "caller"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("context_length_exceeded",), ""),
        ((), "This model's maximum context length is 4096 tokens. However, you requested 5000."),
        ((), "the request exceeds the available context size"),
        ((), "Input length exceeds the context window of this model"),
        ((), "prompt is too long: 250000 tokens > 200000 maximum"),
    ],
)
def test_a_prompt_that_is_too_long_is_told_apart(words: tuple[str, ...], message: str) -> None:
    """By its code or, on servers without codes, by its words; only with a 4xx that refuses the request."""
    assert type(error(400, *words, message=message)) is ContextLengthError
    assert type(error(413, *words, message=message)) is ContextLengthError
    assert type(error(500, *words, message=message)) is ServerError


@pytest.mark.parametrize("word", ["overloaded_error", "rate_limit_error", "server_busy"])
def test_an_overload_that_is_said_in_words_is_one(word: str) -> None:
    """Whatever 5xx carries it."""
    assert error(500, word).kind == "overload"


@pytest.mark.parametrize(
    ("status", "kind"),
    [(400, "transient"), (401, "transient"), (404, "transient"), (429, "overload"), (500, "transient")],
)
def test_the_servers_word_that_a_retry_helps_wins(status: int, kind: str) -> None:
    """`x-should-retry: true`."""
    made = error(status, x_should_retry="true")
    assert (made.retryable, made.kind) == (True, kind)


@pytest.mark.parametrize("status", [408, 429, 500, 503])
def test_the_servers_word_that_it_does_not_wins_too(status: int) -> None:
    """`x-should-retry: false`."""
    assert error(status, x_should_retry="false").retryable is False


@pytest.mark.parametrize("value", ["", "maybe", "1"])
def test_other_words_do_not_count(value: str) -> None:
    """Then the status decides."""
    assert error(500, x_should_retry=value).retryable is True
    assert error(400, x_should_retry=value).retryable is False


@pytest.mark.parametrize("name", ["x_request_id", "request_id", "x_generation_id"])
def test_the_vendors_id_is_kept(name: str) -> None:
    """For their support."""
    assert error(500, **{name: "r-1"}).request_id == "r-1"
    assert error(500).request_id is None


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"retry-after": "3"}, 3),
        ({"retry-after": "0.5"}, 0.5),
        ({"retry-after": " 7 "}, 7),
        ({"retry-after": "0"}, 0),
        ({"retry-after": "-5"}, 0),
        ({"retry-after": "600"}, 600),
        ({"retry-after-ms": "250"}, 0.25),
        ({"retry-after-ms": "250", "retry-after": "9"}, 0.25),
        ({"retry-after-ms": "soon", "retry-after": "9"}, 9),
        ({"retry-after": "Wed, 14 Oct 2026 17:46:50 GMT"}, 10),
        ({"retry-after": "Wed, 14 Oct 2026 17:46:50 -0000"}, 10),
        ({"retry-after": "Wed, 14 Oct 2026 19:46:50 +0200"}, 10),
        ({"retry-after": "Wed, 14 Oct 2026 17:40:00 GMT"}, 0),
        ({"retry-after": "soon"}, None),
        ({"retry-after": ""}, None),
        ({"retry-after": "nan"}, None),
        ({"retry-after": "inf"}, None),
        ({"retry-after": "Wed, 99 Oct 2026 17:46:50 GMT"}, None),
    ],
)
@pytest.mark.parametrize("zone", ["UTC", "Asia/Shanghai"])
def test_retry_after_in_every_form(
    headers: dict[str, str], seconds: float | None, zone: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Milliseconds, seconds and dates, wherever the machine stands."""
    import time

    monkeypatch.setenv("TZ", zone)
    if hasattr(time, "tzset"):
        time.tzset()
    try:
        assert retry_after(headers, NOW) == (seconds if seconds is None else pytest.approx(seconds))
    finally:
        monkeypatch.undo()
        if hasattr(time, "tzset"):
            time.tzset()


@given(
    st.text(max_size=40)
    | st.from_regex(r"\A[A-Z][a-z]{2}, [0-9]{1,3} [A-Z][a-z]{2} [0-9]{1,6} [0-9:]{5,9} ?[A-Z0-9+-]{0,5}\Z")
)
def test_any_header_is_a_wait_or_none(text: str) -> None:
    """Never an exception, never a negative or endless wait."""
    seconds = retry_after({"retry-after": text, "retry-after-ms": text}, NOW)
    assert seconds is None or 0 <= seconds < 1e300


@pytest.mark.parametrize(
    ("words", "status"),
    [
        ({"insufficient_quota"}, 402),
        ({"context_length_exceeded", "invalid_request_error"}, 400),
        ({"content_filter"}, 400),
        ({"invalid_request_error"}, 400),
        ({"invalid_api_key", "invalid_request_error"}, 401),
        ({"authentication_error"}, 401),
        ({"model_not_found", "invalid_request_error"}, 404),
        ({"overloaded"}, None),
        ({"server_error"}, None),
        (set(), None),
    ],
)
def test_the_status_that_an_error_inside_a_200_stands_for(words: Any, status: int | None) -> None:
    """Only where asking again cannot help."""
    assert implied_status(ErrorFacts("x", None, frozenset(words))) == status
