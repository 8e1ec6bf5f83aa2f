"""What `flexllm diff` shows."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from flexllm_batch.outputs.diff import Change, OutputDiff
from flexllm_batch.outputs.output_lines import OutputTotals
from flexllm_batch.progress import format_count
from flexllm_cli.i18n import gettext as _
from flexllm_cli.i18n import translate_message

_LONGEST = 300


def diff_lines(diff: OutputDiff, changes: Sequence[Change], before: Path, after: Path) -> list[str]:
    """The differences, for people."""
    aligned = {
        "key": _("{count} rows are in both, aligned by their requests: {counts}"),
        "input": _("{count} rows are in both, aligned by their messages: {counts}"),
        "index": _("{count} rows are in both, aligned by their index: {counts}"),
    }
    lines = [
        _totals_line("A", before, diff.before),
        _totals_line("B", after, diff.after),
        aligned[diff.by].format(count=diff.paired, counts=_counts(diff)),
    ]
    if diff.only_before or diff.only_after:
        text = _("only in A: {before} rows; only in B: {after} rows")
        lines.append(text.format(before=diff.only_before, after=diff.only_after))
    for change in changes:
        lines.append(_("row {row}, {kind}:").format(row=change.after["index"], kind=_kinds()[change.kind]))
        lines += [f"  A {_excerpt(change.before)}", f"  B {_excerpt(change.after)}"]
    hidden = diff.changed + diff.broken + diff.mended - len(changes)
    more = _("{count} more rows that changed are not shown (--show)").format(count=hidden)
    return [*lines, more] if hidden > 0 else lines


def _kinds() -> dict[str, str]:
    """What kinds of changes are called."""
    return {"changed": _("changed"), "broken": _("broken"), "mended": _("mended")}


def _counts(diff: OutputDiff) -> str:
    counts = (
        (_("{count} with the same answer"), diff.same),
        (_("{count} changed"), diff.changed),
        (_("{count} fail only in B"), diff.broken),
        (_("{count} fail only in A"), diff.mended),
        (_("{count} fail in both"), diff.both_failed),
    )
    return ", ".join(text.format(count=count) for text, count in counts)


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
    tokens = _("{read} tokens in, {written} out").format(
        read=format_count(totals.prompt_tokens), written=format_count(totals.completion_tokens)
    )
    models = ", ".join(totals.models) or _("no model")
    counts = [(_("{count} rows"), totals.rows), (_("{count} ok"), totals.ok), (_("{count} failed"), totals.failed)]
    if totals.unreadable:
        counts.append((_("{count} unreadable lines"), totals.unreadable))
    shown = ", ".join(text.format(count=count) for text, count in counts)
    return f"{name} {path}: {shown}; {tokens}; {_cost(totals)}; {models}"


def _cost(totals: OutputTotals) -> str:
    if totals.unknown_cost and not totals.cost:
        return _("cost unknown")
    known = f"${totals.cost:.4f}"
    if not totals.unknown_cost:
        return known
    return _("{known} + {count} rows of unknown cost").format(known=known, count=totals.unknown_cost)


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
        text = f"{_('error:')} {translate_message(str(error.get('message') if isinstance(error, dict) else error))}"
    text = " ".join(text.split())
    return text if len(text) <= _LONGEST else text[:_LONGEST] + _("... ({count} characters)").format(count=len(text))
