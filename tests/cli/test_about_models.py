"""The commands that tell about models and keys: models, credits, set-model."""

from __future__ import annotations

import json
import stat

import pytest

KEY = "sk-or-v1-cef5a7" + "0123456789abcdef" * 3 + "8559"


@pytest.fixture
def configure(cli):
    """Write the configuration of the test's home folder."""

    def write(text: str):
        folder = cli.home / ".flexllm"
        folder.mkdir(mode=0o700, exist_ok=True)
        path = folder / "config.yaml"
        path.write_bytes(text.encode())
        path.chmod(0o600)
        return path

    return write


def test_models_of_the_endpoint_are_listed(cli, start_mock, configure):
    """All of them, a part of them, as JSON, and with nothing but a base URL."""
    mock = start_mock("--model", "qwen-1", "--model", "qwen-2", "--model", "llama")
    configure(f"models:\n  - {{id: qwen-1, base_url: '{mock.base_url}'}}\n")
    names = [line.split()[0] for line in cli("models").stdout.splitlines()]
    assert names == ["qwen-1", "qwen-2", "llama"]
    filtered = cli("models", "QWEN")
    assert [line.split()[0] for line in filtered.stdout.splitlines()] == ["qwen-1", "qwen-2"]
    assert "models at http" in filtered.stderr
    listed = json.loads(cli("models", "--base-url", mock.base_url, "--format", "json").stdout)
    assert [info["id"] for info in listed] == ["qwen-1", "qwen-2", "llama"]


def test_models_of_a_dead_server_is_one_line_and_code_6(cli):
    """No traceback, and the exit code of the network."""
    done = cli("models", "--base-url", "http://127.0.0.1:9/v1")
    assert done.returncode == 6
    assert len(done.stderr.strip().splitlines()) == 1


def test_credits_show_the_balance_and_a_masked_key(cli, mock, configure):
    """Label, amount and currency as the vendor says them; the key is recognisable and not usable."""
    configure(
        f"default: grok\nmodels:\n  - {{id: x-ai/grok, name: grok, base_url: '{mock.url}/api/v1', api_key: {KEY}}}\n"
    )
    done = cli("credits", "--vendor", "openrouter")
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0] == "OpenRouter account balance"
    assert lines[1] == "Model entry: grok"
    assert lines[2] == "API Key: sk-or-v1-cef5a7...8559"
    assert lines[3] == "-" * 40
    assert lines[4].startswith("  Remaining: $")
    assert KEY not in done.stdout + done.stderr
    report = json.loads(cli("credits", "-m", "grok", "--vendor", "openrouter", "--format", "json").stdout)
    assert report["vendor"] == "OpenRouter"
    assert report["lines"][0]["label"] == "remaining"


def test_credits_say_where_there_are_none(cli, configure):
    """A vendor without a balance is a sentence that says where to look, without a request."""
    configure(f"models:\n  - {{id: claude-x, base_url: 'https://api.anthropic.com', api_key: {KEY}}}\n")
    done = cli("credits")
    assert done.returncode == 1
    assert "admin key" in done.stderr
    assert KEY not in done.stderr


FILES = {
    "comments": '# mine\ndefault: "one"   # the quick one\nmodels:\n  - id: one  # 1\n  - {id: two}\n# end\n',
    "single quotes": "default: 'one'\nmodels: [{id: one}, {id: two}]\n",
    "plain": "models:\n- id: one\n- id: two\ndefault: one\n",
    "empty": "default:\nmodels: [{id: one}, {id: two}]\n",
    "missing": "# no default\nmodels: [{id: one}, {id: two}]\n",
    "windows": "default: one # x\r\nmodels:\r\n- id: one\r\n- id: two\r\n",
    "hash in quotes": 'default: "one#1" # c\nmodels: [{id: "one#1"}, {id: two}]\n',
    "nested key of the name": "models:\n- id: one\n  params: {user: default}\n- id: two\n",
}


@pytest.mark.parametrize("text", FILES.values(), ids=FILES)
def test_set_model_changes_one_line(cli, configure, text):
    """The default is another one; comments, order, quotes and line ends of everything else are what they were."""
    path = configure(text)
    done = cli("set-model", "two")
    assert done.returncode == 0, done.stderr
    after = path.read_bytes().decode()
    old_lines, new_lines = text.splitlines(keepends=True), after.splitlines(keepends=True)
    assert [line for line in old_lines if not line.startswith("default")] == [
        line for line in new_lines if not line.startswith("default")
    ]
    [line] = [line for line in new_lines if line.startswith("default")]
    assert line.startswith('default: "two"')
    for comment in ("# the quick one", "# x", "# c"):
        assert (comment in text) == (comment in after)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert cli("list").stdout.splitlines()[1].startswith("* two")
    assert [entry.name for entry in path.parent.iterdir()] == ["config.yaml"]


def test_set_model_refuses_a_file_that_it_cannot_edit(cli, configure):
    """A default inside braces is left as it is, with a word about it."""
    text = "{default: one, models: [{id: one}, {id: two}]}\n"
    path = configure(text)
    done = cli("set-model", "two")
    assert done.returncode == 2
    assert path.read_text() == text


def test_set_model_needs_a_model_that_is_there(cli, configure):
    """The message names those that are."""
    configure("models: [{id: one}, {id: two}]\n")
    done = cli("set-model", "three")
    assert done.returncode == 3
    assert "one, two" in done.stderr
    assert cli("set-model", "x", "--config", cli.home / "missing.yaml").returncode == 3
