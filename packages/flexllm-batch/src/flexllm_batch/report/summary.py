"""The sums over an output file: outcomes, tokens, cost, latency, errors."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

from flexllm_batch.cost.metered import ModelCost
from flexllm_batch.histogram import Histogram
from flexllm_batch.outputs.output_lines import (
    MAX_MODELS,
    Line,
    OutputLines,
    OutputTotals,
    cost_of,
    count_of,
    number_of,
    tokens_of,
    was_paid,
)
from flexllm_batch.stats import MAX_ERROR_KINDS

_LONGEST_NAME = 200


@dataclass(slots=True)
class OutputSummary:
    """What an output holds, in bounded memory.

    Attributes:
        totals: Rows, tokens and cost.
        cached: Answers that came from the response cache.
        truncated: Answers that were cut off by the token limit.
        retries: Requests beyond the first of each row and of each correction.
        corrections: Answers that broke the rows' contract and were asked for again.
        estimated_cost: The part of the cost that is an estimate.
        by_model: Answers, tokens and cost by `model @ endpoint`; `others` beyond 50 of them.
        latency, first_token: Seconds of the answers that were asked for.
        errors: How often each kind of error occurred, with one full message of each in `examples`.
    """

    totals: OutputTotals = field(default_factory=OutputTotals)
    cached: int = 0
    truncated: int = 0
    retries: int = 0
    corrections: int = 0
    estimated_cost: Decimal = Decimal(0)
    by_model: dict[str, ModelCost] = field(default_factory=dict)
    latency: Histogram = field(default_factory=Histogram)
    first_token: Histogram = field(default_factory=Histogram)
    errors: Counter[str] = field(default_factory=Counter)
    examples: dict[str, str] = field(default_factory=dict)

    def add(self, line: Line) -> None:
        """Count a line."""
        self.totals.add(line)
        corrections = count_of(line.get("corrections"))
        self.corrections += corrections
        self.retries += max(0, count_of(line.get("attempts")) - 1 - corrections)
        if line["status"] == "error":
            self._add_error(line.get("error"))
        elif is_truncated(line):
            self.truncated += 1
        if was_paid(line):
            self._add_answer(line)

    def _add_answer(self, line: Line) -> None:
        name = f"{line.get('model')} @ {line.get('endpoint')}"[:_LONGEST_NAME]
        if name not in self.by_model and len(self.by_model) >= MAX_MODELS:
            name = "others"
        entry = self.by_model.setdefault(name, ModelCost())
        entry.requests += 1
        prompt, completion = tokens_of(line)
        entry.prompt_tokens += prompt
        entry.completion_tokens += completion
        cost = cost_of(line)
        if cost is None:
            entry.unknown += 1
        else:
            entry.cost += cost
            if line.get("cost_source") == "estimated":
                entry.estimated += 1
                self.estimated_cost += cost
        if line.get("cached") is True:
            self.cached += 1
        for seconds, histogram in (("latency", self.latency), ("time_to_first_token", self.first_token)):
            value = number_of(line.get(seconds))
            if value is not None:
                histogram.add(value)

    def _add_error(self, error: object) -> None:
        kind = line_error_kind(error)
        if kind in self.errors or len(self.errors) < MAX_ERROR_KINDS:
            self.errors[kind] += 1
            self.examples.setdefault(kind, line_error_text(error))
        else:
            self.errors["other errors"] += 1

    def facts(self) -> dict[str, Any]:
        """The sums as JSON; a cost that is not wholly known is null."""
        totals = self.totals
        names = ("rows", "ok", "failed", "unreadable", "prompt_tokens", "completion_tokens")
        return {
            **{name: getattr(totals, name) for name in names},
            **{name: getattr(self, name) for name in ("cached", "truncated", "retries", "corrections")},
            "cost": None if totals.unknown_cost else float(totals.cost),
            "known_cost": float(totals.cost),
            "unknown_cost": totals.unknown_cost,
            "estimated_cost": float(self.estimated_cost),
            "by_model": models_facts(self.by_model),
            "latency": self.latency.summary(),
            "first_token": self.first_token.summary(),
            "errors": dict(self.errors.most_common()),
            "examples": self.examples,
        }


def models_facts(by_model: Mapping[str, ModelCost]) -> dict[str, dict[str, float | int | None]]:
    """Answers, tokens and cost of each model as JSON."""
    return {
        name: {
            "answers": entry.requests,
            "prompt_tokens": entry.prompt_tokens,
            "completion_tokens": entry.completion_tokens,
            "cost": None if entry.unknown else float(entry.cost),
            "known_cost": float(entry.cost),
        }
        for name, entry in by_model.items()
    }


def is_truncated(line: Line) -> bool:
    """Whether a line's answer was cut off by the token limit."""
    return line["status"] == "success" and line.get("finish_reason") == "length"


def line_error_kind(error: object) -> str:
    """By what an error in a line is counted, as `flexllm_batch.stats.error_kind` counts those of a run."""
    if not isinstance(error, dict):
        return "unknown error"
    details = [str(error[name]) for name in ("status", "code") if error.get(name) is not None]
    name = str(error.get("type"))
    return (f"{name} ({' '.join(details)})" if details else name)[:_LONGEST_NAME]


def line_error_text(error: object) -> str:
    """The message of an error in a line."""
    return str(error.get("message")) if isinstance(error, dict) else str(error)


def summarize_output(path: Path, on_line: Callable[[Line], object] | None = None) -> OutputSummary:
    """Read an output file, line by line.

    Args:
        path: The file.
        on_line: Is called with each line that stands.

    Raises:
        InputError: It is no output of flexllm.
        OSError: It cannot be read.
    """
    lines = OutputLines(path)
    lines.check()
    summary = OutputSummary()
    summary.totals.unreadable = lines.unreadable
    for _, line in lines.lines():
        summary.add(line)
        if on_line is not None:
            on_line(line)
    return summary
