"""The stream of Claude's Messages API: from server-sent events to StreamEvents and the whole answer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from flexllm_core.errors import LLMResponseError
from flexllm_core.json_codec import decode_json
from flexllm_core.requests import ChatRequest
from flexllm_core.results import StreamEvent
from flexllm_providers.claude.blocks import tool_input
from flexllm_providers.claude.decode import result_from_message, truncated
from flexllm_providers.claude.errors import error_in_body, is_error
from flexllm_providers.claude.usage import merge_usage
from flexllm_providers.sse import ServerSentEvent
from flexllm_providers.target import Target

_FRAGMENTS = {
    "text_delta": ("text", "text"),
    "thinking_delta": ("thinking", "thinking"),
    "input_json_delta": ("input", "partial_json"),
}
"""Deltas whose texts are joined: the key of the block that they make up, and the key that holds the fragment."""


@dataclass(slots=True)
class _PartialBlock:
    """A content block that is still arriving: its start, and the fragments of one of its keys."""

    start: dict[str, Any]
    key: str = ""
    fragments: list[str] = field(default_factory=list)

    def whole(self) -> dict[str, Any]:
        """The block as an answer without streaming has it."""
        joined = "".join(self.fragments)
        if not joined:
            return self.start
        if self.key == "input":
            return {**self.start, "input": tool_input(joined)}
        begun = self.start.get(self.key)
        return {**self.start, self.key: (begun if isinstance(begun, str) else "") + joined}


class ClaudeStreamDecoder:
    """Fed with events in order; `close` gives the whole answer or says that the stream was cut."""

    def __init__(self, request: ChatRequest, target: Target, now: float) -> None:
        self._request = request
        self._target = target
        self._now = now
        self._message: dict[str, Any] | None = None
        self._usage: dict[str, Any] = {}
        self._blocks: list[_PartialBlock] = []
        self._by_index: dict[int, _PartialBlock] = {}
        self._shown = False
        self._done = False
        self._handlers: dict[str, Callable[[dict[str, Any]], list[StreamEvent]]] = {
            "message_start": self._message_start,
            "content_block_start": self._block_start,
            "content_block_delta": self._block_delta,
            "message_delta": self._message_delta,
            "message_stop": self._message_stop,
        }

    @property
    def finished(self) -> bool:
        """Whether the answer is whole, so that nothing is lost if the connection breaks now."""
        return self._done

    def feed(self, event: ServerSentEvent) -> list[StreamEvent]:
        """The events that one server-sent event brings; unknown ones, and pings, bring none.

        Raises:
            LLMRequestError: The event holds an error, is not JSON, or is out of order.
        """
        text = event.data.strip()
        if self._done or not text or text == "[DONE]":  # some proxies end every stream as OpenAI does
            return []
        body = event.data.encode()
        try:
            data = decode_json(body)
        except ValueError:
            raise self._cut("the stream holds something that is not JSON", body) from None
        if not isinstance(data, dict):
            raise self._cut("the stream holds something that is not a JSON object", body)
        if event.event == "error" or is_error(data):
            raise error_in_body(data, body, {}, self._request, self._target, self._now)
        kind = data.get("type", event.event)
        handler = self._handlers.get(kind) if isinstance(kind, str) else None
        return handler(data) if handler else []

    def _message_start(self, data: dict[str, Any]) -> list[StreamEvent]:
        message = data.get("message")
        if self._message is not None or not isinstance(message, dict):
            raise self._cut("the stream begins a second message" if self._message else "message_start has no message")
        self._message = message
        merge_usage(self._usage, message.get("usage"))
        return []

    def _block_start(self, data: dict[str, Any]) -> list[StreamEvent]:
        block, index = data.get("content_block"), data.get("index")
        if self._message is None or not isinstance(block, dict) or type(index) is not int:
            raise self._cut("the stream is out of order: a content block without its message, index or type")
        partial = self._by_index[index] = _PartialBlock(dict(block))
        self._blocks.append(partial)
        kind = block.get("type")
        return self._show(kind, block.get(kind)) if kind in ("text", "thinking") else []

    def _block_delta(self, data: dict[str, Any]) -> list[StreamEvent]:
        delta, index = data.get("delta"), data.get("index")
        partial = self._by_index.get(index) if type(index) is int else None
        if partial is None or not isinstance(delta, dict):
            raise self._cut("the stream is out of order: a delta without its content block")
        kind = delta.get("type")
        if isinstance(kind, str) and kind in _FRAGMENTS:
            return self._fragment(partial, delta, *_FRAGMENTS[kind])
        if kind == "signature_delta":
            partial.start["signature"] = delta.get("signature")
        elif kind == "citations_delta":
            partial.start["citations"] = [*(partial.start.get("citations") or ()), delta.get("citation")]
        return []

    def _fragment(self, partial: _PartialBlock, delta: dict[str, Any], key: str, source: str) -> list[StreamEvent]:
        text = delta.get(source)
        if text is None or text == "":
            return []
        if not isinstance(text, str) or partial.key not in ("", key):
            raise self._cut("the stream holds a delta that does not fit its content block")
        partial.key = key
        partial.fragments.append(text)
        return self._show(key, text)

    def _show(self, key: object, text: object) -> list[StreamEvent]:
        if not isinstance(text, str) or not text:
            return []
        if key == "text":
            self._shown = True
            return [StreamEvent("content", text)]
        return [StreamEvent("reasoning", text)] if key == "thinking" else []

    def _message_delta(self, data: dict[str, Any]) -> list[StreamEvent]:
        delta = data.get("delta")
        if self._message is None:
            raise self._cut("the stream is out of order: message_delta before message_start")
        if isinstance(delta, dict):
            self._message.update((key, value) for key, value in delta.items() if value is not None)
        merge_usage(self._usage, data.get("usage"))
        return []

    def _message_stop(self, _: dict[str, Any]) -> list[StreamEvent]:
        self._done = self._message is not None and bool(self._message.get("stop_reason"))
        return []

    def close(self) -> list[StreamEvent]:
        """The tool calls and the `done` event.

        Raises:
            LLMResponseError: The stream ended before the answer did, or the answer is empty.
        """
        if not self._done or self._message is None:
            raise self._cut("the stream was truncated: it ended without a stop_reason and message_stop")
        blocks = [block.whole() for block in self._blocks]
        data = {**self._message, "content": blocks, "usage": self._usage or None}
        result = result_from_message(data, self._request, self._target)
        events = [StreamEvent("tool_call", tool_call=call) for call in result.tool_calls]
        if result.content and not self._shown:  # a refusal's explanation, which no event has shown
            events.insert(0, StreamEvent("content", result.content))
        return [*events, StreamEvent("done", result=result)]

    def _cut(self, what: str, body: bytes = b"") -> LLMResponseError:
        return truncated(self._target, self._request, what, body)
