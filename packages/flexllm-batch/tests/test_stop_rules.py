"""When a run ends before its rows do."""

from __future__ import annotations

from decimal import Decimal

import pytest

from flexllm_batch.stop_rules import FIRST_FAILURES, LATER_FAILURES, FailureLimit, StopRules, parse_failure_limit
from flexllm_core.errors import (
    AuthenticationError,
    BadRequestError,
    BudgetExceededError,
    ConfigError,
    LLMConnectionError,
    LLMResponseError,
    LLMTimeoutError,
    NotFoundError,
    QuotaExceededError,
    RateLimitError,
    ServerError,
)


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (AuthenticationError("401"), "auth"),
        (QuotaExceededError("no money"), "quota"),
        (NotFoundError("no such model"), "not_found"),
        (ConfigError("cannot think"), "config"),
        (BudgetExceededError("x", spent=Decimal(1), reserved=Decimal(0), limit=Decimal(1)), "budget"),
    ],
)
def test_what_concerns_every_row_stops_at_once(error: Exception, kind: str) -> None:
    """A wrong key, no money, no such model: each further row would fail in the same way."""
    rules = StopRules(window=50)
    assert rules.should_stop(error)
    assert (rules.kind, rules.stopped_by) == (kind, error)
    assert rules.should_stop(None)
    assert rules.should_stop(ServerError("later"))
    assert rules.stopped_by is error


def test_a_404_after_an_answer_is_one_rows_own() -> None:
    """A row may name a model of its own that does not exist."""
    rules = StopRules(window=1)
    assert not rules.should_stop(None)
    assert not rules.should_stop(NotFoundError("no such model"))


@pytest.mark.parametrize(
    "error", [LLMConnectionError("refused"), LLMTimeoutError("late"), ServerError("500"), RateLimitError("429")]
)
def test_a_server_that_never_answers_counts_as_down(error: Exception) -> None:
    """After five rows in a row, while there has been no answer at all."""
    rules = StopRules(window=50)
    assert [rules.should_stop(error) for _ in range(FIRST_FAILURES)] == [False] * (FIRST_FAILURES - 1) + [True]
    assert rules.kind == "network"
    assert rules.only_network_failures == isinstance(error, LLMConnectionError)


@pytest.mark.parametrize(("window", "patience"), [(1, LATER_FAILURES), (50, 50)])
def test_a_server_that_has_answered_gets_more_patience(window: int, patience: int) -> None:
    """At least a whole window must fail in a row; one answer starts the count anew."""
    rules = StopRules(window)
    rules.should_stop(None)
    error = ServerError("503")
    assert not any(rules.should_stop(error) for _ in range(patience - 1))
    assert not rules.should_stop(None)
    assert [rules.should_stop(error) for _ in range(patience)] == [False] * (patience - 1) + [True]


@pytest.mark.parametrize("error", [BadRequestError("400"), LLMResponseError("empty"), ValueError("a bug")])
def test_failures_of_rows_never_count_as_a_dead_server(error: Exception) -> None:
    """A thousand refused prompts do not stop the others, unless a limit says so."""
    rules = StopRules(window=1)
    assert not any(rules.should_stop(error) for _ in range(1000))
    assert not rules.only_network_failures


def test_a_limit_by_number_admits_so_many() -> None:
    """`--max-failures 2`: the third failure stops, 0 stops at the first."""
    rules = StopRules(1, FailureLimit(count=2))
    assert [rules.should_stop(BadRequestError("400")) for _ in range(3)] == [False, False, True]
    assert rules.kind == "failures"
    assert StopRules(1, FailureLimit(count=0)).should_stop(BadRequestError("400"))


def test_a_limit_by_share_waits_for_enough_rows() -> None:
    """`--max-failures 10%` looks at the rows done, from the twentieth on."""
    rules = StopRules(1, FailureLimit(share=0.1))
    assert not any(rules.should_stop(BadRequestError("400")) for _ in range(3))
    outcomes = [rules.should_stop(None) for _ in range(16)]
    assert not any(outcomes)
    assert rules.should_stop(BadRequestError("400"))
    rules = StopRules(1, FailureLimit(share=0.1))
    assert not any(rules.should_stop(BadRequestError("400") if row % 10 == 9 else None) for row in range(1000))


@pytest.mark.parametrize(
    ("text", "limit"),
    [
        ("10", FailureLimit(count=10)),
        ("0", FailureLimit(count=0)),
        ("5%", FailureLimit(share=0.05)),
        (" 2.5% ", FailureLimit(share=0.025)),
        ("100%", FailureLimit(share=1.0)),
    ],
)
def test_limits_are_read(text: str, limit: FailureLimit) -> None:
    """A number or a share."""
    assert parse_failure_limit(text) == limit


@pytest.mark.parametrize("text", ["", "-1", "1.5", "101%", "-1%", "%", "nan%", "inf%", "many", "True", "1 0"])
def test_other_limits_are_refused(text: str) -> None:
    """The message says what is expected."""
    with pytest.raises(ConfigError, match="expected a number of rows such as 10, or a share such as 5%"):
        parse_failure_limit(text)
