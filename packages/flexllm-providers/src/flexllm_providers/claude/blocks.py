"""The content blocks of Claude's answers, and what they are in OpenAI's words.

An answer's message has OpenAI's content and tool calls, so that any endpoint takes it back, and under
one further key the blocks as they came. Claude demands thinking blocks back unchanged and in order.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from flexllm_core.json_codec import decode_json, encode_json
from flexllm_core.results import ToolCall

REPLAY_KEY = "claude_message"
"""The key of an assistant message that holds `{"model": ..., "content": [blocks]}` for the next turn."""

THINKING_TYPES = frozenset({"thinking", "redacted_thinking"})

_INVALID = "INVALID_JSON"
"""The key under which Anthropic asks for tool arguments that are not JSON to be sent back."""

_TEXTS = {"text": ("text",), "thinking": ("thinking",), "redacted_thinking": ("data",), "tool_use": ("id", "name")}
"""The keys that must be texts, by type of block."""


def usable_blocks(content: list[Any]) -> list[dict[str, Any]]:
    """The blocks that can be sent back: as they came, those left out that no server would take.

    Blocks of unknown types are kept. A tool call without an id gets one by its position, and an input
    that is not an object is wrapped in one.
    """
    blocks: list[dict[str, Any]] = []
    for number, block in enumerate(content):
        if not isinstance(block, dict) or not isinstance(block.get("type"), str):
            continue
        if block["type"] == "tool_use":
            block = _usable_call(block, number)  # noqa: PLW2901
        is_sound = all(isinstance(block.get(key), str) for key in _TEXTS.get(block["type"], ()))
        if is_sound and (block["type"] != "text" or block["text"]):
            blocks.append(block)
    return blocks


def _usable_call(block: dict[str, Any], number: int) -> dict[str, Any]:
    if not isinstance(block.get("id"), str) or not block["id"]:
        block = {**block, "id": f"call_{number}"}
    if not isinstance(block.get("input"), dict):
        given = block.get("input")
        block = {**block, "input": tool_input(given if isinstance(given, str) or not given else encode_json(given))}
    return block


def text_of(blocks: list[dict[str, Any]]) -> str | None:
    """The texts of the answer, None where there are none."""
    return "".join(block["text"] for block in blocks if block["type"] == "text") or None


def reasoning_of(blocks: list[dict[str, Any]]) -> str | None:
    """The texts of the thinking, None where there are none."""
    return "".join(block["thinking"] for block in blocks if block["type"] == "thinking") or None


def tool_calls_of(blocks: list[dict[str, Any]]) -> tuple[ToolCall, ...]:
    """The calls of the caller's own tools."""
    return tuple(
        ToolCall(block["id"], block["name"], tool_arguments(block["input"]))
        for block in blocks
        if block["type"] == "tool_use"
    )


def tool_arguments(given: Mapping[str, Any]) -> str:
    """The JSON text of a tool call's input; what was no JSON comes out as it was written."""
    if len(given) == 1 and isinstance(given.get(_INVALID), str):
        return str(given[_INVALID])
    return encode_json(given).decode()


def tool_input(arguments: object) -> dict[str, Any]:
    """The input of a tool call from its JSON text; empty text is no arguments, and what is no object is wrapped."""
    if isinstance(arguments, Mapping):
        return dict(arguments)
    text = arguments.decode() if isinstance(arguments, bytes) else arguments if isinstance(arguments, str) else ""
    if not text.strip():
        return {}
    try:
        value = decode_json(text.encode("utf-8", "surrogatepass"))
    except ValueError:
        return {_INVALID: text}
    return value if isinstance(value, dict) else {_INVALID: text}


def assistant_message(
    blocks: list[dict[str, Any]], calls: tuple[ToolCall, ...], text: str | None, model: str | None
) -> dict[str, Any]:
    """The message to put into the next turn's messages."""
    message: dict[str, Any] = {"role": "assistant", "content": text}
    if calls:
        message["tool_calls"] = [call.to_dict() for call in calls]
    if blocks:
        message[REPLAY_KEY] = {"model": model, "content": blocks}
    return message


def replayable_blocks(message: Mapping[str, Any]) -> tuple[list[dict[str, Any]], str | None] | None:
    """The blocks that a message was made from, and their model; None when it has none or was changed since.

    Whoever edits the text or the calls of an answer means the edit to be sent, and the blocks would undo it.
    """
    kept = message.get(REPLAY_KEY)
    if not isinstance(kept, Mapping) or not isinstance(kept.get("content"), list):
        return None
    blocks = usable_blocks(kept["content"])
    calls = [call.to_dict() for call in tool_calls_of(blocks)]
    if not blocks or (message.get("content") or None) != text_of(blocks) or (message.get("tool_calls") or []) != calls:
        return None
    model = kept.get("model")
    return blocks, model if isinstance(model, str) else None
