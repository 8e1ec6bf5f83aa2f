"""An input that was edited between two runs: exactly the new requests are sent."""

from __future__ import annotations

import random
from collections import Counter

import pytest

ROWS = 120


def base_rows() -> list[dict]:
    return [{"q": f"question {number}", "id": f"r{number}"} for number in range(ROWS)]


def inserted(rows):
    return [{"q": "a new first question", "id": "new"}, *rows]


def edited(rows):
    return [{**row, "q": row["q"] + ", edited"} if row["id"] == "r50" else row for row in rows]


def deleted(rows):
    return [row for row in rows if row["id"] != "r30"]


def shuffled(rows):
    return random.Random(3).sample(rows, len(rows))


def duplicated(rows):
    return [*rows, {**rows[10], "id": "twin"}]


def everything(rows):
    return duplicated(shuffled(deleted(edited(inserted(rows)))))


@pytest.mark.parametrize("change", [inserted, edited, deleted, shuffled, duplicated, everything])
def test_only_new_requests_are_sent_and_the_output_is_that_of_a_fresh_run(mock, cli, files, tmp_path, change):
    """Requests sent are the multiset difference of the rows; the output equals a run from scratch."""
    rows = base_rows()
    command = ("batch", files.input, "-m", "m", "--base-url", mock.base_url, "-o")
    files.write_input(rows)
    assert cli(*command, files.output).returncode == 0
    before = mock.requests()
    changed = change(rows)
    files.write_input(changed)
    again = cli(*command, files.output)
    assert again.returncode == 0, again.stderr
    new = Counter(row["q"] for row in changed) - Counter(row["q"] for row in rows)
    assert mock.requests() - before == new.total()
    resumed = files.answers()
    files.output = tmp_path / "fresh.jsonl"
    assert cli(*command, files.output).returncode == 0
    assert resumed == files.answers()


def test_answers_that_no_longer_belong_are_moved_aside(mock, cli, files):
    """The answers of deleted and edited rows stand in the .stale file afterwards."""
    command = ("batch", files.input, "-o", files.output, "-m", "m", "--base-url", mock.base_url)
    files.write_input(base_rows())
    assert cli(*command).returncode == 0
    old = {line["key"]: line["output"] for line in files.lines()}
    files.write_input(deleted(edited(base_rows())))
    assert cli(*command).returncode == 0
    files.output = files.output.with_name(files.output.name + ".stale")
    stale = files.lines()
    assert sorted(line["metadata"]["id"] for line in stale) == ["r30", "r50"]
    assert all(old[line["key"]] == line["output"] for line in stale)


def test_another_model_on_the_same_output_is_refused(mock, cli, files):
    """Exit code 5, nothing sent, the file as it was."""
    command = ("batch", files.input, "-o", files.output, "--base-url", mock.base_url, "-m")
    files.write_input(base_rows())
    assert cli(*command, "model-a").returncode == 0
    before, asked = files.output.read_bytes(), mock.requests()
    refused = cli(*command, "model-b")
    assert refused.returncode == 5
    assert "model-a" in refused.stderr
    assert "model-b" in refused.stderr
    assert mock.requests() == asked
    assert files.output.read_bytes() == before


def test_a_short_trial_after_a_long_run_keeps_every_answer(mock, cli, files):
    """`-n 5` on a finished output asks nothing and throws nothing away."""
    command = ("batch", files.input, "-o", files.output, "-m", "m", "--base-url", mock.base_url)
    files.write_input(base_rows())
    assert cli(*command).returncode == 0
    before = files.output.read_bytes()
    assert cli(*command, "-n", 5).returncode == 0
    assert files.output.read_bytes() == before
    assert mock.requests() == ROWS
