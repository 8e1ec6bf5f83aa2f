"""Answers that are paid for: kept when a run is killed, never mixed up with other questions, never bought twice."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from flexllm import Batch, BatchSettings, ChatCompletionResult, LLMClient, Usage
from flexllm_batch.inputs.json_source import JsonLines

ROWS = [{"q": f"question {number:03}"} for number in range(60)]
LONG_ROWS = 10_000


@pytest.fixture
def command(files, mock):
    """The command over 60 rows."""
    files.write_input(ROWS)
    return ("batch", files.input, "-o", files.output, "-m", "m", "--base-url", mock.base_url, "-c", 10)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_slow_row_holds_back_no_finished_row(cli, files, mock, command, wait_until, number):
    """Sixty fast rows and one that hangs: at a signal everything that was answered is in the file."""
    mock.post("/__mock__/faults", [{"delay": 3600, "match": {"contains": "question 000"}}])
    process = cli.start(*command, "--drain", "0")
    wait_until(lambda: files.output.exists() and files.output.read_bytes().count(b"\n") == 59, "the fast rows")
    process.send_signal(number)
    process.communicate(timeout=30)
    assert {line["index"] for line in files.lines()} == set(range(1, 60))
    mock.post("/__mock__/reset", {})
    assert cli(*command).returncode == 0
    assert len(files.lines()) == 60


def test_a_trial_and_a_full_run_at_once_lose_nothing(cli, files, mock, command, wait_until):
    """The second is refused before it sends anything; afterwards it asks the rows that the first did not."""
    mock.post("/__mock__/faults", [{"delay": 4}])
    trial = cli.start(*command, "-n", "30", "-c", "30")
    wait_until(lambda: mock.requests() == 30, "the trial's requests")
    refused = cli(*command)
    _, errors = trial.communicate(timeout=60)
    mock.post("/__mock__/reset", {})
    assert (refused.returncode, trial.returncode) == (5, 0), errors
    assert (mock.requests(), len(files.lines())) == (30, 30)
    assert cli(*command).returncode == 0
    assert (mock.requests(), len(files.lines())) == (60, 60)


@pytest.mark.parametrize("more", [("-t", "1.5"), ("--max-tokens", "7"), ("-s", "Be brief."), ("--thinking", "low")])
def test_other_parameters_are_other_questions(cli, files, mock, command, more):
    """Old answers are not passed off as theirs: refused, nothing sent, the file as it was."""
    assert cli(*command).returncode == 0
    before = files.output.read_bytes()
    refused = cli(*command, *more)
    assert refused.returncode == 5
    assert mock.requests() == 60
    assert files.output.read_bytes() == before


def test_another_input_without_saved_inputs_is_noticed(cli, files, mock, command):
    """The same number of rows, none of them the same: the answers are not taken for theirs."""
    assert cli(*command, "--save-input", "false").returncode == 0
    files.write_input([{"q": f"something else {number}"} for number in range(60)])
    assert cli(*command, "--save-input", "false").returncode == 5
    assert mock.requests() == 60


def test_a_row_inserted_at_the_top_costs_one_request(cli, files, mock, command):
    """The other sixty keep their answers, under their new numbers."""
    assert cli(*command).returncode == 0
    answers = {line["key"]: line["output"] for line in files.lines()}
    files.write_input([{"q": "a new first question"}, *ROWS])
    assert cli(*command).returncode == 0
    assert mock.requests() == 61
    assert [line["index"] for line in files.lines()] == list(range(61))
    assert {line["key"]: line["output"] for line in files.lines()[1:]} == answers


async def test_two_answers_of_one_row_are_given_once(mock, files):
    """An output that a crash left with a row twice: each index is yielded once, and is one line at the end."""
    messages = [row["q"] for row in ROWS]
    async with LLMClient(model="m", base_url=mock.base_url) as client:
        await client.chat_batch(messages, output_jsonl=files.output)
        with files.output.open("ab") as file:
            file.write(json.dumps(files.lines()[7]).encode() + b"\n")
        found = [item.index async for item in client.chat_batch_iter(messages, output_jsonl=files.output)]
    assert sorted(found) == list(range(60))
    assert [line["index"] for line in files.lines()] == list(range(60))
    assert mock.requests() == 60


def test_rows_of_other_shapes_than_the_first_are_asked_as_they_are(cli, files, mock, command):
    """No row is sent without its messages because the first row has another format."""
    shapes = [
        {"q": "one"}, {"messages": [{"role": "user", "content": "two"}]}, {"instruction": "three", "input": "x"},
        {"prompt": "four", "system": "be brief"},
        {"custom_id": "c", "body": {"messages": [{"role": "user", "content": "five"}]}},
    ]  # fmt: skip
    files.write_input(shapes)
    assert cli(*command).returncode == 0
    assert [line["input"][-1]["content"] for line in files.lines()] == ["one", "two", "three\n\nx", "four", "five"]
    assert files.lines()[4]["metadata"] == {"custom_id": "c"}


class Instant:
    """Answers in this process."""

    async def complete(self, request):
        usage = Usage(prompt_tokens=10, completion_tokens=5, total_tokens=15)
        return ChatCompletionResult("an answer " * 20, finish_reason="stop", usage=usage, model="m", endpoint="e")


MEASURED = """
import re, runpy, sys
from pathlib import Path
sys.argv[0] = "flexllm"
try:
    runpy.run_module("flexllm_cli", run_name="__main__")
finally:
    [kib] = re.findall(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())
    print(int(kib) / 1024)
"""


def peak_mib(cli, *args):
    """Runs the command; its peak memory, and its exit code.

    The kernel's own count for an ended child begins with what the process that started it had in memory.
    """
    process = subprocess.run(
        [sys.executable, "-c", MEASURED, *map(str, args)], env=cli.environment(), capture_output=True, text=True
    )
    return float(process.stdout.splitlines()[-1]), process.returncode


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="memory is measured through /proc")
async def test_a_finished_job_is_run_again_in_bounded_memory(cli, files, mock):
    """Nothing of the rows or answers is kept: 10,000 of each, 10 MB, cost a few bytes each."""
    peaks = []
    for count in (200, LONG_ROWS):
        files.write_input([{"q": f"question {number} " + "word " * 80} for number in range(count)])
        batch = Batch(Instant(), JsonLines(files.input), BatchSettings(model="m", output=files.output, overwrite=True))
        await batch.prepare()
        await batch.run()
        peak, code = peak_mib(cli, "batch", files.input, "-o", files.output, "-m", "m", "--base-url", mock.base_url)
        assert code == 0
        peaks.append(peak)
    assert mock.requests() == 0
    assert peaks[1] - peaks[0] < 8
