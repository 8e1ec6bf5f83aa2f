"""The group of all commands: a command is imported when it is run, so that `--help` and `version` start at once."""

from __future__ import annotations

import inspect
from importlib import import_module
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup

from flexllm_cli.command_table import COMMANDS, CommandRow

_VERBATIM = "\b\n"
"""Stands before a paragraph whose lines are to stay as they are."""


class LazyGroup(TyperGroup):
    """Commands of `COMMANDS`; the list of them is written from the table alone."""

    _listing = False

    def list_commands(self, ctx: Any) -> list[str]:
        """The names, in the order of the table."""
        return list(COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """The command of that name, or None."""
        row = COMMANDS.get(cmd_name)
        if row is None:
            return None
        return TyperCommand(cmd_name, help=row.summary) if self._listing else load_command(cmd_name, row)

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """Write the list of commands, of which none is loaded."""
        self._listing = True
        try:
            super().format_commands(ctx, formatter)
        finally:
            self._listing = False

    def shell_complete(self, ctx: Any, incomplete: str) -> Any:
        """Complete the name of a command, without loading any."""
        self._listing = True
        try:
            return super().shell_complete(ctx, incomplete)
        finally:
            self._listing = False


def load_command(name: str, row: CommandRow) -> Any:
    """The command of a row, as Typer makes it."""
    module_name, _, attribute = row.home.partition(":")
    target = getattr(import_module(f"flexllm_cli.commands.{module_name}"), attribute)
    if isinstance(target, typer.Typer):
        for info in target.registered_commands:
            info.help = help_text(info.callback)
        command = typer.main.get_command(target)
    else:
        single = typer.Typer(add_completion=False, rich_markup_mode=None)
        single.command(name, help=help_text(target), **row.settings)(target)
        command = typer.main.get_command(single)
    command.name = name
    return command


def help_text(function: Any) -> str:
    """The docstring of a command, each of its examples on a line of its own."""
    paragraphs = inspect.cleandoc(function.__doc__ or "").split("\n\n")
    return "\n\n".join(map(_with_examples_apart, paragraphs))


def _with_examples_apart(paragraph: str) -> str:
    """A paragraph that ends in `Example: one` or `Examples: one · another`, with a line for each."""
    for word in ("Examples: ", "Example: "):
        before, found, examples = paragraph.rpartition(word)
        if found:
            lines = [f"  {example}" for example in " ".join(examples.split()).split(" · ")]
            start = f"{before.strip()}\n\n" if before.strip() else ""
            return start + _VERBATIM + "\n".join(["Examples:", *lines])
    return paragraph
