"""The examples of the documents are run: what they show works."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
DOCUMENTS = [ROOT / "README.md", ROOT / "README.zh-CN.md", *sorted((ROOT / "docs").glob("*.md")),
             *sorted((ROOT / "packages").glob("*/README.md"))]  # fmt: skip
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
ADDRESSES = ("https://api.openai.com/v1", "http://localhost:8000/v1")


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


COMMANDS = [
    pytest.param(line, id=f"{path.relative_to(ROOT)}: {line[:60]}")
    for path in DOCUMENTS
    for language, code in BLOCK.findall(path.read_text(encoding="utf-8"))
    if language == "bash"
    for line in code.splitlines()
    if re.search(r"(^|\| )flexllm ", line) and not re.search(r"flexllm (init|mock)", line)
]


@pytest.mark.parametrize("line", COMMANDS)
def test_commands_run(line, mock, tmp_path, cli):
    """With the mock server as the configured endpoint."""
    (tmp_path / "questions.jsonl").write_text('{"q": "one"}\n{"q": "two"}\n')
    (tmp_path / "report.txt").write_text("a report")
    program = f"{shlex.quote(sys.executable)} -m flexllm_cli "
    script = re.sub(r"(^|\| )flexllm ", lambda match: match[1] + program, line)
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
