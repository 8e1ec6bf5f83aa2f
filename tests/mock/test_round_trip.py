"""Run and run again: a batch gets the same output from fixtures of its output, and from a recording."""

from __future__ import annotations

import json
import subprocess
import sys
from contextlib import contextmanager

import pytest

KEY = "sk-test-12345678"
PROVIDERS = {"openai": "/v1", "claude": "", "gemini": ""}
TOOL = {"type": "function", "function": {"name": "add", "parameters": {
    "type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}}}  # fmt: skip
POISON = [{"status": 400, "match": {"contains": "poison"}}]


def rows(gsm8k):
    """Plain questions, with instructions, tools, thinking, several turns, one twice, and a bad one."""
    questions = [json.loads(line)["question"] for line in gsm8k.read_text().splitlines()[:40]]
    turns = [{"role": "user", "content": "Say {{model}}"}, {"role": "assistant", "content": "No."}]
    return [
        *[{"q": question, "id": at} for at, question in enumerate(questions)],
        {"q": "Use the system", "system": "You are kind.\n\nVery."},
        {"q": "Call add", "params": {"tools": [TOOL]}},
        {"q": "Think about it", "params": {"thinking": "high", "max_tokens": 4096}},
        {"messages": [*turns, {"role": "user", "content": "Then say é \U0001f600 \u2028"}]},
        {"q": questions[0], "id": "again"},
        {"q": "poison"},
        {"q": "Be brief", "params": {"max_tokens": 3}},
    ]


@pytest.fixture
def run(cli, files, tmp_path):
    """Run the batch against a server; returns its lines without what differs between two runs."""

    def start(provider, url, name):
        config, output = tmp_path / f"{name}.yaml", tmp_path / f"{name}.jsonl"
        entry = {"id": "m-1", "provider": provider, "base_url": url + PROVIDERS[provider], "api_key": KEY}
        config.write_text(json.dumps({"default": "m-1", "models": [entry]}))
        done = cli("batch", files.input, "-o", output, "--config", config)
        assert done.returncode == 1, done.stderr  # for the bad row
        text = output.read_text(encoding="utf-8").replace(url, "URL")
        lines = [json.loads(line) for line in text.split("\n") if line]
        assert [line["status"] for line in lines].count("error") == 1
        for line in lines:
            line.pop("latency", None)
        return output, lines

    return start


@contextmanager
def mock_command(folder, *arguments):
    """A command of the mock that serves; gives its URL."""
    ready = folder / "command-ready.json"
    command = [sys.executable, "-m", "flexllm_mock", *map(str, arguments), "--port", "0", "--quiet"]
    with subprocess.Popen([*command, "--ready-file", ready], stdout=subprocess.PIPE, text=True) as process:
        try:
            yield json.loads(process.stdout.readline())["url"]
        finally:
            process.terminate()
            assert process.wait(10) == 0


@pytest.mark.parametrize("provider", PROVIDERS)
def test_fixtures_of_an_output_give_the_same_output(provider, run, files, gsm8k, start_mock, tmp_path):
    """Answers, thinking, calls with their ids, usage, reasons, models and errors; with another seed behind them."""
    files.write_input(rows(gsm8k))
    origin = _poisoned(start_mock("--seed", "1"))
    output, first = run(provider, origin.url, "first")
    fixtures = tmp_path / "fixtures.jsonl"
    command = [sys.executable, "-m", "flexllm_mock", "fixtures", "from-output", output, "-o", fixtures]
    assert subprocess.run(command, capture_output=True).returncode == 0
    _, second = run(provider, start_mock("--seed", "2", "--fixtures", str(fixtures)).url, "second")
    assert second == first
    if provider == "openai":  # without the fixtures it is not the same
        assert run(provider, _poisoned(start_mock("--seed", "2")).url, "other")[1] != first


def _poisoned(mock):
    mock.post("/__mock__/faults", POISON)
    return mock


@pytest.mark.parametrize("provider", ["openai", "gemini"])
def test_a_recording_gives_the_same_output(provider, run, files, gsm8k, start_mock, tmp_path):
    """Through the proxy, then without the server behind it; and the key is not in the file."""
    files.write_input(rows(gsm8k))
    origin = _poisoned(start_mock("--seed", "1"))
    recording = tmp_path / "recording.jsonl"
    with mock_command(tmp_path, "record", "--upstream", origin.url, "--out", recording) as url:
        _, recorded = run(provider, url, "recorded")
    assert KEY not in recording.read_text()
    with mock_command(tmp_path, "replay", recording, "--speed", "0") as url:
        _, replayed = run(provider, url, "replayed")
    assert replayed == recorded
