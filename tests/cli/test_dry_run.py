"""`flexllm batch --dry-run`: everything that can be known before a run, and nothing is sent or written."""

from __future__ import annotations

import json

import pytest


@pytest.fixture
def priced(tmp_path):
    """A configuration with a price for its model."""

    def write(url):
        path = tmp_path / "config.yaml"
        path.write_text(f"models:\n  - id: priced\n    base_url: {url}\n    max_qps: 7\n"
                        "    api_key: sk-secret-secret-secret\n    price: {input: 1000, output: 2000}\n")  # fmt: skip
        return path

    return write


@pytest.fixture
def plan(cli, files, mock, priced):
    """Runs a dry run with `--format json`; its facts."""

    def run(*more):
        config = priced(mock.base_url)
        done = cli("batch", files.input, "-o", files.output, "-m", "priced", "--config", config, "--dry-run",
                   "--format", "json", *more)  # fmt: skip
        assert done.returncode == 10, done.stderr
        assert "secret" not in done.stdout + done.stderr
        return json.loads(done.stdout)

    return run


MIXED = [
    {"q": "a" * 384, "id": 1},
    {"messages": [{"role": "user", "content": "a" * 384}]},
    {"instruction": "translate", "input": "x"},
    {"q": "x", "params": {"max_tokens": 5}},
]


def test_the_plan_as_json(plan, files, mock):
    """Rows, formats, duplicates, tokens, cost, endpoints and limits."""
    files.write_input(MIXED)
    facts = plan("--max-tokens", 10, "-c", 3)
    assert (facts["rows"], facts["to_ask"], facts["answered"], facts["duplicates"]) == (4, 4, 0, 1)
    assert facts["formats"] == {"simple": 2, "messages": 1, "alpaca": 1}
    assert facts["tokens"]["output"] == {"low": 0, "high": 35}
    assert 150 <= facts["tokens"]["input"]["low"] < 200 < facts["tokens"]["input"]["high"] < 300
    assert facts["tokens"]["estimated_by"] == "rule of thumb"
    assert facts["cost_usd"]["low"] == pytest.approx(facts["tokens"]["input"]["low"] / 1000, rel=0.05)
    assert facts["cost_usd"]["high"] == pytest.approx(facts["tokens"]["input"]["high"] / 1000 + 0.07, rel=0.05)
    assert facts["endpoints"] == [{"name": mock.base_url, "model": "priced", "concurrency": 3, "max_qps": 7.0,
                                   "timeout": None, "retry_times": None}]  # fmt: skip
    assert mock.requests() == 0
    assert not files.output.exists()


def test_answers_that_are_there_cost_nothing_more(plan, cli, files, mock, priced):
    """After a run only what changed would be asked."""
    files.write_input(MIXED)
    config = priced(mock.base_url)
    assert cli("batch", files.input, "-o", files.output, "-m", "priced", "--config", config).returncode == 0
    before = files.output.read_bytes()
    files.write_input([*MIXED[1:], {"q": "new"}])
    facts = plan()
    assert (facts["answered"], facts["to_ask"], facts["stale"]) == (3, 1, 1)
    assert facts["tokens"]["input"]["high"] < 10
    assert files.output.read_bytes() == before
    assert mock.requests() == 4


def test_bad_rows_are_named_by_line_and_do_not_end_a_dry_run(cli, files, mock):
    """All of them up to twenty, and what the run would do about them."""
    files.input.write_text('{"q": "a"}\n{"q": \n{"q": NaN}\n' + "[]\n" * 30)
    command = ("batch", files.input, "-o", files.output, "-m", "m", "--base-url", mock.base_url, "--dry-run")
    done = cli(*command)
    assert done.returncode == 10
    assert "bad rows: 32 (the run would stop before it sends anything)" in done.stderr
    assert "line 2: not valid JSON" in done.stderr
    assert "line 3: field 'q': expected a text, found null" in done.stderr
    assert "and 12 more" in done.stderr
    assert "would leave them out" in cli(*command, "--on-bad-row", "skip").stderr


def test_what_is_unknown_is_said(cli, files, mock):
    """A price that nobody knows, and outputs without max_tokens."""
    files.write_input(MIXED)
    done = cli(
        "batch", files.input, "-o", files.output, "-m", "nobody-knows-me", "--base-url", mock.base_url, "--dry-run"
    )
    assert "cost: unknown, as a price is unknown" in done.stderr
    assert "output tokens: unknown, as rows have no max_tokens" in done.stderr
    assert "duplicates: 1 rows" in done.stderr
    assert "50 in flight" in done.stderr
    assert mock.requests() == 0


def test_an_unlimited_output_has_a_lowest_cost(cli, files, mock, priced):
    """The input alone is what it costs at least."""
    files.write_input(MIXED[:2])
    done = cli("batch", files.input, "-o", files.output, "-m", "priced", "--config", priced(mock.base_url), "--dry-run")
    assert "at least for the input" in done.stderr
    assert "7 requests/s" in done.stderr


def test_a_conflict_shows_in_a_dry_run_too(cli, files, mock):
    """The output of another run: exit code 5, as the run itself would say."""
    files.write_input(MIXED)
    command = ("batch", files.input, "-o", files.output, "--base-url", mock.base_url, "-m")
    assert cli(*command, "m").returncode == 0
    assert cli(*command, "other", "--dry-run").returncode == 5


@pytest.mark.parametrize(
    ("budget", "text"),
    [("0.01", "it would be used up before the end"), ("0.2", "it may be used up"), ("5", "it is enough")],
)
def test_a_budget_is_held_against_the_cost(cli, files, mock, priced, budget, text):
    """Before anything is spent."""
    files.write_input(MIXED)
    config = priced(mock.base_url)
    done = cli("batch", files.input, "-o", files.output, "-m", "priced", "--config", config, "--max-tokens", 10,
               "--budget", budget, "--max-failures", "5%", "--dry-run")  # fmt: skip
    assert done.returncode == 10
    assert text in done.stderr
    assert "failures at most: 5%" in done.stderr
