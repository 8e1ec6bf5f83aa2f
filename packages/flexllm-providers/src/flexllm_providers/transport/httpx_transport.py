"""The transport over httpx: for proxies, and for a transport that the user brings."""

from __future__ import annotations

import asyncio
import importlib.util
import logging
import ssl
from collections.abc import AsyncIterator, Mapping
from itertools import chain
from math import inf

import httpx

from flexllm_core.errors import ConfigError, LLMConnectionError, LLMRequestError, MissingExtraError
from flexllm_providers.http import HttpRequest, HttpResponse, Timeouts
from flexllm_providers.transport import errors as transport_errors
from flexllm_providers.transport import httpx_errors
from flexllm_providers.transport.connection_pool import KEEPALIVE_EXPIRY, MAX_IDLE, OriginPool
from flexllm_providers.transport.h1_response import BODYLESS, MAX_BODY, is_encoded
from flexllm_providers.transport.httpx_lane import CallWatch, Lane
from flexllm_providers.transport.proxies import checked_proxy, proxy_label
from flexllm_providers.transport.raw_headers import joined
from flexllm_providers.transport.request_head import Origin, Target, request_prefix, sent_headers, split_url
from flexllm_providers.transport.tls import Verify, client_context


class HttpxTransport:
    """Sends requests through any `httpx.AsyncBaseTransport`; `httpx.AsyncClient` is never used.

    It follows no redirects, keeps no cookies and decodes no bodies, as `H1Transport` does.

    Args:
        transport: Sends every request (a mock, an ASGI app, a recorder); `aclose` closes it. By
            default connections of our own, one small httpx transport each.
        proxy: URL of an http, https or socks5 proxy for our own connections; it may hold credentials.
        verify: As for `H1Transport`, for our own connections.
        max_response_bytes: Limit of a body, counted while it arrives (64 MiB).
        keepalive_expiry: Seconds that an idle connection is kept (30).
        max_idle_per_origin: How many idle connections are kept per origin (4096).

    Raises:
        ConfigError: The proxy's URL is unusable, or both `transport` and `proxy` are given.
        MissingExtraError: A socks proxy without the `socksio` package.
    """

    def __init__(
        self,
        transport: httpx.AsyncBaseTransport | None = None,
        *,
        proxy: str | None = None,
        verify: Verify = True,
        max_response_bytes: int = MAX_BODY,
        keepalive_expiry: float = KEEPALIVE_EXPIRY,
        max_idle_per_origin: int = MAX_IDLE,
    ) -> None:
        if transport is not None and proxy:
            raise ConfigError("a transport of your own decides itself about proxies: give one of the two")
        self._shared = transport
        self._proxy = checked_proxy(proxy) if proxy else None
        self.via = proxy_label(self._proxy) if self._proxy else None
        if self._proxy is not None and self._proxy.startswith("socks"):
            _prepare_socks()
        self._verify = verify
        self.max_body = max_response_bytes
        self._keepalive_expiry = keepalive_expiry
        self._max_idle = max_idle_per_origin
        self._context: ssl.SSLContext | None = None
        self._pools: dict[Origin, OriginPool[Lane]] = {}
        self._closed = False

    def __repr__(self) -> str:
        return f"<HttpxTransport{f' through {self.via}' if self.via else ''}>"

    async def send(self, request: HttpRequest, timeouts: Timeouts) -> HttpResponse:
        """Send a request and read the whole answer; raises as `H1Transport.send` does."""
        stream = await self.stream(request, timeouts)
        body = bytearray()
        try:
            async for chunk in stream:
                body += chunk
        finally:
            await stream.aclose()
        return HttpResponse(stream.status, stream.headers, bytes(body))

    async def stream(self, request: HttpRequest, timeouts: Timeouts) -> HttpxStream:
        """Send a request and return when the head of the answer has arrived; raises as `send` does."""
        if self._closed:
            raise RuntimeError("the transport is closed")
        loop = asyncio.get_running_loop()
        now = loop.time()
        total_at = inf if timeouts.total is None else now + timeouts.total
        call = _Call(self, request, timeouts, total_at)
        if self._shared is not None:
            return await call.open(self._shared, None)
        pool = self._pool(call.target.origin, loop)
        lane = pool.take(now) or self._new_lane(pool, loop)
        try:
            return await call.open(lane.transport, lane)
        except LLMConnectionError as error:
            # The keep-alive race, as in `H1Transport`: once more on a new connection.
            if not error.reused:
                raise
        lane = self._new_lane(pool, loop)
        return await call.open(lane.transport, lane)

    async def aclose(self) -> None:
        """Close every connection, or the transport that the user brought."""
        self._closed = True
        if self._shared is not None:
            await self._shared.aclose()
        for pool in self._pools.values():
            await pool.aclose()

    def abort(self) -> None:
        """Close every connection of our own without waiting for their sockets, on the transport's own loop."""
        self._closed = True
        for pool in self._pools.values():
            pool.shut_down()

    def _pool(self, origin: Origin, loop: asyncio.AbstractEventLoop) -> OriginPool[Lane]:
        pool = self._pools.get(origin)
        if pool is None:
            pool = self._pools[origin] = OriginPool(loop, self._keepalive_expiry, self._max_idle)
        return pool

    def _new_lane(self, pool: OriginPool[Lane], loop: asyncio.AbstractEventLoop) -> Lane:
        if self._context is None:
            self._context = client_context(self._verify)
        lane = Lane(
            httpx.AsyncHTTPTransport(
                verify=self._context,
                trust_env=False,
                proxy=self._httpx_proxy(),
                limits=httpx.Limits(max_connections=1, max_keepalive_connections=1, keepalive_expiry=None),
            ),
            pool,
            loop,
        )
        pool.add(lane)
        return lane

    def _httpx_proxy(self) -> httpx.Proxy | None:
        if self._proxy is None:
            return None
        try:
            return httpx.Proxy(self._proxy, ssl_context=self._context if self._proxy.startswith("https") else None)
        except (ValueError, httpx.InvalidURL):
            raise ConfigError("the URL of the proxy cannot be read") from None


