"""The wires by provider: what each gives to the client that sends and receives."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Protocol

from flexllm_core.endpoint import EndpointConfig
from flexllm_core.errors import ConfigError, LLMHTTPError
from flexllm_core.requests import ChatRequest
from flexllm_core.results import ChatCompletionResult, StreamEvent
from flexllm_providers.http import HttpRequest, HttpResponse
from flexllm_providers.sse import ServerSentEvent
from flexllm_providers.target import Target, refuse_settings, target_from


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
class TokenCount:
    """How a server is asked for the number of tokens in a request."""

    encode: Callable[[ChatRequest, Target], HttpRequest]
    decode: Callable[[HttpResponse, ChatRequest, Target, float], int]


@dataclass(frozen=True, slots=True)
class Wire:
    """One wire format as pure functions. The float argument is wall-clock seconds since 1970."""

    target: Callable[[EndpointConfig], Target]
    encode: Encode
    decode: Callable[[HttpResponse, ChatRequest, Target, float], ChatCompletionResult]
    decode_error: Callable[[HttpResponse, ChatRequest, Target, float], LLMHTTPError]
    stream_decoder: Callable[[ChatRequest, Target, float], StreamDecoder]
    output_limit: Callable[[ChatRequest, Target], int | None]
    token_count: TokenCount | None = None


# Each wire is loaded when an endpoint speaks it: most programs need one.


def _openai() -> Wire:
    from flexllm_providers.openai import wire as openai_wire
    from flexllm_providers.openai.output_limit import output_limit
    from flexllm_providers.openai.stream import OpenAIStreamDecoder

    def target(endpoint: EndpointConfig) -> Target:
        refuse_settings(endpoint, "project_id", "location", "api_version")
        return target_from(endpoint, openai_wire.DEFAULT_BASE_URL)

    return Wire(
        target, openai_wire.encode, openai_wire.decode, openai_wire.decode_error, OpenAIStreamDecoder, output_limit
    )


def _claude() -> Wire:
    from flexllm_providers.claude import decode as claude_decode
    from flexllm_providers.claude import encode as claude_encode
    from flexllm_providers.claude import errors as claude_errors
    from flexllm_providers.claude.output_limit import output_limit
    from flexllm_providers.claude.stream import ClaudeStreamDecoder
    from flexllm_providers.claude.target import claude_target_from
    from flexllm_providers.claude.token_count import decode_count, encode_count

    return Wire(
        claude_target_from,
        claude_encode.encode,
        claude_decode.decode,
        claude_errors.decode_error,
        ClaudeStreamDecoder,
        output_limit,
        TokenCount(encode_count, decode_count),
    )


def _gemini() -> Wire:
    from flexllm_providers.gemini import decode as gemini_decode
    from flexllm_providers.gemini import encode as gemini_encode
    from flexllm_providers.gemini import errors as gemini_errors
    from flexllm_providers.gemini.output_limit import output_limit
    from flexllm_providers.gemini.stream import GeminiStreamDecoder
    from flexllm_providers.gemini.target import gemini_target_from
    from flexllm_providers.gemini.token_count import decode_count, encode_count

    return Wire(
        gemini_target_from,
        gemini_encode.encode,
        gemini_decode.decode,
        gemini_errors.decode_error,
        GeminiStreamDecoder,
        output_limit,
        TokenCount(encode_count, decode_count),
    )


def _vertex() -> Wire:
    from flexllm_providers.gemini.target import gemini_target_from
    from flexllm_providers.vertex import wire as vertex_wire

    return Wire(
        gemini_target_from,
        vertex_wire.encode,
        vertex_wire.decode,
        vertex_wire.decode_error,
        vertex_wire.stream_decoder,
        vertex_wire.output_limit,
        TokenCount(vertex_wire.encode_count, vertex_wire.decode_count),
    )


_LOADERS = {"openai": _openai, "claude": _claude, "gemini": _gemini, "vertex": _vertex}


@cache
def find_wire(provider: str) -> Wire:
    """The wire of a provider.

    Raises:
        ConfigError: There is none in this version.
    """
    if provider not in _LOADERS:
        raise ConfigError(f"provider {provider!r} is not available in this version; available: {', '.join(_LOADERS)}")
    return _LOADERS[provider]()
