"""The gate before an endpoint: requests in flight, requests per second, and a pause that all obey.

Every attempt passes it, retries included.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import AsyncGenerator
from dataclasses import dataclass, field

from flexllm_core.errors import ConfigError, LLMRequestError
from flexllm_core.protocol import ChatModel, ModelWrapper
from flexllm_core.requests import ChatRequest
from flexllm_core.results import ChatCompletionResult, StreamEvent

MAX_PAUSE = 120.0
"""Seconds; a server that asks for a longer pause is answered by an error, not by waiting."""

_LATENESS = 0.01
"""Seconds that a late timer may be caught up with; a longer idle time gives no right to a burst."""

_EARLINESS = 1e-6
"""Seconds by which a timer may be early: less than any server measures."""


class _Pace:
    """How often a request may be sent: evenly spaced, and never more than the rate in any second."""

    __slots__ = ("interval", "sent", "span")

    def __init__(self, max_qps: float) -> None:
        count = max(1, int(max_qps))
        self.interval = 1.0 / max_qps
        self.span = count / max_qps  # a second; of `count` requests each is sent a span after the one `count` before
        self.sent: deque[float] = deque(maxlen=count)


@dataclass(slots=True)
class _Gate:
    """The state of the gate on one event loop."""

    in_flight: int = 0
    pace: _Pace | None = None
    waiters: deque[asyncio.Future[None]] = field(default_factory=deque)
    turn: asyncio.Lock = field(default_factory=asyncio.Lock)  # first come, first served
    next_send: float = 0.0  # loop time before which no request may be sent
    paused_until: float = 0.0

    @property
    def paced(self) -> bool:
        """Whether a request may have to wait for its moment."""
        return self.pace is not None or self.paused_until > 0

    async def wait_for_slot(self) -> None:
        """Wait until a slot is handed over."""
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.waiters.append(waiter)
        try:
            await waiter
        except asyncio.CancelledError:
            if waiter.done() and not waiter.cancelled():
                self.release()  # the slot was handed over in the moment of the cancellation
            raise

    def release(self) -> None:
        """Hand the slot to the next waiter, or free it."""
        while self.waiters:
            waiter = self.waiters.popleft()
            if not waiter.done():
                waiter.set_result(None)
                return
        self.in_flight -= 1

    async def wait_for_turn(self) -> None:
        """Wait for the end of a pause and for this request's moment."""
        loop = asyncio.get_running_loop()
        async with self.turn:
            wait = self._moment() - loop.time()
            while wait > _EARLINESS:
                await asyncio.sleep(wait)
                wait = self._moment() - loop.time()  # a pause may have begun meanwhile
            if self.pace is not None:
                now = loop.time()
                punctual = now - self.next_send < _LATENESS
                self.next_send = (self.next_send if punctual else now) + self.pace.interval
                self.pace.sent.append(now)

    def _moment(self) -> float:
        """The loop time at which the next request may be sent."""
        if self.pace is None:
            return self.paused_until
        sent = self.pace.sent
        # Timers are late by a little; measured from what was really sent, no second has too many all the same.
        after = sent[0] + self.pace.span if len(sent) == sent.maxlen else 0.0
        return max(self.paused_until, self.next_send, after)


class Limited(ModelWrapper):
    """Limits what it wraps.

    Args:
        inner: What is limited.
        concurrency: Requests in flight at most, on each event loop.
        max_qps: Requests per second at most, on each event loop; they are spaced evenly, and no second
            has more.

    Raises:
        ConfigError: A limit that would let nothing through.
    """

    def __init__(self, inner: ChatModel, *, concurrency: int, max_qps: float | None = None) -> None:
        super().__init__(inner)
        if concurrency < 1 or (max_qps is not None and not max_qps > 0):
            raise ConfigError(f"concurrency {concurrency} and max_qps {max_qps} must be above 0")
        self.concurrency = concurrency
        self.max_qps = max_qps
        self._gates: dict[asyncio.AbstractEventLoop, _Gate] = {}

    def _gate(self) -> _Gate:
        loop = asyncio.get_running_loop()
        gate = self._gates.get(loop)
        if gate is None:
            for other in [other for other in self._gates if other.is_closed()]:
                del self._gates[other]
            gate = self._gates[loop] = _Gate(pace=_Pace(self.max_qps) if self.max_qps else None)
        return gate

    async def complete(self, request: ChatRequest) -> ChatCompletionResult:
        """Answer a request when the gate lets it through."""
        gate = self._gate()
        if gate.in_flight < self.concurrency:
            gate.in_flight += 1
        else:
            await gate.wait_for_slot()
        try:
            if gate.paced:
                await gate.wait_for_turn()
            return await self.inner.complete(request)
        except LLMRequestError as error:
            self._pause(gate, error)
            raise
        finally:
            gate.release()

    async def stream(self, request: ChatRequest) -> AsyncGenerator[StreamEvent, None]:
        """Stream an answer when the gate lets it through; the slot is held until the stream ends."""
        gate = self._gate()
        if gate.in_flight < self.concurrency:
            gate.in_flight += 1
        else:
            await gate.wait_for_slot()
        try:
            if gate.paced:
                await gate.wait_for_turn()
            async with contextlib.aclosing(self.inner.stream(request)) as events:
                async for event in events:
                    yield event
        except LLMRequestError as error:
            self._pause(gate, error)
            raise
        finally:
            gate.release()

    def _pause(self, gate: _Gate, error: LLMRequestError) -> None:
        """When the server says when to come back, nobody comes before that."""
        if error.retry_after is not None and error.retry_after <= MAX_PAUSE and error.retryable:
            until = asyncio.get_running_loop().time() + error.retry_after
            gate.paused_until = max(gate.paused_until, until)
