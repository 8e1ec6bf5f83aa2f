"""Lines of a summary that a run and a report have in common."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path

from flexllm_batch.cost.metered import ModelCost
from flexllm_batch.histogram import Histogram
from flexllm_batch.progress import format_count
from flexllm_batch.report.charts import seconds_text
from flexllm_batch.report.page import cost_text
from flexllm_batch.report.summary import OutputSummary
from flexllm_cli.i18n import gettext as _
from flexllm_cli.i18n import translate_message
from flexllm_cli.table import aligned

_SHOWN_ERRORS = 5
_SHOWN_MODELS = 10
_LONGEST_EXAMPLE = 500


def output_lines(summary: OutputSummary, output: Path) -> list[str]:
    """What an output holds."""
    totals = summary.totals
    counts = [_("{count} ok").format(count=totals.ok), _("{count} failed").format(count=totals.failed)]
    others = (
        (summary.cached, _("{count} cached")),
        (summary.truncated, _("{count} truncated")),
        (summary.retries, _("{count} retries")),
        (summary.corrections, _("{count} corrections")),
        (totals.unreadable, _("{count} unreadable lines")),
    )
    counts += [text.format(count=count) for count, text in others if count]
    read, written = format_count(totals.prompt_tokens), format_count(totals.completion_tokens)
    tokens = _("tokens: {read} in, {written} out").format(read=read, written=written)
    cost = _("cost: {cost}").format(cost=cost_text(summary, _))
    return [
        _("{path}: {rows} rows, {counts}").format(path=output, rows=totals.rows, counts=", ".join(counts)),
        f"{tokens}; {cost}",
        *model_lines(summary.by_model),
        *latency_lines(summary.latency, summary.first_token),
        *error_lines(summary.errors, summary.examples),
    ]


def model_lines(by_model: Mapping[str, ModelCost]) -> list[str]:
    """A table of answers, tokens and cost of each model, the dearest first."""
    if not by_model:
        return []
    found = sorted(by_model.items(), key=lambda item: (-item[1].cost, -item[1].requests, item[0]))
    rows: list[tuple[str, ...]] = [(_("model"), _("answers"), _("tokens in"), _("tokens out"), _("cost"))]
    for name, entry in found[:_SHOWN_MODELS]:
        unknown = _("{count} unknown").format(count=entry.unknown) if entry.unknown else ""
        known = f"${entry.cost:.4f}" if entry.cost or not entry.unknown else ""
        tokens = (format_count(entry.prompt_tokens), format_count(entry.completion_tokens))
        rows.append((name, str(entry.requests), *tokens, " + ".join(filter(None, (known, unknown)))))
    hidden = len(found) - _SHOWN_MODELS
    lines = ["  " + line for line in aligned(rows, right=range(1, 5))]
    return [*lines, "  " + _("and {count} more models").format(count=hidden)] if hidden > 0 else lines


def latency_lines(latency: Histogram, first_token: Histogram) -> list[str]:
    """Percentiles of the latency, and of the time to the first token where answers were streamed."""
    lines = []
    for name, histogram in ((_("latency"), latency), (_("first token"), first_token)):
        if found := histogram.summary():
            lines.append(f"{name}: " + ", ".join(f"{_(part)} {seconds_text(value)}" for part, value in found.items()))
    return lines


def error_lines(errors: Counter[str], examples: Mapping[str, str]) -> list[str]:
    """The kinds of errors that occurred most, each with an example."""
    lines = []
    for kind, count in errors.most_common(_SHOWN_ERRORS):
        example = translate_message(examples.get(kind, ""))
        shown = example if len(example) <= _LONGEST_EXAMPLE else f"{example[:_LONGEST_EXAMPLE]}..."
        lines.append(f"{count} x {kind}: {shown}")
    hidden = len(errors) - _SHOWN_ERRORS
    return [*lines, _("and {count} more kinds of errors").format(count=hidden)] if hidden > 0 else lines
