"""The report as one page of HTML: no network, no script but its own, and every text of a row only ever text."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from flexllm_batch.outputs.replacement import replacing
from flexllm_batch.report.charts import escaped, latency_chart, seconds_text, share_bar
from flexllm_batch.report.rows import PageRows
from flexllm_batch.report.summary import OutputSummary
from flexllm_batch.translation import Translate, untranslated

_PLACE = re.compile(r'@([a-z-]+|"[^"@]+")@')
_SCRIPT_TEXT = re.compile(r'\btext\("([^"]+)"')
_LONGEST_EXAMPLE = 2000


def write_page(
    path: Path,
    name: str,
    summary: OutputSummary,
    rows: PageRows,
    *,
    translate: Translate = untranslated,
    language: str = "en",
) -> None:
    """Write the page, whole or not at all.

    Args:
        path: The file; replaced if it is there.
        name: Of the output, for the heading.
        summary: Its sums.
        rows: The rows to show.
        translate: Puts the page's own texts into another language than English.
        language: Which one, as HTML calls it.

    Raises:
        OSError: It cannot be written.
    """
    with replacing(path) as file:
        file.writelines(page(name, summary, rows, translate=translate, language=language))


def page(
    name: str,
    summary: OutputSummary,
    rows: PageRows,
    *,
    translate: Translate = untranslated,
    language: str = "en",
) -> Iterator[bytes]:
    """The page, in pieces."""
    style, script = _resource("page.css"), _resource("page.js")
    parts = _Parts(summary, translate)
    pieces = {
        "language": escaped(language),
        "style": style,
        "script": script,
        "style-hash": _hash(style),
        "script-hash": _hash(script),
        "title": escaped(translate("{name} - flexllm report").format(name=name)),
        "name": escaped(name),
        "headline": parts.headline(),
        "cards": parts.cards(),
        "outcome": parts.outcome(),
        "latency": parts.latency(),
        "models": parts.models(),
        "errors": parts.errors(),
        "rows-note": parts.rows_note(rows),
        "words": _words(script, translate),
    }
    # One pass over the template alone: what is put in is never looked at again.
    for number, part in enumerate(_PLACE.split(_resource("page.html"))):
        if number % 2 == 0:
            yield part.encode()
        elif part == "rows":
            yield from rows.json_array()
        else:
            yield (escaped(translate(part[1:-1])) if part.startswith('"') else pieces[part]).encode()


def template_texts() -> list[str]:
    """The texts for people that stand in the template and in the script, to be translated."""
    quoted = [part[1:-1] for part in _PLACE.findall(_resource("page.html")) if part.startswith('"')]
    return list(dict.fromkeys([*quoted, *_SCRIPT_TEXT.findall(_resource("page.js"))]))


def _words(script: str, translate: Translate) -> str:
    """What the script says, by what it says in English."""
    return json.dumps({text: translate(text) for text in _SCRIPT_TEXT.findall(script)}).replace("<", "\\u003c")


def _resource(name: str) -> str:
    return resources.files(__package__).joinpath(name).read_text(encoding="utf-8").rstrip("\n")


def _hash(text: str) -> str:
    """What the page's policy knows its own script and style by."""
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def cost_text(summary: OutputSummary, translate: Translate = untranslated) -> str:
    """The cost, honest about what is estimated and unknown."""
    totals = summary.totals
    if totals.unknown_cost and not totals.cost:
        return translate("unknown")
    text = f"${totals.cost:.4f}"
    if summary.estimated_cost:
        estimated = f"${summary.estimated_cost:.4f}"
        text = translate("{known} ({estimated} of it estimated)").format(known=text, estimated=estimated)
    if not totals.unknown_cost:
        return text
    return translate("{known} + {count} of unknown cost").format(known=text, count=f"{totals.unknown_cost:,}")


def _row(tag: str, cells: tuple[str, ...]) -> str:
    first, *others = cells
    css = ' class="wrap"' if tag == "td" else ""
    numbers = "".join(f'<{tag} class="number">{escaped(cell)}</{tag}>' for cell in others)
    return f"<tr><{tag}{css}>{escaped(first)}</{tag}>{numbers}</tr>"


