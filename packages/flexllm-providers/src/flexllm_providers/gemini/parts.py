"""The parts of a model's turn: what they say as text, thoughts and function calls, and how streamed ones join.

A part may carry keys that only Gemini understands, `thoughtSignature` above all. They are kept on the
assistant message under `gemini_parts`, beside the model that made them, and go back to it unchanged in the
next turn.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from flexllm_core.json_codec import encode_json
from flexllm_core.results import ToolCall

PARTS_KEY = "gemini_parts"
MODEL_KEY = "gemini_model"


@dataclass(frozen=True, slots=True)
class Turn:
    """What the parts of one turn say.

    Attributes:
        content: The text; None when there is none.
        reasoning: The text of the thoughts; None when there is none.
        calls: The function calls; ids that the model left out are made up by position.
        wire_ids: The ids that it did give, None for each other call.
        partial: A function call's arguments are only begun.
    """

    content: str | None
    reasoning: str | None
    calls: tuple[ToolCall, ...]
    wire_ids: tuple[str | None, ...]
    partial: bool = False


def read_parts(parts: Sequence[Mapping[str, Any]]) -> Turn:
    """Read the parts of one turn; what is not as documented is passed over."""
    texts: dict[bool, list[str]] = {True: [], False: []}
    calls: list[ToolCall] = []
    wire_ids: list[str | None] = []
    partial = False
    for part in parts:
        if text := part_text(part):
            texts[is_thought(part)].append(text)
        call = function_call(part)
        if call is not None:
            own = call.get("id")
            wire_id = own if isinstance(own, str) and own else None
            arguments = call.get("args")
            text = encode_json(arguments).decode() if isinstance(arguments, Mapping) else "{}"
            calls.append(ToolCall(wire_id or _made_up_id(calls), call["name"], text))
            wire_ids.append(wire_id)
            partial = partial or bool(call.get("partialArgs") or call.get("willContinue"))
    content, reasoning = "".join(texts[False]), "".join(texts[True])
    return Turn(content or None, reasoning or None, tuple(calls), tuple(wire_ids), partial)


def _made_up_id(calls: Sequence[ToolCall]) -> str:
    """An id by position, of a form that none of the calls before has."""
    made_up = f"call_{len(calls)}"
    while any(call.id == made_up for call in calls):
        made_up += "_"
    return made_up


def part_text(part: Mapping[str, Any]) -> str:
    """The text of a part; an image or sound made by the model stands in it as Markdown with a data URI."""
    text, blob = part.get("text"), part.get("inlineData")
    if isinstance(text, str):
        return text
    if isinstance(blob, Mapping) and isinstance(blob.get("mimeType"), str) and isinstance(blob.get("data"), str):
        return f"![](data:{blob['mimeType']};base64,{blob['data']})"
    return ""


def is_thought(part: Mapping[str, Any]) -> bool:
    """Whether a part is a summary of the model's thinking, and not of the answer."""
    return part.get("thought") is True


def function_call(part: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The function call in a part, if there is one with a name."""
    call = part.get("functionCall")
    return call if isinstance(call, Mapping) and isinstance(call.get("name"), str) and call["name"] else None


def must_be_replayed(parts: Sequence[Mapping[str, Any]]) -> bool:
    """Whether the parts say more than their text does."""
    return any(part.keys() != {"text"} for part in parts)


class PartsJoiner:
    """Joins the parts of a stream's chunks. Only neighbours that are text and nothing else become one part."""

    def __init__(self) -> None:
        self._parts: list[dict[str, Any]] = []
        self._texts: list[str] = []
        self._rest: dict[str, Any] | None = None  # the keys beside `text` of the part that is being joined

    def add(self, part: dict[str, Any]) -> None:
        """The next part."""
        rest = {key: value for key, value in part.items() if key != "text"}
        joins = isinstance(part.get("text"), str) and (not rest or rest == {"thought": True})
        if self._rest is not None and (not joins or rest != self._rest):
            self._end_text()
        if joins:
            self._rest = rest
            self._texts.append(part["text"])
        else:
            self._parts.append(part)

    def _end_text(self) -> None:
        if self._rest is not None:
            self._parts.append({"text": "".join(self._texts), **self._rest})
        self._texts, self._rest = [], None

    def parts(self) -> list[dict[str, Any]]:
        """All parts so far."""
        self._end_text()
        return self._parts
