"""The same client over every provider, against the mock server: {provider} x {async, sync} x {h1, httpx}."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest

from flexllm import ChatCompletionResult, LLMClient, StreamEvent
from flexllm_mock import FaultRule, MockServer

KEY = "sk-conformance-0123456789abcdef"
PATHS = {"openai": "/v1", "claude": "", "gemini": "/v1beta", "vertex": "/v1/projects/p/locations/l"}
MODELS = {
    "openai": "gpt-test",
    "claude": "claude-sonnet-4-5",
    "gemini": "gemini-2.5-flash",
    "vertex": "gemini-2.5-flash",
}


@pytest.fixture(scope="module")
def mock_server() -> Iterator[MockServer]:
    """One mock server for a module; its faults and log are reset for each case."""
    with MockServer(api_key=KEY) as server:
        yield server


class Harness:
    """One provider called in one way: `chat` and `events` look the same for all."""

    def __init__(self, provider: str, mode: str, transport: str, server: MockServer) -> None:
        self.provider = provider
        self.mode = mode
        self.transport = transport
        self.server = server

    def client(self, **settings: Any) -> LLMClient:
        given: dict[str, Any] = {
            "provider": self.provider,
            "model": MODELS[self.provider],
            "base_url": self.server.url + PATHS[self.provider],
            "api_key": KEY,
            "retry_times": 0,
            "transport": httpx.AsyncHTTPTransport() if self.transport == "httpx" else None,
        }
        return LLMClient(**{**given, **settings})

    def chat(self, messages: Any, *, settings: dict[str, Any] | None = None, **options: Any) -> ChatCompletionResult:
        if self.mode == "sync":
            with self.client(**settings or {}) as client:
                return client.chat_sync(messages, **options)

        async def call() -> ChatCompletionResult:
            async with self.client(**settings or {}) as client:
                return await client.chat(messages, **options)

        return asyncio.run(call())

    def events(self, messages: Any, **options: Any) -> list[StreamEvent]:
        if self.mode == "sync":
            with self.client() as client:
                return list(client.chat_stream_sync(messages, **options))

        async def call() -> list[StreamEvent]:
            async with self.client() as client:
                return [event async for event in client.chat_stream(messages, **options)]

        return asyncio.run(call())

    def fault(self, **rule: Any) -> None:
        self.server.add_fault(FaultRule(**rule))


@pytest.fixture(params=["openai", "claude", "gemini", "vertex"])
def provider(request: pytest.FixtureRequest) -> str:
    """Each provider."""
    return str(request.param)


@pytest.fixture(params=["async", "sync"])
def mode(request: pytest.FixtureRequest) -> str:
    """Each way of calling."""
    return str(request.param)


@pytest.fixture(params=["h1", "httpx"])
def transport(request: pytest.FixtureRequest) -> str:
    """Each transport."""
    return str(request.param)


@pytest.fixture
def harness(provider: str, mode: str, transport: str, mock_server: MockServer) -> Iterator[Harness]:
    """One cell of the matrix."""
    mock_server.reset()
    yield Harness(provider, mode, transport, mock_server)
    mock_server.reset()


@pytest.fixture
def text_of() -> Callable[[list[StreamEvent]], str]:
    """The text of a stream's pieces."""
    return lambda events: "".join(event.text for event in events if event.type == "content")
