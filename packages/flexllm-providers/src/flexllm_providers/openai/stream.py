"""The stream of OpenAI's chat completions: from server-sent events to StreamEvents and the whole answer."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from flexllm_core.errors import LLMResponseError
from flexllm_core.json_codec import decode_json, encode_json
from flexllm_core.requests import ChatRequest
from flexllm_core.results import ChatCompletionResult, StreamEvent
from flexllm_providers.openai.usage import decode_usage
from flexllm_providers.openai.wire import (
    content_text,
    error_in_body,
    finish_result,
    is_error,
    known_reason,
    result_from_message,
)
from flexllm_providers.sse import ServerSentEvent
from flexllm_providers.target import Target
from flexllm_providers.think_tags import ThinkTagSplitter
from flexllm_providers.wire_errors import unusable

_ARGUMENTS = {"function": "arguments", "custom": "input"}
_CALL_KEYS = frozenset({"index", "id", "type", *_ARGUMENTS})


@dataclass(slots=True)
class _PartialCall:
    """A tool call whose arguments are still arriving."""

    id: str = ""
    name: str = ""
    arguments: list[str] = field(default_factory=list)
    opaque: dict[str, Any] = field(default_factory=dict)
    kind: str = "function"

    @property
    def is_whole(self) -> bool:
        """Whether the arguments so far are JSON to which nothing can be added."""
        text = "".join(self.arguments).strip()
        return text.endswith("}") and _is_json(text)

    def to_dict(self) -> dict[str, Any]:
        """The call as an answer without streaming has it."""
        function = {"name": self.name, _ARGUMENTS[self.kind]: "".join(self.arguments)}
        return {**self.opaque, "id": self.id, "type": self.kind, self.kind: function}


class OpenAIStreamDecoder:
    """Fed with events in order; `close` gives the whole answer or says that the stream was cut."""

    def __init__(self, request: ChatRequest, target: Target, now: float) -> None:
        self._request = request
        self._target = target
        self._now = now
        self._head: dict[str, Any] = {}
        self._content: list[str] = []
        self._reasoning: list[str] = []
        self._reasoning_key = "reasoning_content"
        self._tags = ThinkTagSplitter() if target.dialect.think_tags else None
        self._details: list[Any] = []
        self._refusal: list[str] = []
        self._calls: list[_PartialCall] = []
        self._by_index: dict[int, _PartialCall] = {}
        self._finish_reason: str | None = None
        self._usage: Any = None
        self._done = False

    @property
    def finished(self) -> bool:
        """Whether the answer is whole, so that nothing is lost if the connection breaks now."""
        return self._done or self._finish_reason is not None

    def feed(self, event: ServerSentEvent) -> list[StreamEvent]:
        """The events that one server-sent event brings.

        Raises:
            LLMRequestError: The event holds an error, or is not JSON.
        """
        if self._done:
            return []
        text = event.data.strip()
        if text == "[DONE]":
            self._done = True
        if self._done or not text:
            return []
        body = event.data.encode()
        try:
            data = decode_json(body)
        except ValueError:
            if self.finished:  # cut in what comes after the answer, which takes nothing from it
                return []
            raise self._cut("the stream holds something that is not JSON", body) from None
        if not isinstance(data, dict):
            raise self._cut("the stream holds something that is not a JSON object", body)
        if is_error(data):
            raise error_in_body(data, body, {}, self._request, self._target, self._now)
        for key in ("id", "model"):
            if isinstance(data.get(key), str):
                self._head.setdefault(key, data[key])
        if data.get("usage"):
            self._usage = data["usage"]
        out: list[StreamEvent] = []
        choices = data.get("choices")
        for choice in choices if isinstance(choices, list) else ():
            # Further choices (n > 1) would mix their texts into the first one's.
            if isinstance(choice, dict) and choice.get("index", 0) in (0, None):
                if is_error(choice):
                    raise error_in_body(choice, body, {}, self._request, self._target, self._now)
                self._choice(choice, out)
        return out

    def _choice(self, choice: dict[str, Any], out: list[StreamEvent]) -> None:
        delta = choice.get("delta") or choice.get("message")
        if isinstance(delta, dict):
            for key in ("reasoning_content", "reasoning"):
                if isinstance(delta.get(key), str) and delta[key]:
                    self._reasoning_key = key
                    self._reasoning.append(delta[key])
                    out.append(StreamEvent("reasoning", delta[key]))
                    break
            if isinstance(delta.get("reasoning_details"), list):
                self._details.extend(delta["reasoning_details"])
            self._text(delta, out)
            if delta.get("tool_calls"):
                for part in _list(delta["tool_calls"]):
                    self._tool_part(part)
            elif isinstance(delta.get("function_call"), dict):
                self._tool_part({"index": 0, "function": delta["function_call"]})
        self._finish_reason = known_reason(choice.get("finish_reason")) or self._finish_reason

    def _text(self, delta: dict[str, Any], out: list[StreamEvent]) -> None:
        if delta.get("content"):
            text = content_text(delta["content"])
            if text is None:
                raise self._cut("the stream holds a content that is not text")
            self._content.append(text)
            if self._tags is None or self._reasoning:
                out.extend([StreamEvent("content", text)] if text else [])
            else:
                out.extend(_tag_events(self._tags.feed(text)))
        refusal = delta.get("refusal")
        if isinstance(refusal, str) and refusal:
            self._refusal.append(refusal)
            out.append(StreamEvent("content", refusal))

    def _tool_part(self, part: object) -> None:
        """One fragment of a tool call."""
        if not isinstance(part, dict):
            raise self._cut("the stream holds a tool call that is not a JSON object")
        index, call_id = part.get("index"), _text_or_empty(part.get("id"))
        kind = "custom" if isinstance(part.get("custom"), dict) else "function"
        function = part.get(kind)
        function = function if isinstance(function, dict) else {}
        name, arguments = _text_or_empty(function.get("name")), function.get(_ARGUMENTS[kind])
        call = self._call_of(index, call_id, name)
        if call is None:
            call = _PartialCall()
            self._calls.append(call)
            if isinstance(index, int):
                self._by_index[index] = call
        call.kind = kind if kind == "custom" else call.kind
        call.id = call.id or call_id
        call.name = call.name or name
        if isinstance(arguments, str):
            call.arguments.append(arguments)
        elif arguments:
            call.arguments.append(encode_json(arguments).decode())
        call.opaque.update({key: value for key, value in part.items() if key not in _CALL_KEYS})

    def _call_of(self, index: object, call_id: str, name: str) -> _PartialCall | None:
        """The call that a fragment belongs to, None when it begins a new one.

        By its index; but some servers send whole calls all at index 0, each with an id and name of its
        own. Without an index by its id; and without that a name begins a new call, unless the call
        before it is still open: some servers repeat id or name in every fragment.
        """
        if isinstance(index, int):
            call = self._by_index.get(index)
            another = call is not None and name and call.name and call_id and call.id and call_id != call.id
            return None if another else call
        if call_id:
            same = [call for call in self._calls if call.id == call_id]
            if same or name:
                return same[0] if same else None
        last = self._calls[-1] if self._calls else None
        begins = last is not None and name and last.name and (name != last.name or last.is_whole)
        return None if begins else last

    def close(self) -> list[StreamEvent]:
        """The tool calls and the `done` event.

        Raises:
            LLMResponseError: The stream ended before the answer did, or the answer is empty.
        """
        if not self.finished:
            raise self._cut("the stream was truncated: it ended without a finish_reason")
        if not all(call.name for call in self._calls):
            raise self._cut("the stream holds a tool call without a name")
        result = self._result()
        return [
            *(_tag_events(self._tags.close()) if self._tags else ()),
            *(StreamEvent("tool_call", tool_call=call) for call in result.tool_calls),
            StreamEvent("done", result=result),
        ]

    def _result(self) -> ChatCompletionResult:
        message: dict[str, Any] = {"role": "assistant", "content": "".join(self._content) or None}
        if self._reasoning:
            message[self._reasoning_key] = "".join(self._reasoning)
        if self._details:
            message["reasoning_details"] = self._details
        if self._refusal:
            message["refusal"] = "".join(self._refusal)
        if self._calls:
            message["tool_calls"] = [call.to_dict() for call in self._calls]
        result = result_from_message(message, self._finish_reason, self._target)
        result.usage = decode_usage(self._usage)
        choice = {"index": 0, "message": message, "finish_reason": self._finish_reason}
        data = {**self._head, "usage": self._usage, "choices": [choice]}
        finish_result(result, data, self._request, self._target)
        return result

    def _cut(self, what: str, body: bytes = b"") -> LLMResponseError:
        return unusable(self._target, self._request, what, body, kind="transient")


def _tag_events(pieces: list[tuple[bool, str]]) -> list[StreamEvent]:
    return [StreamEvent("reasoning" if is_reasoning else "content", text) for is_reasoning, text in pieces]


def _text_or_empty(value: object) -> str:
    return value if isinstance(value, str) else ""


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _is_json(text: str) -> bool:
    try:
        decode_json(text.encode())
    except ValueError:
        return False
    return True
