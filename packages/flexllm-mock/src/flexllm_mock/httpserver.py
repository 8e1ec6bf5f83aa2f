"""Runs the mock under uvicorn: the event loop, the HTTP protocol with access to its connections, start and stop."""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import os
import socket
import sys
from collections.abc import Callable, Generator
from typing import Any, Protocol

import uvicorn

from flexllm_mock.app import CONNECTION_STATE, MockApp
from flexllm_mock.asgi import Receive, Scope, Send
from flexllm_mock.requestlog import RequestLog

# Clients keep idle connections for about a minute: a server that closes them sooner makes calls fail at random.
_KEEP_ALIVE_SECONDS = 75
_BACKLOG = 2048
_ABORT_SECONDS = 0.5
_POLL_SECONDS = 0.002


class ServedApp(Protocol):
    """An application that a server runs: it has a log, and is told when serving begins and how to refuse."""

    log: RequestLog
    started: float | None
    refuse_connections: Callable[[float], None] | None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        ...


def listen(host: str, port: int) -> socket.socket:
    """Return a socket that listens on the address; port 0 takes any free one. Raises OSError when it is taken."""
    family, kind, protocol, _, address = socket.getaddrinfo(
        host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )[0]
    listener = socket.socket(family, kind, protocol)
    try:
        _own_address(listener)
        listener.bind(address)
        listener.listen(_BACKLOG)
        listener.setblocking(False)
    except BaseException:
        listener.close()
        raise
    return listener


async def _rebound(family: int, address: tuple[object, ...]) -> socket.socket:
    """Return a socket that is bound to the address of one that is being closed. Raises OSError when it stays taken."""
    loop = asyncio.get_running_loop()
    end = loop.time() + _ABORT_SECONDS
    while True:
        bound = socket.socket(family, socket.SOCK_STREAM)
        try:
            _own_address(bound)
            bound.bind(address)
            bound.setblocking(False)
        except OSError:
            bound.close()
            if loop.time() > end:
                raise
            await asyncio.sleep(_POLL_SECONDS)
        else:
            return bound


def _own_address(listener: socket.socket) -> None:
    """Let a socket have an address that was in use a moment ago, but not one that is."""
    if os.name == "nt":  # there the usual option would let two servers share one port
        listener.setsockopt(socket.SOL_SOCKET, getattr(socket, "SO_EXCLUSIVEADDRUSE"), 1)  # noqa: B009
    else:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)


def url_of(listener: socket.socket) -> str:
    """Return the URL at which the socket can be reached from this machine."""
    host, port = listener.getsockname()[:2]
    if host in ("0.0.0.0", "::"):  # noqa: S104 a wildcard is no address to connect to
        host = "127.0.0.1" if host == "0.0.0.0" else "::1"  # noqa: S104
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _installed(module: str) -> bool:
    return importlib.util.find_spec(module) is not None


def loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """Return uvloop's loop factory where uvloop is installed, None for asyncio's own loop."""
    if sys.platform == "win32" or not _installed("uvloop"):
        return None
    import uvloop

    return uvloop.new_event_loop


class HttpServer(uvicorn.Server):
    """Serves a mock on one listening socket until it is told to stop.

    `grace`: seconds that open requests get at the end before their connections are closed. `ready` is called once
    connections are being served.
    """

    def __init__(
        self, app: ServedApp, listener: socket.socket, *, grace: float, ready: Callable[[], None] | None = None
    ) -> None:
        config = uvicorn.Config(
            app,
            http=_protocol_class(app),
            ws="none",
            lifespan="off",
            log_config=None,
            log_level="error",
            access_log=False,
            proxy_headers=False,
            server_header=False,
            date_header=False,
            timeout_keep_alive=_KEEP_ALIVE_SECONDS,
            backlog=_BACKLOG,
        )
        super().__init__(config)
        self._listener = listener
        self._app = app
        self._grace = grace
        self._ready = ready
        self._stopping = asyncio.Event()
        self._refusal: asyncio.Task[None] | None = None

    def stop(self) -> None:
        """Begin to stop; from the loop's own thread only."""
        self._stopping.set()

    async def run_until_stopped(self) -> None:
        """Serve until `stop` is called, then close every connection."""
        await self.serve(sockets=[self._listener])

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        """Leave signals to whoever runs the server."""
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start serving, and say so."""
        await super().startup(sockets=sockets)
        self._app.started = asyncio.get_running_loop().time()
        self._app.refuse_connections = self.refuse_connections
        try:
            if self._ready is not None:
                self._ready()
        except BaseException:
            await self.shutdown(sockets=sockets)  # uvloop cannot be closed while a server is open
            raise

    def refuse_connections(self, seconds: float) -> None:
        """Refuse new connections for a while; those that are open stay. Does nothing while that is so already."""
        if self._refusal is None or self._refusal.done():
            self._refusal = asyncio.get_running_loop().create_task(self._refuse(seconds))

    async def _refuse(self, seconds: float) -> None:
        address, family = self._listener.getsockname(), self._listener.family
        for server in self.servers:
            server.close()
        self._listener.close()
        # A socket that is bound and does not listen refuses connections, and keeps the port from being taken.
        self._listener = await _rebound(family, address)
        await asyncio.sleep(seconds)
        self._listener.listen(_BACKLOG)
        await super().startup(sockets=[self._listener])

    async def main_loop(self) -> None:
        """Wait for `stop`, without uvicorn's tick, which would make each stop take a tenth of a second."""
        await self._stopping.wait()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Stop accepting, let open requests finish within the grace, then close what is left."""
        if self._refusal is not None:
            self._refusal.cancel()
            await asyncio.wait([self._refusal])
        for server in self.servers:
            server.close()
        for listener in (self._listener, *(sockets or ())):
            listener.close()
        for connection in list(self.server_state.connections):
            connection.shutdown()
        await self._drained(self._grace)
        for connection in list(self.server_state.connections):
            connection.transport.abort()
        await self._drained(_ABORT_SECONDS)

    async def _drained(self, seconds: float) -> None:
        """Wait until no connection and no request is left, or the time is over.

        Uvicorn's sets of them tell nobody that they have changed, so this has to look.
        """
        loop = asyncio.get_running_loop()
        end = loop.time() + seconds
        while (self.server_state.connections or self.server_state.tasks) and loop.time() < end:  # noqa: ASYNC110
            await asyncio.sleep(_POLL_SECONDS)


def _protocol_class(app: ServedApp) -> type[asyncio.Protocol]:
    """Return uvicorn's fastest HTTP protocol, made to count connections and to hand them to the application."""
    base: Any
    if _installed("httptools"):
        from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

        from flexllm_mock.quick import QuickProtocol

        base = QuickProtocol if isinstance(app, MockApp) else HttpToolsProtocol
    else:
        from uvicorn.protocols.http.h11_impl import H11Protocol

        base = H11Protocol
    log = app.log

    class CountingProtocol(base):  # type: ignore[misc]
        app_state: dict[str, Any]
        mock = app

        def connection_made(self, transport: asyncio.Transport) -> None:
            log.open_connections += 1
            log.total_connections += 1
            # Each request's scope gets a copy of this dict as its state.
            self.app_state = {**self.app_state, CONNECTION_STATE: transport}
            super().connection_made(transport)

        def connection_lost(self, exc: Exception | None) -> None:
            log.open_connections -= 1
            super().connection_lost(exc)
            log.connection_closed(self.app_state[CONNECTION_STATE])

    return CountingProtocol
