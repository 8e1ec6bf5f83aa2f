"""Questions to a person at a terminal, on standard error."""

from __future__ import annotations

import sys
from typing import Any

import typer


def ask(question: str, *, default: str | None, **settings: Any) -> str:
    """The answer, `default` where there is none; asked again where both are missing.

    Args:
        question: What is asked.
        default: Shown in brackets.
        settings: More arguments of Typer's `prompt`, such as `hide_input`.

    Raises:
        typer.Abort: Ctrl-C or Ctrl-D.
    """
    try:
        answer: str = typer.prompt(question, default=default, err=True, **settings)
    except typer.Abort:
        _end_line(hidden=bool(settings.get("hide_input")))
        raise
    return answer


def confirm(question: str) -> None:
    """Go on only if the answer is yes.

    Raises:
        typer.Abort: It is not, or Ctrl-C or Ctrl-D.
    """
    try:
        agreed = typer.confirm(question, err=True)
    except typer.Abort:
        _end_line()
        raise
    if not agreed:
        raise typer.Abort


def _end_line(*, hidden: bool = False) -> None:
    """End the line of a question that has no answer, which the parser does where nothing typed is shown."""
    if not hidden:
        sys.stderr.write("\n")