@dataclass(frozen=True, slots=True)
class _Parts:
    """The parts of the page that sums are shown in."""

    summary: OutputSummary
    translate: Translate

    def headline(self) -> str:
        """How many rows there are, in a sentence."""
        totals = self.summary.totals
        text = self.translate("{rows} rows: {ok} ok, {failed} failed")
        text = text.format(rows=f"{totals.rows:,}", ok=f"{totals.ok:,}", failed=f"{totals.failed:,}")
        if totals.unreadable:
            more = self.translate("; {count} lines of the file are no output lines")
            text += more.format(count=f"{totals.unreadable:,}")
        return escaped(text)

    def outcome(self) -> str:
        """A bar of outcomes."""
        totals, truncated, translate = self.summary.totals, self.summary.truncated, self.translate
        parts = (
            ("ok", translate("ok"), totals.ok - truncated),
            ("truncated", translate("truncated"), truncated),
            ("failed", translate("failed"), totals.failed),
        )
        return share_bar(parts)

    def cards(self) -> str:
        """The sums, each in a card."""
        totals, summary, translate = self.summary.totals, self.summary, self.translate
        cards = [
            (translate("ok"), f"{totals.ok:,}"),
            (translate("failed"), f"{totals.failed:,}"),
            (translate("truncated"), f"{summary.truncated:,}"),
            (translate("from the cache"), f"{summary.cached:,}"),
            (translate("retries"), f"{summary.retries:,}"),
            (translate("corrections"), f"{summary.corrections:,}"),
            (translate("input tokens"), f"{totals.prompt_tokens:,}"),
            (translate("output tokens"), f"{totals.completion_tokens:,}"),
            (translate("cost"), cost_text(summary, translate)),
        ]
        texts = ((escaped(value), escaped(label)) for label, value in cards)
        return "".join(f'<div class="card"><b>{value}</b><span>{label}</span></div>' for value, label in texts)

    def latency(self) -> str:
        """How long answers took."""
        found = self.summary.latency.summary()
        if found is None:
            return self._note(self.translate("The output does not say."))
        text = ", ".join(f"{self.translate(name)} {seconds_text(value)}" for name, value in found.items())
        first = self.summary.first_token.summary()
        if first is not None:
            more = self.translate("; first token p50 {median}, p95 {high}")
            text += more.format(median=seconds_text(first["p50"]), high=seconds_text(first["p95"]))
        label = self.translate("latency of {count} answers").format(count=self.summary.latency.count)
        return latency_chart(self.summary.latency, label=label) + self._note(text)

    def models(self) -> str:
        """A table of answers, tokens and cost of each model."""
        translate = self.translate
        if not self.summary.by_model:
            return self._note(translate("There are no answers."))
        names = (translate("model"), translate("answers"), translate("input tokens"), translate("output tokens"))
        lines = []
        for name, entry in sorted(self.summary.by_model.items(), key=lambda item: (-item[1].cost, item[0])):
            known = f"${entry.cost:.4f}" if entry.cost or not entry.unknown else ""
            unknown = translate("{count} unknown").format(count=f"{entry.unknown:,}") if entry.unknown else ""
            counts = (entry.requests, entry.prompt_tokens, entry.completion_tokens)
            cost = " + ".join(filter(None, (known, unknown)))
            lines.append(_row("td", (name, *(f"{count:,}" for count in counts), cost)))
        return _table(_row("th", (*names, translate("cost"))), lines)

    def errors(self) -> str:
        """A table of kinds of errors."""
        if not self.summary.errors:
            return self._note(self.translate("There are none."))
        lines = []
        for kind, count in self.summary.errors.most_common():
            example = self.translate(self.summary.examples.get(kind, ""))
            if len(example) > _LONGEST_EXAMPLE:
                example = f"{example[:_LONGEST_EXAMPLE]}..."
            cells = f'<td class="number">{count:,}</td><td>{escaped(kind)}</td><td class="wrap">{escaped(example)}</td>'
            lines.append(f"<tr>{cells}</tr>")
        translate = self.translate
        rows, kinds, examples = translate("rows"), translate("kind"), translate("an example")
        return _table(
            f'<tr><th class="number">{escaped(rows)}</th><th>{escaped(kinds)}</th><th>{escaped(examples)}</th></tr>',
            lines,
        )

    def rows_note(self, rows: PageRows) -> str:
        """How much of the output is on the page."""
        if rows.shown < rows.seen:
            text = self.translate("{shown} of {seen} rows are on this page, failed ones before others.")
        else:
            text = self.translate("All {seen} rows are on this page.")
        text = text.format(shown=f"{rows.shown:,}", seen=f"{rows.seen:,}")
        if rows.shortened:
            more = self.translate("Long texts of {count} rows are cut; the output file has all of them.")
            text += " " + more.format(count=f"{rows.shortened:,}")
        return escaped(text)

    def _note(self, text: str) -> str:
        return f'<p class="note">{escaped(text)}</p>'


def _table(head: str, lines: list[str]) -> str:
    return f'<div class="scroll"><table><thead>{head}</thead><tbody>{"".join(lines)}</tbody></table></div>'
