"""Signals in the middle of a run: rows in flight are paid for, so they are finished and kept."""

from __future__ import annotations

import signal
import subprocess

import pytest

ROWS = 80


@pytest.fixture
def slow(start_mock, files):
    """A server that takes 0.2 s for each answer, and rows for it."""
    files.write_input([{"q": f"question {number}"} for number in range(ROWS)])
    return start_mock("--delay", "0.2")


def command(files, mock, *more):
    return ("batch", files.input, "-o", files.output, "-m", "m", "--base-url", mock.base_url, "-c", 10, *more)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_one_signal_finishes_the_rows_in_flight(slow, cli, files, wait_until, number, code):
    """Everything that the server answered is on disk, and a resume completes without asking it again."""
    process = cli.start(*command(files, slow))
    wait_until(lambda: slow.requests() >= 25, "requests")
    process.send_signal(number)
    _, errors = process.communicate(timeout=30)
    assert process.returncode == code, errors
    asked = slow.requests()
    assert asked < ROWS
    assert len(files.lines()) == asked
    assert "in flight" in errors
    assert cli(*command(files, slow)).returncode == 0
    assert [line["index"] for line in files.lines()] == list(range(ROWS))
    assert slow.requests() == ROWS


def test_a_second_sigint_leaves_at_once(start_mock, cli, files, wait_until):
    """It does not wait for rows in flight; what was finished is on disk."""
    mock = start_mock()
    mock.post("/__mock__/faults", [{"delay": 3600, "match": {"contains": "question 1"}}])
    files.write_input([{"q": f"question {number}"} for number in range(20)])
    process = cli.start(*command(files, mock))
    wait_until(lambda: files.output.exists() and files.output.read_bytes().count(b"\n") >= 9, "finished rows")
    process.send_signal(signal.SIGINT)
    assert "in flight" in process.stderr.readline()
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=20)
    assert process.returncode == 130
    assert len(files.lines()) >= 9


def test_sigterm_waits_no_longer_than_drain(start_mock, cli, files, wait_until):
    """Rows that hang are left after `--drain` seconds."""
    mock = start_mock("--delay", "3600")
    files.write_input([{"q": f"question {number}"} for number in range(20)])
    process = cli.start(*command(files, mock, "--drain", "0.2"))
    wait_until(lambda: mock.requests() >= 10, "requests")
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=20)
    assert process.returncode == 143


def test_nohup_is_respected(slow, cli, files, wait_until):
    """A SIGHUP that was ignored when the command started stays ignored."""
    process = cli.start(*command(files, slow), preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN))
    wait_until(lambda: slow.requests() >= 15, "requests")
    process.send_signal(signal.SIGHUP)
    try:
        process.communicate(timeout=60)
    except subprocess.TimeoutExpired:
        process.kill()
        raise
    assert process.returncode == 0
    assert len(files.lines()) == ROWS
