"""Where the messages of a chat come from: a person at a terminal, or a pipe with a message on each line."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from flexllm_cli.chat.message_lines import MessageLines
from flexllm_cli.terminal import say

if TYPE_CHECKING:
    from prompt_toolkit import PromptSession

PROMPT, MORE = "> ", ". "


class Reader(Protocol):
    """Gives one message after another."""

    def read(self) -> str | None:
        """The next message; None when there are no more.

        Raises:
            KeyboardInterrupt: Ctrl-C.
        """
        ...


class PipedReader:
    """Messages of standard input that is no terminal."""

    def __init__(self, lines: Iterable[str]) -> None:
        self._messages = self._read(lines)

    def read(self) -> str | None:
        """The next message."""
        return next(self._messages, None)

    @staticmethod
    def _read(lines: Iterable[str]) -> Iterator[str]:
        message = MessageLines()
        for line in lines:
            whole = message.add(line.rstrip("\r\n"))
            if whole is not None:
                yield whole
        rest = message.rest()
        if rest is not None:
            yield rest


class TerminalReader:
    """Messages of a person, with a line editor and the history of earlier chats.

    Args:
        history: The file of the history, which is made readable by its owner alone.
        commands: What Tab completes behind a `/`.
    """

    def __init__(self, history: Path, commands: Iterable[str]) -> None:
        self._session: PromptSession[str] = _make_session(history, list(commands))

    def read(self) -> str | None:
        """The next message."""
        message = MessageLines()
        while True:
            try:
                line: str = self._session.prompt(MORE if message.open else PROMPT)
            except EOFError:
                return message.rest()
            whole = message.add(line)
            if whole is not None:
                return whole


def make_reader(commands: Iterable[str]) -> Reader:
    """The reader for standard input as it is."""
    if sys.stdin.isatty() and sys.stdout.isatty():
        return TerminalReader(Path.home() / ".flexllm" / "chat_history", commands)
    return PipedReader(sys.stdin)


def _make_session(history: Path, commands: list[str]) -> PromptSession[str]:
    # The terminal's answers about the cursor are not needed, and those without any would get a warning.
    os.environ.setdefault("PROMPT_TOOLKIT_NO_CPR", "1")
    from prompt_toolkit import PromptSession  # takes a while to load, and only a terminal needs it
    from prompt_toolkit.completion import WordCompleter
    from prompt_toolkit.shortcuts import CompleteStyle

    return PromptSession(
        history=_history(history),
        completer=WordCompleter(commands, sentence=True),
        complete_while_typing=False,
        complete_style=CompleteStyle.READLINE_LIKE,
    )


def _history(path: Path) -> Any:
    from prompt_toolkit.history import FileHistory, InMemoryHistory

    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
        path.chmod(0o600)
    except OSError as error:
        say(f"warning: what you type is not kept for the next chat: {error}")
        return InMemoryHistory()
    return FileHistory(path)
