"""Conversations, from OpenAI's messages to Gemini's `systemInstruction` and `contents`.

Gemini knows two roles, `user` and `model`. System messages, wherever they stand, become the system
instruction; results of tools become parts of a user's turn; neighbours of one role become one turn.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from flexllm_core.errors import InputError
from flexllm_core.json_codec import decode_json
from flexllm_core.messages import Messages
from flexllm_providers.gemini.media import content_parts, content_text
from flexllm_providers.gemini.parts import MODEL_KEY, PARTS_KEY, read_parts

UNSIGNED = "skip_thought_signature_validator"
"""What stands for the signature of a function call that Gemini did not make: of another model, or of a person."""

_SYSTEM = ("system", "developer")
_RESULTS = ("tool", "function")


@dataclass(frozen=True, slots=True)
class _Call:
    """A function call of an earlier turn, to which a result refers."""

    name: str
    wire_id: str | None
    position: int


@dataclass(slots=True)
class _Conversation:
    """The turns so far."""

    sign_calls: bool
    takes_back: Callable[[str], bool]
    system: list[dict[str, Any]] = field(default_factory=list)
    contents: list[dict[str, Any]] = field(default_factory=list)
    calls: dict[str, _Call] = field(default_factory=dict)
    results: list[tuple[int, dict[str, Any]]] = field(default_factory=list)

    def add(self, message: Mapping[str, Any]) -> None:
        role, content = message.get("role"), message.get("content")
        if role in _RESULTS:
            self.results.append(self._result(message))
            return
        self.end_results()
        if role in _SYSTEM:
            self.system += content_parts(content)
        elif role == "user":
            self._turn("user", content_parts(content) or [{"text": ""}])
        elif role == "assistant":
            self._turn("model", self._model_parts(message))
        else:
            raise InputError(f"a message has the role {str(role)[:40]!r}")

    def end_results(self) -> None:
        """Results go into one turn in the order of their calls: without ids they are matched by it."""
        self.results.sort(key=lambda result: result[0])
        self._turn("user", [part for _, part in self.results])
        self.results = []

    def _turn(self, role: str, parts: list[dict[str, Any]]) -> None:
        if parts and self.contents and self.contents[-1]["role"] == role:
            self.contents[-1]["parts"] += parts
        elif parts:
            self.contents.append({"role": role, "parts": parts})

    def _model_parts(self, message: Mapping[str, Any]) -> list[dict[str, Any]]:
        calls = _tool_calls(message)
        maker = message.get(MODEL_KEY)
        foreign = isinstance(maker, str) and not self.takes_back(maker)
        replayed = None if foreign else _replayed(message, calls)
        if replayed is not None:
            parts, wire_ids = replayed
        else:
            parts, wire_ids = self._rebuilt(message, calls), [call_id for call_id, _ in calls]
        for position, ((call_id, function), wire_id) in enumerate(zip(calls, wire_ids, strict=True)):
            if call_id is not None:
                self.calls[call_id] = _Call(function["name"], wire_id, position)
        return parts

    def _rebuilt(
        self, message: Mapping[str, Any], calls: list[tuple[str | None, dict[str, Any]]]
    ) -> list[dict[str, Any]]:
        parts = content_parts(message.get("content"))
        if not parts and isinstance(message.get("refusal"), str):
            parts = [{"text": message["refusal"]}]
        parts = [part for part in parts if part != {"text": ""}]  # an empty text beside calls is refused
        for number, (call_id, function) in enumerate(calls):
            part: dict[str, Any] = {"functionCall": ({"id": call_id} if call_id else {}) | function}
            if self.sign_calls and number == 0:
                part["thoughtSignature"] = UNSIGNED
            parts.append(part)
        return parts

    def _result(self, message: Mapping[str, Any]) -> tuple[int, dict[str, Any]]:
        call_id, name = message.get("tool_call_id"), message.get("name")
        call = self.calls.get(call_id) if isinstance(call_id, str) else None
        if call is None and isinstance(name, str) and name:
            call = _Call(name, call_id if isinstance(call_id, str) else None, len(self.results))
        if call is None:
            raise InputError(f"a tool's result answers no call of an earlier message: tool_call_id {_short(call_id)}")
        key = "error" if message.get("is_error") is True else "output"
        response: dict[str, Any] = {"name": call.name, "response": {key: content_text(message.get("content"))}}
        if call.wire_id is not None:
            response["id"] = call.wire_id
        media = [part for part in content_parts(message.get("content")) if "text" not in part]
        if media:
            response["parts"] = media
        return call.position, {"functionResponse": response}


def encode_messages(
    messages: Messages, *, sign_calls: bool = False, takes_back: Callable[[str], bool] = lambda _: True
) -> dict[str, Any]:
    """The `systemInstruction`, where there is one, and the `contents`.

    Args:
        messages: The conversation. Parts that Gemini made go back as they came, unless the message's
            text or calls were changed.
        sign_calls: The model refuses function calls without a signature: those that it did not make
            itself get the one that says so.
        takes_back: Whether the parts that a model made may go to the one that is asked.

    Raises:
        InputError: A message cannot be said in Gemini's terms.
    """
    conversation = _Conversation(sign_calls, takes_back)
    for message in messages:
        conversation.add(message)
    conversation.end_results()
    system, contents = conversation.system, conversation.contents
    if not contents:  # Gemini wants a turn to answer to
        return {"contents": [{"role": "user", "parts": system or [{"text": ""}]}]}
    return {"systemInstruction": {"parts": system}, "contents": contents} if system else {"contents": contents}


def _replayed(
    message: Mapping[str, Any], calls: list[tuple[str | None, dict[str, Any]]]
) -> tuple[list[dict[str, Any]], list[str | None]] | None:
    """The parts that Gemini made and the ids of their calls; None where there are none that still hold."""
    parts = message.get(PARTS_KEY)
    if not isinstance(parts, list) or not parts or not all(isinstance(part, dict) for part in parts):
        return None
    turn = read_parts(parts)
    content = message.get("content")
    same_text = not isinstance(content, str) or content == (turn.content or "")
    made = [{"name": call.name, "args": decode_json(call.arguments.encode())} for call in turn.calls]
    same_calls = made == [function for _, function in calls]
    return (list(parts), list(turn.wire_ids)) if same_text and same_calls else None


def _tool_calls(message: Mapping[str, Any]) -> list[tuple[str | None, dict[str, Any]]]:
    """Id, and name and arguments, of each call of an assistant message."""
    listed = message.get("tool_calls")
    if not listed:
        legacy = message.get("function_call")
        listed = [{"function": legacy}] if isinstance(legacy, Mapping) else []
    if not isinstance(listed, list | tuple):
        raise InputError(f"tool_calls is {type(listed).__name__}; expected a list")
    return [_tool_call(item) for item in listed]


def _tool_call(item: object) -> tuple[str | None, dict[str, Any]]:
    function = item.get("function") if isinstance(item, Mapping) else None
    if not isinstance(item, Mapping) or not isinstance(function, Mapping):
        raise InputError("a tool call without a function cannot be sent to Gemini")
    name, call_id = function.get("name"), item.get("id")
    if not isinstance(name, str) or not name:
        raise InputError("a tool call has no function name")
    return (
        call_id if isinstance(call_id, str) and call_id else None,
        {"name": name, "args": _arguments(function, name)},
    )


def _arguments(function: Mapping[str, Any], name: str) -> dict[str, Any]:
    text = function.get("arguments")
    try:
        arguments = decode_json(text.encode()) if isinstance(text, str) and text.strip() else text or {}
    except ValueError:  # also a lone surrogate
        arguments = None
    if not isinstance(arguments, dict):
        raise InputError(f"the arguments of a call of {name[:80]!r} are no JSON object, as Gemini wants them")
    return arguments


def _short(value: object) -> str:
    return repr(value)[:80] if isinstance(value, str) else type(value).__name__
