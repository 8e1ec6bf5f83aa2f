"""What Tab offers: commands, options, models, and otherwise the shell's own file names."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest


@pytest.fixture
def tab(cli):
    """What bash is offered behind some words."""
    folder = cli.home / ".flexllm"
    folder.mkdir()
    (folder / "config.yaml").write_text("models:\n  - {id: gpt-4o}\n  - {id: gpt-4o-mini}\n  - {id: qwen}\n")

    def complete(*words: str, env: dict[str, str] | None = None) -> list[str]:
        line = ["flexllm", *words]
        done = subprocess.run(
            [os.path.join(os.path.dirname(sys.executable), "flexllm")],
            env={
                **cli.environment(), "_FLEXLLM_COMPLETE": "complete_bash", "COMP_WORDS": " ".join(line),
                "COMP_CWORD": str(len(line) - 1), **(env or {}),
            },
            capture_output=True, text=True, timeout=60,
        )  # fmt: skip
        assert done.stderr == ""
        return done.stdout.split()

    return complete


def test_commands_are_completed(tab):
    """By their beginning."""
    assert tab("mod") == ["models"]
    assert {"chat", "credits", "cache"} == set(tab("c"))


def test_options_are_completed(tab):
    """Of the command that stands there."""
    assert tab("ask", "--sch") == ["--schema"]
    assert "--all" in tab("test", "--a")


def test_models_are_completed(tab, tmp_path):
    """Those of the configuration, where a model is wanted; a broken one offers nothing, and says nothing."""
    assert tab("ask", "-m", "gpt") == ["gpt-4o", "gpt-4o-mini"]
    assert tab("set-model", "q") == ["qwen"]
    broken = tmp_path / "broken.yaml"
    broken.write_text("models: [")
    assert tab("ask", "-m", "gpt", env={"FLEXLLM_CONFIG": str(broken)}) == []


def test_file_names_are_left_to_the_shell(tab):
    """Nothing is offered, and the script says that the shell's own completion counts then."""
    assert tab("batch", "rows") == []
    script = subprocess.run(
        [os.path.join(os.path.dirname(sys.executable), "flexllm")],
        env={"PATH": os.environ["PATH"], "_FLEXLLM_COMPLETE": "source_bash"},
        capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert "complete -o default" in script.stdout
