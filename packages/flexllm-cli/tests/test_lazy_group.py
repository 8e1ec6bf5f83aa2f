"""The commands are loaded when they are run, and their help shows examples as lines."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib import import_module
from types import SimpleNamespace

import pytest
import typer

from flexllm_cli.app import app
from flexllm_cli.command_table import COMMANDS, MOST_CHARACTERS
from flexllm_cli.lazy_group import help_text

HEAVY = ("rich", "pydantic", "httpx", "flexllm_batch", "flexllm_providers", "flexllm_cli.commands.batch")


@pytest.mark.parametrize("name", COMMANDS)
def test_every_row_of_the_table_is_a_command(name):
    """With a line that fits the list of commands, and help of its own."""
    group = typer.main.get_command(app)
    command = group.get_command(SimpleNamespace(), name)
    assert command.name == name
    assert command.help
    assert 0 < len(COMMANDS[name].summary) <= MOST_CHARACTERS


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_shows_examples(name):
    """Each of them begins with the program's name, or pipes into it."""
    module, _, attribute = COMMANDS[name].home.partition(":")
    target = getattr(import_module(f"flexllm_cli.commands.{module}"), attribute)
    functions = [info.callback for info in target.registered_commands] if attribute == "app" else [target]
    for function in functions:
        _, _, examples = help_text(function).partition("\b\nExamples:\n")
        assert examples, function
        for line in examples.partition("\n\n")[0].splitlines():
            assert line.startswith("  "), line
            assert "flexllm " in line


def test_examples_stand_on_lines_of_their_own():
    """What stands before them stays a paragraph."""

    def function() -> None:
        """Do it.

        Carefully. Examples: flexllm one · flexllm two
          --three
        """

    assert help_text(function) == ("Do it.\n\nCarefully.\n\n\b\nExamples:\n  flexllm one\n  flexllm two --three")


@pytest.mark.parametrize("arguments", [["--help"], ["version"]])
def test_what_needs_nothing_loads_nothing(arguments):
    """The list of commands and the versions are there at once: nothing heavy is imported for them."""
    code = (
        f"import sys, json; sys.argv = ['flexllm', *{arguments!r}]\n"
        "from flexllm_cli.app import main\n"
        "try: main()\n"
        "except SystemExit as end: assert not end.code\n"
        f"print(json.dumps([name for name in {HEAVY!r} if name in sys.modules]))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1]) == []
