"""The body of a streamed answer, with back-pressure."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import TYPE_CHECKING

from flexllm_core.errors import LLMRequestError
from flexllm_providers.transport import errors as transport_errors

if TYPE_CHECKING:
    from flexllm_providers.transport.h1_connection import H1Connection

HIGH_WATER = 256 * 1024
"""Bytes in the buffer above which the connection is not read until they are taken."""


class H1Stream:
    """Head and body of an answer that is still arriving. Made by the connection that feeds it."""

    __slots__ = (
        "_chunks", "_connection", "_ended", "_error", "_label", "_loop", "_reader", "_size",
        "headers", "paused", "status",
    )  # fmt: skip

    def __init__(self, connection: H1Connection, status: int, headers: Mapping[str, str]) -> None:
        self.status = status
        self.headers = headers
        self._connection: H1Connection | None = connection
        self._label = connection.label
        self._loop = connection.loop
        self._chunks: list[bytes] = []
        self._size = 0
        self.paused = False
        self._ended = False
        self._error: LLMRequestError | None = None
        self._reader: asyncio.Future[None] | None = None

    def __repr__(self) -> str:
        return f"<H1Stream {self.status} from {self._label}>"

    def __aiter__(self) -> H1Stream:
        return self

    async def __anext__(self) -> bytes:
        """The bytes that have arrived since the last call; waits for at least one.

        Raises:
            LLMConnectionError: The body was cut, timed out, or `aclose` was called before its end.
            LLMResponseError: The body is larger than the limit.
        """
        while not self._chunks:
            if self._error is not None:
                raise self._error
            if self._ended:
                raise StopAsyncIteration
            await self._arrival()
        data = self._chunks[0] if len(self._chunks) == 1 else b"".join(self._chunks)
        self._chunks.clear()
        self._size = 0
        self._resume()
        return data

    async def aclose(self) -> None:
        """Free the connection; a body that was not read to its end costs it."""
        self.abandon()

    def abandon(self) -> None:
        """Give up the rest of the body at once, closing the connection if it is still arriving."""
        connection = self._connection
        if connection is not None or self._chunks:
            self.end(transport_errors.broken(self._label, "the stream was closed before its end"))
        self._chunks.clear()
        if connection is not None:
            connection.abort()

    # Called by the connection.

    def feed(self, data: bytes) -> None:
        """Take a piece of the body."""
        if not data:
            return
        self._chunks.append(data)
        self._size += len(data)
        if self._size > HIGH_WATER and not self.paused and self._connection is not None:
            self.paused = True
            self._connection.pause_stream()
        self._wake()

    def end(self, error: LLMRequestError | None) -> None:
        """The body is over; an error is raised after what had arrived is read."""
        self._resume()
        self._connection = None
        self._ended = True
        self._error = error
        self._wake()

    async def _arrival(self) -> None:
        if self._reader is not None:
            raise RuntimeError("a stream is read by one task at a time")
        self._reader = self._loop.create_future()
        try:
            await self._reader
        except asyncio.CancelledError:
            self.abandon()
            raise
        finally:
            self._reader = None

    def _resume(self) -> None:
        if self.paused and self._connection is not None:
            self._connection.resume_stream()
        self.paused = False

    def _wake(self) -> None:
        if self._reader is not None and not self._reader.done():
            self._reader.set_result(None)
