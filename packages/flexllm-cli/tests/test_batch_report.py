"""What a batch says at its end."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path

from flexllm_batch.stats import RunStats
from flexllm_cli.batch_report import summary_json, summary_lines
from flexllm_core.errors import RateLimitError
from flexllm_core.results import ChatCompletionResult, Usage

OUTPUT = Path("out.jsonl")


def stats() -> RunStats:
    """Two answers, one cut, one failure, six rows left."""
    found = RunStats(total=10, resumed=1, seconds=2.0, unknown_cost=0)
    usage = Usage(10, 5, 15)
    found.add_result(ChatCompletionResult("a", finish_reason="stop", usage=usage, cost=Decimal("0.5")))
    found.add_result(ChatCompletionResult("b", finish_reason="length", usage=usage, attempts=3))
    found.add_error(RateLimitError("too fast", status_code=429, attempts=9))
    return found


def test_the_summary_tells_everything_that_is_not_zero():
    """Counts, tokens, cost and what is unknown of it, errors with an example, and what is left."""
    text = "\n".join(summary_lines(stats(), OUTPUT))
    assert "2 ok, 1 failed, 1 resumed, 1 truncated, 10 retries, 6 not asked in 2s, 1.5 rows/s" in text
    assert "20 in, 10 out; $0.5000 + 1 rows of unknown cost" in text
    assert "1 x RateLimitError (429): too fast" in text
    assert "6 rows are left" in text


def test_a_cost_that_is_not_wholly_known_is_null_in_json():
    """Never a number that leaves something out."""
    facts = json.loads(summary_json(stats(), OUTPUT))
    assert facts["cost"] is None
    assert (facts["ok"], facts["failed"], facts["left"], facts["truncated"]) == (2, 1, 6, 1)
