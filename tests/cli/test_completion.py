"""What Tab offers: commands, options, models, and otherwise the shell's own file names."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterable
from contextlib import ExitStack

import pexpect
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


LINES = {
    "flexllm mod": "flexllm models",
    "flexllm ask --sch": "flexllm ask --schema",
    "flexllm ask -m gp": "flexllm ask -m gpt-4o",
    "flexllm set-model qw": "flexllm set-model qwen:7b",
    "flexllm batch da": "flexllm batch data.jsonl",
    "flexllm ask -f da": "flexllm ask -f data.jsonl",
    "xllm mod": "xllm models",
}
"""Lines, and what they become by Tab."""


@pytest.fixture
def shell(cli, tmp_path):
    """Shells with the installed completion: what lines become by Tab. Skipped where the shell is missing."""
    folder = cli.home / ".flexllm"
    folder.mkdir()
    (folder / "config.yaml").write_text("models:\n  - {id: gpt-4o}\n  - {id: 'qwen:7b'}\n")
    (tmp_path / "data.jsonl").touch()
    programs = os.path.dirname(sys.executable)
    env = {"HOME": str(cli.home), "PATH": f"{programs}:/usr/bin:/bin", "TERM": "dumb", "LANG": "C.UTF-8"}

    def in_shell(name: str, script: str, *arguments: str) -> str:
        # The shell stays the parent: it would be replaced by the last command of a script.
        done = subprocess.run(
            [name, "-c", f"{script}; true", *arguments],
            cwd=tmp_path, env=env, capture_output=True, text=True, timeout=60,
        )  # fmt: skip
        assert done.stderr == ""
        return done.stdout

    def fish(line: str) -> str:
        offered = in_shell("fish", "complete -C $argv[1] | string split -f1 \\t", line)
        return " ".join([*line.split(" ")[:-1], *offered.splitlines()])

    def interactive(name: str, lines: Iterable[str]) -> list[str]:
        with ExitStack() as stack:
            terminal = pexpect.spawn(name, ["-i"], cwd=str(tmp_path), env=env, encoding="utf-8", timeout=30)
            stack.callback(terminal.close, force=True)
            found = []
            for line in lines:
                # What is typed while a Tab is being answered waits for it. The line is shown by an `echo` before it.
                terminal.send(f"{line}\t\x01echo '[' \x05 ']'\r")
                terminal.expect(r"\[ (\w[^\r\n\]']*?) *\]")
                found.append(str(terminal.match[1]))
            return found

    def complete(name: str, lines: Iterable[str]) -> list[str]:
        if shutil.which(name) is None:
            pytest.skip(f"{name} is not installed")
        for program in ("flexllm", "xllm"):
            assert f"{name} completion installed" in in_shell(name, f"{program} --install-completion")
        return [fish(line) for line in lines] if name == "fish" else interactive(name, lines)

    return complete


@pytest.mark.parametrize("name", ["bash", "zsh", "fish"])
def test_tab_in_a_real_shell(shell, name):
    """Commands, options, models and file names, from the first Tab of a session on, under both names of the program."""
    assert shell(name, LINES) == list(LINES.values())


def test_completion_is_installed_twice_as_once(shell, cli):
    """zsh's file has what is added to it once."""
    shell("zsh", ["flexllm mod"])
    before = (cli.home / ".zfunc" / "_flexllm").read_text()
    shell("zsh", ["flexllm mod"])
    assert (cli.home / ".zfunc" / "_flexllm").read_text() == before
