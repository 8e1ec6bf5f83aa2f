"""What `flexllm batch` says after a run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from flexllm_batch.budget import Budget
from flexllm_batch.progress import format_count, format_seconds
from flexllm_batch.stats import RunStats

_SHOWN_ERRORS = 5


def summary_lines(stats: RunStats, output: Path) -> list[str]:
    """The outcome of a run."""
    asked = stats.ok + stats.failed
    rate = f", {asked / stats.seconds:.1f} rows/s" if stats.seconds > 0 else ""
    lines = [f"{stats.summary()} in {format_seconds(stats.seconds)}{rate}"]
    if stats.prompt_tokens or stats.completion_tokens:
        tokens = f"tokens: {format_count(stats.prompt_tokens)} in, {format_count(stats.completion_tokens)} out"
        cost = stats.cost_text()
        lines.append(f"{tokens}; {cost}" if cost else tokens)
    for kind, count in stats.errors.most_common(_SHOWN_ERRORS):
        lines.append(f"{count} x {kind}: {stats.examples.get(kind, '')}")
    if budget := stats.budget_text():
        lines.append(budget)
    if stats.left:
        lines.append(f"{stats.left} rows are left; the same command goes on with them")
    lines.append(f"output: {output}")
    return lines


def _budget(budget: Budget | None) -> dict[str, float | int] | None:
    if budget is None:
        return None
    ledger = budget.ledger
    return {
        "limit": float(ledger.limit),
        "spent": float(ledger.spent),
        "reserved": float(ledger.reserved),
        "estimated": float(ledger.estimated),
        "estimated_count": ledger.estimated_count,
    }


def summary_json(stats: RunStats, output: Path) -> str:
    """The outcome of a run as one JSON object."""
    facts: dict[str, Any] = {
        "total": stats.total,
        "ok": stats.ok,
        "failed": stats.failed,
        "resumed": stats.resumed,
        "skipped": stats.skipped,
        "left": stats.left,
        "truncated": stats.truncated,
        "retries": stats.retries,
        "prompt_tokens": stats.prompt_tokens,
        "completion_tokens": stats.completion_tokens,
        "cost": float(stats.cost) if stats.unknown_cost == 0 else None,
        "estimated_cost": float(stats.estimated_cost),
        "budget": _budget(stats.budget),
        "seconds": round(stats.seconds, 3),
        "errors": dict(stats.errors),
        "output": str(output),
    }
    return json.dumps(facts, ensure_ascii=False)
