"""An answer as the cache keeps it: its key and compressed JSON, with a version and the time it was stored."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass, fields
from decimal import Decimal, InvalidOperation
from operator import attrgetter
from types import EllipsisType
from typing import Any

from flexllm_batch.cache.key import FORMAT
from flexllm_core.json_codec import decode_json, encode_json
from flexllm_core.results import ChatCompletionResult, ToolCall, Usage

MAX_ENTRY = 64 * 1024 * 1024
"""Bytes of an entry's JSON; what unpacks to more is not ours, or would not be worth keeping."""

_PLAIN, _DEFLATED = b"\x00", b"\x01"
_WORTH_DEFLATING = 1024  # bytes; below, the gain is not worth the time

_COMPLETE = ("stop", "tool_calls")

_TEXT = (str, type(None))

_PLAIN_KEYS = 2  # role and content

_tokens = attrgetter(*(field.name for field in fields(Usage)))
"""The numbers of a usage, in the order of their fields."""


@dataclass(slots=True)
class Entry:
    """A kept answer, and when it was stored (seconds since the epoch)."""

    result: ChatCompletionResult
    stored: float


def why_not_stored(result: ChatCompletionResult) -> str | None:
    """Why an answer is not kept; None when it is."""
    if result.finish_reason not in _COMPLETE:
        return f"its finish_reason is {result.finish_reason}: only complete answers are kept"
    if not result.tool_calls and not (all(result.choices) if result.choices else result.content):
        return "it is empty"
    return None


def encode_entry(key: bytes, result: ChatCompletionResult, stored: float) -> bytes:
    """An entry's key and its JSON; `packed` makes it what the database has.

    The JSON is a list: version, time, the texts and the usage, and an object with what few answers have. Names
    would take a third of its bytes and of the time to read it.

    Raises:
        InputError: The answer holds something that JSON cannot.
    """
    more: dict[str, Any] = {}
    if result.reasoning_content is not None:
        more["reasoning_content"] = result.reasoning_content
    if result.tool_calls:
        more["tool_calls"] = [[call.id, call.name, call.arguments] for call in result.tool_calls]
    if not _is_plain(result.assistant_message, result.content):
        more["assistant_message"] = result.assistant_message
    if result.raw is not None:
        more["raw"] = result.raw
    if result.choices:
        more["choices"] = result.choices
    if result.cost is not None:
        more["cost"] = str(result.cost)
    answer = (result.content, result.finish_reason, result.model, result.provider, result.endpoint, result.response_id)
    usage = None if result.usage is None else _numbers(result.usage)
    return key + encode_json([FORMAT, stored, *answer, usage, more])


def _numbers(usage: Usage) -> tuple[int, ...]:
    """The numbers of a usage, in the order of their fields: three, and the others up to the last that is not 0."""
    if usage.has_details:
        numbers = _tokens(usage)
        end = len(numbers)
        while not numbers[end - 1]:
            end -= 1
        return numbers[:end]
    return (usage.prompt_tokens, usage.completion_tokens, usage.total_tokens)


def packed(data: bytes) -> bytes:
    """An entry as the database has it: behind a byte that tells its form, deflated where that is worth it."""
    return _DEFLATED + zlib.compress(data, 1) if len(data) > _WORTH_DEFLATING else plain(data)


def decode_entry(key: bytes, blob: object) -> Entry | None:
    """The entry in a value of the database; None for anything that is not exactly an entry of this key and version."""
    if not isinstance(blob, bytes) or len(blob) > MAX_ENTRY:
        return None
    try:
        data = blob if blob.startswith(_PLAIN) else plain(_inflated(blob))
        version, stored, *answer = decode_json(data[len(_PLAIN) + len(key) :])
        if version != FORMAT or not data.startswith(key, len(_PLAIN)):
            return None
        return Entry(_result(*answer), float(stored))
    except (ValueError, TypeError, KeyError, AttributeError, InvalidOperation, zlib.error):
        return None


def plain(data: bytes) -> bytes:
    """An entry as the database has it, in the form that takes no time."""
    return _PLAIN + data


def _plain_message(content: str | None) -> dict[str, Any]:
    """The assistant message of an answer that is a text and nothing else; it is not written twice."""
    return {"role": "assistant", "content": content}


def _is_plain(message: dict[str, Any] | None, content: str | None) -> bool:
    return (
        message is not None
        and len(message) == _PLAIN_KEYS
        and message.get("role") == "assistant"
        and message.get("content", ...) == content
    )


def _inflated(blob: bytes) -> bytes:
    if not blob.startswith(_DEFLATED):
        raise ValueError("of another format")
    inflater = zlib.decompressobj()
    data = inflater.decompress(blob[1:], MAX_ENTRY)
    if not inflater.eof:
        raise ValueError("cut, or too large")
    return data


def _result(
    content: Any, reason: Any, model: Any, provider: Any, endpoint: Any, response_id: Any, usage: Any, more: Any
) -> ChatCompletionResult:
    """The answer in an entry. This is done for each row that the cache answers, so it is short."""
    if not (
        type(content) is type(reason) is type(model) is type(provider) is type(endpoint) is type(response_id) is str
    ):
        for text in (content, reason, model, provider, endpoint, response_id):
            if type(text) not in _TEXT:
                raise TypeError("expected a text")
    tokens = None if usage is None else _usage(usage)
    message = _plain_message(content)
    result = ChatCompletionResult(
        content, None, (), reason, tokens, model, provider, endpoint, response_id, message, cached=True
    )
    if more:
        _add(result, **more)
    if not (content and reason == "stop") and why_not_stored(result) is not None:
        raise ValueError("an answer that would not have been stored")
    return result


def _add(
    result: ChatCompletionResult,
    *,
    reasoning_content: str | None = None,
    tool_calls: Sequence[Sequence[object]] = (),
    assistant_message: dict[str, Any] | EllipsisType | None = ...,
    raw: Any = None,
    choices: Sequence[str | None] = (),
    cost: str | None = None,
) -> None:
    """Put what few answers have into one."""
    if type(reasoning_content) not in _TEXT:
        raise TypeError("expected a text")
    result.reasoning_content = reasoning_content
    result.tool_calls = tuple(ToolCall(str(id_), str(name), str(text)) for id_, name, text in tool_calls)
    if assistant_message is not ...:
        if type(assistant_message) not in (dict, type(None)):
            raise TypeError("expected a message")
        result.assistant_message = assistant_message
    result.raw = raw
    result.choices = tuple(choices)
    result.cost = None if cost is None else Decimal(cost)


def _usage(tokens: list[int]) -> Usage:
    for number in tokens:
        if type(number) is not int:
            raise TypeError("expected a number of tokens")
    return Usage(*tokens)
