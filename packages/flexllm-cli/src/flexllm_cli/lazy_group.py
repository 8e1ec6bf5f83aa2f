"""The group of all commands: a command is imported when it is run, so that `--help` and `version` start at once."""

from __future__ import annotations

import inspect
from importlib import import_module
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup

from flexllm_cli.command_table import COMMANDS, CommandRow
from flexllm_cli.i18n import gettext as _
from flexllm_cli.localized_help import VERBATIM, localize, localize_texts, localized_frame


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
        return listed_command(cmd_name, row) if self._listing else load_command(cmd_name, row)

    def get_help(self, ctx: Any) -> str:
        """The help, in the user's language."""
        localize_texts(self)
        return localized_frame(super().get_help(ctx))

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


def listed_command(name: str, row: CommandRow) -> TyperCommand:
    """A command that stands for a row in the list; it cannot be run."""
    summary = _(row.summary)
    # What is not English has no spaces where a help text could be cut: it is given as it is to stand.
    return TyperCommand(name, help=summary, short_help=None if summary == row.summary else summary)


def load_command(name: str, row: CommandRow, *, localized: bool = True) -> Any:
    """The command of a row, as Typer makes it, in the user's language unless told otherwise."""
    module_name, _colon, attribute = row.home.partition(":")
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
    return localize(command) if localized else command


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
            return start + VERBATIM + "\n".join(["Examples:", *lines])
    return paragraph
