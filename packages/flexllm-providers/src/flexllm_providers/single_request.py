"""Requests outside any chat, such as for a list of models: a transport for a moment, errors that name the endpoint."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator
from typing import Any

from flexllm_core.endpoint import EndpointConfig
from flexllm_core.errors import LLMRequestError
from flexllm_core.requests import ChatRequest
from flexllm_providers.http import HttpRequest, HttpResponse, Timeouts, Transport
from flexllm_providers.target import Target
from flexllm_providers.transport.create import create_transport

NO_CHAT = ChatRequest([])
"""Stands for the chat request that the wires' readers of errors ask for."""


@contextlib.asynccontextmanager
async def transport_for(endpoint: EndpointConfig, url: str, transport: Any = None) -> AsyncGenerator[Transport, None]:
    """A transport to the origin of a URL; one that the caller brought stays open.

    Args:
        endpoint: Whose proxy and certificates are used.
        url: Where the requests will go.
        transport: As for `ProviderClient`.

    Raises:
        ConfigError: The URL or the proxy is unusable.
    """
    made = create_transport(url, proxy=endpoint.proxy, verify=endpoint.verify, transport=transport)
    try:
        yield made
    finally:
        if transport is None:
            await made.aclose()


async def send(transport: Transport, request: HttpRequest, target: Target, timeouts: Timeouts) -> HttpResponse:
    """Send one request, without retries.

    Raises:
        LLMRequestError: There is no whole answer; the error names the endpoint.
    """
    try:
        return await transport.send(request, timeouts)
    except LLMRequestError as error:
        error.endpoint = target.label
        raise