class _Call:
    """One request on its way through a transport of httpx, perhaps a second time."""

    def __init__(self, owner: HttpxTransport, request: HttpRequest, timeouts: Timeouts, total_at: float) -> None:
        self.target: Target = split_url(request.url)
        request_prefix(request, self.target)  # refuses what h1 refuses: httpx checks less
        self.request = request
        self.via = owner.via
        self.max_body = owner.max_body
        self._timeouts = timeouts
        self._total_at = total_at

    async def open(self, transport: httpx.AsyncBaseTransport, lane: Lane | None) -> HttpxStream:
        """Send the request and wait for the head of the answer."""
        watch = CallWatch(self.target.label, self._timeouts, self._total_at, asyncio.get_running_loop())
        try:
            async with watch.limit("first_byte"):
                response = await transport.handle_async_request(self._httpx_request(watch))
            if watch.unasked:
                raise transport_errors.broken(self.target.label, "it had sent bytes that nobody asked for")
        except BaseException as error:
            failure = self.failure(error, watch, head_done=False)
            if lane is not None:
                lane.opened(watch.sockets)
                lane.abort()
                if isinstance(failure, LLMConnectionError):
                    raced = not (watch.connected or watch.expired() or watch.unasked)
                    failure.reused = raced and lane.served > 0
                await lane.closed()
            if failure is None or failure is error:
                raise
            raise failure from error
        if lane is not None:
            lane.opened(watch.sockets)
        stream = HttpxStream(self, response, watch, lane)
        await stream.check_head()
        return stream

    def failure(self, error: BaseException, watch: CallWatch, *, head_done: bool) -> LLMRequestError | None:
        """The error to raise for one that came out of httpx; None to let it pass."""
        if isinstance(error, LLMRequestError):
            return error
        if watch.expired() and isinstance(error, TimeoutError):
            return watch.timeout_error()
        return httpx_errors.translated(error, self.target.label, via=self.via, head_done=head_done)

    def _httpx_request(self, watch: CallWatch) -> httpx.Request:
        headers = {
            name: value.encode("latin-1")
            for name, value in chain(
                [("host", self.target.authority)],
                sent_headers(self.request.headers).items(),
                [("accept-encoding", "identity")],
            )
        }
        return httpx.Request(
            self.request.method,
            self.request.url,
            headers=[(name.encode("ascii"), value) for name, value in headers.items()],
            content=self.request.body,
            # Time is watched here, in one place for every transport; httpx's own limits stay off.
            extensions={"trace": watch.trace, "timeout": dict.fromkeys(("connect", "read", "write", "pool"))},
        )


