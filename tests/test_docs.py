"""The examples of the documents are run: what they show works."""

from __future__ import annotations

import base64
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

import flexllm

ROOT = Path(__file__).parent.parent
DOCUMENTS = [ROOT / "README.md", ROOT / "README.zh-CN.md", *sorted((ROOT / "docs").glob("*.md")),
             *sorted((ROOT / "packages").glob("*/README.md"))]  # fmt: skip
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
ADDRESSES = ("https://api.openai.com/v1", "http://localhost:8000/v1", "http://host:8000/v1")
MODELS = ("gpt-4", "local", "qwen")
PIXEL = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)
NOT_RUN = r"flexllm (init|mock|credits)"  # tests/cli has these: they write a file, serve, or ask a vendor


def blocks(language: str) -> list:
    return [
        pytest.param(code, id=f"{path.relative_to(ROOT)}-{number}")
        for path in DOCUMENTS
        for number, (found, code) in enumerate(BLOCK.findall(path.read_text(encoding="utf-8")))
        if found == language and "pytest" not in code and "def test_" not in code
    ]


@pytest.mark.parametrize("code", blocks("python"))
def test_python_examples_run(code, mock, tmp_path):
    """Against the mock server instead of the address that they name."""
    for address in ADDRESSES:
        code = code.replace(address, mock.base_url)
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()


def test_the_page_about_python_names_every_error_and_option():
    """Whatever a program may catch or give."""
    page = (ROOT / "docs" / "python.md").read_text(encoding="utf-8")
    public = [getattr(flexllm, name) for name in flexllm.__all__]
    errors = {kind.__name__ for kind in public if isinstance(kind, type) and issubclass(kind, flexllm.FlexLLMError)}
    assert {name for name in errors if not re.search(rf"\b{name}\b", page)} == set()
    options = flexllm.ChatOptions.__annotations__.keys() | flexllm.BatchOptions.__annotations__.keys()
    assert {name for name in options if f"`{name}" not in page} == set()


COMMANDS = [
    pytest.param(line, id=f"{path.relative_to(ROOT)}: {line[:60]}")
    for path in DOCUMENTS
    for language, code in BLOCK.findall(path.read_text(encoding="utf-8"))
    if language == "bash"
    for line in code.splitlines()
    if re.search(r"(^|\| )flexllm ", line) and not re.search(NOT_RUN, line)
]


def write_what_commands_name(folder: Path, home: Path, base_url: str, line: str) -> None:
    """The files that examples name, and a configuration with their models."""
    for name in ("questions", "in", "input"):
        (folder / f"{name}.jsonl").write_text('{"q": "one"}\n{"q": "two"}\n')
    (folder / "report.txt").write_text("a report")
    (folder / "main.py").write_text("print(1)\n")
    (folder / "photo.png").write_bytes(PIXEL)
    (folder / "talk.json").write_text('{"messages": [{"role": "user", "content": "Hello"}]}')
    if re.search("flexllm (cache why|diff|report)", line):
        row = '{{"index":{},"output":"a","status":"success","key":"{:032x}"}}\n'
        for name in re.findall(r"\S+\.jsonl", line):
            (folder / name).write_text("".join(row.format(number, number) for number in range(20)))
    config = home / ".flexllm" / "config.yaml"
    config.parent.mkdir(mode=0o700)
    config.write_text("models:\n" + "".join(f"  - {{id: {name}, base_url: '{base_url}'}}\n" for name in MODELS))


@pytest.mark.parametrize("line", COMMANDS)
def test_commands_run(line, mock, tmp_path, cli):
    """With the mock server as the configured endpoint."""
    write_what_commands_name(tmp_path, cli.home, mock.base_url, line)
    program = f"{shlex.quote(sys.executable)} -m flexllm_cli "
    script = re.sub(r"(^|\| )flexllm ", lambda match: match[1] + program, line)
    for address in ADDRESSES:
        script = script.replace(address, mock.base_url)
    environment = {**cli.environment(), "FLEXLLM_BASE_URL": mock.base_url, "FLEXLLM_MODEL": "m"}
    done = subprocess.run(
        ["sh", "-c", script], cwd=tmp_path, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr


def test_links_between_documents_lead_somewhere():
    """Relative links name files that exist."""
    for path in DOCUMENTS:
        for target in re.findall(r"\]\(([^)#:]+)\)", path.read_text(encoding="utf-8")):
            assert (path.parent / target).exists(), f"{path}: {target}"


def test_the_configuration_example_is_valid(tmp_path, cli):
    """Every key of it is known."""
    text = next(
        code for kind, code in BLOCK.findall((ROOT / "docs" / "configuration.md").read_text()) if kind == "yaml"
    )
    config = tmp_path / "config.yaml"
    config.write_text(text)
    done = cli("list", "--config", config, env={"OPENAI_API_KEY": "sk-abcdefghijklmnopqrstuvwxyz"})
    assert done.returncode == 0, done.stderr
    assert "warning" not in done.stderr
    assert "* gpt-4" in done.stdout
    assert "abcdefghij" not in done.stdout
    assert os.environ.get("OPENAI_API_KEY") is None


def test_the_option_table_names_every_option_of_batch(cli):
    """docs/batch.md and `--help` agree."""
    help_text = cli("batch", "--help", env={"COLUMNS": "200"}).stdout
    options = set(re.findall(r"(--[a-z][a-z-]+)", help_text)) - {"--help", "--config"}
    text = (ROOT / "docs" / "batch.md").read_text()
    assert {option for option in options if option not in text} == set()


def test_the_table_of_providers_is_what_the_wires_work_by():
    """docs/providers.md is written by a script from the rows of data."""
    done = subprocess.run([sys.executable, ROOT / "scripts" / "provider_docs.py", "--check"], capture_output=True)
    assert done.returncode == 0, "run: python scripts/provider_docs.py"


def test_the_page_of_the_command_line_is_what_the_app_says():
    """docs/cli.md is written by a script from the commands."""
    done = subprocess.run([sys.executable, ROOT / "scripts" / "cli_docs.py", "--check"], capture_output=True)
    assert done.returncode == 0, "run: python scripts/cli_docs.py"


@pytest.mark.parametrize("name", ["limits", "pool"])
def test_the_pictures_are_what_the_simulations_give(name):
    """docs/*.svg are drawn by scripts from the simulated servers."""
    script = ROOT / "scripts" / f"{name}_picture.py"
    done = subprocess.run([sys.executable, script, "--check"], capture_output=True, text=True)
    assert done.returncode == 0, f"run: python scripts/{name}_picture.py\n{done.stderr}"
