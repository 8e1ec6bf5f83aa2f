"""`flexllm batch --schema`, `--no-truncated`: what is asked again, what the output says, and the exit codes."""

from __future__ import annotations

import json

import pytest

GOOD, BAD = '{"n": 1}', '{"n": "one"}'
SCHEMA = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}
CONFIG = """\
models:
  - id: priced
    base_url: {url}
    price: {{input: 10, output: 100}}
"""


@pytest.fixture
def ask(cli, files, start_mock, tmp_path):
    """Run a batch of one row against a mock that gives broken answers before a good one."""

    def run(broken: int, *options: str, answer: object = BAD):
        steps = [{"answer": answer, "times": broken}] if broken else []
        rules = tmp_path / "rules.json"
        rules.write_text(json.dumps([{"per": "rule", "sequence": [*steps, {"answer": GOOD}]}]))
        mock = start_mock("--fixtures", str(rules))
        (tmp_path / "config.yaml").write_text(CONFIG.format(url=mock.base_url))
        files.write_input([{"q": "how many?"}])
        command = ("batch", files.input, "-o", files.output, "-m", "priced", "--config", tmp_path / "config.yaml")
        done = cli(*command, "--track-cost", "--format", "json", *options)
        return done, mock

    return run


@pytest.mark.parametrize("broken", [0, 1, 2, 3])
@pytest.mark.parametrize("corrections", [0, 2])
def test_broken_json_k_times_then_good(ask, files, tmp_path, broken, corrections):
    """Requests, attempts, cost, final state and exit code for each k."""
    schema = tmp_path / "schema.json"
    schema.write_text(json.dumps(SCHEMA))
    done, mock = ask(broken, "--schema", str(schema), "--max-corrections", str(corrections))
    asked = min(broken, corrections) + 1
    (line,) = files.lines()
    assert mock.requests() == line["attempts"] == asked
    assert line.get("corrections", 0) == asked - 1
    usage = line["usage"]
    cost = (usage["prompt_tokens"] * 10 + usage["completion_tokens"] * 100) / 1_000_000
    assert line["cost"] == pytest.approx(cost)
    summary = json.loads(done.stdout)
    assert summary["cost"] == pytest.approx(cost)
    if broken <= corrections:
        assert (done.returncode, line["status"], line["output"]) == (0, "success", GOOD)
    else:
        assert (done.returncode, line["status"], line["output"], line["rejected"]) == (1, "error", None, BAD)
        assert line["error"]["type"] == "ContractError"
        assert "$.n: 'one' is not of type 'integer'" in line["error"]["message"]


def test_a_cut_answer_grows_once(ask, files):
    """With --no-truncated alone; without --grow-max-tokens it fails at once."""
    cut = {"text": "one and", "finish_reason": "length"}
    done, mock = ask(1, "--no-truncated", "--max-tokens", "5", "--grow-max-tokens", "50", answer=cut)
    assert (done.returncode, mock.requests(), files.lines()[0]["output"]) == (0, 2, GOOD)
    done, mock = ask(1, "--no-truncated", "--max-tokens", "5", "--overwrite", answer=cut)
    (line,) = files.lines()
    assert (done.returncode, mock.requests(), line["error"]["code"]) == (1, 1, "truncated")
    assert line["rejected"] == "one and"
    assert "cut off by the token limit" in done.stderr


@pytest.mark.parametrize(
    ("options", "code", "told"),
    [
        (["--schema", "nowhere.json"], 3, "nowhere.json"),
        (["--schema", "{]"], 2, "not JSON"),
        (["--schema", '{"type": "text"}'], 2, "not valid at $.type"),
        (["--schema", '{"$ref": "http://127.0.0.1:1/s"}'], 2, "never fetched"),
        (["--max-corrections", "1"], 2, "without a schema"),
        (["--grow-max-tokens", "9"], 2, "without no_truncated"),
    ],
)
def test_an_unusable_contract_is_refused_before_anything_is_sent(ask, files, options, code, told):
    """With a message that says why."""
    done, mock = ask(0, *options)
    assert (done.returncode, mock.requests()) == (code, 0), done.stderr
    assert told in done.stderr
    assert not files.output.exists()
