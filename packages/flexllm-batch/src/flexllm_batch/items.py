"""What a batch gives back: one item for each row, and all of them together."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from flexllm_batch.cost.metered import CostReport
from flexllm_batch.stats import RunStats
from flexllm_core.errors import JournalError, LLMRequestError
from flexllm_core.results import ChatCompletionResult, ToolCall, Usage


@dataclass(slots=True)
class BatchItem:
    """The outcome of one row: either `result` or `error` is set.

    Attributes:
        index: Position of the row in the input, from 0.
        result: The answer.
        error: Why there is none.
        metadata: The row's other fields.
        resumed: The answer was there from an earlier run and cost nothing in this one.
    """

    index: int
    result: ChatCompletionResult | None = None
    error: Exception | None = None
    metadata: dict[str, Any] = field(default_factory=dict)
    resumed: bool = False

    @property
    def ok(self) -> bool:
        """Whether there is an answer."""
        return self.result is not None

    @property
    def content(self) -> str | None:
        """The text of the answer, None where there is none."""
        return self.result.content if self.result else None

    @property
    def cost(self) -> Decimal | None:
        """US dollars; None when the price is unknown, or the row failed and no answer of it was paid for."""
        answer = self.error.answer if isinstance(self.error, LLMRequestError) else self.result
        return answer.cost if answer is not None else None


@dataclass(slots=True)
class BatchResult:
    """The outcome of a batch over a list: as many items as rows, in their order.

    Attributes:
        items: One for each row.
        stats: Counts of the run.
        cost: What the run cost.
    """

    items: list[BatchItem]
    stats: RunStats
    cost: CostReport

    def __len__(self) -> int:
        return len(self.items)

    def __iter__(self) -> Iterator[BatchItem]:
        return iter(self.items)

    def __getitem__(self, index: int) -> BatchItem:
        return self.items[index]

    @property
    def contents(self) -> list[str | None]:
        """The texts, None for rows that failed."""
        return [item.content for item in self.items]

    @property
    def failed(self) -> list[BatchItem]:
        """The items without an answer."""
        return [item for item in self.items if not item.ok]

    @property
    def summary(self) -> str:
        """The counts in one line."""
        return self.stats.summary()


def item_from_line(line: dict[str, Any]) -> BatchItem:
    """The item of a row whose answer stands in the output already.

    Raises:
        JournalError: Somebody changed the line, and it is no answer any more.
    """
    try:
        return _read_item(line)
    except (TypeError, ValueError, KeyError, AttributeError, ArithmeticError) as error:
        raise JournalError(
            f"the output's line of row {line['index']} is damaged ({type(error).__name__}: {error}); "
            "take the line out, and the row is asked again"
        ) from None


def _read_item(line: dict[str, Any]) -> BatchItem:
    usage = line.get("usage")
    calls = tuple(
        ToolCall(call["id"], call["function"]["name"], call["function"]["arguments"])
        for call in line.get("tool_calls") or ()
    )
    cost = line.get("cost")
    result = ChatCompletionResult(
        content=line["output"],
        reasoning_content=line.get("reasoning"),
        tool_calls=calls,
        finish_reason=line.get("finish_reason"),
        usage=Usage(**usage) if isinstance(usage, dict) else None,
        model=line.get("model"),
        endpoint=line.get("endpoint"),
        choices=tuple(line.get("choices") or ()),
        attempts=line.get("attempts", 1),
        corrections=line.get("corrections", 0),
        cached=line.get("cached", False),
        latency=line.get("latency"),
        cost=None if cost is None else Decimal(str(cost)),
        cost_source=line.get("cost_source"),
    )
    return BatchItem(line["index"], result, metadata=line.get("metadata") or {}, resumed=True)
