"""Help in the user's language: the texts of a command are looked up when it is loaded, its frame when it is shown."""

from __future__ import annotations

import re
from typing import Any

from flexllm_cli.i18n import ENGLISH, language
from flexllm_cli.i18n import gettext as _

FRAME = ("Usage:", "Options:", "Commands:", "Arguments:", "Example:", "Examples:", "required", "default:")
"""What stands around the texts in help, at the beginning of a line or in brackets behind an option."""

_HELP_OPTION = "Show this message and exit."
_WRAPPED_HELP_OPTION = re.compile(_HELP_OPTION.replace(" ", r"\s+").replace(".", r"\."))
_HEADING = re.compile(r"^( *)((?:Usage|Options|Commands|Arguments|Examples?):)", re.MULTILINE)
_DEFAULT = re.compile(r"(?<=\[)default:(?=\s)")
_REQUIRED = re.compile(r"(?<=[\[ ])required(?=\])")
VERBATIM = "\b\n"
"""Stands before a paragraph whose lines are to stay as they are."""


def localize(command: Any) -> Any:
    """Put a command, its options and its subcommands into the user's language; the command."""
    if language() == ENGLISH:
        return command
    localize_texts(command)
    for subcommand in getattr(command, "commands", {}).values():
        localize(subcommand)
    english = command.get_help
    command.get_help = lambda context: localized_frame(english(context))
    return command


def localize_texts(command: Any) -> None:
    """Put what a command and its options say of themselves into the user's language."""
    if language() == ENGLISH:
        return
    command.help = localized_text(command.help or "")
    # The line in a list of commands: a text without spaces cannot be cut to its width.
    command.short_help = command.help.split("\n\n")[0]
    for param in command.params:
        if getattr(param, "help", None):
            param.help = _(" ".join(param.help.split()))


def localized_text(text: str) -> str:
    """The help text of a command, paragraph by paragraph; examples stay as they are."""
    return "\n\n".join(
        paragraph if paragraph.startswith(VERBATIM) else _(" ".join(paragraph.split()))
        for paragraph in text.split("\n\n")
    )


def paragraphs_of(text: str) -> list[str]:
    """The paragraphs of a help text that are translated."""
    paragraphs = text.split("\n\n")
    return [" ".join(paragraph.split()) for paragraph in paragraphs if not paragraph.startswith(VERBATIM)]


def localized_frame(text: str) -> str:
    """The help of a command with the headings, and the words behind options, of the user's language."""
    text = _HEADING.sub(lambda heading: heading[1] + _(heading[2]), text)
    text = _WRAPPED_HELP_OPTION.sub(lambda _words: _(_HELP_OPTION), text)  # the parser makes this option anew each time
    text = _DEFAULT.sub(lambda _word: _("default:"), text)
    return _REQUIRED.sub(lambda _word: _("required"), text)
