"""LoopTransports: one transport for each event loop that uses a client, closed when that loop ends.

Connections belong to the loop and the process that made them. Nobody can close those of a loop that has
ended, so an ordinary program, several `asyncio.run` with one client or a client that nobody closes, would
leave sockets behind.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import weakref
from collections.abc import AsyncGenerator, Callable
from typing import Any

from flexllm_providers.http import Transport


class LoopTransports:
    """The transports of one client.

    Args:
        make: Makes a transport.
        owned: Whether they are ours alone, and so are closed when their loop ends, or when nobody has the client any
            more. One that the user brought is closed by `aclose` only.
    """

    def __init__(self, make: Callable[[], Transport], *, owned: bool) -> None:
        self._make = make
        self._owned = owned
        self._places: dict[asyncio.AbstractEventLoop, _Place] = {}
        _all.add(self)

    def __len__(self) -> int:
        return len(self._places)

    def of(self, loop: asyncio.AbstractEventLoop) -> Transport:
        """The transport of the running loop."""
        place = self._places.get(loop)
        if place is None:
            self._forget_the_dead()
            place = self._places[loop] = _Place(self._make())
            if self._owned:
                place.guard(loop)
        return place.transport

    def _forget_the_dead(self) -> None:
        """Drop the transports of loops that have ended."""
        for loop in list(self._places):  # a copy: another thread may add its own
            if loop.is_closed():
                self._places.pop(loop, None)

    def leave_behind(self) -> None:
        """In a forked child: forget the transports of the parent's loops without touching them."""
        _left_behind.append(self._places)
        self._places = {}

    async def aclose(self) -> None:
        """Close every transport. Those of other running loops are closed there, soon, without waiting for them.

        Waiting could be for ever: the other loop may be the one that waits for this call, as a
        notebook's does in `close()`.
        """
        here = asyncio.get_running_loop()
        places, self._places = self._places, {}
        for loop, place in places.items():
            if loop is not here and loop.is_running():
                place.close_soon(loop)
        if here in places:
            await places[here].aclose()

    def __reduce__(self) -> tuple[Any, ...]:
        raise TypeError("connections cannot be copied or pickled")

    def __del__(self) -> None:
        for loop, place in self._places.items():
            if self._owned and not loop.is_closed():
                place.close_soon(loop)


class _Place:
    """The transport of one loop, and what closes it when the loop ends."""

    def __init__(self, transport: Transport) -> None:
        self.transport = transport
        self._guard: AsyncGenerator[None, None] | None = None
        self._aborted = False

    def guard(self, loop: asyncio.AbstractEventLoop) -> None:
        """Close the transport when its loop ends.

        An event loop closes the async generators that began on it when it ends (`shutdown_asyncgens`, which
        `asyncio.run` calls). There is no other way to hear of that.
        """
        for other in [place for place, its_loop in _guarded.items() if its_loop.is_closed()]:
            _guarded.pop(other, None)
        self._guard = self._until_the_end()
        _guarded[self] = loop
        with contextlib.suppress(StopIteration):
            self._guard.__anext__().send(None)  # to its `yield`, for which it waits for nothing

    async def _until_the_end(self) -> AsyncGenerator[None, None]:
        try:
            yield
        finally:
            _guarded.pop(self, None)
            if not self._aborted:
                await self.transport.aclose()

    async def aclose(self) -> None:
        await (self.transport.aclose() if self._guard is None else self._guard.aclose())

    def close_soon(self, loop: asyncio.AbstractEventLoop) -> None:
        """Close it on its own loop, from any thread; the loop may also end before it comes to that."""
        with contextlib.suppress(RuntimeError):  # the loop was closed meanwhile
            if self._guard is None:
                asyncio.run_coroutine_threadsafe(self.transport.aclose(), loop)
            else:
                loop.call_soon_threadsafe(self._abort)

    def _abort(self) -> None:
        # Without a task: one that begins while the loop ends would be left unfinished.
        if self._guard is None or self not in _guarded:
            return
        self._aborted = True
        self.transport.abort()  # type: ignore[attr-defined]  # our own transports have it
        with contextlib.suppress(StopIteration):
            self._guard.aclose().send(None)


_guarded: dict[_Place, asyncio.AbstractEventLoop] = {}
"""Kept until they are closed: a loop would begin a task for a generator that is collected."""

_all: weakref.WeakSet[LoopTransports] = weakref.WeakSet()
_left_behind: list[object] = []
"""Transports of parent processes. They are kept: to collect them would meddle with the parent's loops."""


def _leave_all_behind() -> None:
    _left_behind.append(dict(_guarded))
    _guarded.clear()
    for transports in list(_all):
        transports.leave_behind()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_leave_all_behind)
