"""Reads what a request asks from its body, whatever the vendor: who says what, the instructions, the tools offered.

It takes bodies as they come and never refuses one: what is wrong with a request, its endpoint says.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

from flexllm_mock.identity import content_digest

_INSTRUCTIONS = ("system", "developer")
_ROLES = {"model": "assistant", "function": "tool"}
_ITEM_ROLES = {"function_call_output": "tool", "function_call": "assistant", "reasoning": "assistant"}
_WRAPPERS = ("result", "output", "content")


@dataclass(slots=True)
class Turn:
    """One message: its texts, and everything in it in a form that is the same for all vendors."""

    role: str
    texts: list[str] = field(default_factory=list)
    parts: list[Any] = field(default_factory=list)

    def say(self, text: object) -> None:
        """Add a text, unless it is empty or none at all."""
        if isinstance(text, str) and text:
            self.texts.append(text)
            self.parts.append(text)


@dataclass(frozen=True, slots=True)
class Conversation:
    """What a request asks. `last_user` is the text of the last user message that has any; `tools` are names."""

    system: str
    turns: tuple[Turn, ...]
    tools: tuple[str, ...]

    @property
    def last_user(self) -> str:
        """The text of the last user message that has any; empty without one."""
        for turn in reversed(self.turns):
            if turn.role == "user" and turn.texts:
                return "".join(turn.texts)
        return ""

    @property
    def key(self) -> bytes:
        """What identifies instructions and messages, whichever vendor's shape they come in."""
        merged: list[list[Any]] = []
        for turn in self.turns:
            if merged and merged[-1][0] == turn.role:  # some vendors join neighbouring messages
                merged[-1][1] += turn.parts
            else:
                merged.append([turn.role, list(turn.parts)])
        return content_digest([self.system, [each for each in merged if each[1]]])


def read_conversation(payload: dict[str, Any]) -> Conversation:
    """Read a body of chat or legacy completions, embeddings, responses, Claude's messages, or Gemini's contents."""
    system = Turn("system")
    for name in ("system", "systemInstruction", "instructions"):
        _add_content(system, payload.get(name))
    turns: list[Turn] = []
    for name in ("messages", "contents", "input", "prompt"):
        if payload.get(name) is not None:
            turns = _turns(payload[name], system)
            break
    return Conversation("\n\n".join(system.texts), tuple(turns), tuple(_tool_names(payload.get("tools"))))


def _turns(messages: object, system: Turn) -> list[Turn]:
    turns: list[Turn] = []
    for message in messages if isinstance(messages, list) else [messages]:
        role = _role(message)
        if role in _INSTRUCTIONS:
            _add_content(system, message)
            continue
        turn = Turn(_ROLES.get(role, role))
        _add_content(turn, message)
        results = Turn("tool", parts=[part for part in turn.parts if isinstance(part, list) and part[0] == "result"])
        turn.parts = [part for part in turn.parts if part not in results.parts]
        turns += [each for each in (results, turn) if each.parts or each is turn]
    return turns


def _role(message: object) -> str:
    """Return who says a message: the user where nothing tells, as in a text or in Gemini's contents."""
    if not isinstance(message, dict):
        return "user"
    role, kind = message.get("role"), message.get("type")
    if isinstance(role, str):
        return role
    # Items of a responses request that are no messages.
    return _ITEM_ROLES.get(str(kind), "user")


def _add_content(turn: Turn, content: object) -> None:
    """Add what a message or a part of one holds."""
    if isinstance(content, list):
        for part in content:
            _add_content(turn, part)
    elif isinstance(content, dict):
        _add_part(turn, content)
    elif turn.role == "tool":
        turn.parts.append(["result", _result(content)])
    else:
        turn.say(content)


def _add_part(turn: Turn, part: dict[str, Any]) -> None:
    if part.get("thought") is True or part.get("type") in ("thinking", "redacted_thinking", "reasoning"):
        return
    if part.get("type") in ("tool_result", "function_call_output"):
        turn.parts.append(["result", _result(part.get("content", part.get("output")))])
        return
    response = part.get("functionResponse")
    if isinstance(response, dict):
        turn.parts.append(["result", _result(response.get("response"))])
        return
    for name in ("text", "refusal"):
        turn.say(part.get(name))
    call = _call(part)
    if call is not None:
        turn.parts.append(call)
    medium = _medium(part)
    if medium is not None:
        turn.parts.append(["medium", medium])
    for name in ("content", "parts", "tool_calls"):
        if part.get(name) is not None:
            _add_content(turn, part[name])


def _call(part: dict[str, Any]) -> list[Any] | None:
    """Return name and arguments of a tool's call in any vendor's shape."""
    called: Any = part.get("function") or part.get("functionCall")
    if part.get("type") in ("tool_use", "function_call"):
        called = part
    if not isinstance(called, dict) or "name" not in called:
        return None
    arguments = next((called[name] for name in ("arguments", "args", "input") if name in called), None)
    return ["call", called["name"], _as_value(arguments) or {}]


def _result(content: object) -> Any:
    """Return a tool's result without what a vendor wraps around it."""
    if isinstance(content, list):
        texts = [part.get("text") for part in content if isinstance(part, dict)]
        content = "".join([text for text in texts if isinstance(text, str)])
    value = _as_value(content)
    if isinstance(value, dict) and len(value) == 1 and next(iter(value)) in _WRAPPERS:
        value = _as_value(next(iter(value.values())))
    return value


def _as_value(content: object) -> Any:
    """Return what a JSON text holds, and anything else as it is."""
    if isinstance(content, str):
        try:
            return json.loads(content)
        except (ValueError, RecursionError):
            return content
    return content


def _medium(part: dict[str, Any]) -> str | None:
    """Return the data or the address of an image or another medium."""
    for name in ("image_url", "source", "inlineData", "fileData", "input_audio", "file", "video_url"):
        holder = part.get(name)
        if isinstance(holder, str):
            return holder.partition(";base64,")[2] or holder
        if isinstance(holder, dict):
            for key in ("url", "data", "fileUri", "file_data", "file_id"):
                value = holder.get(key)
                if isinstance(value, str):
                    return value.partition(";base64,")[2] or value
    return None


def _tool_names(tools: object) -> list[str]:
    """Return the names of the tools that a request offers."""
    names: list[object] = []
    for tool in tools if isinstance(tools, list) else ():
        if not isinstance(tool, dict):
            continue
        declared = tool.get("functionDeclarations")
        functions = declared if isinstance(declared, list) else [tool.get("function") or tool]
        names += [each.get("name") for each in functions if isinstance(each, dict)]
    return [name for name in names if isinstance(name, str)]
