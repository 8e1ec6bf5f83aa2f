"""The connections of a transport to one origin: all that are open, and the idle ones, last in, first out."""

from __future__ import annotations

import asyncio
from typing import Generic, Protocol, TypeVar

KEEPALIVE_EXPIRY = 30.0
"""Seconds that an idle connection is kept: less than load balancers and NAT wait before they forget it
silently. Servers that close earlier (uvicorn and Node after 5 s) say so, and the race between their
closing and our next request is covered by the transport's retry."""

MAX_IDLE = 4096
"""Idle connections kept per origin. They were all in use a moment ago; a low limit would close most of
them whenever a thousand answers arrive in one turn of the event loop."""

CLOSING_SECONDS = 1.0
"""How long `aclose` waits for the event loop to close the sockets."""


class Poolable(Protocol):
    """A connection, as a pool knows it."""

    idle_since: float
    """Loop time at which it was used last."""

    def abort(self) -> None:
        """Close at once; `OriginPool.unusable` and later `OriginPool.closed` follow."""
        ...

    def shut_down(self) -> None:
        """Close at once because the transport is closed; an exchange under way fails."""
        ...


ConnectionT = TypeVar("ConnectionT", bound=Poolable)


class OriginPool(Generic[ConnectionT]):
    """Owns every connection of one transport to one origin.

    Args:
        loop: The event loop.
        expiry: Seconds that an idle connection is kept.
        max_idle: How many idle connections are kept.
    """

    __slots__ = ("_all_closed", "_closed", "_expiry", "_idle", "_loop", "_max_idle", "_open", "_sweep_timer")

    def __init__(self, loop: asyncio.AbstractEventLoop, expiry: float, max_idle: int) -> None:
        self._loop = loop
        self._expiry = expiry
        self._max_idle = max_idle
        self._idle: list[ConnectionT] = []
        self._open: set[ConnectionT] = set()
        self._sweep_timer: asyncio.TimerHandle | None = None
        self._closed = False
        self._all_closed: asyncio.Future[None] | None = None

    @property
    def open_connections(self) -> int:
        """How many connections are open, busy or idle."""
        return len(self._open)

    @property
    def idle_connections(self) -> int:
        """How many connections wait for a request."""
        return len(self._idle)

    def add(self, connection: ConnectionT) -> None:
        """Take charge of a new, busy connection."""
        self._open.add(connection)
        if self._closed:
            connection.abort()

    def take(self, now: float) -> ConnectionT | None:
        """The idle connection that was used last, or None; `now` is loop time."""
        idle = self._idle
        while idle:
            connection = idle.pop()
            if connection.idle_since > now - self._expiry:
                return connection
            connection.abort()
        return None

    def released(self, connection: ConnectionT) -> None:
        """Keep a connection that is idle now."""
        if self._closed or len(self._idle) >= self._max_idle:
            connection.abort()
            return
        self._idle.append(connection)
        if self._sweep_timer is None:
            self._sweep_timer = self._loop.call_later(self._expiry, self._sweep)

    def unusable(self, connection: ConnectionT) -> None:
        """Never hand out a connection that is closing; may be told twice."""
        if connection in self._idle:
            self._idle.remove(connection)

    def closed(self, connection: ConnectionT) -> None:
        """Forget a connection whose socket is closed."""
        self.unusable(connection)
        self._open.discard(connection)
        if not self._open and self._all_closed is not None and not self._all_closed.done():
            self._all_closed.set_result(None)

    def shut_down(self) -> None:
        """Close every connection; their sockets are closed when the event loop comes to it."""
        self._closed = True
        if self._sweep_timer is not None:
            self._sweep_timer.cancel()
            self._sweep_timer = None
        for connection in list(self._open):
            connection.shut_down()

    async def aclose(self) -> None:
        """Close every connection and wait until their sockets are closed."""
        self._all_closed = self._loop.create_future() if self._open else None
        self.shut_down()
        if self._all_closed is not None:
            await asyncio.wait([self._all_closed], timeout=CLOSING_SECONDS)

    def _sweep(self) -> None:
        """Close what has expired. One timer for all, set only while something is idle."""
        self._sweep_timer = None
        oldest_allowed = self._loop.time() - self._expiry
        while self._idle and self._idle[0].idle_since <= oldest_allowed:
            self._idle.pop(0).abort()
        if self._idle:
            self._sweep_timer = self._loop.call_at(self._idle[0].idle_since + self._expiry, self._sweep)
