"""The conversation of a chat: its messages, and the file that they are saved to."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from flexllm_cli.atomic_file import write_atomically
from flexllm_core.errors import InputError
from flexllm_core.messages import normalize_messages


@dataclass(slots=True)
class Conversation:
    """What was said so far.

    Attributes:
        system: The system prompt.
        messages: Those of the user and of the model in turn, without the system prompt.
        asked: The user's last message, which `/retry` asks again; None where nothing was asked.
    """

    system: str | None = None
    messages: list[dict[str, Any]] = field(default_factory=list)
    asked: dict[str, Any] | None = None

    def to_send(self) -> list[dict[str, Any]]:
        """The messages of the next request, with what is asked now."""
        system = [{"role": "system", "content": self.system}] if self.system else []
        pending = [self.asked] if self.asked is not None and not self._is_answered() else []
        return [*system, *self.messages, *pending]

    def take_new(self, text: str) -> None:
        """Put a question; it becomes a part of the conversation when it is answered."""
        self.asked = {"role": "user", "content": text}

    def answered(self, message: dict[str, Any]) -> None:
        """Keep the question with its answer."""
        if self.asked is not None:
            self.messages += [self.asked, message]

    def take_back(self) -> bool:
        """Take the last answer back, so that its question can be asked again; False where nothing was asked."""
        if self.asked is None:
            return False
        if self._is_answered():
            del self.messages[-2:]
        return True

    def _is_answered(self) -> bool:
        return len(self.messages) >= 2 and self.messages[-2] is self.asked

    def clear(self) -> None:
        """Forget everything but the system prompt."""
        self.messages.clear()
        self.asked = None

    def for_another_model(self) -> None:
        """Keep the texts alone: thoughts and signatures of one model's answers mean nothing to another one."""
        for number, message in enumerate(self.messages):
            if message["role"] == "assistant":
                self.messages[number] = {"role": "assistant", "content": message.get("content") or ""}

    def to_json(self, model: str | None) -> str:
        """The conversation as a file holds it, which is also a row of input for `flexllm batch`."""
        system = [{"role": "system", "content": self.system}] if self.system else []
        return json.dumps({"model": model, "messages": [*system, *self.messages]}, ensure_ascii=False, indent=1) + "\n"


def read_conversation(path: Path) -> Conversation:
    """The conversation of a file.

    Raises:
        InputError: It holds none.
        OSError: It cannot be read.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise InputError(f"{path}: not text in UTF-8") from None
    return parse_conversation(text, str(path))


def parse_conversation(text: str, source: str) -> Conversation:
    """The conversation of a file: an object with `messages`, or a list of messages.

    Raises:
        InputError: It is none; the message names `source`.
    """
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        raise InputError(f"{source}: not JSON") from None
    messages = value.get("messages") if isinstance(value, dict) else value
    if not isinstance(messages, list) or not messages:
        raise InputError(f"{source}: holds no conversation; expected an object with `messages`")
    checked: list[dict[str, Any]] = [dict(message) for message in normalize_messages(messages)]
    system = "\n\n".join(str(message["content"]) for message in checked if message["role"] == "system") or None
    talk = [message for message in checked if message["role"] != "system"]
    asked = talk[-2] if len(talk) >= 2 and talk[-1]["role"] == "assistant" and talk[-2]["role"] == "user" else None
    return Conversation(system, talk, asked)


def save_text(path: Path, text: str) -> None:
    """Write a file whole or not at all, readable by its owner; only a conversation is overwritten.

    Raises:
        InputError: There is a file of another kind.
        OSError: It cannot be written.
    """
    if not path.parent.is_dir():
        raise InputError(f"{path.parent}: there is no such folder")
    if path.exists():
        try:
            read_conversation(path)
        except InputError:
            raise InputError(f"{path} exists and holds no conversation; it is left alone") from None
    write_atomically(path, text)
