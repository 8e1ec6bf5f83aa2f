"""One HTTP/1.1 connection: one exchange at a time, its deadlines, and the end of the connection."""

from __future__ import annotations

import asyncio
import contextlib
from math import inf
from typing import Any, cast

from flexllm_core.errors import LLMConnectionError, LLMRequestError, LLMTimeoutError
from flexllm_providers.http import HttpResponse, Timeouts
from flexllm_providers.transport import errors as transport_errors
from flexllm_providers.transport.connection_pool import OriginPool
from flexllm_providers.transport.h1_response import ResponseReader
from flexllm_providers.transport.h1_stream import H1Stream
from flexllm_providers.transport.raw_headers import RawHeaders

Answer = asyncio.Future[Any]
"""Of an `HttpResponse` or an `H1Stream`."""

SLICE = 64 * 1024
"""Bodies up to this size are written with their head in one go, larger ones in slices with back-pressure."""


class H1Connection(asyncio.Protocol):
    """The client's side of one connection.

    `_exchange` is the future of the exchange under way and its token: None means idle. It resolves
    to the whole answer or to a stream whose head has arrived, and stays until the body is over.

    There is one timer per connection, not per request: a request moves `_deadline`, and a timer
    that fires before it is set again.
    """

    __slots__ = (
        "_deadline", "_drained", "_exchange", "_pool", "_reader", "_stream", "_streaming",
        "_timeouts", "_timer", "_timer_at", "_total_at", "_transport", "_write_paused", "_writing",
        "idle_since", "label", "loop",
    )  # fmt: skip

    def __init__(
        self, label: str, pool: OriginPool[H1Connection], loop: asyncio.AbstractEventLoop, reader: ResponseReader
    ) -> None:
        self.label = label
        self.loop = loop
        self.idle_since = -1.0  # it has served nothing yet
        self._pool = pool
        self._reader = reader
        self._transport: asyncio.Transport | None = None
        self._exchange: Answer | None = None
        self._streaming = False
        self._stream: H1Stream | None = None
        self._timeouts = Timeouts()
        self._total_at = self._deadline = self._timer_at = inf
        self._timer: asyncio.TimerHandle | None = None
        self._writing = self._write_paused = False
        self._drained: asyncio.Future[None] | None = None

    def __repr__(self) -> str:
        state = "closed" if self._transport is None else "idle" if self._exchange is None else "busy"
        return f"<H1Connection to {self.label}, {state}>"

    # Exchanges.

    def start(
        self, answer: Answer, streaming: bool, payload: bytes, timeouts: Timeouts, now: float, total_at: float
    ) -> None:
        """Send a request, or the first part of one.

        Args:
            answer: Receives the whole answer, or the head of a stream.
            streaming: Which of the two.
            payload: Head and, if it is small, body.
            timeouts: Seconds per phase.
            now: Loop time.
            total_at: Loop time at which the whole call ends; `inf` for never.
        """
        transport = self._transport
        if transport is None:  # the server closed it before it was used at all
            answer.set_exception(transport_errors.broken(self.label, "the server closed the connection"))
            return
        self._exchange = answer
        self._streaming = streaming
        self._timeouts = timeouts
        self._total_at = deadline = total_at
        first_byte = timeouts.first_byte
        if first_byte is not None and now + first_byte < total_at:
            deadline = now + first_byte
        self._deadline = deadline
        if deadline < self._timer_at:
            self._set_timer(deadline)
        self._reader.begin()
        transport.write(payload)

    async def send_body(self, body: bytes) -> None:
        """Send a large body after its head; returns early when the answer makes the rest pointless."""
        self._writing = True
        view = memoryview(body)
        for start in range(0, len(body), SLICE):
            if self._write_paused:
                self._drained = self.loop.create_future()
                await self._drained
            if not self._writing or self._transport is None:
                return
            self._transport.write(view[start : start + SLICE])
            if not self._reader.started:
                self._expect_within(self._timeouts.first_byte)
        self._writing = False

    def abandon(self, exchange: Answer) -> None:
        """Close the connection if this exchange is still under way on it: its caller has gone."""
        if exchange is self._exchange:
            if self._stream is not None:
                self._stream.end(None)
            self.abort()
        elif exchange.done() and not exchange.cancelled():
            exchange.exception()  # it is known: the loop must not report it as forgotten

    def abort(self) -> None:
        """Close the connection at once, so that the server stops working for it."""
        self._end_exchange()
        if self._transport is not None:
            self._pool.unusable(self)
            self._transport.abort()

    def shut_down(self) -> None:
        """Close the connection because its transport is closed; an exchange under way fails."""
        self._fail(transport_errors.broken(self.label, "the transport was closed"))

    def _end_exchange(self) -> None:
        self._exchange = self._stream = None
        if self._writing:
            self._stop_writing()

    def _finish(self) -> None:
        """The answer is whole: hand it over and keep the connection, or close it."""
        reader, answer = self._reader, self._exchange
        reusable = reader.keep_alive and not self._writing and not self._write_paused
        if self._streaming:
            self._deliver_head()
            if self._stream is not None:
                self._stream.feed(reader.take_body())
                self._stream.end(None)
        elif answer is not None and not answer.done():
            body = reader.body
            if type(body) is not bytes:
                body = reader.take_body()
            answer.set_result(HttpResponse(reader.status, RawHeaders(reader.head), body))
        if reusable:
            self._exchange = self._stream = None
            self.idle_since = self.loop.time()
            self._pool.released(self)
        else:
            self.abort()

    def _deliver_head(self) -> None:
        exchange = self._exchange
        if self._stream is None and exchange is not None and not exchange.done():
            self._stream = H1Stream(self, self._reader.status, self._reader.headers())
            exchange.set_result(self._stream)

    def _fail(self, error: LLMRequestError) -> None:
        exchange, stream = self._exchange, self._stream
        self.abort()
        if stream is not None:
            stream.end(error)
        elif exchange is not None and not exchange.done():
            exchange.set_exception(error)

    # Streams.

    def pause_stream(self) -> None:
        """Stop reading: the caller is slower than the server, which is not the server's fault."""
        if self._transport is not None:
            self._transport.pause_reading()

    def resume_stream(self) -> None:
        """Read on."""
        if self._transport is not None and not self._transport.is_closing():
            self._transport.resume_reading()
            self._expect_within(self._timeouts.idle)

    # Deadlines.

    def _expect_within(self, seconds: float | None) -> None:
        deadline = self._total_at
        if seconds is not None:
            phase_end = self.loop.time() + seconds
            if phase_end < deadline:
                deadline = phase_end
        self._deadline = deadline
        if deadline < self._timer_at:
            self._set_timer(deadline)

    def _set_timer(self, when: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer_at = when
        self._timer = self.loop.call_at(when, self._on_timer)

    def _on_timer(self) -> None:
        self._timer = None
        self._timer_at = inf
        if self._exchange is None:
            return
        if self.loop.time() < self._deadline:
            if self._deadline < inf:
                self._set_timer(self._deadline)
            return
        self._fail(self._timed_out())

    def _timed_out(self) -> LLMTimeoutError:
        limits = self._timeouts
        if self._deadline >= self._total_at:
            return transport_errors.timeout_error("total", limits.total, self.label)
        if self._reader.started:
            return transport_errors.timeout_error("idle", limits.idle, self.label)
        return transport_errors.timeout_error("first_byte", limits.first_byte, self.label)

    # Called by the event loop.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The connection is there, TLS included."""
        self._transport = cast("asyncio.Transport", transport)
        self._pool.add(self)

    def data_received(self, data: bytes) -> None:
        """Take bytes of the answer; bytes that nobody asked for end the connection."""
        if self._exchange is None:
            self.abort()
            return
        reader = self._reader
        try:
            reader.feed(data)
        except LLMRequestError as error:
            self._fail(error)
            return
        if reader.complete:
            self._finish()
        else:
            self._go_on()

    def _go_on(self) -> None:
        """More of the answer is to come."""
        reader = self._reader
        if reader.head_done:
            if self._writing and reader.status >= 400:
                self._stop_writing()
                reader.keep_alive = False
            if self._streaming:
                self._deliver_head()
                if self._stream is not None:
                    self._stream.feed(reader.take_body())
        paused = self._stream is not None and self._stream.paused
        self._expect_within(None if paused else self._timeouts.idle)

    def eof_received(self) -> None:
        """The server has closed its side; the event loop closes ours."""
        if self._exchange is not None:
            self._cut(None)
        else:
            self._pool.unusable(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is gone."""
        if self._exchange is not None:
            if self._writing and exc is not None:
                self._read_what_is_left()
            if self._exchange is not None:
                self._cut(exc)
        self._transport = None
        self._pool.closed(self)
        self._reader.close()
        if self._timer is not None:
            self._timer.cancel()

    def _cut(self, exc: Exception | None) -> None:
        reader = self._reader
        try:
            if exc is not None:
                raise reader.cut(transport_errors.explain(exc))
            reader.feed_eof()
        except LLMConnectionError as error:
            error.reused = self.idle_since >= 0 and not reader.started
            self._fail(error)
        else:
            self._finish()

    def _read_what_is_left(self) -> None:
        """Look for an answer behind a failed write.

        A server that refuses a large body answers and closes without reading it. The event loop
        gives the connection up when it fails to write, and would lose the answer that says why.
        """
        assert self._transport is not None
        raw = self._transport.get_extra_info("socket")
        if raw is None or self._transport.get_extra_info("ssl_object") is not None:
            return  # what is left under TLS cannot be decrypted from here
        with contextlib.suppress(OSError), raw.dup() as copy:
            copy.setblocking(False)
            while self._exchange is not None and (data := copy.recv(SLICE)):
                self.data_received(data)

    def pause_writing(self) -> None:
        """The write buffer is full."""
        self._write_paused = True

    def resume_writing(self) -> None:
        """The write buffer has room again."""
        self._write_paused = False
        if self._drained is not None and not self._drained.done():
            self._drained.set_result(None)

    def _stop_writing(self) -> None:
        self._writing = False
        if self._drained is not None and not self._drained.done():
            self._drained.set_result(None)
