"""The commands as a user meets them: real processes against a real mock server."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from importlib.metadata import version

import pytest

KEY = "sk-test-abcdefghijklmnopqrstuv"
CONFIG = """
default: second
models:
  - id: model-one
    name: first
    base_url: {url}
    api_key: {key}
  - id: model-two
    name: second
    base_url: {url}
    api_key: ${{SECOND_KEY}}
    temperature: 0.5
"""


@pytest.fixture
def configured(cli, mock):
    """A home folder with a configuration of two models at the mock server."""
    folder = cli.home / ".flexllm"
    folder.mkdir()
    (folder / "config.yaml").write_text(CONFIG.format(url=mock.base_url, key=KEY))
    return cli


def last_request(mock) -> dict:
    return json.loads(mock.log.read_text().splitlines()[-1])


def test_ask_takes_an_argument(cli):
    """The answer goes to stdout and ends in a newline, and nothing else does."""
    done = cli("ask", "What is Python?", "-m", "mock")
    assert done.returncode == 0
    assert done.stdout.endswith("\n")
    assert len(done.stdout.split()) > 3
    assert done.stderr == ""


def test_ask_reads_standard_input_alone_or_with_an_argument(cli, mock):
    """Piped text is the question, or is added to it."""
    common = ("-m", "echo", "--base-url", mock.base_url)
    assert cli("ask", *common, text="only piped\n").stdout == "only piped\n"
    assert cli("ask", "Summarise:", *common, text="a text\n").stdout == "Summarise:\n\na text\n"
    assert cli("ask", *common, text="").returncode == 2


def test_ask_uses_the_default_model_and_a_named_one(configured, mock):
    """The default entry's model, unless -m names another."""
    assert configured("ask", "Hello", env={"SECOND_KEY": KEY}).returncode == 0
    assert last_request(mock)["model"] == "model-two"
    assert configured("ask", "Hello", "-m", "first").returncode == 0
    assert last_request(mock)["model"] == "model-one"


def test_a_missing_variable_harms_only_the_entry_that_needs_it(configured):
    """The error names the file, the key and the variable."""
    done = configured("ask", "Hello")
    assert done.returncode == 2
    assert "SECOND_KEY" in done.stderr
    assert "models[1].api_key" in done.stderr
    assert configured("ask", "Hello", "-m", "first").returncode == 0


def test_environment_is_used_without_a_file(cli, mock):
    """FLEXLLM_* before OPENAI_*."""
    flexllm = {"FLEXLLM_BASE_URL": mock.base_url, "FLEXLLM_MODEL": "from-flexllm"}
    openai = {"OPENAI_BASE_URL": mock.base_url, "OPENAI_MODEL": "from-openai", "OPENAI_API_KEY": KEY}
    assert cli("ask", "Hello", env=openai).returncode == 0
    assert last_request(mock)["model"] == "from-openai"
    assert cli("ask", "Hello", env={**openai, **flexllm}).returncode == 0
    assert last_request(mock)["model"] == "from-flexllm"


def test_a_configuration_of_the_current_folder_is_not_read(cli, mock, tmp_path):
    """Only when it is named."""
    (tmp_path / "flexllm_config.yaml").write_text(CONFIG.format(url=mock.base_url, key=KEY))
    (tmp_path / "config.yaml").write_text(CONFIG.format(url=mock.base_url, key=KEY))
    done = cli("ask", "Hello", cwd=tmp_path)
    assert done.returncode == 3
    assert "flexllm init" in done.stderr
    assert cli("ask", "Hello", "-m", "first", "--config", tmp_path / "config.yaml", cwd=tmp_path).returncode == 0


def test_list_marks_the_default_and_masks_keys(configured):
    """No whole key is shown."""
    done = configured("list", env={"SECOND_KEY": KEY})
    assert done.returncode == 0
    lines = done.stdout.splitlines()
    assert lines[0].startswith("  first")
    assert lines[1].startswith("* second")
    assert KEY not in done.stdout
    assert "sk-tes...stuv" in done.stdout


def test_list_as_json(configured):
    """A list of objects, without whole keys; an entry that cannot be used says why."""
    first, second = json.loads(configured("list", "--format", "json").stdout)
    assert (first["name"], first["default"], first["api_key"]) == ("first", False, "sk-tes...stuv")
    assert (second["name"], second["default"]) == ("second", True)
    assert "SECOND_KEY" in second["error"]


def test_init_writes_a_private_file_and_never_overwrites_one(cli):
    """0600 in a 0700 folder; --force replaces it; the file is valid."""
    assert cli("init").returncode == 0
    file = cli.home / ".flexllm" / "config.yaml"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700
    file.write_text("default: mine\n")
    refused = cli("init")
    assert refused.returncode == 2
    assert "--force" in refused.stderr
    assert file.read_text() == "default: mine\n"
    assert cli("init", "--force").returncode == 0
    listed = cli("list")
    assert "warning" not in listed.stderr
    assert "gpt-4" in listed.stdout


def test_version_names_our_packages(cli):
    """Each with its version."""
    done = cli("version")
    assert done.returncode == 0
    for name in ("flexllm", "flexllm-core", "flexllm-providers", "flexllm-batch", "flexllm-cli", "flexllm-mock"):
        assert f"{name:<18} {version(name)}" in done.stdout


