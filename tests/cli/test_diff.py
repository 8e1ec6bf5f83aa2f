"""`flexllm diff` on outputs of real runs."""

from __future__ import annotations

import json

import pytest

ROWS = [{"q": f"question {number}"} for number in range(12)]


@pytest.fixture
def outputs(cli, files, mock, tmp_path):
    """Run the rows once; gives a function that runs rows into another output."""

    def run(name, rows=ROWS, model="m", *more):
        files.write_input(rows)
        output = tmp_path / name
        cli("batch", files.input, "-o", output, "-m", model, "--base-url", mock.base_url, *more)
        return output

    return run


def test_equal_outputs_are_0_and_others_1(cli, outputs):
    """As `diff` does; the mock gives each request the same answer each time, and another to another model."""
    first, again, other = outputs("a.jsonl"), outputs("b.jsonl"), outputs("c.jsonl", ROWS, "other")
    same = cli("diff", first, again)
    assert same.returncode == 0
    assert "12 with the same answer, 0 changed" in same.stdout
    different = cli("diff", first, other)
    assert different.returncode == 1
    assert "aligned by their messages" in different.stdout
    assert "12 changed" in different.stdout
    assert "2 more rows that changed are not shown" in different.stdout


def test_failures_and_rows_of_one_output_are_told(cli, outputs, mock):
    """As JSON with the whole of each change."""
    first = outputs("a.jsonl")
    mock.post("/__mock__/faults", [{"status": 400, "match": {"contains": "question 3"}}])
    second = outputs("b.jsonl", [*ROWS[1:], {"q": "new"}])
    done = cli("diff", first, second, "--format", "json")
    assert done.returncode == 1
    facts = json.loads(done.stdout)
    assert (facts["by"], facts["same"], facts["broken"], facts["only_before"], facts["only_after"]) == (
        "key",
        10,
        1,
        1,
        1,
    )
    assert facts["changes"][0]["before"]["index"] == 3
    assert facts["changes"][0]["after"]["error"]["status"] == 400
    assert facts["after"]["cost_usd"] is None


def test_files_that_cannot_be_compared(cli, outputs, tmp_path):
    """A missing one is 3, one of another tool is 2."""
    first, other = outputs("a.jsonl"), tmp_path / "other.jsonl"
    assert cli("diff", first, other).returncode == 3
    other.write_text('{"text": "mine"}\n')
    refused = cli("diff", first, other)
    assert refused.returncode == 2
    assert "other.jsonl: is no output" in refused.stderr
