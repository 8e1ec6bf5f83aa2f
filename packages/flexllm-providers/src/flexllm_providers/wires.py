"""The wires by provider: what each gives to the client that sends and receives."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from flexllm_core.errors import ConfigError, LLMHTTPError
from flexllm_core.requests import ChatRequest
from flexllm_core.results import ChatCompletionResult, StreamEvent
from flexllm_providers import openai
from flexllm_providers.http import HttpRequest, HttpResponse
from flexllm_providers.openai_stream import OpenAIStreamDecoder
from flexllm_providers.sse import ServerSentEvent
from flexllm_providers.target import Target


class Encode(Protocol):
    """Builds the HTTP request of a chat request."""

    def __call__(self, request: ChatRequest, target: Target, *, stream: bool) -> HttpRequest:
        """Raises ConfigError or InputError for what the endpoint cannot do."""
        ...


class StreamDecoder(Protocol):
    """Turns the server-sent events of one stream into ours."""

    @property
    def finished(self) -> bool:
        """Whether the answer is whole, so that nothing is lost if the connection breaks now."""
        ...

    def feed(self, event: ServerSentEvent) -> list[StreamEvent]:
        """The events that one server-sent event brings; raises LLMRequestError for an error in it."""
        ...

    def close(self) -> list[StreamEvent]:
        """The last events; raises LLMResponseError when the stream was cut."""
        ...


@dataclass(frozen=True, slots=True)
class Wire:
    """One wire format as pure functions. The float argument is wall-clock seconds since 1970."""

    default_base_url: str
    encode: Encode
    decode: Callable[[HttpResponse, ChatRequest, Target, float], ChatCompletionResult]
    decode_error: Callable[[HttpResponse, ChatRequest, Target, float], LLMHTTPError]
    stream_decoder: Callable[[ChatRequest, Target, float], StreamDecoder]


WIRES: dict[str, Wire] = {
    "openai": Wire(openai.DEFAULT_BASE_URL, openai.encode, openai.decode, openai.decode_error, OpenAIStreamDecoder),
}


def find_wire(provider: str) -> Wire:
    """The wire of a provider.

    Raises:
        ConfigError: There is none in this version.
    """
    if provider not in WIRES:
        raise ConfigError(f"provider {provider!r} is not available in this version; available: {', '.join(WIRES)}")
    return WIRES[provider]
