"""The counts of a run, and what is said of them."""

from __future__ import annotations

from decimal import Decimal

import pytest

from flexllm_batch.stats import MAX_ERROR_KINDS, RunStats, error_kind
from flexllm_core.errors import InputError, RateLimitError
from flexllm_core.results import ChatCompletionResult, Usage


def test_answers_are_counted() -> None:
    """Rows, retries, tokens, truncated and cached ones."""
    stats = RunStats(total=5)
    stats.add_result(ChatCompletionResult("a", usage=Usage(10, 5, 15), attempts=3, finish_reason="stop"))
    stats.add_result(ChatCompletionResult("b", usage=Usage(1, 1, 2), finish_reason="length"))
    stats.add_result(ChatCompletionResult("c", cached=True))
    assert (stats.ok, stats.retries, stats.truncated, stats.cached) == (3, 2, 1, 1)
    assert (stats.prompt_tokens, stats.completion_tokens) == (11, 6)
    assert (stats.done, stats.left) == (3, 2)


def test_errors_are_counted_by_kind_with_one_example() -> None:
    """The first message of each kind is kept in full."""
    stats = RunStats(total=3)
    stats.add_error(RateLimitError("slow", status_code=429, code="rate_limit", attempts=4))
    stats.add_error(RateLimitError("slower", status_code=429, code="rate_limit", attempts=2))
    stats.add_error(InputError("bad row"))
    assert stats.errors == {"RateLimitError (429 rate_limit)": 2, "InputError": 1}
    assert stats.examples == {"RateLimitError (429 rate_limit)": "slow", "InputError": "bad row"}
    assert (stats.failed, stats.retries, stats.left) == (3, 4, 0)


def test_kinds_of_errors_are_bounded() -> None:
    """A server that invents a code for each row does not fill the memory, and no failure is lost."""
    stats = RunStats()
    for number in range(1000):
        stats.add_error(RateLimitError("x", code=str(number)))
    assert len(stats.errors) == len(stats.examples) + 1 == MAX_ERROR_KINDS + 1
    assert stats.errors.total() == stats.failed == 1000
    assert stats.errors["other errors"] == 1000 - MAX_ERROR_KINDS


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (RateLimitError("x"), "RateLimitError"),
        (RateLimitError("x", status_code=429), "RateLimitError (429)"),
        (KeyError("x"), "KeyError"),
    ],
)
def test_kinds_name_what_is_known(error: Exception, kind: str) -> None:
    """Type, status and code."""
    assert error_kind(error) == kind


def test_the_summary_names_only_what_there_is() -> None:
    """ok and failed always, the others where they are not 0."""
    assert RunStats(total=2, ok=2).summary() == "2 ok, 0 failed"
    stats = RunStats(total=20, ok=3, failed=2, resumed=4, skipped=1, cached=1, truncated=1, retries=7)
    assert stats.summary() == "3 ok, 2 failed, 4 resumed, 1 skipped, 1 cached, 1 truncated, 7 retries, 10 not asked"


def test_an_unknown_total_leaves_nothing() -> None:
    """Of a generator nobody knows how many rows are left."""
    assert RunStats(ok=3).left == 0


def test_costs_say_what_is_unknown() -> None:
    """Not tracked: nothing. Unknown: unknown, never $0. Partly known: both."""
    stats = RunStats()
    stats.add_result(ChatCompletionResult("a", cost=Decimal("0.5")))
    assert stats.cost_text() is None
    stats = RunStats(unknown_cost=0)
    assert stats.cost_text() == "$0.0000"
    stats.add_result(ChatCompletionResult("a"))
    assert stats.cost_text() == "cost unknown"
    stats.add_result(ChatCompletionResult("b", cost=Decimal("0.5")))
    assert stats.cost_text() == "$0.5000 + 1 rows of unknown cost"
    stats.add_result(ChatCompletionResult("c", cost=Decimal(9), cached=True))
    assert stats.cost == Decimal("0.5")
    known = RunStats(unknown_cost=0)
    known.add_result(ChatCompletionResult("b", cost=Decimal("0.00004")))
    assert known.cost_text() == "$0.0000"
