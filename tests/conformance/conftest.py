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


def _openai_client(server: MockServer, **options: Any) -> Any:
    import openai

    return openai.OpenAI(base_url=server.base_url, **{"api_key": "k", "max_retries": 0, **options})


def _anthropic_client(server: MockServer, **options: Any) -> Any:
    import anthropic

    return anthropic.Anthropic(base_url=server.url, **{"api_key": "k", "max_retries": 0, **options})


def _gemini_client(server: MockServer, **options: Any) -> Any:
    from google import genai

    http = genai.types.HttpOptions(base_url=server.url, api_version=options.pop("api_version", None))
    return genai.Client(http_options=http, **{"api_key": "k", **options})


_SDK_CLIENTS = {"openai": _openai_client, "anthropic": _anthropic_client, "gemini": _gemini_client}


@pytest.fixture
def client_for(request: pytest.FixtureRequest) -> Iterator[Callable[..., Any]]:
    """Makes clients for servers, of the vendor's SDK that `SDK` in the test's module names, and closes them."""
    clients: list[Any] = []

    def make(server: MockServer, **options: Any) -> Any:
        clients.append(_SDK_CLIENTS[request.module.SDK](server, **options))
        return clients[-1]

    yield make
    for made in clients:
        made.close()


@pytest.fixture
def client(client_for: Callable[..., Any], flexllm_mock: MockServer) -> Any:
    """The SDK's client for a fresh mock."""
    return client_for(flexllm_mock)


@pytest.fixture
def strict() -> Callable[[Any, str | bytes], Any]:
    """Validates JSON against a type of an SDK: nothing missing, nothing unknown, nothing of another type."""
    import pydantic

    def validate(kind: Any, raw: str | bytes) -> Any:
        return pydantic.TypeAdapter(kind).validate_json(raw, strict=True, extra="forbid")

    return validate


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
