"""The report of an output file: its sums, and a page on which hostile rows are only text."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from decimal import Decimal
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flexllm_batch.histogram import Histogram
from flexllm_batch.inputs.records import Record
from flexllm_batch.outputs.lines import error_line, success_line
from flexllm_batch.report.charts import latency_bins, seconds_text, share_bar
from flexllm_batch.report.page import page, write_page
from flexllm_batch.report.rows import PageRows, page_row, script_safe_json
from flexllm_batch.report.summary import OutputSummary, summarize_output
from flexllm_core.errors import ContractError, InputError, RateLimitError, ServerError
from flexllm_core.json_codec import decode_json
from flexllm_core.results import ChatCompletionResult, ToolCall, Usage

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
HOSTILE = (
    '<script>document.title="owned"</script><img src=x onerror="document.title=1">',
    '</script><script>document.title="owned"</script>',
    "\x1b[31mred\x1b]0;title\x07 \x9b1m \x00",
    "\u202egnp.exe \u2066isolated\u2069 \u200f",
    "<!--<script>",
    "@rows@ @script@ {{name}} &lt;b&gt; \\u003c",
    "\u0627\u0644\u0633\u0644\u0627\u0645 and English",
    "lone \ud83d surrogate \u2028\u2029",
    "</pre></td></table><iframe src='http://127.0.0.1:1/'></iframe>",
    "'\"><svg onload=document.title=1>",
)
KEY = "0123456789abcdef" * 2
USAGE = Usage(10, 5, 15)


def result(text: str | None = "yes", **fields: Any) -> ChatCompletionResult:
    known = {"finish_reason": "stop", "usage": USAGE, "model": "m", "endpoint": "e", "cost": Decimal("0.25")}
    return ChatCompletionResult(text, **{"latency": 0.5, **known, **fields})


def ok(index: int, text: str | None = "yes", prompt: str = "why", /, **fields: Any) -> bytes:
    record = Record(index, [{"role": "user", "content": prompt}], {"id": prompt} if prompt != "why" else {})
    return success_line(record, result(text, **fields), KEY, save_input=True, return_usage=True)


def failed(index: int, error: Exception, prompt: str = "why") -> bytes:
    return error_line(Record(index, [{"role": "user", "content": prompt}], {}), error, KEY, save_input=True)


def hostile_lines(count: int) -> Iterator[bytes]:
    """Rows whose every text is hostile, one with an answer of 1 MB."""
    for index in range(count):
        text = HOSTILE[index % len(HOSTILE)]
        if index % 41 == 3:
            yield failed(index, ServerError(f"failed: {text}", status_code=500, code=text[:20]), text)
        elif index == 77:
            yield ok(index, "<b>" + "x" * 1_000_000, text)
        else:
            reason = "length" if index % 97 == 0 else "stop"
            yield ok(index, f"answer {index}: {text}", text, finish_reason=reason, model=text if index == 5 else "m")


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    """Write lines as an output file."""

    def output(*lines: bytes) -> Path:
        path = tmp_path / "out.jsonl"
        path.write_bytes(b"".join(lines))
        return path

    return output


def parsed(line: bytes) -> dict[str, Any]:
    value: dict[str, Any] = decode_json(line)
    return value


def test_the_sums_are_those_of_the_lines(write: Callable[..., Path]) -> None:
    """Outcomes, tokens, cost, latency, retries; a rejected answer was paid for too."""
    broken = ContractError("breaks it", attempts=3, code="schema")
    broken.answer = result("no", corrections=1, attempts=2)
    summary = summarize_output(
        write(
            ok(0),
            ok(1, attempts=3),
            ok(2, finish_reason="length", latency=2.0, time_to_first_token=0.1),
            ok(3, cached=True, attempts=0, cost=Decimal(0), latency=None),
            ok(4, cost=None, model="other", cost_source=None),
            failed(5, RateLimitError("slow down", status_code=429, attempts=4)),
            failed(6, RateLimitError("slow down, please", status_code=429)),
            failed(7, broken),
        )
    )
    facts = summary.facts()
    assert {
        name: facts[name] for name in ("rows", "ok", "failed", "cached", "truncated", "retries", "corrections")
    } == {
        "rows": 8,
        "ok": 5,
        "failed": 3,
        "cached": 1,
        "truncated": 1,
        "retries": 6,
        "corrections": 1,
    }
    assert (facts["prompt_tokens"], facts["completion_tokens"]) == (60, 30)
    assert (facts["cost"], facts["known_cost"], facts["unknown_cost"]) == (None, 1.0, 1)
    assert facts["by_model"]["m @ e"] == {
        "answers": 5,
        "prompt_tokens": 50,
        "completion_tokens": 25,
        "cost": 1.0,
        "known_cost": 1.0,
    }
    assert facts["by_model"]["other @ e"]["cost"] is None
    assert facts["errors"] == {"RateLimitError (429)": 2, "ContractError (schema)": 1}
    assert facts["examples"]["RateLimitError (429)"] == "slow down"
    assert summary.latency.count == 5
    assert summary.latency.longest == 2.0
    assert summary.first_token.count == 1


def test_of_a_row_that_was_asked_again_the_last_line_counts(write: Callable[..., Path]) -> None:
    """As in the output of an interrupted run."""
    summary = summarize_output(write(failed(0, ServerError("down")), ok(1), ok(0), b"not a line\n", b"\n"))
    assert (summary.totals.rows, summary.totals.ok, summary.totals.unreadable) == (2, 2, 1)
    assert not summary.errors


def test_another_tools_file_is_refused(write: Callable[..., Path]) -> None:
    """And not reported as a run without rows."""
    with pytest.raises(InputError, match="is no output of flexllm batch"):
        summarize_output(write(b'{"custom_id": "1"}\n'))
    assert summarize_output(write()).totals.rows == 0


ODD = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=5,
)
NAMES = ("output", "input", "metadata", "usage", "finish_reason", "model", "endpoint", "cost", "cost_source", "cached",
         "attempts", "corrections", "latency", "time_to_first_token", "error", "rejected", "tool_calls")  # fmt: skip


@given(st.sampled_from(["success", "error"]), st.dictionaries(st.sampled_from(NAMES), ODD))
def test_whatever_stands_in_a_line_is_counted_and_shown(status: str, fields: dict[str, Any]) -> None:
    """A file that anybody may have edited raises nothing, and gives strict JSON."""
    line = {"index": 0, "output": None, "status": status, **fields}
    summary, rows = OutputSummary(), PageRows()
    summary.add(line)
    rows.add(line)
    json.dumps(summary.facts(), allow_nan=False)
    text = b"".join(page("out.jsonl", summary, rows)).decode("utf-8")
    assert text.count("<script") == 3  # words, rows and its own


@given(st.text())
def test_data_in_a_script_element_cannot_end_it(text: str) -> None:
    """And is what it was when it is read as JSON."""
    data = script_safe_json({"text": text.encode("utf-8", "replace").decode()})
    assert not set("<>&\u2028\u2029") & set(data.decode())
    assert json.loads(data) == {"text": text.encode("utf-8", "replace").decode()}


def test_what_cannot_be_seen_is_shown_as_an_escape() -> None:
    """Control characters, marks of direction, lone surrogates; newlines and tabs stay."""
    row, cut = page_row(parsed(ok(0, "\x1b[31m\u202e\u2066\ud83d\n\t", "q")), 100)
    assert row["o"] == "\\x1b[31m\\u202e\\u2066\\ud83d\n\t"
    assert not cut


def test_a_row_shows_what_there_is() -> None:
    """Roles where there are several messages, parts of other kinds, calls of tools, answers that could not stand."""
    messages = [{"role": "system", "content": "s"}, {"role": "user", "content": [{"type": "text", "text": "hi"}]}]
    call = ToolCall("1", "f", "{}")
    answered = result(None, tool_calls=(call,))
    line = success_line(Record(3, messages, {"id": 7}), answered, KEY, save_input=True, return_usage=True)
    row, _ = page_row(parsed(line), 1000)
    assert (row["i"], row["s"], row["n"], row["m"]) == (3, "ok", "system: s\nuser: hi", '{"id": 7}')
    assert '"name": "f"' in row["o"]
    assert (row["t"], row["c"], row["u"]) == (0.5, 0.25, (10, 5))
    error = ContractError("breaks it", code="schema")
    error.answer = result("no")
    row, _ = page_row(parsed(failed(1, error)), 1000)
    assert (row["s"], row["e"], row["o"], row["k"]) == ("failed", "breaks it", "no", "ContractError (schema)")


def test_a_page_has_a_bound() -> None:
    """Rows by number and by bytes, failed ones before others, long texts cut and said so."""
    rows = PageRows(limit=10)
    for index in range(30):
        rows.add(parsed(ok(index) if index < 25 else failed(index, ServerError("down"))))
    shown = json.loads(b"".join(rows.json_array()))
    assert [row["i"] for row in shown] == [0, 1, 2, 3, 4, 25, 26, 27, 28, 29]
    assert (rows.seen, rows.shown) == (30, 10)
    rows = PageRows(room=1_000_000)
    for index in range(300):
        rows.add(parsed(ok(index, "<" * 1_000_000)))
    data = b"".join(rows.json_array())
    assert len(data) < 1_010_000
    shown = json.loads(data)
    assert len(shown) == rows.shown < rows.seen
    assert shown[0]["o"] == "<" * 20_000
    assert shown[0]["ol"] == 1_000_000
    assert rows.shortened == rows.shown


def test_the_bins_hold_every_answer() -> None:
    """Over a logarithmic axis, equally wide."""
    histogram = Histogram()
    for value in (0.0, 0.001, 0.01, 0.1, 1.0, 10.0, 100.0):
        histogram.add(value)
    bins = latency_bins(histogram, 20)
    assert len(bins) == 20
    assert sum(count for _, _, count in bins) == 7
    assert all(high == pytest.approx(low * bins[0][1] / bins[0][0]) for low, high, _ in bins)
    assert latency_bins(Histogram(), 20) == []


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.0, "0.0 ms"), (0.35, "350 ms"), (4.23, "4.2 s"), (95.2, "95 s"), (4000.0, "4000 s")]
)
def test_durations_are_short(seconds: float, text: str) -> None:
    """Two digits that count."""
    assert seconds_text(seconds) == text


def test_an_empty_run_has_a_page(tmp_path: Path) -> None:
    """Without charts, and without a division by zero."""
    path = tmp_path / "report.html"
    write_page(path, "out.jsonl", OutputSummary(), PageRows())
    assert "All 0 rows are on this page" in path.read_text()
    assert share_bar([("ok", "ok", 0)]) == ""
    assert [each.name for each in tmp_path.iterdir()] == ["report.html"]


class Elements(HTMLParser):
    """Collects the elements of a page and their attributes."""

    def __init__(self) -> None:
        super().__init__()
        self.found: set[str] = set()
        self.attributes: set[str] = set()
        self.scripts = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.add(tag)
        self.scripts += tag == "script"
        self.attributes |= {name for name, _ in attrs}


KNOWN = {
    *(
        "html",
        "head",
        "meta",
        "title",
        "style",
        "body",
        "header",
        "h1",
        "h2",
        "p",
        "main",
        "section",
        "div",
        "b",
        "span",
    ),
    *("svg", "rect", "text", "table", "thead", "tbody", "tr", "th", "td", "input", "select", "option", "button"),
    *("noscript", "script", "pre", "span"),
}


@pytest.fixture
def browse(tmp_path: Path) -> Callable[[str], str]:
    """Open a page in headless Chromium: the document after its script ran; anything on the console fails."""
    if CHROMIUM is None:
        pytest.skip("chromium is not installed")

    def load(url: str) -> str:
        options = ["--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-dev-shm-usage"]
        options += [f"--user-data-dir={tmp_path / 'chromium'}", "--enable-logging=stderr", "--virtual-time-budget=5000"]
        done = subprocess.run([CHROMIUM, *options, "--dump-dom", url], capture_output=True, timeout=60)
        assert b"CONSOLE" not in done.stderr, done.stderr
        return done.stdout.decode("utf-8")

    return load


def test_ten_thousand_hostile_rows_are_only_text(browse: Callable[[str], str], tmp_path: Path) -> None:
    """In a browser: no script error, no element or attribute that is not ours, the title as it was."""
    output, report = tmp_path / "out.jsonl", tmp_path / "report.html"
    with output.open("wb") as file:
        file.writelines(hostile_lines(10_000))
    rows = PageRows()
    summary = summarize_output(output, rows.add)
    write_page(report, f"{HOSTILE[0]}.jsonl", summary, rows)
    assert rows.shown == 10_000
    assert report.stat().st_size < 8_000_000
    for place, shown in (("", 100), ("#row=77", 2), ("#row=7", 2), ("#q=owned&status=failed", 40)):
        document = browse(f"file://{report}{place}")
        assert 'data-rows="10000"' in document
        elements = Elements()
        elements.feed(document)
        assert elements.scripts == 3  # words, rows and its own
        assert elements.found <= KNOWN
        assert not {name for name in elements.attributes if name.startswith("on") or name in ("src", "href", "style")}
        title = re.findall(r"<title>(.*?)</title>", document)[0]
        assert title.endswith(".jsonl - flexllm report")
        [table] = re.findall(r'<table id="rows">.*?<tbody>(.*?)</tbody>', document, re.DOTALL)
        assert table.count("<tr>") >= shown if shown > 2 else table.count("<tr>") == shown
        assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]", document.replace("\r", ""))
        if place == "#row=77":
            assert "the beginning of 1,000,003 characters" in table


def test_the_page_asks_for_nothing_from_anywhere(tmp_path: Path) -> None:
    """Its policy admits its own script and style, by their hashes, and nothing else."""
    text = b"".join(page("out.jsonl", OutputSummary(), PageRows())).decode()
    [policy] = re.findall(r'Content-Security-Policy" content="([^"]*)"', text)
    directives = dict(part.split(" ", 1) for part in policy.split("; "))
    assert directives.pop("default-src") == "'none'"
    assert all(re.fullmatch(r"'none'|'sha256-[\w+/]{43}='", value) for value in directives.values())
    assert set(directives) == {"script-src", "style-src", "base-uri", "form-action"}
    assert "http://" not in text
    assert "https://" not in text
