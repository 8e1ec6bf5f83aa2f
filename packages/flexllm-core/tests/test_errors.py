"""The error tree: its shape, its defaults, and what an error keeps and shows."""

from __future__ import annotations

import copy
import pickle
from decimal import Decimal

import pytest

from flexllm_core import errors
from flexllm_core.errors import (
    BODY_EXCERPT,
    AuthenticationError,
    BadRequestError,
    BudgetExceededError,
    ConfigError,
    ContentFilterError,
    ContextLengthError,
    ContractError,
    FlexLLMError,
    InputError,
    JournalConflictError,
    JournalError,
    LLMConnectionError,
    LLMHTTPError,
    LLMRequestError,
    LLMResponseError,
    LLMTimeoutError,
    NoEndpointAvailableError,
    NotConfiguredError,
    NotFoundError,
    QuotaExceededError,
    RateLimitError,
    ServerError,
)

PARENTS = [
    (ConfigError, FlexLLMError),
    (ConfigError, ValueError),
    (NotConfiguredError, ConfigError),
    (InputError, ValueError),
    (LLMRequestError, FlexLLMError),
    (LLMConnectionError, LLMRequestError),
    (LLMTimeoutError, LLMConnectionError),
    (LLMHTTPError, LLMRequestError),
    (AuthenticationError, LLMHTTPError),
    (QuotaExceededError, LLMHTTPError),
    (RateLimitError, LLMHTTPError),
    (BadRequestError, LLMHTTPError),
    (ContextLengthError, BadRequestError),
    (ContentFilterError, BadRequestError),
    (NotFoundError, LLMHTTPError),
    (ServerError, LLMHTTPError),
    (LLMResponseError, LLMRequestError),
    (ContractError, LLMResponseError),
    (NoEndpointAvailableError, FlexLLMError),
    (BudgetExceededError, FlexLLMError),
    (JournalConflictError, JournalError),
]


@pytest.mark.parametrize(("child", "parent"), PARENTS)
def test_the_tree_has_the_documented_shape(child: type[Exception], parent: type[Exception]) -> None:
    """Whoever catches the parent catches the child."""
    assert issubclass(child, parent)


def test_every_error_of_the_module_is_a_flexllm_error() -> None:
    """`except FlexLLMError` catches everything that flexllm raises on its own."""
    own = [value for value in vars(errors).values() if isinstance(value, type) and value.__module__ == errors.__name__]
    assert len(own) > 20
    assert all(issubclass(error, FlexLLMError) for error in own)


@pytest.mark.parametrize(
    ("cls", "fault", "kind", "retryable"),
    [
        (LLMConnectionError, "endpoint", "transient", True),
        (LLMTimeoutError, "endpoint", "timeout", True),
        (AuthenticationError, "account", "refused", False),
        (QuotaExceededError, "account", "refused", False),
        (RateLimitError, "endpoint", "overload", True),
        (BadRequestError, "caller", "refused", False),
        (ContextLengthError, "caller", "refused", False),
        (ContentFilterError, "caller", "refused", False),
        (NotFoundError, "endpoint", "refused", False),
        (ServerError, "endpoint", "transient", True),
        (LLMResponseError, "endpoint", "suspicious", True),
        (ContractError, "endpoint", "suspicious", True),
    ],
)
def test_each_error_knows_by_default_how_it_is_treated(
    cls: type[LLMRequestError], fault: str, kind: str, retryable: bool
) -> None:
    """Fault, kind and retryable follow from the class when nothing else is said."""
    error = cls("x")
    assert (error.fault, error.kind, error.retryable) == (fault, kind, retryable)


def test_what_is_said_wins_over_the_default() -> None:
    """A wire may decide fault, kind and retryable itself."""
    error = BadRequestError("x", fault="endpoint", kind="transient", retryable=False)
    assert (error.fault, error.kind, error.retryable) == ("endpoint", "transient", False)


def test_an_error_keeps_only_the_beginning_of_a_body() -> None:
    """A body of megabytes does not stay in memory with the error."""
    error = LLMRequestError("x", body="a" * (BODY_EXCERPT * 2))
    assert error.body == "a" * BODY_EXCERPT


def test_to_dict_has_what_an_output_line_shows_and_not_the_body() -> None:
    """Keys without a value are left out; the body stays with the error."""
    error = RateLimitError("slow down", status_code=429, code="rate", request_id="r1", body="secret", endpoint="e")
    assert error.to_dict() == {
        "type": "RateLimitError",
        "status": 429,
        "code": "rate",
        "message": "slow down",
        "retryable": True,
        "request_id": "r1",
    }
    assert LLMConnectionError("gone").to_dict() == {"type": "LLMConnectionError", "message": "gone", "retryable": True}


@pytest.mark.parametrize(
    ("source", "line", "text"),
    [
        (None, None, "bad"),
        ("in.jsonl", None, "in.jsonl: bad"),
        ("in.jsonl", 3, "in.jsonl, line 3: bad"),
        (None, 3, "bad"),
    ],
)
def test_an_input_error_says_where(source: str | None, line: int | None, text: str) -> None:
    """File and line stand before what is wrong."""
    error = InputError("bad", source=source, line=line)
    assert str(error) == text
    assert (error.source, error.line) == (source, line)


@pytest.mark.parametrize(
    "error",
    [
        InputError("bad", source="f", line=2),
        RateLimitError("slow", status_code=429, retry_after=2.5, endpoint="e", model="m", attempts=3),
        NoEndpointAvailableError("none", [ServerError("a", status_code=500)]),
        BudgetExceededError("over", spent=Decimal("1.5"), reserved=Decimal(1), limit=Decimal(2)),
    ],
)
def test_errors_survive_pickling_and_copying(error: Exception) -> None:
    """An error that crosses a process pool arrives whole instead of hanging it."""
    for other in (pickle.loads(pickle.dumps(error)), copy.copy(error)):
        assert type(other) is type(error)
        assert str(other) == str(error)
        mine, theirs = vars(error), vars(other)
        assert mine.keys() == theirs.keys()
        assert {k: v for k, v in mine.items() if k != "errors"} == {k: v for k, v in theirs.items() if k != "errors"}
