"""Mistakes that would cost money or data are refused before the first request."""

from __future__ import annotations

import json
import os

import pytest

ROWS = [{"q": f"question {number}"} for number in range(60)]


@pytest.fixture
def batch(cli, files, mock):
    """`batch(output)` runs the command on 60 rows."""
    files.write_input(ROWS)
    return lambda output, *more: cli("batch", files.input, "-o", output, "-m", "m", "--base-url", mock.base_url, *more)


def test_output_that_is_the_input_is_refused(batch, files, mock, tmp_path):
    """By its name, through a symlink and through a hard link; the input is as it was."""
    before = files.input.read_bytes()
    link, hard = tmp_path / "link.jsonl", tmp_path / "hard.jsonl"
    link.symlink_to(files.input)
    os.link(files.input, hard)
    for output in (files.input, link, hard):
        for more in ((), ("--overwrite",)):
            refused = batch(output, *more)
            assert refused.returncode == 5
            assert "input" in refused.stderr
    assert files.input.read_bytes() == before
    assert mock.requests() == 0


def test_folders_and_devices_are_refused(batch, mock, tmp_path):
    """Before anything is sent."""
    for output in (tmp_path, "/dev/null", "/dev/full"):
        refused = batch(output)
        assert refused.returncode == 5
        assert str(output) in refused.stderr
    assert mock.requests() == 0


def test_another_tools_file_is_refused_and_untouched(batch, mock, tmp_path):
    """JSONL that we did not write, and text that is not JSON."""
    for text in ('{"id": 1, "text": "mine"}\n{"id": 2}\n', "a diary\nwith two lines\n", '{"id": 1}'):
        other = tmp_path / "other.jsonl"
        other.write_text(text)
        refused = batch(other)
        assert refused.returncode == 5, refused.stderr
        assert "--overwrite" in refused.stderr
        assert other.read_text() == text
    assert mock.requests() == 0
    assert batch(other, "--overwrite").returncode == 0
    assert mock.requests() == 60


def test_a_lone_surrogate_in_one_answer_costs_nothing(batch, files, mock):
    """The other 59 rows are answered, and the odd one is kept, escaped."""
    mock.post("/__mock__/faults", [{"answer": "half an emoji: \ud83d", "match": {"contains": "question 33"}}])
    done = batch(files.output)
    assert done.returncode == 0, done.stderr
    lines = files.lines()
    assert len(lines) == 60
    assert lines[33]["output"] == "half an emoji: \ud83d"
    assert b"\\ud83d" in files.output.read_bytes()


def test_bad_json_is_named_by_line_and_sends_nothing(batch, files, mock):
    """By default a bad line stops the run before any money is spent."""
    lines = [json.dumps(row) for row in ROWS]
    lines[16] = '{"q": "question 16"'
    files.input.write_text("\n".join(lines) + "\n")
    refused = batch_again(batch, files)
    assert refused.returncode == 2
    assert "line 17" in refused.stderr
    assert mock.requests() == 0
    assert not files.output.exists()


def batch_again(batch, files):
    """The fixture writes good rows first; the test has replaced them since."""
    return batch(files.output)


@pytest.mark.parametrize(("policy", "code", "count"), [("skip", 0, 59), ("record", 1, 60)])
def test_bad_rows_can_be_skipped_or_recorded(batch, files, mock, policy, code, count):
    """`skip` leaves the row out, `record` writes it as an error; both answer the others."""
    lines = [json.dumps(row) for row in ROWS]
    lines[16] = "[1, 2]"
    files.input.write_text("\n".join(lines) + "\n")
    done = batch(files.output, "--on-bad-row", policy)
    assert done.returncode == code, done.stderr
    assert len(files.lines()) == count
    assert mock.requests() == 59
