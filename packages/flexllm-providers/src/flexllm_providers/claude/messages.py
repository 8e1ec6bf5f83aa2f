"""A conversation in OpenAI's shape as Claude's: `system` apart, tool results with the user, turns alternating."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from flexllm_core.errors import InputError
from flexllm_providers.claude.blocks import THINKING_TYPES, replayable_blocks, tool_input
from flexllm_providers.claude.parts import Block, content_blocks

TakesBack = Callable[[str], bool]
"""Whether the model that is asked takes back the thinking of the model with this id."""

_NOT_IN_IDS = re.compile(r"[^A-Za-z0-9_-]")


class _CallIds:
    """The ids of tool calls. Claude takes only some characters in them, and each id once in a conversation."""

    def __init__(self) -> None:
        self._now: dict[str, str] = {}
        self._used: set[str] = set()
        self._last: str | None = None

    def keep(self, call_id: str) -> None:
        """Note an id that is sent as it came."""
        self._used.add(call_id)
        self._now[call_id] = self._last = call_id

    def call(self, given: object) -> str:
        """The id to send for a call."""
        clean = _NOT_IN_IDS.sub("_", given) if isinstance(given, str) and given else "call_0"
        call_id, number = clean, 1
        while call_id in self._used:
            number += 1
            call_id = f"{clean}_{number}"
        self._used.add(call_id)
        self._now[given if isinstance(given, str) else ""] = self._last = call_id
        return call_id

    def result(self, given: object, where: str) -> str:
        """The id to send for the result of a call; one that names no call is the last call's."""
        if isinstance(given, str) and given:
            return self._now.get(given) or _NOT_IN_IDS.sub("_", given)
        if self._last is None:
            raise InputError(f"{where}: a tool result without a tool_call_id")
        return self._last


def encode_messages(messages: Sequence[Mapping[str, Any]], takes_back: TakesBack) -> tuple[list[Block], list[Block]]:
    """The blocks of the system prompt, and the turns.

    System messages become the system prompt wherever they stand. Neighbours of one role become one
    turn, and in a turn of the user tool results come first.

    Raises:
        InputError: A message cannot be given to Claude, or there are only system messages.
    """
    system: list[Block] = []
    turns: list[tuple[str, list[Block]]] = []
    ids = _CallIds()
    for index, message in enumerate(messages):
        where, role = f"messages[{index}]", message.get("role")
        if role in ("system", "developer"):
            system += content_blocks(message.get("content"), where)
            continue
        if role == "assistant":
            role, blocks = "assistant", _assistant_blocks(message, ids, takes_back, where)
            if not blocks:
                continue  # an answer that was empty: Claude refuses it, and nothing is lost with it
        elif role in ("tool", "function"):
            role, blocks = "user", [_tool_result(message, ids, where)]
        else:
            role, blocks = "user", content_blocks(message.get("content"), where)
        if turns and turns[-1][0] == role:
            turns[-1][1].extend(blocks)
        else:
            turns.append((role, blocks))
    if not turns:
        raise InputError("messages holds only system prompts; Claude needs a message of the user")
    return system, [_turn(role, blocks) for role, blocks in turns]


def _turn(role: str, blocks: list[Block]) -> Block:
    if role == "user":
        blocks.sort(key=lambda block: block.get("type") != "tool_result")
    return {"role": role, "content": plain_text(blocks)}


def plain_text(blocks: list[Block]) -> str | list[Block]:
    """The text where it is all there is, as most write it; else the blocks."""
    if not blocks:
        return ""
    is_plain = len(blocks) == 1 and blocks[0].keys() == {"type", "text"} and blocks[0]["type"] == "text"
    return str(blocks[0]["text"]) if is_plain else blocks


def _assistant_blocks(message: Mapping[str, Any], ids: _CallIds, takes_back: TakesBack, where: str) -> list[Block]:
    """The blocks of an assistant message: those it came with, or its text and tool calls."""
    kept = replayable_blocks(message)
    if kept is not None:
        blocks, model = kept
        for block in blocks:
            if block["type"] == "tool_use":
                ids.keep(block["id"])
        if model is None or takes_back(model):
            return blocks
        return [block for block in blocks if block["type"] not in THINKING_TYPES]
    blocks = content_blocks(message.get("content"), where)
    calls = list(message.get("tool_calls") or [])
    if not calls and isinstance(message.get("function_call"), Mapping):
        calls = [{"function": message["function_call"]}]
    return blocks + [_tool_use(call, ids, f"{where}.tool_calls[{number}]") for number, call in enumerate(calls)]


def _tool_use(call: Mapping[str, Any], ids: _CallIds, where: str) -> Block:
    function = call.get("function")
    custom = call.get("custom")
    if isinstance(custom, Mapping) and not isinstance(function, Mapping):
        function = {"name": custom.get("name"), "arguments": custom.get("input")}
    name = function.get("name") if isinstance(function, Mapping) else None
    if not isinstance(function, Mapping) or not isinstance(name, str) or not name:
        raise InputError(f"{where}: a tool call without a function name")
    arguments = tool_input(function.get("arguments"))
    return {"type": "tool_use", "id": ids.call(call.get("id")), "name": name, "input": arguments}


def _tool_result(message: Mapping[str, Any], ids: _CallIds, where: str) -> Block:
    content = message.get("content")
    blocks = content if isinstance(content, str) else plain_text(content_blocks(content, where))
    block: Block = {
        "type": "tool_result",
        "tool_use_id": ids.result(message.get("tool_call_id"), where),
        "content": blocks,
    }
    if message.get("is_error"):
        block["is_error"] = True
    if message.get("cache_control") is not None:
        block["cache_control"] = message["cache_control"]
    return block
