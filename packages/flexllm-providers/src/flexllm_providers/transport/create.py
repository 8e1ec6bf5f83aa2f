"""Chooses the transport for a URL: straight over HTTP/1.1, or over httpx when a proxy or a transport is given."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from flexllm_core.errors import ConfigError
from flexllm_providers.http import Transport
from flexllm_providers.transport.h1 import H1Transport
from flexllm_providers.transport.h1_response import MAX_BODY
from flexllm_providers.transport.proxies import proxy_from_environment
from flexllm_providers.transport.tls import Verify

if TYPE_CHECKING:
    import httpx


def create_transport(
    url: str,
    *,
    proxy: str | None = None,
    verify: Verify = True,
    transport: Transport | httpx.AsyncBaseTransport | None = None,
    max_response_bytes: int = MAX_BODY,
) -> Transport:
    """The transport for requests to the origin of a URL, for one event loop.

    Args:
        url: Where the requests will go.
        proxy: URL of an http, https or socks5 proxy, which is then used for loopback addresses too.
            None obeys HTTP_PROXY, HTTPS_PROXY, ALL_PROXY and NO_PROXY; "" uses no proxy.
        verify: Which certificates are trusted (`flexllm_providers.transport.tls.Verify`); False trusts anybody.
        transport: Used instead of one of our own: a `Transport` as it is, or any
            `httpx.AsyncBaseTransport`.
        max_response_bytes: Limit of an answer's body.

    Raises:
        ConfigError: The URL or the proxy is unusable.
        MissingExtraError: A socks proxy without the `socksio` package.
    """
    if transport is not None:
        if hasattr(transport, "handle_async_request"):
            return _over_httpx(cast("httpx.AsyncBaseTransport", transport), proxy, verify, max_response_bytes)
        return transport
    if proxy is None:
        proxy = proxy_from_environment(url)
    if proxy:
        return _over_httpx(None, proxy, verify, max_response_bytes)
    return H1Transport(verify=verify, max_response_bytes=max_response_bytes)


def check_transport(transport: object) -> None:
    """Refuse what cannot be a transport, when a client is made and not with its first request.

    Raises:
        ConfigError: It is none; None is no transport and so none to refuse.
    """
    if transport is None or hasattr(transport, "handle_async_request"):
        return
    if not hasattr(transport, "send") or hasattr(transport, "build_request"):  # httpx's clients have both
        found = type(transport).__name__
        raise ConfigError(f"transport is a {found}; expected a Transport or an httpx.AsyncBaseTransport")


def _over_httpx(
    transport: httpx.AsyncBaseTransport | None, proxy: str | None, verify: Verify, max_response_bytes: int
) -> Transport:
    from flexllm_providers.transport.httpx_transport import HttpxTransport  # importing httpx takes long

    return HttpxTransport(transport, proxy=proxy, verify=verify, max_response_bytes=max_response_bytes)
