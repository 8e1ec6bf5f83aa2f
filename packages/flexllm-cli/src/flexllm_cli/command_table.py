"""Every command: its name, where it is, and its line in the list of commands. A command is loaded when it is run."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

MOST_CHARACTERS = 60

_HANDED_ON = {"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []}
"""Settings of a command that hands its arguments to another program."""


@dataclass(frozen=True, slots=True)
class CommandRow:
    """One command.

    Attributes:
        home: Its module in `flexllm_cli.commands`, and the function or Typer app there, as `module:name`.
        summary: What it does, in at most `MOST_CHARACTERS`.
        settings: Additional arguments of Typer's `command`.
    """

    home: str
    summary: str
    settings: dict[str, Any] = field(default_factory=dict)


COMMANDS: dict[str, CommandRow] = {
    "ask": CommandRow("ask:ask", "Ask one question and stream the answer."),
    "chat": CommandRow("chat:chat", "Talk to a model, turn by turn."),
    "batch": CommandRow("batch:batch", "Answer every row of a file, with checkpoint and resume."),
    "list": CommandRow("list_models:list_models", "List the configured models."),
    "set-model": CommandRow("set_model:set_model", "Make another model the default one."),
    "models": CommandRow("models:models", "List the models that an endpoint offers."),
    "credits": CommandRow("credits:credits", "Show the balance of a model's key."),
    "pricing": CommandRow("pricing:pricing", "Show what models cost."),
    "test": CommandRow("test:check_connection", "Test the connection to a model, step by step."),
    "init": CommandRow("init:init", "Create the configuration file."),
    "cache": CommandRow("cache:app", "Look into the response cache, and empty it."),
    "diff": CommandRow("diff:diff", "Compare two outputs of batch."),
    "report": CommandRow("report:report", "Show the outcome of a batch, also as a page of HTML."),
    "mock": CommandRow(
        "mock:mock",
        "Start the mock LLM server, for tests.",
        {"context_settings": _HANDED_ON, "add_help_option": False},
    ),
    "version": CommandRow("version:version", "Show the versions of flexllm and of what it uses."),
}
