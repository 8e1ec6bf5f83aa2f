"""Fixtures of the tests of Gemini's wire."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest

from flexllm_core.endpoint import endpoint_from
from flexllm_core.errors import LLMHTTPError, LLMRequestError
from flexllm_core.options import params_from_options
from flexllm_core.requests import ChatRequest
from flexllm_core.results import ChatCompletionResult, StreamEvent
from flexllm_providers.gemini import decode as gemini_decode
from flexllm_providers.gemini import encode as gemini_encode
from flexllm_providers.gemini import errors as gemini_errors
from flexllm_providers.gemini.stream import GeminiStreamDecoder
from flexllm_providers.gemini.target import GeminiTarget, gemini_target_from
from flexllm_providers.http import HttpRequest, HttpResponse
from flexllm_providers.sse import SSEParser

_EXAMPLES = json.loads((Path(__file__).parent / "examples.json").read_bytes())


class GeminiWire:
    """Gemini's wire against an endpoint called `e` with a key of its own."""

    KEY = "s3cret-key-000000"
    REQUEST = ChatRequest([{"role": "user", "content": "hi"}], "gemini-3.7-flash")

    def target(self, **more: Any) -> GeminiTarget:
        """The endpoint, with more settings."""
        data = {"name": "e", "provider": "gemini", "api_key": self.KEY, **more}
        return gemini_target_from(endpoint_from(data), {})

    def http(
        self,
        messages: Any = "hi",
        model: str | None = "gemini-3.7-flash",
        *,
        stream: bool = False,
        endpoint: dict[str, Any] | None = None,
        **options: Any,
    ) -> HttpRequest:
        """The HTTP request of a call with these options."""
        messages = [{"role": "user", "content": messages}] if isinstance(messages, str) else messages
        headers = options.get("extra_headers") or {}
        request = ChatRequest(messages, model, params_from_options(options), extra_headers=headers)
        return gemini_encode.encode(request, self.target(**(endpoint or {})), stream=stream)

    def body(self, messages: Any = "hi", model: str = "gemini-3.7-flash", **options: Any) -> dict[str, Any]:
        """The JSON body of a call."""
        sent: dict[str, Any] = json.loads(self.http(messages, model, **options).body)
        return sent

    def params(self, model: str = "gemini-3.7-flash", **options: Any) -> dict[str, Any]:
        """The JSON body of a call without its contents."""
        sent = self.body("hi", model, **options)
        assert sent.pop("contents") == [{"role": "user", "parts": [{"text": "hi"}]}]
        return sent

    def read(self, data: Any, request: ChatRequest = REQUEST, **more: Any) -> ChatCompletionResult:
        """The result of a 200 with this JSON, or with these bytes."""
        return gemini_decode.decode(HttpResponse(200, {}, _bytes(data)), request, self.target(**more), 0.0)

    def refuse(self, data: Any, request: ChatRequest = REQUEST) -> LLMRequestError:
        """The error of a 200 with this JSON."""
        with pytest.raises(LLMRequestError) as caught:
            self.read(data, request)
        return caught.value

    def fail(self, status: int, data: Any, request: ChatRequest = REQUEST, **headers: str) -> LLMHTTPError:
        """The error of an error status; header names with underscores for hyphens."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return gemini_errors.decode_error(HttpResponse(status, named, _bytes(data)), request, self.target(), 0.0)

    def decoder(self, request: ChatRequest = REQUEST) -> GeminiStreamDecoder:
        """A decoder of one stream."""
        return GeminiStreamDecoder(request, self.target(), 0.0)

    def events(self, *chunks: Any, request: ChatRequest = REQUEST) -> list[StreamEvent]:
        """All events of a stream: each chunk is JSON for one event, a text as it is, or bytes of a body."""
        decoder, parser = self.decoder(request), SSEParser()
        out: list[StreamEvent] = []
        for chunk in chunks:
            for event in parser.feed(chunk if isinstance(chunk, bytes) else self.sse(chunk)):
                out += decoder.feed(event)
        for event in parser.close():
            out += decoder.feed(event)
        return out + decoder.close()

    def answer(self, *chunks: Any, request: ChatRequest = REQUEST) -> tuple[list[StreamEvent], ChatCompletionResult]:
        """The events before the last one, and the result that the last one carries."""
        *events, last = self.events(*chunks, request=request)
        assert last.type == "done"
        assert last.result is not None
        assert all(event.result is None and event.type != "done" for event in events)
        return events, last.result

    def sse(self, *chunks: Any) -> bytes:
        """The body of a stream of these chunks."""
        return b"".join(b"data: " + _bytes(chunk) + b"\r\n\r\n" for chunk in chunks)

    def candidate(self, *parts: Any, reason: Any = "STOP", **more: Any) -> dict[str, Any]:
        """An answer of one candidate with these parts; a text stands for a part of text."""
        listed = [{"text": part} if isinstance(part, str) else part for part in parts]
        return {"candidates": [{"content": {"role": "model", "parts": listed}, "finishReason": reason, **more}]}


def _bytes(data: Any) -> bytes:
    if isinstance(data, bytes):
        return data
    return data.encode() if isinstance(data, str) else json.dumps(data, ensure_ascii=False).encode()


@pytest.fixture(scope="session")
def gemini_wire() -> GeminiWire:
    """Gemini's wire, to write requests and read answers with."""
    return GeminiWire()


@pytest.fixture
def examples() -> Any:
    """Requests, answers and errors as Google documents them; `tests/conformance` checks them with its SDK."""
    return copy.deepcopy(_EXAMPLES)
