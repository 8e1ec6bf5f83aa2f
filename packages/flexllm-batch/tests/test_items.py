"""What a batch gives back, and how it is read from an output's line."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pytest

from flexllm_batch.cost.metered import CostReport
from flexllm_batch.inputs.records import Record
from flexllm_batch.items import BatchItem, BatchResult, item_from_line
from flexllm_batch.outputs.lines import success_line
from flexllm_batch.stats import RunStats
from flexllm_core.errors import JournalError, ServerError
from flexllm_core.results import ChatCompletionResult, ToolCall, Usage

LINE: dict[str, Any] = {"index": 3, "output": "x", "status": "success", "metadata": {}, "key": "0" * 32}


def test_an_item_from_a_line_is_the_answer_that_was_written() -> None:
    """Text, reasoning, tools, usage, cost and metadata come back; it is marked as resumed."""
    result = ChatCompletionResult(
        "hello",
        reasoning_content="because",
        tool_calls=(ToolCall("c1", "f", "{}"),),
        finish_reason="stop",
        usage=Usage(10, 5, 15, cached_tokens=3),
        model="m",
        endpoint="e",
        choices=("hello", "other"),
        attempts=2,
        latency=0.5,
        cost=Decimal("0.001"),
    )
    record = Record(4, [{"role": "user", "content": "hi"}], {"id": 1})
    line = json.loads(success_line(record, result, "0" * 32, save_input=True, return_usage=True))
    assert item_from_line(line) == BatchItem(4, result, metadata={"id": 1}, resumed=True)


@pytest.mark.parametrize(
    "damage",
    [
        {"usage": {"prompt_tokens": 1, "strange": 2}},
        {"tool_calls": [{"id": "x"}]},
        {"tool_calls": 5},
        {"tool_calls": [None]},
        {"cost": "free"},
        {"cost": []},
    ],
)
def test_a_line_that_somebody_changed_is_a_journal_error(damage: dict[str, Any]) -> None:
    """It says which row's line is damaged and what to do, instead of failing inside."""
    with pytest.raises(JournalError, match=r"line of row 3 is damaged"):
        item_from_line({**LINE, **damage})


def test_a_result_is_a_sequence_of_its_items() -> None:
    """As long as the input, in its order, with the failed ones apart."""
    good = BatchItem(0, ChatCompletionResult("x", cost=Decimal(1)))
    bad = BatchItem(1, error=ServerError("no"))
    result = BatchResult([good, bad], RunStats(total=2, ok=1, failed=1), CostReport())
    assert (len(result), list(result), result[1]) == (2, [good, bad], bad)
    assert (result.contents, result.failed) == (["x", None], [bad])
    assert result.summary == "1 ok, 1 failed"
    assert (good.ok, good.cost, bad.ok, bad.cost, bad.content) == (True, Decimal(1), False, None, None)