def test_both_commands_are_installed():
    """`flexllm` and `xllm` are one program."""
    folder = os.path.dirname(sys.executable)
    for name in ("flexllm", "xllm"):
        done = subprocess.run([os.path.join(folder, name), "--help"], capture_output=True, text=True)
        assert done.returncode == 0
        assert "batch" in done.stdout


def test_completion_can_be_shown(cli):
    """For the shell that is asked for."""
    done = cli("--show-completion", "bash", env={"_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION": "1"})
    assert done.returncode == 0
    assert "complete" in done.stdout


def test_mock_hands_its_options_on(cli, wait_until, tmp_path):
    """The server starts, says where, and ends cleanly on SIGTERM."""
    ready = tmp_path / "ready.json"
    process = cli.start("mock", "--port", "0", "--ready-file", ready)
    wait_until(ready.exists, "the server")
    assert json.loads(process.stdout.readline())["port"] == json.loads(ready.read_text())["port"]
    process.terminate()
    process.communicate(timeout=10)
    assert process.returncode == 0
    assert "--delay" in cli("mock", "--help").stdout


def test_batch_reads_a_pipe(cli, files, mock):
    """`... | flexllm batch -o out.jsonl`, and the same again resumes."""
    rows = "".join(f'{{"q": "question {number}"}}\n' for number in range(30))
    command = ("batch", "-o", files.output, "-m", "m", "--base-url", mock.base_url)
    assert cli(*command, text=rows).returncode == 0
    assert [line["index"] for line in files.lines()] == list(range(30))
    assert cli(*command, text=rows + '{"q": "one more"}\n').returncode == 0
    assert mock.requests() == 31


def test_batch_takes_multi_letter_short_options(cli, files, mock):
    """`-uf` and `-sf` as the documents write them."""
    files.write_input([{"text": "the question", "sys_prompt": "Be brief", "id": 1}])
    done = cli(
        "batch", files.input, "-o", files.output, "-uf", "text", "-sf", "sys_prompt", "-m", "m",
        "--base-url", mock.base_url, "-c", 20, "-n", 5, "-t", 0.5, "--max-tokens", 9,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    line = files.lines()[0]
    assert line["input"] == [
        {"role": "system", "content": "Be brief"},
        {"role": "user", "content": "the question"},
    ]
    assert line["metadata"] == {"id": 1}


@pytest.mark.parametrize(("value", "kept"), [("true", 2), ("last", 1), ("false", None)])
def test_save_input_says_what_is_kept(cli, files, mock, value, kept):
    """All messages, the last one, or no `input` key at all."""
    files.write_input([{"q": "one", "system": "Be brief"}])
    done = cli("batch", files.input, "-o", files.output, "--save-input", value, "-m", "m", "--base-url", mock.base_url)
    assert done.returncode == 0
    saved = files.lines()[0].get("input")
    assert (None if saved is None else len(saved)) == kept


def test_the_first_five_keys_of_a_line_are_in_their_order(cli, files, mock):
    """As the user's documents fix them."""
    files.write_input([{"q": "one", "id": "001"}])
    assert cli("batch", files.input, "-o", files.output, "-m", "m", "--base-url", mock.base_url).returncode == 0
    line = files.lines()[0]
    assert list(line)[:5] == ["index", "output", "status", "input", "metadata"]
    assert line["metadata"] == {"id": "001"}
    assert line["usage"]["total_tokens"] > 0


def test_the_summary_is_json_on_request(cli, files, mock):
    """On stdout, alone."""
    files.write_input([{"q": "one"}, {"q": "two"}])
    done = cli("batch", files.input, "-o", files.output, "-m", "m", "--base-url", mock.base_url, "--format", "json")
    summary = json.loads(done.stdout)
    assert (summary["ok"], summary["failed"], summary["left"]) == (2, 0, 0)
    assert summary["cost"] is None


def test_a_price_in_the_configuration_gives_a_cost(cli, files, mock, tmp_path):
    """And an unknown price is said to be unknown, never 0."""
    files.write_input([{"q": "one"}])
    config = tmp_path / "config.yaml"
    config.write_text(
        f"models:\n  - {{id: m, base_url: '{mock.base_url}', price: {{input: 1000000, output: 0}}}}\n"
        f"  - {{id: unknown, base_url: '{mock.base_url}'}}\n"
    )
    done = cli("batch", files.input, "-o", files.output, "-m", "m", "--config", config)
    line = files.lines()[0]
    assert line["cost"] == line["usage"]["prompt_tokens"]
    assert f"${line['cost']:.4f}" in done.stderr
    unknown = cli("batch", files.input, "-o", tmp_path / "2.jsonl", "-m", "unknown", "--config", config)
    assert "cost unknown" in unknown.stderr


def test_unknown_keys_of_the_configuration_warn(cli, mock, tmp_path):
    """With a suggestion; the rest of the file counts."""
    config = tmp_path / "config.yaml"
    config.write_text(f"modles: []\nmodels:\n  - {{id: m, base_url: '{mock.base_url}', tempratur: 1}}\n")
    done = cli("ask", "Hello", "-m", "m", "--config", config)
    assert done.returncode == 0
    assert "did you mean 'models'" in done.stderr
    assert "did you mean 'temperature'" in done.stderr


def test_a_file_that_flexllm_config_names_must_exist(cli, tmp_path):
    """Exit code 3, with its name."""
    done = cli("list", env={"FLEXLLM_CONFIG": str(tmp_path / "none.yaml")})
    assert done.returncode == 3
    assert "none.yaml" in done.stderr
