"""What `flexllm diff` shows."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from flexllm_batch.outputs.diff import Change, OutputDiff
from flexllm_batch.outputs.output_lines import OutputTotals
from flexllm_batch.progress import format_count

_LONGEST = 300

_ALIGNED = {"key": "their requests", "input": "their messages", "index": "their index"}


def diff_lines(diff: OutputDiff, changes: Sequence[Change], before: Path, after: Path) -> list[str]:
    """The differences, for people."""
    counts = (
        f"{diff.same} with the same answer, {diff.changed} changed, {diff.broken} fail only in B, "
        f"{diff.mended} fail only in A, {diff.both_failed} fail in both"
    )
    lines = [
        _totals_line("A", before, diff.before),
        _totals_line("B", after, diff.after),
        f"{diff.paired} rows are in both, aligned by {_ALIGNED[diff.by]}: {counts}",
    ]
    if diff.only_before or diff.only_after:
        lines.append(f"only in A: {diff.only_before} rows; only in B: {diff.only_after} rows")
    for change in changes:
        lines.append(f"row {change.after['index']}, {change.kind}:")
        lines += [f"  A {_excerpt(change.before)}", f"  B {_excerpt(change.after)}"]
    hidden = diff.changed + diff.broken + diff.mended - len(changes)
    return [*lines, f"{hidden} more rows that changed are not shown (--show)"] if hidden > 0 else lines


def diff_json(diff: OutputDiff, changes: Sequence[Change]) -> str:
    """The differences as one JSON object; the changed rows with their whole answers."""
    names = ("by", "paired", "same", "changed", "broken", "mended", "both_failed", "only_before", "only_after")
    facts: dict[str, Any] = {name: getattr(diff, name) for name in names}
    facts |= {"before": _totals(diff.before), "after": _totals(diff.after)}
    facts["changes"] = [
        {"kind": change.kind, "before": _side(change.before), "after": _side(change.after)} for change in changes
    ]
    return json.dumps(facts)  # escaped: answers may hold lone surrogates


def _totals_line(name: str, path: Path, totals: OutputTotals) -> str:
    tokens = f"{format_count(totals.prompt_tokens)} tokens in, {format_count(totals.completion_tokens)} out"
    models = ", ".join(totals.models) or "no model"
    unreadable = f", {totals.unreadable} unreadable lines" if totals.unreadable else ""
    counts = f"{totals.rows} rows, {totals.ok} ok, {totals.failed} failed{unreadable}"
    return f"{name} {path}: {counts}; {tokens}; {_cost(totals)}; {models}"


def _cost(totals: OutputTotals) -> str:
    if totals.unknown_cost and not totals.cost:
        return "cost unknown"
    known = f"${totals.cost:.4f}"
    return f"{known} + {totals.unknown_cost} rows of unknown cost" if totals.unknown_cost else known


def _totals(totals: OutputTotals) -> dict[str, Any]:
    names = ("rows", "ok", "failed", "unreadable", "prompt_tokens", "completion_tokens", "unknown_cost", "models")
    known = {"known_cost_usd": float(totals.cost)}
    cost = {"cost_usd": None if totals.unknown_cost else float(totals.cost)}
    return {name: getattr(totals, name) for name in names} | cost | known


def _side(line: dict[str, Any]) -> dict[str, Any]:
    names = ("index", "status", "output", "tool_calls", "finish_reason", "model", "cost", "error", "metadata")
    return {name: line[name] for name in names if name in line}


def _excerpt(line: dict[str, Any]) -> str:
    """An answer or error in one line, cut."""
    if line["status"] == "success":
        text = line["output"] if isinstance(line["output"], str) else json.dumps(line.get("tool_calls"))
    else:
        error = line.get("error")
        text = f"error: {error.get('message') if isinstance(error, dict) else error}"
    text = " ".join(text.split())
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}... ({len(text)} characters)"
