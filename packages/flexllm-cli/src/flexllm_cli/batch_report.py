"""What `flexllm batch` says after a run."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from flexllm_batch.cost.budget import Budget
from flexllm_batch.cost.metered import ModelCost
from flexllm_batch.progress import format_count, format_seconds
from flexllm_batch.report.summary import models_facts
from flexllm_batch.stats import RunStats
from flexllm_batch.stop_rules import StopRules
from flexllm_cli import exit_codes
from flexllm_cli.error_report import ErrorReport, report_of
from flexllm_cli.i18n import gettext as _
from flexllm_cli.i18n import translate_message
from flexllm_cli.summary_text import error_lines, latency_lines, model_lines


def summary_lines(stats: RunStats, output: Path, by_model: Mapping[str, ModelCost] | None = None) -> list[str]:
    """The outcome of a run; `by_model` has what each model's answers cost, where that was tracked."""
    asked = stats.ok + stats.failed
    rate = ", " + _("{rate} rows/s").format(rate=f"{asked / stats.seconds:.1f}") if stats.seconds > 0 else ""
    in_time = _("{counts} in {seconds}").format(counts=_counts(stats), seconds=format_seconds(stats.seconds))
    lines = [in_time + rate]
    if stats.prompt_tokens or stats.completion_tokens:
        read, written = format_count(stats.prompt_tokens), format_count(stats.completion_tokens)
        tokens = _("tokens: {read} in, {written} out").format(read=read, written=written)
        cost = stats.cost_text()
        lines.append(f"{tokens}; {translate_message(cost)}" if cost else tokens)
    lines += model_lines(by_model or {})
    lines += latency_lines(stats.latency, stats.first_token)
    lines += error_lines(stats.errors, stats.examples)
    if budget := stats.budget_text():
        lines.append(translate_message(budget))
    if stats.left:
        lines.append(_("{left} rows are left; the same command goes on with them").format(left=stats.left))
    lines.append(_("output: {path}").format(path=output))
    return lines


def _counts(stats: RunStats) -> str:
    """The counts of a run; those that are 0 are left out but for the first two."""
    counts = (
        (stats.resumed, _("{count} resumed")),
        (stats.skipped, _("{count} skipped")),
        (stats.cached, _("{count} cached")),
        (stats.truncated, _("{count} truncated")),
        (stats.retries, _("{count} retries")),
        (stats.corrections, _("{count} corrections")),
        (stats.left, _("{count} not asked")),
    )
    always = [_("{count} ok").format(count=stats.ok), _("{count} failed").format(count=stats.failed)]
    return ", ".join([*always, *(text.format(count=count) for count, text in counts if count)])


def failure_report(stats: RunStats, rules: StopRules, code: int) -> ErrorReport | None:
    """What the user is told of a run that ended with `code`; None where nothing failed."""
    if rules.stopped_by is not None:
        report = report_of(rules.stopped_by)
        message = _("the run was stopped: {reason}").format(reason=report.message)
        return replace(report, message=message, exit_code=code)
    if not stats.failed or code not in (exit_codes.FAILED, exit_codes.NETWORK):
        return None
    message = _("{failed} of {asked} rows failed").format(failed=stats.failed, asked=stats.ok + stats.failed)
    return ErrorReport("RowsFailed", message, code, True, _("the same command asks the rows that failed again"))


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


def summary_json(stats: RunStats, output: Path, by_model: Mapping[str, ModelCost] | None = None) -> str:
    """The outcome of a run as one JSON object."""
    facts: dict[str, Any] = {
        "total": stats.total,
        "ok": stats.ok,
        "failed": stats.failed,
        "resumed": stats.resumed,
        "skipped": stats.skipped,
        "left": stats.left,
        "cached": stats.cached,
        "truncated": stats.truncated,
        "retries": stats.retries,
        "corrections": stats.corrections,
        "prompt_tokens": stats.prompt_tokens,
        "completion_tokens": stats.completion_tokens,
        "cost": float(stats.cost) if stats.unknown_cost == 0 else None,
        "estimated_cost": float(stats.estimated_cost),
        "budget": _budget(stats.budget),
        "seconds": round(stats.seconds, 3),
        "by_model": models_facts(by_model or {}),
        "latency": stats.latency.summary(),
        "first_token": stats.first_token.summary(),
        "errors": dict(stats.errors.most_common()),
        "examples": stats.examples,
        "output": str(output),
    }
    return json.dumps(facts)  # escaped: what servers say may hold lone surrogates
