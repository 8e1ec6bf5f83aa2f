"""The summary of a run and `flexllm report`: the same truth from the run and from its output."""

from __future__ import annotations

import json

import pytest

CONFIG = """\
models:
  - id: priced
    base_url: {url}
    price: {{input: 10, output: 100}}
"""
HOSTILE = "\x1b[31m\u202e</script><script>document.title=1</script>"


@pytest.fixture
def run(cli, files, start_mock, tmp_path):
    """Run a batch in which one row of ten is refused."""
    rules = [
        {"match": {"user_regex": "7$"}, "status": 400, "error": f"refused {HOSTILE}"},
        {"answer": HOSTILE},
    ]
    (tmp_path / "rules.json").write_text(json.dumps(rules))
    mock = start_mock("--fixtures", str(tmp_path / "rules.json"))
    (tmp_path / "config.yaml").write_text(CONFIG.format(url=mock.base_url))
    files.write_input([{"q": f"question {number}"} for number in range(30)])

    def batch(*options: str):
        command = ("batch", files.input, "-o", files.output, "-m", "priced", "--config", tmp_path / "config.yaml")
        return cli(*command, "--track-cost", *options)

    return batch


def test_the_summary_has_latency_models_and_examples(run, files):
    """As lines on stderr, without control characters, and as one JSON object on stdout."""
    done = run("--format", "json")
    assert done.returncode == 1
    summary = json.loads(done.stdout)
    assert (summary["ok"], summary["failed"], summary["cached"], summary["corrections"]) == (27, 3, 0, 0)
    assert 0 <= summary["latency"]["p50"] <= summary["latency"]["p95"] <= summary["latency"]["p99"]
    assert summary["first_token"] is None
    [(name, entry)] = summary["by_model"].items()
    assert name.startswith("priced @ http://127.0.0.1")
    assert entry["answers"] == 27
    assert (
        entry["cost"] == pytest.approx(summary["cost"]) == pytest.approx(sum(x.get("cost", 0) for x in files.lines()))
    )
    [(kind, count)] = summary["errors"].items()
    assert count == 3
    assert HOSTILE in summary["examples"][kind]
    assert f"3 x {kind}: " in done.stderr
    assert "latency: p50 " in done.stderr
    assert "  model " in done.stderr
    assert "\x1b[31m" not in done.stderr
    assert "\u202e" not in done.stderr


def test_the_report_says_what_the_run_said(run, cli, files):
    """From the output alone."""
    summary = json.loads(run("--format", "json").stdout)
    report = cli("report", files.output, "--format", "json")
    assert report.returncode == 0, report.stderr
    facts = json.loads(report.stdout)
    assert facts["rows"] == 30
    for name in ("ok", "failed", "retries", "prompt_tokens", "completion_tokens", "truncated", "errors", "examples"):
        assert facts[name] == summary[name], name
    assert facts["cost"] == pytest.approx(summary["cost"])
    assert facts["latency"]["p95"] == pytest.approx(summary["latency"]["p95"], abs=0.002)
    text = cli("report", files.output)
    assert "30 rows, 27 ok, 3 failed" in text.stdout
    assert "\x1b" not in text.stdout
    assert "\u202e" not in text.stdout


def test_the_page_is_written_whole(run, cli, files, tmp_path):
    """And the output is left as it is."""
    run()
    before = files.output.read_bytes()
    page = tmp_path / "report.html"
    done = cli("report", files.output, "--html", page, "--rows", "5")
    assert done.returncode == 0, done.stderr
    text = page.read_text(encoding="utf-8")
    assert text.count("<script") == 3  # words, rows and its own
    assert "5 of 30 rows are on this page" in text
    assert files.output.read_bytes() == before
    assert f"page: {page}" in done.stderr


@pytest.mark.parametrize(
    ("output", "html", "code"),
    [
        ("nowhere.jsonl", None, 3),
        ("other.jsonl", None, 2),
        ("out.jsonl", "out.jsonl", 2),
        ("out.jsonl", "no/x.html", 3),
    ],
)
def test_what_cannot_be_reported_is_said(run, cli, tmp_path, output, html, code):
    """With the exit code of each."""
    run()
    (tmp_path / "other.jsonl").write_text('{"custom_id": "1"}\n')
    options = ("--html", tmp_path / html) if html else ()
    done = cli("report", tmp_path / output, *options)
    assert done.returncode == code, done.stderr
    assert (tmp_path / "out.jsonl").read_bytes().startswith(b'{"index":0,')
