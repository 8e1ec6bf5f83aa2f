"""The gate before an endpoint: requests in flight, requests per second, and a pause that all obey.

Every attempt passes it, retries included.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator
from dataclasses import dataclass, field
from weakref import WeakKeyDictionary

from flexllm_core.errors import LLMRequestError
from flexllm_core.protocol import ChatModel, ModelWrapper
from flexllm_core.requests import ChatRequest
from flexllm_core.results import ChatCompletionResult, StreamEvent

MAX_PAUSE = 120.0
"""Seconds; a server that asks for a longer pause is answered by an error, not by waiting."""


@dataclass(slots=True)
class _Gate:
    """The state of the gate on one event loop."""

    in_flight: int = 0
    waiters: deque[asyncio.Future[None]] = field(default_factory=deque)
    next_send: float = 0.0  # loop time before which no request may be sent
    paused_until: float = 0.0

    async def acquire(self, limit: int) -> None:
        if self.in_flight < limit:
            self.in_flight += 1
            return
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

    async def wait_for_turn(self, interval: float) -> None:
        """Wait for the end of a pause and for this request's moment: moments are `interval` seconds apart."""
        loop = asyncio.get_running_loop()
        while True:
            now = loop.time()
            start = max(now, self.next_send, self.paused_until)
            self.next_send = start + interval
            if start <= now:
                return
            await asyncio.sleep(start - now)
            if self.paused_until <= loop.time():
                return


class Limited(ModelWrapper):
    """Limits what it wraps.

    Args:
        inner: What is limited.
        concurrency: Requests in flight at most, on each event loop.
        max_qps: Requests per second at most; they are spaced evenly, so that no second has more.
    """

    def __init__(self, inner: ChatModel, *, concurrency: int, max_qps: float | None = None) -> None:
        super().__init__(inner)
        self.concurrency = concurrency
        self._interval = 1.0 / max_qps if max_qps else 0.0
        self._gates: WeakKeyDictionary[asyncio.AbstractEventLoop, _Gate] = WeakKeyDictionary()

    def _gate(self) -> _Gate:
        loop = asyncio.get_running_loop()
        gate = self._gates.get(loop)
        if gate is None:
            gate = self._gates[loop] = _Gate()
        return gate

    async def complete(self, request: ChatRequest) -> ChatCompletionResult:
        """Answer a request when the gate lets it through."""
        gate = self._gate()
        await gate.acquire(self.concurrency)
        try:
            if self._interval or gate.paused_until:
                await gate.wait_for_turn(self._interval)
            return await self.inner.complete(request)
        except LLMRequestError as error:
            self._pause(gate, error)
            raise
        finally:
            gate.release()

    async def stream(self, request: ChatRequest) -> AsyncGenerator[StreamEvent, None]:
        """Stream an answer when the gate lets it through; the slot is held until the stream ends."""
        gate = self._gate()
        await gate.acquire(self.concurrency)
        events = self.inner.stream(request)
        try:
            if self._interval or gate.paused_until:
                await gate.wait_for_turn(self._interval)
            async for event in events:
                yield event
        except LLMRequestError as error:
            self._pause(gate, error)
            raise
        finally:
            await events.aclose()
            gate.release()

    def _pause(self, gate: _Gate, error: LLMRequestError) -> None:
        """When the server says when to come back, nobody comes before that."""
        if error.retry_after is not None and error.retry_after <= MAX_PAUSE and error.retryable:
            until = asyncio.get_running_loop().time() + error.retry_after
            gate.paused_until = max(gate.paused_until, until)
