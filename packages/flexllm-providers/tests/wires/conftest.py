"""Fixtures of the wires' tests."""

from __future__ import annotations

import json
from typing import Any

import pytest

from flexllm_core.endpoint import endpoint_from
from flexllm_core.errors import LLMHTTPError, LLMRequestError
from flexllm_core.requests import ChatRequest
from flexllm_core.results import ChatCompletionResult, StreamEvent
from flexllm_providers.http import HttpResponse
from flexllm_providers.openai import wire as openai_wire
from flexllm_providers.openai.stream import OpenAIStreamDecoder
from flexllm_providers.sse import SSEParser
from flexllm_providers.target import Target, target_from


class OpenAIWire:
    """OpenAI's wire against an endpoint called `e` with a key of its own."""

    KEY = "s3cret-key-000000"
    REQUEST = ChatRequest([{"role": "user", "content": "hi"}], "m")

    def target(self, **more: Any) -> Target:
        """The endpoint, with more settings."""
        data = {"name": "e", "base_url": "http://h/v1", "api_key": self.KEY, **more}
        return target_from(endpoint_from(data), openai_wire.DEFAULT_BASE_URL)

    def read(self, data: Any, request: ChatRequest = REQUEST, **more: Any) -> ChatCompletionResult:
        """The result of a 200 with this JSON, or with these bytes."""
        return openai_wire.decode(HttpResponse(200, {}, _bytes(data)), request, self.target(**more), 0.0)

    def refuse(self, data: Any, request: ChatRequest = REQUEST) -> LLMRequestError:
        """The error of a 200 with this JSON."""
        with pytest.raises(LLMRequestError) as caught:
            self.read(data, request)
        return caught.value

    def fail(self, status: int, data: Any, request: ChatRequest = REQUEST, **headers: str) -> LLMHTTPError:
        """The error of an error status; header names with underscores for hyphens."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return openai_wire.decode_error(HttpResponse(status, named, _bytes(data)), request, self.target(), 0.0)

    def events(self, *chunks: Any, keep_raw: bool = False, **more: Any) -> list[StreamEvent]:
        """All events of a stream: each chunk is JSON for one event, a text as it is, or bytes of a body."""
        decoder = OpenAIStreamDecoder(ChatRequest([], "m", keep_raw=keep_raw), self.target(**more), 0.0)
        parser = SSEParser()
        out: list[StreamEvent] = []
        for chunk in chunks:
            for event in parser.feed(chunk if isinstance(chunk, bytes) else self.sse(chunk)):
                out += decoder.feed(event)
        for event in parser.close():
            out += decoder.feed(event)
        return out + decoder.close()

    def answer(self, *chunks: Any, **options: Any) -> tuple[list[StreamEvent], ChatCompletionResult]:
        """The events before the last one, and the result that the last one carries."""
        *events, last = self.events(*chunks, **options)
        assert last.type == "done"
        assert last.result is not None
        assert all(event.result is None and event.type != "done" for event in events)
        return events, last.result

    def sse(self, *chunks: Any) -> bytes:
        """The body of a stream of these chunks."""
        return b"".join(b"data: " + _bytes(chunk) + b"\n\n" for chunk in chunks)


def _bytes(data: Any) -> bytes:
    return data if isinstance(data, bytes) else data.encode() if isinstance(data, str) else json.dumps(data).encode()


@pytest.fixture(scope="session")
def wire() -> OpenAIWire:
    """OpenAI's wire, to read answers and errors with."""
    return OpenAIWire()