class HttpxStream:
    """Head and body of an answer that comes through httpx."""

    __slots__ = (
        "_call",
        "_chunks",
        "_discarding",
        "_end",
        "_lane",
        "_response",
        "_size",
        "_watch",
        "headers",
        "status",
    )

    def __init__(self, call: _Call, response: httpx.Response, watch: CallWatch, lane: Lane | None) -> None:
        self.status = response.status_code
        self.headers: Mapping[str, str] = joined(response.headers.raw)
        self._call = call
        self._response = response
        self._watch = watch
        self._lane = lane
        self._chunks: AsyncIterator[bytes] = _chunks(response)
        self._size = 0
        self._discarding = False
        self._end: Exception | None = None

    def __repr__(self) -> str:
        return f"<HttpxStream {self.status} from {self._call.target.label}>"

    def __aiter__(self) -> HttpxStream:
        return self

    async def check_head(self) -> None:
        """Refuse a body that is encoded or known to be too large."""
        label, limit = self._call.target.label, self._call.max_body
        length = self.headers.get("content-length", "")
        if is_encoded(self.headers.get("content-encoding", ""), self.headers.get("transfer-encoding", "")):
            if self.status < 300:
                await self._give_up(transport_errors.encoded(label, self.status))
            self._discarding = True  # the status of an error says enough, and decides whether to ask again
        elif length.isdecimal() and int(length) > limit and self.status not in BODYLESS:
            await self._give_up(transport_errors.too_large(label, limit, self.status))

    async def __anext__(self) -> bytes:
        """The next bytes of the body; raises as `H1Stream` does."""
        while self._end is None:
            try:
                async with self._watch.limit("idle"):
                    chunk = await anext(self._chunks)
            except StopAsyncIteration as end:
                self._end = end
                await self._free()
            except BaseException as error:  # noqa: BLE001 - it is raised again, or as the error it stands for
                await self._give_up(self._call.failure(error, self._watch, head_done=True) or error)
            else:
                self._size += len(chunk)
                if self._size > self._call.max_body:
                    label = self._call.target.label
                    await self._give_up(transport_errors.too_large(label, self._call.max_body, self.status))
                if chunk and not self._discarding:
                    return chunk
        if isinstance(self._end, StopAsyncIteration):
            raise StopAsyncIteration
        raise self._end

    async def aclose(self) -> None:
        """Free the connection; a body that was not read to its end costs it."""
        if self._end is None:
            self._end = transport_errors.broken(self._call.target.label, "the stream was closed before its end")
            await self._drop()

    async def _free(self) -> None:
        await self._response.aclose()
        if self._lane is not None:
            if self.headers.get("connection", "").lower() == "close":
                self._lane.abort()
            else:
                self._lane.release()

    async def _give_up(self, error: BaseException) -> None:
        """End with an error."""
        closed = transport_errors.broken(self._call.target.label, "the stream was closed before its end")
        self._end = error if isinstance(error, Exception) else closed
        await self._drop()
        raise error

    async def _drop(self) -> None:
        if self._lane is not None:
            self._lane.abort()
            await self._lane.closed()
        else:
            await self._response.aclose()


async def _chunks(response: httpx.Response) -> AsyncIterator[bytes]:
    """The body as it was received: httpx's own iterators would decode it."""
    assert isinstance(response.stream, httpx.AsyncByteStream)
    async for chunk in response.stream:
        yield chunk


def _prepare_socks() -> None:
    if importlib.util.find_spec("socksio") is None:
        raise MissingExtraError("a socks proxy needs the package socksio: pip install 'httpx[socks]'")
    logger = logging.getLogger("httpcore.socks")
    if not any(isinstance(known, _NoSocksCredentials) for known in logger.filters):
        logger.addFilter(_NoSocksCredentials())


class _NoSocksCredentials(logging.Filter):
    """httpcore logs user and password of a socks proxy when DEBUG is on; this stops that one message."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Let everything pass but the message that shows the credentials."""
        return not str(record.msg).startswith("setup_socks5_connection.started")
