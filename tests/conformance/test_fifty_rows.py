"""`flexllm ask`, streams and a batch of 50 rows over Claude and Gemini, by name and found from the address."""

from __future__ import annotations

import json

import pytest

from flexllm import LLMClient

ROWS = 50
KEY = "sk-fifty-rows-0123456789"
CASES = {
    "claude by name": ("claude", "", "claude-sonnet-4-5"),
    "claude found": ("auto", "/anthropic", "claude-sonnet-4-5"),
    "gemini by name": ("gemini", "/v1beta", "gemini-2.5-flash"),
    "gemini found": ("auto", "/googleapis/v1beta", "gemini-2.5-flash"),
}


@pytest.fixture(params=CASES)
def endpoint(request, start_mock):
    """A mock server with a key, and the endpoint's settings."""
    provider, path, model = CASES[request.param]
    mock = start_mock("--api-key", KEY)
    return mock, {"provider": provider, "base_url": mock.url + path, "model": model}


def test_the_client_answers_fifty_rows(endpoint, tmp_path):
    """A batch with an output, and a stream."""
    mock, settings = endpoint
    with LLMClient(**settings, api_key=KEY) as client:
        batch = client.chat_batch_sync([f"question {n}" for n in range(ROWS)], output_jsonl=tmp_path / "out.jsonl")
        assert batch.stats.ok == ROWS
        assert len(set(batch.contents)) > ROWS / 2
        assert "".join(client.chat_completions_stream_sync("question 7")) == batch[7].content
    assert mock.requests() == ROWS + 1


def test_the_commands_answer_fifty_rows(endpoint, cli, files):
    """With the endpoint in the configuration."""
    mock, settings = endpoint
    config = cli.home / "config.yaml"
    entry = {**{k: v for k, v in settings.items() if k != "model"}, "id": settings["model"], "api_key": "${THE_KEY}"}
    config.write_text(json.dumps({"models": [entry]}))  # JSON is YAML
    files.write_input([{"q": f"question {n}"} for n in range(ROWS)])
    environment = {"THE_KEY": KEY}
    done = cli("batch", files.input, "-o", files.output, "--config", config, env=environment)
    assert done.returncode == 0, done.stderr
    assert all(line["status"] == "success" for line in files.lines())
    asked = cli("ask", "question 7", "--config", config, env=environment)
    assert asked.stdout.rstrip("\n") == files.lines()[7]["output"]
    assert mock.requests() == ROWS + 1
    assert KEY not in done.stderr + asked.stderr + files.output.read_text() + mock.log.read_text()
