"""One httpx transport with one connection, for one call at a time; and the watch over a call."""

from __future__ import annotations

import asyncio
import contextlib
from math import inf
from typing import Any, Protocol

from flexllm_core.errors import LLMTimeoutError
from flexllm_providers.http import Timeouts
from flexllm_providers.transport import errors as transport_errors
from flexllm_providers.transport.connection_pool import OriginPool
from flexllm_providers.transport.errors import TimeoutPhase


class Closable(Protocol):
    """Anything that is closed asynchronously."""

    async def aclose(self) -> None:
        """Close it."""
        ...


class Lane:
    """An httpx transport of ours that holds one connection.

    httpx's own pool is searched for every call, which makes a thousand calls at once crawl, and
    httpcore 1.0.9 never frees the slot of a call that is cancelled while it connects. So each
    connection has a transport of its own, and one whose call did not end well is thrown away.
    """

    __slots__ = ("_closing", "_loop", "_pool", "_sockets", "idle_since", "served", "transport")

    def __init__(self, transport: Any, pool: OriginPool[Lane], loop: asyncio.AbstractEventLoop) -> None:
        self.transport = transport
        self.idle_since = 0.0
        self.served = 0
        self._sockets: list[Closable] = []
        self._pool = pool
        self._loop = loop
        self._closing: asyncio.Task[None] | None = None

    def opened(self, sockets: list[Closable]) -> None:
        """Take charge of the sockets that a call has opened, in place of those before them."""
        self._sockets = sockets or self._sockets

    def release(self) -> None:
        """The call has ended well: keep the connection."""
        self.served += 1
        self.idle_since = self._loop.time()
        self._pool.released(self)

    def abort(self) -> None:
        """Throw the lane away; its socket is closed in a task of its own."""
        self._pool.unusable(self)
        if self._closing is None:
            self._closing = self._loop.create_task(self._close())

    shut_down = abort

    async def closed(self) -> None:
        """Wait until an aborted lane is closed, even if the caller is cancelled again."""
        if self._closing is not None:
            await asyncio.shield(self._closing)

    async def _close(self) -> None:
        # The sockets as well: a call cancelled during a TLS handshake has left one that the
        # transport does not know.
        for part in (self.transport, *self._sockets):
            with contextlib.suppress(Exception):  # what is thrown away has nobody to tell
                await part.aclose()
        self._pool.closed(self)


class CallWatch:
    """The deadlines of one call. httpcore's trace events say which phase it is in.

    A transport that sends no such events (a mock, an ASGI app) is in the phase `first_byte` until
    it answers.

    Attributes:
        connected: A connection was made for this call.
        unasked: The answer was there before anything was read: httpcore keeps bytes that come after
            the end of an answer, and would take them for the answer to the next request.
        sockets: The sockets that were opened for it.
    """

    def __init__(self, label: str, timeouts: Timeouts, total_at: float, loop: asyncio.AbstractEventLoop) -> None:
        self.connected = False
        self.unasked = False
        self.sockets: list[Closable] = []
        self._label = label
        self._timeouts = timeouts
        self._total_at = total_at
        self._loop = loop
        self._phase: TimeoutPhase = "first_byte"
        self._deadline = inf
        self._scope: asyncio.Timeout | None = None
        self._tunnelling = False
        self._turned = False

    def limit(self, phase: TimeoutPhase) -> asyncio.Timeout:
        """A scope that ends with the phase or the whole call, whichever is first."""
        self._enter(phase)
        self._scope = asyncio.timeout_at(self._when())
        return self._scope

    def expired(self) -> bool:
        """Whether the scope has ended the call."""
        return self._scope is not None and self._scope.expired()

    def timeout_error(self) -> LLMTimeoutError:
        """The error for a scope that has ended the call."""
        phase: TimeoutPhase = "total" if self._deadline >= self._total_at else self._phase
        return transport_errors.timeout_error(phase, getattr(self._timeouts, phase), self._label)

    async def trace(self, event: str, info: dict[str, Any]) -> None:
        """Take a trace event of httpcore (the `trace` extension of a request)."""
        step = event.partition(".")[2]
        if step == "connect_tcp.started":
            self.connected = True
            self._move("connect")
        elif step == "connect_tcp.complete":
            self.sockets.append(info["return_value"])
        elif step == "send_request_headers.started":
            self._tunnelling = info["request"].method == b"CONNECT"
        elif step == "receive_response_headers.started":
            self._turned = False
            self._loop.call_soon(self._turn)  # reading from a socket takes at least one turn of the loop
        elif step == "receive_response_headers.complete":
            self.unasked = not self._turned
        if step in {"send_request_headers.started", "send_request_body.complete"} and not self._tunnelling:
            self._move("first_byte")

    def _turn(self) -> None:
        self._turned = True

    def _move(self, phase: TimeoutPhase) -> None:
        self._enter(phase)
        if self._scope is not None and not self._scope.expired():
            self._scope.reschedule(self._when())

    def _enter(self, phase: TimeoutPhase) -> None:
        seconds: float | None = getattr(self._timeouts, phase)
        self._phase = phase
        self._deadline = min(self._total_at, inf if seconds is None else self._loop.time() + seconds)

    def _when(self) -> float | None:
        return None if self._deadline == inf else self._deadline
