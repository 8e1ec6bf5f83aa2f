"""The report as one page of HTML: no network, no script but its own, and every text of a row only ever text."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Iterator
from importlib import resources
from pathlib import Path

from flexllm_batch.outputs.replacement import replacing
from flexllm_batch.report.charts import escaped, latency_chart, seconds_text, share_bar
from flexllm_batch.report.rows import PageRows
from flexllm_batch.report.summary import OutputSummary

_PLACE = re.compile(r"@([a-z-]+)@")
_LONGEST_EXAMPLE = 2000


def write_page(path: Path, name: str, summary: OutputSummary, rows: PageRows) -> None:
    """Write the page, whole or not at all.

    Args:
        path: The file; replaced if it is there.
        name: Of the output, for the heading.
        summary: Its sums.
        rows: The rows to show.

    Raises:
        OSError: It cannot be written.
    """
    with replacing(path) as file:
        file.writelines(page(name, summary, rows))


def page(name: str, summary: OutputSummary, rows: PageRows) -> Iterator[bytes]:
    """The page, in pieces."""
    style, script = _resource("page.css"), _resource("page.js")
    pieces = {
        "style": style,
        "script": script,
        "style-hash": _hash(style),
        "script-hash": _hash(script),
        "title": f"{escaped(name)} - flexllm report",
        "name": escaped(name),
        "headline": _headline(summary),
        "cards": _cards(summary),
        "outcome": share_bar(_outcomes(summary)),
        "latency": _latency(summary),
        "models": _models(summary),
        "errors": _errors(summary),
        "rows-note": _rows_note(rows),
    }
    # One pass over the template alone: what is put in is never looked at again.
    parts = _PLACE.split(_resource("page.html"))
    for number, part in enumerate(parts):
        if number % 2 == 0:
            yield part.encode()
        elif part == "rows":
            yield from rows.json_array()
        else:
            yield pieces[part].encode()


def _resource(name: str) -> str:
    return resources.files(__package__).joinpath(name).read_text(encoding="utf-8").rstrip("\n")


def _hash(text: str) -> str:
    """What the page's policy knows its own script and style by."""
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def _outcomes(summary: OutputSummary) -> list[tuple[str, int]]:
    totals = summary.totals
    return [("ok", totals.ok - summary.truncated), ("truncated", summary.truncated), ("failed", totals.failed)]


def _headline(summary: OutputSummary) -> str:
    totals = summary.totals
    text = f"{totals.rows:,} rows: {totals.ok:,} ok, {totals.failed:,} failed"
    if totals.unreadable:
        text += f"; {totals.unreadable:,} lines of the file are no output lines"
    return text


def cost_text(summary: OutputSummary) -> str:
    """The cost, honest about what is estimated and unknown."""
    totals = summary.totals
    if totals.unknown_cost and not totals.cost:
        return "unknown"
    text = f"${totals.cost:.4f}"
    if summary.estimated_cost:
        text += f" (${summary.estimated_cost:.4f} of it estimated)"
    return f"{text} + {totals.unknown_cost:,} of unknown cost" if totals.unknown_cost else text


def _cards(summary: OutputSummary) -> str:
    totals = summary.totals
    cards = [
        ("ok", f"{totals.ok:,}"),
        ("failed", f"{totals.failed:,}"),
        ("truncated", f"{summary.truncated:,}"),
        ("from the cache", f"{summary.cached:,}"),
        ("retries", f"{summary.retries:,}"),
        ("corrections", f"{summary.corrections:,}"),
        ("input tokens", f"{totals.prompt_tokens:,}"),
        ("output tokens", f"{totals.completion_tokens:,}"),
        ("cost", cost_text(summary)),
    ]
    return "".join(f'<div class="card"><b>{escaped(value)}</b><span>{label}</span></div>' for label, value in cards)


def _latency(summary: OutputSummary) -> str:
    found = summary.latency.summary()
    if found is None:
        return '<p class="note">The output does not say.</p>'
    text = ", ".join(f"{name} {seconds_text(value)}" for name, value in found.items())
    first = summary.first_token.summary()
    more = "" if first is None else f"; first token p50 {seconds_text(first['p50'])}, p95 {seconds_text(first['p95'])}"
    return f'{latency_chart(summary.latency)}<p class="note">{text}{more}</p>'


def _models(summary: OutputSummary) -> str:
    if not summary.by_model:
        return '<p class="note">There are no answers.</p>'
    head = _row("th", ("model", "answers", "input tokens", "output tokens", "cost"))
    lines = []
    for name, entry in sorted(summary.by_model.items(), key=lambda item: (-item[1].cost, item[0])):
        known = f"${entry.cost:.4f}" if entry.cost or not entry.unknown else ""
        unknown = f"{entry.unknown:,} unknown" if entry.unknown else ""
        counts = (entry.requests, entry.prompt_tokens, entry.completion_tokens)
        cost = " + ".join(filter(None, (known, unknown)))
        lines.append(_row("td", (name, *(f"{count:,}" for count in counts), cost)))
    return f'<div class="scroll"><table><thead>{head}</thead><tbody>{"".join(lines)}</tbody></table></div>'


def _row(tag: str, cells: tuple[str, ...]) -> str:
    first, *others = cells
    css = ' class="wrap"' if tag == "td" else ""
    numbers = "".join(f'<{tag} class="number">{escaped(cell)}</{tag}>' for cell in others)
    return f"<tr><{tag}{css}>{escaped(first)}</{tag}>{numbers}</tr>"


def _errors(summary: OutputSummary) -> str:
    if not summary.errors:
        return '<p class="note">There are none.</p>'
    lines = []
    for kind, count in summary.errors.most_common():
        example = summary.examples.get(kind, "")
        if len(example) > _LONGEST_EXAMPLE:
            example = f"{example[:_LONGEST_EXAMPLE]}..."
        cells = f'<td class="number">{count:,}</td><td>{escaped(kind)}</td><td class="wrap">{escaped(example)}</td>'
        lines.append(f"<tr>{cells}</tr>")
    head = '<tr><th class="number">rows</th><th>kind</th><th>an example</th></tr>'
    return f'<div class="scroll"><table><thead>{head}</thead><tbody>{"".join(lines)}</tbody></table></div>'


def _rows_note(rows: PageRows) -> str:
    if rows.shown < rows.seen:
        text = f"{rows.shown:,} of {rows.seen:,} rows are on this page, failed ones before others."
    else:
        text = f"All {rows.seen:,} rows are on this page."
    if rows.shortened:
        text += f" Long texts of {rows.shortened:,} rows are cut; the output file has all of them."
    return text
