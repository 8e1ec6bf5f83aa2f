"""What `flexllm batch` says before and after a run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from flexllm_batch.plan import Plan
from flexllm_batch.progress import format_count, format_seconds
from flexllm_batch.stats import RunStats
from flexllm_core.endpoint import EndpointConfig

_SHOWN_ERRORS = 5


def plan_lines(plan: Plan, endpoint: EndpointConfig, output: Path) -> list[str]:
    """The plan, for `--dry-run`."""
    kinds = ", ".join(f"{count} {kind}" for kind, count in plan.kinds.most_common()) or "none"
    lines = [
        f"rows: {plan.total} ({kinds})",
        f"answered already in {output}: {plan.kept}",
        f"to be asked: {plan.todo}",
    ]
    if plan.bad:
        lines.append(f"bad rows: {plan.bad}")
        lines += [f"  {error}" for error in plan.bad_rows]
    if plan.stale:
        lines.append(f"answers that belong to no row: {len(plan.stale)} (would be moved to {output}.stale)")
    limits = f"{endpoint.concurrency_limit or 'default'} in flight"
    if endpoint.max_qps:
        limits += f", {endpoint.max_qps:g} requests/s"
    lines.append(f"endpoint: {endpoint.label}, model {endpoint.model}, {limits}")
    lines.append("dry run: nothing was sent")
    return lines


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
    if stats.left:
        lines.append(f"{stats.left} rows are left; the same command goes on with them")
    lines.append(f"output: {output}")
    return lines


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
        "seconds": round(stats.seconds, 3),
        "errors": dict(stats.errors),
        "output": str(output),
    }
    return json.dumps(facts, ensure_ascii=False)
