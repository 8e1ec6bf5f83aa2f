"""ProviderClient: the ChatModel over one endpoint. Builds the wire request, sends it, reads the answer."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncGenerator, Mapping
from dataclasses import replace
from typing import Any

from flexllm_core.endpoint import EndpointConfig
from flexllm_core.errors import BadRequestError, ConfigError, LLMConnectionError, LLMRequestError, LLMResponseError
from flexllm_core.json_codec import encode_json
from flexllm_core.requests import ChatRequest
from flexllm_core.results import ChatCompletionResult, StreamEvent
from flexllm_providers.detect import detect_provider
from flexllm_providers.gemini.urls import has_project
from flexllm_providers.http import HttpResponse, StreamResponse, Timeouts
from flexllm_providers.rate_headers import RateLimit, rate_limits
from flexllm_providers.sse import SSEParser
from flexllm_providers.target import Target
from flexllm_providers.transport.create import check_transport, create_transport
from flexllm_providers.transport.per_loop import LoopTransports
from flexllm_providers.vertex.access_token import AccessToken
from flexllm_providers.wires import find_wire

DEFAULT_TIMEOUT = 600.0
"""Seconds for one attempt, as in the vendors' SDKs."""

MAX_ERROR_BODY = 64 * 1024


class ProviderClient:
    """One endpoint.

    Args:
        endpoint: Where, with which key and model.
        transport: Sends the requests instead of a transport of our own: a `Transport`, or any
            `httpx.AsyncBaseTransport` (a mock, an ASGI app, a recorder).

    Raises:
        ConfigError: The endpoint's settings or the transport are unusable.
    """

    def __init__(self, endpoint: EndpointConfig, *, transport: Any = None) -> None:
        check_transport(transport)
        self.endpoint = endpoint
        self.provider = endpoint.provider if endpoint.provider != "auto" else detect_provider(endpoint.base_url)
        self._wire = find_wire(self.provider)
        self.target = self._wire.target(endpoint)
        # Without a key, Vertex AI wants the access token of whoever runs this.
        self._token = AccessToken() if has_project(self.target.base_url) and not self.target.key else None
        self.timeouts = Timeouts(total=endpoint.timeout or DEFAULT_TIMEOUT)
        base_url = self.target.base_url  # the closure must not hold the client, which could not be collected at once
        self._transports = LoopTransports(
            lambda: create_transport(base_url, proxy=endpoint.proxy, verify=endpoint.verify, transport=transport),
            owned=transport is None,
        )
        self._last_headers: Mapping[str, str] = {}

    def __repr__(self) -> str:
        return f"ProviderClient({self.target.label!r}, model={self.target.model!r})"

    def rate_limits(self) -> tuple[RateLimit, ...]:
        """What the last answer's headers say about the endpoint's limits; read only when it is asked for."""
        return rate_limits(self._last_headers, time.time())

    async def complete(self, request: ChatRequest) -> ChatCompletionResult:
        """Answer a request with one HTTP request.

        Raises:
            LLMRequestError: There is no answer; the error has the endpoint, model and kind.
            ConfigError: The endpoint cannot do what the request asks for.
        """
        loop = asyncio.get_running_loop()
        try:
            target = self.target if self._token is None else await self._authorized(self._token)
            http_request = self._wire.encode(request, target, stream=False)
            started = loop.time()
            response = await self._transports.of(loop).send(http_request, self.timeouts)
            self._last_headers = response.headers
        except LLMRequestError as error:
            self._name(error, request)
            raise
        if not 200 <= response.status < 300:
            raise self._wire.decode_error(response, request, target, time.time())
        result = self._wire.decode(response, request, target, time.time())
        result.latency = loop.time() - started
        return result

    async def stream(self, request: ChatRequest) -> AsyncGenerator[StreamEvent, None]:
        """Answer a request as events. Closing the generator closes the connection.

        Raises:
            LLMRequestError: There is no answer, or the stream was cut.
            ConfigError: The endpoint cannot do what the request asks for, or `n` asks for more than one answer.
        """
        if request.params.get("n", 1) != 1:
            # The events have one text. The others would be paid for and lost.
            what = f"n={request.params['n']!r:.40} cannot be streamed, only one answer can"
            raise ConfigError(f"{self.target.label}: {what}; leave n out, or ask without streaming")
        loop = asyncio.get_running_loop()
        started = loop.time()
        first_token: float | None = None
        async with contextlib.aclosing(self._events(request, loop)) as events:
            async for event in events:
                if first_token is None and event.type != "done":
                    first_token = loop.time() - started
                if event.result is not None:
                    event.result.latency = loop.time() - started
                    event.result.time_to_first_token = first_token
                yield event

    async def _authorized(self, token: AccessToken) -> Target:
        """The target with an access token that is valid now."""
        return replace(self.target, key=await token.get())

    async def _open_stream(
        self, request: ChatRequest, loop: asyncio.AbstractEventLoop
    ) -> tuple[StreamResponse, Target]:
        """Send a request for a stream; once more without `stream_options` to a server that refuses them."""
        while True:
            target = self.target if self._token is None else await self._authorized(self._token)
            http_request = self._wire.encode(request, target, stream=True)
            response = await self._transports.of(loop).stream(http_request, self.timeouts)
            self._last_headers = response.headers
            if 200 <= response.status < 300:
                return response, target
            try:
                body = await _read(response, MAX_ERROR_BODY)
            finally:
                await response.aclose()
            error = self._wire.decode_error(body, request, target, time.time())
            dialect = self.target.dialect
            refused = isinstance(error, BadRequestError) and b"stream_options" in body.body
            if not (refused and dialect.stream_options):
                raise error
            self.target = replace(self.target, dialect=replace(dialect, stream_options=False))

    async def _events(self, request: ChatRequest, loop: asyncio.AbstractEventLoop) -> AsyncGenerator[StreamEvent, None]:
        response: StreamResponse | None = None
        try:
            response, target = await self._open_stream(request, loop)
            if "text/event-stream" not in response.headers.get("content-type", "text/event-stream").lower():
                # The server answered at once: with an error inside a 200, or without streaming at all.
                result = self._wire.decode(await _read(response), request, target, time.time())
                for event in _as_events(result):
                    yield event
                return
            decoder = self._wire.stream_decoder(request, target, time.time())
            parser = SSEParser()
            try:
                async for chunk in response:
                    for sse in parser.feed(chunk):
                        for event in decoder.feed(sse):
                            yield event
            except LLMConnectionError:
                if not decoder.finished:  # a connection that breaks after the answer takes nothing from it
                    raise
            for sse in parser.close():
                for event in decoder.feed(sse):
                    yield event
            for event in decoder.close():
                yield event
        except (LLMConnectionError, LLMResponseError) as error:
            self._name(error, request)
            raise
        finally:
            if response is not None:
                await response.aclose()

    async def count_tokens(self, request: ChatRequest) -> int:
        """The number of input tokens that a request has for its model, counted by the endpoint; it answers nothing.

        Raises:
            ConfigError: The endpoint has no call for that, or cannot do what the request asks for.
            LLMRequestError: There is no answer.
        """
        wire = self._wire.token_count
        if wire is None:
            what = "OpenAI-compatible endpoints have no call that counts tokens"
            raise ConfigError(f"{self.target.label}: {what}; the usage of an answer tells (result.usage.prompt_tokens)")
        try:
            target = self.target if self._token is None else await self._authorized(self._token)
            http_request = wire.encode(request, target)
            response = await self._transports.of(asyncio.get_running_loop()).send(http_request, self.timeouts)
        except LLMRequestError as error:
            self._name(error, request)
            raise
        if not 200 <= response.status < 300:
            raise self._wire.decode_error(response, request, target, time.time())
        return wire.decode(response, request, target, time.time())

    @property
    def counts_tokens(self) -> bool:
        """Whether the endpoint's kind has a call for `count_tokens`."""
        return self._wire.token_count is not None

    def output_limit(self, request: ChatRequest) -> int | None:
        """Tokens that an answer to a request may have at most, as it is sent; None where nothing limits them.

        Raises:
            ConfigError: The endpoint cannot do what the request asks for.
        """
        return self._wire.output_limit(request, self.target)

    def read(self, raw: Mapping[str, Any]) -> ChatCompletionResult:
        """The answer in a server's JSON, as `ChatCompletionResult.raw` keeps it.

        Raises:
            LLMRequestError: It is no answer of this endpoint's kind.
        """
        response = HttpResponse(200, {}, encode_json(raw))
        return self._wire.decode(response, ChatRequest([]), self.target, time.time())

    def _name(self, error: LLMRequestError, request: ChatRequest) -> None:
        """Tell the transport's error what only the client knows: which endpoint and model."""
        error.endpoint = self.target.label
        error.model = request.model or self.target.model

    async def aclose(self) -> None:
        """Close every connection; those of other running loops soon, without waiting for them."""
        await self._transports.aclose()


async def _read(response: StreamResponse, limit: int | None = None) -> HttpResponse:
    """The rest of a streamed body, at most `limit` bytes of it."""
    chunks: list[bytes] = []
    size = 0
    async for chunk in response:
        chunks.append(chunk)
        size += len(chunk)
        if limit is not None and size >= limit:
            break
    return HttpResponse(response.status, response.headers, b"".join(chunks)[:limit])


def _as_events(result: ChatCompletionResult) -> list[StreamEvent]:
    """A whole answer as the events that a stream of it would have had."""
    events = []
    if result.reasoning_content:
        events.append(StreamEvent("reasoning", result.reasoning_content))
    if result.content:
        events.append(StreamEvent("content", result.content))
    events.extend(StreamEvent("tool_call", tool_call=call) for call in result.tool_calls)
    return [*events, StreamEvent("done", result=result)]
