"""Fixtures of the tests of Claude's wire."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from flexllm_core.endpoint import endpoint_from
from flexllm_core.errors import LLMHTTPError, LLMRequestError
from flexllm_core.requests import ChatRequest
from flexllm_core.results import ChatCompletionResult, StreamEvent
from flexllm_providers import wire_warnings
from flexllm_providers.claude import decode as claude_decode
from flexllm_providers.claude import encode as claude_encode
from flexllm_providers.claude import errors as claude_errors
from flexllm_providers.claude.stream import ClaudeStreamDecoder
from flexllm_providers.claude.target import ClaudeTarget, claude_target_from
from flexllm_providers.http import HttpRequest, HttpResponse
from flexllm_providers.sse import SSEParser

DATA = Path(__file__).parent / "data"


class ClaudeWire:
    """Claude's wire against an endpoint called `e` with a key of its own."""

    KEY = "s3cret-key-000000"
    REQUEST = ChatRequest([{"role": "user", "content": "hi"}], "claude-opus-5-5")

    def target(self, **more: Any) -> ClaudeTarget:
        """The endpoint, with more settings."""
        return claude_target_from(
            endpoint_from({"name": "e", "base_url": "http://h/v1", "api_key": self.KEY, "provider": "claude", **more})
        )

    def encode(self, messages: Any = "hi", model: str = "claude-opus-5-5", **params: Any) -> HttpRequest:
        """The request for these messages and params; `target` and `stream` may be among them."""
        target, stream = params.pop("target", None) or self.target(), params.pop("stream", False)
        messages = [{"role": "user", "content": messages}] if isinstance(messages, str) else messages
        return claude_encode.encode(ChatRequest(messages, model, params), target, stream=stream)

    def body(self, messages: Any = "hi", model: str = "claude-opus-5-5", **params: Any) -> Any:
        """The JSON body of such a request."""
        return json.loads(self.encode(messages, model, **params).body)

    def read(self, data: Any, request: ChatRequest = REQUEST) -> ChatCompletionResult:
        """The result of a 200 with this JSON, or with these bytes."""
        return claude_decode.decode(HttpResponse(200, {}, as_bytes(data)), request, self.target(), 0.0)

    def refuse(self, data: Any, request: ChatRequest = REQUEST) -> LLMRequestError:
        """The error of a 200 with this JSON."""
        with pytest.raises(LLMRequestError) as caught:
            self.read(data, request)
        return caught.value

    def fail(self, status: int, data: Any, request: ChatRequest = REQUEST, **headers: str) -> LLMHTTPError:
        """The error of an error status; header names with underscores for hyphens."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return claude_errors.decode_error(HttpResponse(status, named, as_bytes(data)), request, self.target(), 0.0)

    def events(self, *chunks: Any, request: ChatRequest = REQUEST) -> list[StreamEvent]:
        """All events of a stream: each chunk is JSON for one event, or bytes of a body."""
        decoder, parser = ClaudeStreamDecoder(request, self.target(), 0.0), SSEParser()
        out: list[StreamEvent] = []
        for chunk in chunks:
            for event in parser.feed(chunk if isinstance(chunk, bytes) else b"data: " + as_bytes(chunk) + b"\n\n"):
                out += decoder.feed(event)
        for event in parser.close():
            out += decoder.feed(event)
        return out + decoder.close()

    def answer(self, *chunks: Any, **options: Any) -> tuple[list[StreamEvent], ChatCompletionResult]:
        """The events before the last one, and the result that the last one carries."""
        *events, last = self.events(*chunks, **options)
        assert last.type == "done"
        assert last.result is not None
        return events, last.result

    def cut(self, *chunks: Any) -> LLMRequestError:
        """The error of a stream."""
        with pytest.raises(LLMRequestError) as caught:
            self.events(*chunks)
        return caught.value

    def said(self, *blocks: Any, stop_reason: Any = "end_turn", **more: Any) -> dict[str, Any]:
        """An answer of these blocks; a text stands for a block of text."""
        content = [{"type": "text", "text": block} if isinstance(block, str) else block for block in blocks]
        return {"type": "message", "role": "assistant", "content": content, "stop_reason": stop_reason, **more}

    def data(self, name: str) -> Any:
        """One of the documented examples: JSON, or the bytes of a stream."""
        raw = (DATA / name).read_bytes()
        return json.loads(raw) if name.endswith(".json") else raw


def as_bytes(data: Any) -> bytes:
    """JSON, or bytes as they are."""
    return data if isinstance(data, bytes) else json.dumps(data).encode()


@pytest.fixture(scope="session")
def wire() -> ClaudeWire:
    """Claude's wire, to ask and to read answers with."""
    return ClaudeWire()


@pytest.fixture
def warnings_said(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    """The log, with no warning said before."""
    monkeypatch.setattr(wire_warnings, "_said", set())
    return caplog
