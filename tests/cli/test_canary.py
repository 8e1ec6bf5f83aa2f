"""`flexllm batch --canary N`: on a terminal it asks; a script says --yes, or the run ends after the canary."""

from __future__ import annotations

import os
import signal
import sys

import pexpect
import pytest

ROWS = [{"q": f"question {number:02}"} for number in range(40)]


@pytest.fixture
def command(files, mock):
    files.write_input(ROWS)
    return ("batch", files.input, "-o", files.output, "-m", "m", "--base-url", mock.base_url, "-c", 5, "--canary", 10)


@pytest.fixture
def terminal(cli, command):
    """The command on a pseudo-terminal, at its question."""

    def start():
        process = pexpect.spawn(sys.executable, ["-m", "flexllm_cli", *map(str, command)], env=cli.environment(),
                                timeout=30, encoding="utf-8", dimensions=(24, 100))  # fmt: skip
        process.expect("ask the other 30 rows")
        return process

    return start


def test_without_a_terminal_the_run_ends_after_the_canary(cli, files, mock, command):
    """Exit code 10; the answers are kept, and --yes goes on with the others."""
    done = cli(*command)
    assert done.returncode == 10
    assert "canary: 10 rows" in done.stderr
    assert "cost: unknown" in done.stderr
    assert "--yes" in done.stderr
    assert (mock.requests(), len(files.lines())) == (10, 10)
    assert cli(*command, "--yes").returncode == 0
    assert mock.requests() == 40
    assert [line["index"] for line in files.lines()] == list(range(40))


def test_failing_rows_end_the_run_with_1(cli, files, mock, command):
    """Even with --yes: one in four is more than a tenth; with a higher limit it goes on."""
    mock.post("/__mock__/faults", [{"status": 400, "match": {"contains": f"question 0{number}"}} for number in (1, 7)])
    done = cli(*command, "--yes")
    assert done.returncode == 1
    assert "of the canary's rows failed; the limit is 10%" in done.stderr
    assert len(files.lines()) == 10
    assert cli(*command, "--yes", "--max-failures", "90%").returncode == 1
    assert len(files.lines()) == 40


def test_a_yes_on_the_terminal_goes_on(terminal, mock):
    """The other rows are asked."""
    process = terminal()
    assert mock.requests() == 10
    process.sendline("y")
    process.expect(pexpect.EOF)
    process.close()
    assert process.exitstatus == 0
    assert mock.requests() == 40


@pytest.mark.parametrize("answer", ["", "n", "what?"])
def test_anything_else_ends_the_run(terminal, mock, answer):
    """Money is spent only on a clear yes."""
    process = terminal()
    process.sendline(answer)
    process.expect("does not go on")
    process.expect(pexpect.EOF)
    process.close()
    assert process.exitstatus == 10
    assert mock.requests() == 10


def test_ctrl_c_at_the_question_ends_the_run(terminal, files, mock):
    """130, as everywhere; the canary's answers are kept."""
    process = terminal()
    os.kill(process.pid, signal.SIGINT)
    process.expect(pexpect.EOF)
    process.close()
    assert process.exitstatus == 130
    assert (mock.requests(), len(files.lines())) == (10, 10)


def test_a_projected_cost_beyond_the_budget_ends_the_run(cli, files, mock, tmp_path):
    """Exit code 9, even with --yes; with enough it goes on and shows what it projects."""
    files.write_input([{"q": "x" * 400 + str(number)} for number in range(40)])
    config = tmp_path / "config.yaml"
    config.write_text(f"models:\n  - id: m\n    base_url: {mock.base_url}\n    price: {{input: 100, output: 0}}\n")
    command = ("batch", files.input, "-o", files.output, "-m", "m", "--config", config, "--max-tokens", 10, "-c", 1,
               "--canary", 10, "--yes", "--budget")  # fmt: skip
    done = cli(*command, "0.2")
    assert done.returncode == 9, done.stderr
    assert "the projected cost is $" in done.stderr
    assert len(files.lines()) == 10
    done = cli(*command, "5")
    assert done.returncode == 0, done.stderr
    assert "projected for all" in done.stderr
    assert len(files.lines()) == 40
