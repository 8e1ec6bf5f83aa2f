"""Delivers a reply as a fault asks: in odd pieces, with a stall, or with an end that comes too early."""

from __future__ import annotations

import asyncio
import http
import os
import socket
import struct
from typing import Any, Protocol

from flexllm_mock.asgi import Breakage, Headers, Receive, Reply, Send, Stage
from flexllm_mock.requestlog import Outcome
from flexllm_mock.waiting import stays

_DROP_SECONDS = 2.0
# What was written before a reset must have left the process, or the reset takes it back.
_FLUSH_SECONDS = 0.02
_PHRASES = {status.value: status.phrase for status in http.HTTPStatus}
_NO_LINGER = struct.pack("hh" if os.name == "nt" else "ii", 1, 0)


class Connection(Protocol):
    """The client's connection, as far as a fault needs it."""

    def write(self, data: bytes) -> None:
        """Send bytes as they are."""
        ...

    def close(self) -> None:
        """Close it once what was written has gone out."""
        ...

    def abort(self) -> None:
        """Close it at once."""
        ...

    def get_extra_info(self, name: str) -> Any:
        """Return its socket for the name `socket`."""
        ...


class _EndedError(Exception):
    """The delivery is over."""

    def __init__(self, outcome: Outcome) -> None:
        super().__init__(outcome)
        self.outcome = outcome


async def deliver_broken(
    reply: Reply, breakage: Breakage, headers: Headers, receive: Receive, send: Send, connection: Connection | None
) -> Outcome:
    """Send a reply as far as the fault lets it, and tell how that ended.

    Raises RuntimeError when the fault needs the connection and the ASGI server does not give it.
    """
    return await _Delivery(reply, breakage, headers, receive, send, connection).run()


class _Delivery:
    def __init__(
        self,
        reply: Reply,
        breakage: Breakage,
        headers: Headers,
        receive: Receive,
        send: Send,
        connection: Connection | None,
    ) -> None:
        self._reply = reply
        self._breakage = breakage
        self._headers = headers
        self._receive = receive
        self._send = send
        self._connection = connection
        self._pieces = [reply.content()] if breakage.pieces is None else breakage.pieces
        if reply.steps is None:
            size = sum([len(piece) for piece in self._pieces])
            headers.append((b"content-length", b"%d" % size))

    async def run(self) -> Outcome:
        try:
            await self._pass("before")
            if "mid_headers" in (self._breakage.stall, self._breakage.disconnect):
                await self._raw()
            else:
                await self._framed()
        except _EndedError as end:
            return end.outcome
        return "answered"

    async def _framed(self) -> None:
        status = self._reply.status
        await self._send({"type": "http.response.start", "status": status, "headers": self._headers})
        await self._pass("after_headers")
        pieces = self._pieces
        if "mid_body" in (self._breakage.stall, self._breakage.disconnect):
            first, pieces = _halves(pieces)
            for piece in first:
                await self._send({"type": "http.response.body", "body": piece, "more_body": True})
            await self._pass("mid_body")
        for at, piece in enumerate(pieces):
            if at and self._breakage.gap and not await stays(self._receive, self._breakage.gap):
                raise _EndedError("cancelled")
            more = at + 1 < len(pieces)
            await self._send({"type": "http.response.body", "body": piece, "more_body": more})

    async def _raw(self) -> None:
        """Send half of the head; if the fault goes on from there, the rest and the body too, and then close.

        The server that speaks HTTP knows nothing about these bytes.
        """
        connection = self._needed()
        status = self._reply.status
        lines = [f"HTTP/1.1 {status} {_PHRASES.get(status, '')}".encode()]
        lines += [name + b": " + value for name, value in (*self._headers, (b"connection", b"close"))]
        head = b"\r\n".join(lines) + b"\r\n\r\n"
        middle = len(head) // 2
        connection.write(head[:middle])
        await self._pass("mid_headers")
        connection.write(head[middle:])
        for piece in self._pieces:
            connection.write(piece)
        await self._hang_up(reset=False)

    async def _pass(self, stage: Stage) -> None:
        """Let happen what the fault wants at a stage."""
        if self._breakage.stall == stage and not await stays(self._receive, self._breakage.stall_seconds):
            raise _EndedError("cancelled")
        if self._breakage.disconnect == stage:
            await self._hang_up(reset=self._breakage.reset)
            raise _EndedError("dropped")

    def _needed(self) -> Connection:
        if self._connection is None:
            raise RuntimeError("this ASGI server does not let the mock close a connection: use `MockServer`")
        return self._connection

    async def _hang_up(self, *, reset: bool) -> None:
        """Close the connection, and wait until it is closed."""
        connection = self._needed()
        if reset:
            await asyncio.sleep(_FLUSH_SECONDS)
            opened = connection.get_extra_info("socket")
            if opened is not None:
                opened.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGER)
            connection.abort()
        else:
            connection.close()
        # The server calls an unfinished response an error unless it knows that the connection is gone.
        if await stays(self._receive, _DROP_SECONDS):
            connection.abort()
            await stays(self._receive, _DROP_SECONDS)


def _halves(pieces: list[bytes]) -> tuple[list[bytes], list[bytes]]:
    """Cut pieces in the middle; the first half is never empty when there is anything."""
    if len(pieces) == 1:
        [body] = pieces
        middle = len(body) // 2
        return [body[:middle]], [body[middle:]]
    middle = len(pieces) // 2
    return pieces[:middle], pieces[middle:]
