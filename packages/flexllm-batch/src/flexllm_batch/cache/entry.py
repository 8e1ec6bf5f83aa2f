"""An answer as the cache keeps it: compressed JSON, with a version, its key and the time it was stored."""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Any

from flexllm_batch.cache.key import FORMAT
from flexllm_core.json_codec import decode_json, encode_json
from flexllm_core.results import ChatCompletionResult, ToolCall, Usage

MAX_ENTRY = 64 * 1024 * 1024
"""Bytes of an entry's JSON; what unpacks to more is not ours, or would not be worth keeping."""

_PLAIN, _DEFLATED = b"\x00", b"\x01"
_WORTH_DEFLATING = 1024  # bytes; below, the gain is not worth the time

_COMPLETE = ("stop", "tool_calls")

_TEXTS = ("content", "reasoning_content", "finish_reason", "model", "provider", "endpoint", "response_id")


@dataclass(frozen=True, slots=True)
class Entry:
    """A kept answer, and when it was stored (seconds since the epoch)."""

    result: ChatCompletionResult
    stored: float


def why_not_stored(result: ChatCompletionResult) -> str | None:
    """Why an answer is not kept; None when it is."""
    if result.finish_reason not in _COMPLETE:
        return f"its finish_reason is {result.finish_reason}: only complete answers are kept"
    if not result.tool_calls and not all(result.choices or (result.content,)):
        return "it is empty"
    return None


def encode_entry(key: bytes, result: ChatCompletionResult, stored: float) -> bytes:
    """An entry as JSON; `packed` makes it what the database has.

    Raises:
        InputError: The answer holds something that JSON cannot.
    """
    fields: dict[str, Any] = {name: value for name in _TEXTS if (value := getattr(result, name)) is not None}
    if result.tool_calls:
        fields["tool_calls"] = [[call.id, call.name, call.arguments] for call in result.tool_calls]
    if result.usage is not None:
        fields["usage"] = result.usage.to_dict()
    if result.assistant_message != _plain_message(result.content):
        fields["assistant_message"] = result.assistant_message
    if result.raw is not None:
        fields["raw"] = result.raw
    if result.choices:
        fields["choices"] = result.choices
    if result.cost is not None:
        fields["cost"] = str(result.cost)
    return encode_json({"v": FORMAT, "k": key.hex(), "t": stored, "r": fields})


def packed(data: bytes) -> bytes:
    """An entry's JSON as the database has it: behind a byte that tells its form, deflated where that is worth it."""
    return _DEFLATED + zlib.compress(data, 1) if len(data) > _WORTH_DEFLATING else _PLAIN + data


def decode_entry(key: bytes, blob: object) -> Entry | None:
    """The entry in a value of the database; None for anything that is not exactly an entry of this key and version."""
    if not isinstance(blob, bytes) or len(blob) > MAX_ENTRY:
        return None
    try:
        return _entry(key, _inflated(blob))
    except (ValueError, zlib.error):
        return None


def read_entry(key: bytes, data: bytes) -> Entry | None:
    """The entry in what `encode_entry` wrote."""
    try:
        return _entry(key, data)
    except ValueError:
        return None


def _entry(key: bytes, data: bytes) -> Entry:
    try:
        value = decode_json(data)
        if value["v"] != FORMAT or value["k"] != key.hex():
            raise ValueError("the entry of another key or version")
        return Entry(_result(value["r"]), float(value["t"]))
    except (TypeError, KeyError, AttributeError, InvalidOperation) as error:
        raise ValueError(f"not an entry: {error}") from None


def _plain_message(content: str | None) -> dict[str, Any]:
    """The assistant message of an answer that is a text and nothing else; it is not written twice."""
    return {"role": "assistant", "content": content}


def _inflated(blob: bytes) -> bytes:
    if blob[:1] == _PLAIN:
        return blob[1:]
    if blob[:1] != _DEFLATED:
        raise ValueError("of another format")
    inflater = zlib.decompressobj()
    data = inflater.decompress(blob[1:], MAX_ENTRY)
    if not inflater.eof:
        raise ValueError("cut, or too large")
    return data


def _result(fields: dict[str, Any]) -> ChatCompletionResult:
    get = fields.get
    for name in _TEXTS:
        text = get(name)
        if text is not None and type(text) is not str:
            raise TypeError("expected a text")
    content, cost = get("content"), get("cost")
    message = fields["assistant_message"] if "assistant_message" in fields else _plain_message(content)
    if message is not None and type(message) is not dict:
        raise TypeError("expected a message")
    result = ChatCompletionResult(
        content,
        reasoning_content=get("reasoning_content"),
        tool_calls=tuple(ToolCall(str(id_), str(name), str(text)) for id_, name, text in get("tool_calls", ())),
        finish_reason=get("finish_reason"),
        usage=_usage(get("usage")),
        model=get("model"),
        provider=get("provider"),
        endpoint=get("endpoint"),
        response_id=get("response_id"),
        assistant_message=message,
        raw=get("raw"),
        choices=tuple(get("choices", ())),
        cached=True,
        cost=None if cost is None else Decimal(cost),
    )
    if why_not_stored(result) is not None:
        raise ValueError("an answer that would not have been stored")
    return result


def _usage(tokens: dict[str, Any] | None) -> Usage | None:
    if tokens is None:
        return None
    for number in tokens.values():
        if type(number) is not int:
            raise TypeError("expected a number of tokens")
    return Usage(**tokens)
