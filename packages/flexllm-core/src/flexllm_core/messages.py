"""Chat messages in the shape of OpenAI's API, and their validation at the rim.

Messages are plain dicts. Keys that are not listed here are kept: providers put opaque blocks (Claude
signatures, Gemini thought signatures, reasoning) on assistant messages, and they must come back unchanged.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any, Literal, NotRequired, get_args

from pydantic import ConfigDict, TypeAdapter, ValidationError

from flexllm_core.errors import InputError

if sys.version_info >= (3, 12):
    from typing import TypedDict
else:
    from typing_extensions import TypedDict  # pydantic reads no others before 3.12

Role = Literal["system", "developer", "user", "assistant", "tool", "function"]
ROLES: frozenset[str] = frozenset(get_args(Role))


class ContentPart(TypedDict):
    """One part of a message's content: `text`, `image_url`, `input_audio`, `file` ...; other keys by type."""

    __pydantic_config__ = ConfigDict(extra="allow")  # type: ignore[misc]

    type: str


class FunctionCall(TypedDict):
    """The function that a tool call names; `arguments` is JSON text."""

    __pydantic_config__ = ConfigDict(extra="allow")  # type: ignore[misc]

    name: str
    arguments: str


class ToolCallDict(TypedDict):
    """A tool call on an assistant message."""

    __pydantic_config__ = ConfigDict(extra="allow")  # type: ignore[misc]

    id: NotRequired[str]
    type: NotRequired[str]
    function: NotRequired[FunctionCall]


class MessageDict(TypedDict):
    """A chat message; unknown keys are kept."""

    __pydantic_config__ = ConfigDict(extra="allow")  # type: ignore[misc]

    role: Role
    content: NotRequired[str | list[ContentPart] | None]
    name: NotRequired[str | None]
    tool_calls: NotRequired[list[ToolCallDict] | None]
    tool_call_id: NotRequired[str]


Message = Mapping[str, Any]
Messages = Sequence[Message]
MessagesInput = str | Message | Messages
"""What every method accepts: a text (one user message), one message, or a sequence of messages."""


_BRANCHES = ("str", "list[ContentPart]")
"""What pydantic puts into an error's path to say which type of `content` it tried."""


@cache
def _adapter() -> TypeAdapter[list[MessageDict]]:
    return TypeAdapter(list[MessageDict])


def _are_plain(messages: list[Any]) -> bool:
    """Whether all messages are the usual role and text, which needs no schema to be known as good."""
    for message in messages:
        if type(message) is not dict or "tool_calls" in message:
            return False
        content, role = message.get("content"), message.get("role")
        if type(content) is not str or type(role) is not str or role not in ROLES:
            return False
    return True


def normalize_messages(value: MessagesInput) -> list[dict[str, Any]]:
    """Return `value` as a list of checked messages; messages that are dicts are not copied.

    Raises:
        InputError: A message has no known role, a content of the wrong type, or there is none at all.
    """
    if isinstance(value, str):
        return [{"role": "user", "content": value}]
    if type(value) is list and value and _are_plain(value):
        return value.copy()
    if isinstance(value, Mapping):
        value = [value]
    given: object = value
    if not isinstance(given, Sequence) or isinstance(given, bytes | bytearray | memoryview):
        raise InputError(f"messages must be a text, a message or a list of messages, not {type(given).__name__}")
    messages: list[Any] = list(given)
    if not messages:
        raise InputError("messages is empty; expected at least one message")
    if not _are_plain(messages):
        messages = [
            dict(message) if isinstance(message, Mapping) and not isinstance(message, dict) else message
            for message in messages
        ]
        _check(messages)
    return messages


def _check(messages: list[Any]) -> None:
    try:
        # Strict: what is only convertible (bytes, a generator) would be passed on as it came.
        _adapter().validate_python(messages, strict=True)
    except ValidationError as error:
        errors = error.errors(include_url=False, include_input=False)
        # A content that is neither text nor parts gives one error for each; the one further in says more.
        first = max((each for each in errors if each["loc"][:1] == errors[0]["loc"][:1]), key=lambda e: len(e["loc"]))
        path = "messages" + "".join(_step(step) for step in first["loc"] if step not in _BRANCHES)
        raise InputError(f"{path}: {first['msg']}") from None


def _step(step: int | str) -> str:
    return f"[{step}]" if isinstance(step, int) else f".{step}"
