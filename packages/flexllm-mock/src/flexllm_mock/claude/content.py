"""Reads the messages of a Claude request: their roles, their blocks, and whether each tool use has its result."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeGuard

from flexllm_mock.asgi import ApiError
from flexllm_mock.claude.errors import invalid, missing, wrong

Block = dict[str, Any]
SignatureCheck = Callable[[str, str], bool]
"""Tells whether a signature belongs to the text of a thinking block."""

_ROLES = ("user", "assistant", "system")
_ONLY_IN = {
    "tool_use": "assistant",
    "thinking": "assistant",
    "redacted_thinking": "assistant",
    "tool_result": "user",
    "image": "user",
}
_FIELDS: dict[str, tuple[tuple[str, type], ...]] = {
    "text": (("text", str),),
    "image": (("source", dict),),
    "document": (("source", dict),),
    "search_result": (("source", str), ("title", str), ("content", list)),
    "tool_use": (("id", str), ("name", str), ("input", dict)),
    "tool_result": (("tool_use_id", str),),
    "thinking": (("thinking", str), ("signature", str)),
    "redacted_thinking": (("data", str),),
}
# Blocks of tools that run on the vendor's side, which the mock takes back unread.
_SERVER_BLOCKS = ("server_tool_use", "container_upload", "tool_reference", "fallback", "compaction", "mcp_tool_use")
_NAMES: dict[type, str] = {str: "a valid string", dict: "a valid dictionary", list: "a valid list"}
_MEDIA_TYPES = ("image/jpeg", "image/png", "image/gif", "image/webp")
_SOURCES = {"base64": "data", "url": "url", "file": "file_id", "text": "data", "content": "content"}


@dataclass(slots=True)
class Turn:
    """What one side says: the blocks of neighbouring messages with the same role. `place` is where it begins."""

    role: str
    blocks: list[Block]
    place: str

    def of_type(self, kind: str) -> list[Block]:
        """Return the blocks of a type."""
        return [block for block in self.blocks if block["type"] == kind]

    @property
    def text(self) -> str:
        """The text of the turn."""
        return "".join([block["text"] for block in self.of_type("text")])


def read_turns(messages: object, made_here: SignatureCheck) -> list[Turn]:
    """Read `messages`. Raises ApiError 400 that names the place."""
    if messages is None:
        raise missing("messages")
    if not isinstance(messages, list):
        raise wrong("messages", "a valid list", messages)
    if not messages:
        raise invalid("messages", "at least one message is required")
    turns: list[Turn] = []
    for at, message in enumerate(messages):
        turn = _read_message(message, f"messages.{at}", last=at == len(messages) - 1)
        for index, block in enumerate(turn.blocks):
            _check_block(block, turn.role, f"{turn.place}.content.{index}", made_here)
        if turns and turns[-1].role == turn.role:
            turns[-1].blocks += turn.blocks
        else:
            turns.append(turn)
    if turns[0].role != "user" and not (turns[0].role == "system" and len(turns) > 1):
        raise invalid("messages", 'first message must use the "user" role')
    _check_results(turns)
    return turns


def as_blocks(content: object, place: str) -> list[Block]:
    """Return content as blocks: those of a list, or one of text. Raises ApiError 400."""
    if isinstance(content, str):
        return [{"type": "text", "text": content}]
    if content is None:
        raise missing(place)
    if not isinstance(content, list):
        raise wrong(place, "a valid string or list", content)
    for at, block in enumerate(content):
        if not isinstance(block, dict):
            raise wrong(f"{place}.{at}", "an object", block)
        if not isinstance(block.get("type"), str):
            raise missing(f"{place}.{at}.type")
    return content.copy()


def check_text_blocks(blocks: list[Block], place: str) -> None:
    """Refuse blocks that are no text. Raises ApiError 400."""
    for at, block in enumerate(blocks):
        if block["type"] != "text":
            raise wrong(f"{place}.{at}.type", "'text'", block["type"])
        _check_fields(block, f"{place}.{at}")


def _read_message(message: object, place: str, *, last: bool) -> Turn:
    if not isinstance(message, dict):
        raise wrong(place, "an object", message)
    role = message.get("role")
    if not _is_role(role):
        raise missing(f"{place}.role") if role is None else wrong(f"{place}.role", "'user' or 'assistant'", role)
    blocks = as_blocks(message.get("content"), f"{place}.content")
    may_be_empty = last and role == "assistant"
    if not may_be_empty and (not blocks or message["content"] == ""):
        raise ApiError(
            400, f"{place}: all messages must have non-empty content except for the optional final assistant message"
        )
    return Turn(role, [] if message["content"] == "" else blocks, place)


def _is_role(role: object) -> TypeGuard[str]:
    return role in _ROLES


def _check_block(block: Block, role: str, place: str, made_here: SignatureCheck) -> None:
    kind = block["type"]
    if kind not in _FIELDS:
        if kind in _SERVER_BLOCKS or kind.endswith(("_tool_result", "_tool_use")):
            return
        raise invalid(place, f"Input tag {kind!r} found using 'type' does not match any of the expected tags")
    if _ONLY_IN.get(kind, role) != role:
        raise ApiError(400, f"{place}: `{kind}` blocks can only be in `{_ONLY_IN[kind]}` messages")
    _check_fields(block, place)
    if kind == "image":
        _check_image(block["source"], f"{place}.source")
    elif kind == "tool_result":
        _check_result_content(block, place)
    elif kind == "thinking" and not made_here(block["signature"], block["thinking"]):
        raise ApiError(400, f"{place}: Invalid `signature` in `thinking` block")


def _check_fields(block: Block, place: str) -> None:
    for name, kind in _FIELDS[block["type"]]:
        value = block.get(name)
        if value is None:
            raise missing(f"{place}.{name}")
        if not isinstance(value, kind):
            raise wrong(f"{place}.{name}", _NAMES[kind], value)
    if block["type"] == "text" and not block["text"].strip():
        raise ApiError(400, f"{place}: text content blocks must contain non-whitespace text")


def _check_image(source: Block, place: str) -> None:
    kind = source.get("type")
    if not isinstance(kind, str) or kind not in _SOURCES:
        raise wrong(f"{place}.type", "'base64', 'url' or 'file'", kind)
    if not isinstance(source.get(_SOURCES[kind]), str):
        raise missing(f"{place}.{_SOURCES[kind]}")
    if kind == "base64" and source.get("media_type") not in _MEDIA_TYPES:
        raise wrong(
            f"{place}.media_type", "'image/jpeg', 'image/png', 'image/gif' or 'image/webp'", source.get("media_type")
        )


def _check_result_content(block: Block, place: str) -> None:
    if block.get("content") is not None:
        as_blocks(block["content"], f"{place}.content")
    if not isinstance(block.get("is_error"), bool | None):
        raise wrong(f"{place}.is_error", "a valid boolean", block["is_error"])


def _check_results(turns: list[Turn]) -> None:
    """Each tool use needs its result at the beginning of the next turn, and each result its tool use."""
    open_ids: list[str] = []
    for turn in turns:
        if turn.role == "system":
            continue
        given = [block["tool_use_id"] for block in turn.of_type("tool_result")]
        leading = _leading_results(turn)
        without = [each for each in open_ids if each not in given[:leading]]
        if without:
            raise ApiError(
                400,
                f"{turn.place}: `tool_use` ids were found without `tool_result` blocks immediately after: "
                f"{', '.join(without)}. Each `tool_use` block must have a corresponding `tool_result` block "
                "in the next message, before any other content.",
            )
        for each in given:
            if each not in open_ids:
                raise ApiError(
                    400,
                    f"{turn.place}: unexpected `tool_use_id` found in `tool_result` blocks: {each}. Each `tool_result` "
                    "block must have a corresponding `tool_use` block in the previous message.",
                )
        if len(set(given)) < len(given):
            raise ApiError(400, f"{turn.place}: each tool_use must have a single result.")
        open_ids = [block["id"] for block in turn.of_type("tool_use")]
        if len(set(open_ids)) < len(open_ids):
            raise ApiError(400, f"{turn.place}: `tool_use` ids must be unique")
    if open_ids:
        raise ApiError(
            400,
            f"{turns[-1].place}: `tool_use` ids were found without `tool_result` blocks immediately after: "
            f"{', '.join(open_ids)}.",
        )


def _leading_results(turn: Turn) -> int:
    """Count the tool results with which a turn begins."""
    for at, block in enumerate(turn.blocks):
        if block["type"] != "tool_result":
            return at
    return len(turn.blocks)
