"""The default transport: HTTP/1.1 straight to the server, with a pool of idle connections per origin."""

from __future__ import annotations

import asyncio
from asyncio import get_running_loop
from collections.abc import Coroutine
from math import inf
from typing import Any, TypeVar

from flexllm_core.errors import LLMConnectionError
from flexllm_providers.http import HttpRequest, HttpResponse, Timeouts
from flexllm_providers.transport import errors as transport_errors
from flexllm_providers.transport.connection_pool import KEEPALIVE_EXPIRY, MAX_IDLE, OriginPool
from flexllm_providers.transport.h1_connect import CheckAddresses, Connector
from flexllm_providers.transport.h1_connection import SLICE, H1Connection
from flexllm_providers.transport.h1_response import MAX_BODY, MAX_HEAD, ResponseReader
from flexllm_providers.transport.h1_stream import H1Stream
from flexllm_providers.transport.request_head import Origin, Target, request_prefix, split_url
from flexllm_providers.transport.tls import Verify

AnswerT = TypeVar("AnswerT", HttpResponse, H1Stream)

_BODYLESS = frozenset({"GET", "HEAD", "DELETE", "OPTIONS"})
"""Methods that say nothing about a body when there is none."""


class _Route:
    """What requests that differ in nothing but their body have in common, as those of a batch do."""

    __slots__ = ("headers", "method", "pool", "prefix", "target", "url")

    def __init__(self, request: HttpRequest, target: Target, pool: OriginPool[H1Connection]) -> None:
        self.method = request.method
        self.url = request.url
        self.headers = dict(request.headers)
        self.target = target
        self.pool = pool
        self.prefix = request_prefix(request, target)


class H1Transport:
    """HTTP/1.1 without a proxy, for one event loop: the one that it is first used on.

    It follows no redirects, keeps no cookies, decodes no bodies, and opens as many connections as
    there are calls: how many may run is decided above it.

    Args:
        verify: True for the authorities of `SSL_CERT_FILE`, `SSL_CERT_DIR` or certifi; a file or a
            folder of authorities; an `ssl.SSLContext`; False to trust anybody.
        max_response_bytes: Limit of a body, counted while it arrives (64 MiB).
        max_header_bytes: Limit of a head (64 KiB).
        keepalive_expiry: Seconds that an idle connection is kept (30).
        max_idle_per_origin: How many idle connections are kept per origin (4096).
        check_addresses: Refuses hosts by the addresses that they have (`h1_connect.CheckAddresses`).
    """

    def __init__(
        self,
        *,
        verify: Verify = True,
        max_response_bytes: int = MAX_BODY,
        max_header_bytes: int = MAX_HEAD,
        keepalive_expiry: float = KEEPALIVE_EXPIRY,
        max_idle_per_origin: int = MAX_IDLE,
        check_addresses: CheckAddresses | None = None,
    ) -> None:
        self._verify = verify
        self._check_addresses = check_addresses
        self._max_body = max_response_bytes
        self._max_head = max_header_bytes
        self._keepalive_expiry = keepalive_expiry
        self._max_idle = max_idle_per_origin
        self._pools: dict[Origin, OriginPool[H1Connection]] = {}
        self._route: _Route | None = None  # of the last request
        self._loop: asyncio.AbstractEventLoop | None = None
        self._connector: Connector | None = None
        self._closed = False

    def __repr__(self) -> str:
        return f"<H1Transport, {sum(pool.open_connections for pool in self._pools.values())} connections>"

    def send(self, request: HttpRequest, timeouts: Timeouts) -> Coroutine[Any, Any, HttpResponse]:
        """Send a request and read the whole answer.

        Raises:
            ConfigError: The URL, the method or a header is unusable.
            LLMConnectionError: There is no whole answer; `LLMTimeoutError` if that took too long.
            LLMResponseError: The answer is larger than the limit or encoded.
        """
        return self._exchange(request, timeouts, HttpResponse)

    def stream(self, request: HttpRequest, timeouts: Timeouts) -> Coroutine[Any, Any, H1Stream]:
        """Send a request and return when the head of the answer has arrived; raises as `send` does."""
        return self._exchange(request, timeouts, H1Stream)

    async def aclose(self) -> None:
        """Close every connection; calls under way fail with `LLMConnectionError`."""
        self._stop()
        for pool in self._pools.values():
            await pool.aclose()

    def abort(self) -> None:
        """The same without waiting for the sockets, on the transport's own loop."""
        self._stop()
        for pool in self._pools.values():
            pool.shut_down()

    def _stop(self) -> None:
        self._closed = True
        self._loop = None
        if self._connector is not None:
            self._connector.close()

    async def _exchange(self, request: HttpRequest, timeouts: Timeouts, kind: type[AnswerT]) -> AnswerT:
        loop = get_running_loop()
        if loop is not self._loop:
            self._bind(loop)
        route = self._route
        if (
            route is None
            or request.url != route.url
            or request.headers != route.headers
            or request.method != route.method
        ):
            route = self._route = self._new_route(request)
        body = request.body
        large = len(body) > SLICE
        if body or request.method not in _BODYLESS:
            payload = b"%bcontent-length: %d\r\n\r\n%b" % (route.prefix, len(body), b"" if large else body)
        else:
            payload = route.prefix + b"\r\n"
        now = loop.time()
        total_at = inf if timeouts.total is None else now + timeouts.total
        connection = route.pool.take(now)
        while True:
            if connection is None:
                connection = await self._connect(route, timeouts, total_at)
                now = loop.time()
            answer: asyncio.Future[AnswerT] = loop.create_future()
            connection.start(answer, kind is H1Stream, payload, timeouts, now, total_at)
            try:
                if large:
                    await connection.send_body(body)
                return await answer
            except LLMConnectionError as error:
                # An idle connection that the server was closing just now: the server has not
                # answered, so the request goes once more, on a connection that is new.
                if not error.reused:
                    raise
                connection = None
            except BaseException:
                connection.abandon(answer)
                raise

    def _new_route(self, request: HttpRequest) -> _Route:
        target = split_url(request.url)
        pool = self._pools.get(target.origin)
        if pool is None:
            assert self._loop is not None
            pool = self._pools[target.origin] = OriginPool(self._loop, self._keepalive_expiry, self._max_idle)
        return _Route(request, target, pool)

    async def _connect(self, route: _Route, timeouts: Timeouts, total_at: float) -> H1Connection:
        loop, connector, target = self._loop, self._connector, route.target
        if loop is None or connector is None:
            raise transport_errors.broken(target.label, "the transport was closed")

        def new_connection() -> H1Connection:
            reader = ResponseReader(target.label, max_body=self._max_body, max_head=self._max_head)
            return H1Connection(target.label, route.pool, loop, reader)

        connection = await connector.connect(target.origin, target.label, new_connection, timeouts, total_at)
        if self._closed:
            raise transport_errors.broken(target.label, "the transport was closed")
        return connection

    def _bind(self, loop: asyncio.AbstractEventLoop) -> None:
        if self._closed:
            raise RuntimeError("the transport is closed")
        if self._loop is not None:
            raise RuntimeError("a transport belongs to the event loop that it was first used on")
        self._loop = loop
        self._connector = Connector(loop, self._verify, self._check_addresses)
