"""The commands that a chat takes beside messages: `/help` and the like."""

from __future__ import annotations

import re
from dataclasses import dataclass
from difflib import get_close_matches

from flexllm_cli.i18n import gettext as _

COMMANDS = {
    "/help": ("", "show these commands"),
    "/model": ("[NAME]", "talk to another model, or show which there are"),
    "/system": ("[TEXT]", "set the system prompt, or show it; `-` removes it"),
    "/clear": ("", "forget the conversation"),
    "/save": ("FILE", "save the conversation"),
    "/load": ("FILE", "go on with a saved conversation"),
    "/retry": ("", "ask the last question again"),
    "/usage": ("", "show tokens and cost of this session"),
    "/exit": ("", "leave; so does Ctrl-D"),
}
"""Each command with its argument and what it does."""

_ALIASES = {"/quit": "/exit", "/q": "/exit", "/?": "/help"}
_NAME = re.compile(r"/(?:[a-z]+|\?)(?=\s|$)")


@dataclass(frozen=True, slots=True)
class Command:
    """One command; `name` is a key of `COMMANDS`, or what was written where that is none."""

    name: str
    argument: str


def parse_command(message: str) -> Command | None:
    """The command that a message is; None for what is meant for the model, such as a path.

    >>> parse_command("/save talk.json")
    Command(name='/save', argument='talk.json')
    """
    text = message.strip()
    found = _NAME.match(text)
    if found is None:
        return None
    name = found[0]
    return Command(_ALIASES.get(name, name), text[len(name) :].strip())


def help_lines() -> list[str]:
    """The commands, and how several lines are typed."""
    usages = {name: f"{name} {argument}".strip() for name, (argument, _what) in COMMANDS.items()}
    width = max(map(len, usages.values()))
    lines = [f"  {usages[name]:<{width}}  {_(what)}" for name, (_argument, what) in COMMANDS.items()]
    return [
        *lines,
        _('Several lines: end a line in \\, or write them between """ and """; pasted lines are one message.'),
        _("Ctrl-C stops the answer; what has come of it is kept."),
    ]


def unknown_command(name: str) -> str:
    """What is said of a command that there is none of."""
    close = get_close_matches(name, COMMANDS, n=1)
    return f"there is no command {name}" + (f"; did you mean {close[0]}?" if close else "; /help shows them")
