"""Hedging: a call that takes unusually long is asked at a second member too, and the first answer counts.

Both requests are paid for, so that it is off unless asked for, and never more than a small share of all
calls. The loser is cancelled.
"""

from __future__ import annotations

import asyncio
import math
from collections import deque
from collections.abc import AsyncGenerator
from typing import Literal

from flexllm_batch.balance.balanced import Balanced, Failover
from flexllm_batch.balance.dispatcher import Place
from flexllm_core.errors import ConfigError
from flexllm_core.requests import ChatRequest
from flexllm_core.results import ChatCompletionResult, StreamEvent

HedgeAfter = Literal["p95"] | float
"""Seconds, or `p95`: when a call takes longer than 95 % of the last ones did."""

DEFAULT_HEDGE_BUDGET = 0.03

_REMEMBERED = 1000
_ENOUGH = 50
_OFTEN = 25
"""Answers between two looks at all of the last ones."""


class HedgeDelay:
    """After how many seconds a call is hedged.

    Args:
        after: Seconds, or `p95`.
        budget: The share of calls that may be hedged; a learnt delay is so long that no more are.
    """

    def __init__(self, after: HedgeAfter, budget: float) -> None:
        self._learns = isinstance(after, str)
        self.seconds: float = math.inf if isinstance(after, str) else after
        self._quantile = max(0.95, 1 - budget)
        self._latencies: deque[float] = deque(maxlen=_REMEMBERED)
        self._count = 0

    def add(self, seconds: float) -> None:
        """A call took so long at its first member, or at least so long if that was given up."""
        if not self._learns:
            return
        self._latencies.append(seconds)
        self._count += 1
        if self._count >= _ENOUGH and not self._count % _OFTEN:
            ordered = sorted(self._latencies)
            self.seconds = ordered[min(len(ordered) - 1, math.ceil(self._quantile * len(ordered)))]


class Hedged:
    """Hedges the calls of a pool; streams are passed on as they are.

    Args:
        inner: The pool's members.
        after: When a call is asked a second time.
        budget: The share of all calls that may be.

    Raises:
        ConfigError: A value is unusable.
    """

    def __init__(self, inner: Balanced, after: HedgeAfter, budget: float = DEFAULT_HEDGE_BUDGET) -> None:
        if after != "p95" and (isinstance(after, str | bool) or not after > 0):
            raise ConfigError(f"hedge_after is {after!r}; expected seconds above 0, or 'p95'")
        if not 0 < budget <= 1:
            raise ConfigError(f"hedge_budget is {budget!r}; expected a share of the calls, such as 0.03")
        self.inner = inner
        self.budget = budget
        self.delay = HedgeDelay(after, budget)
        self.calls = self.hedges = 0

    async def complete(self, request: ChatRequest) -> ChatCompletionResult:
        """Answer a request, by whichever of two members is first if the one takes long.

        Raises:
            LLMRequestError: As `Balanced`; after two failures the first one's error.
            NoEndpointAvailableError: As `Balanced`.
        """
        dispatcher, failover = self.inner.dispatcher, Failover(self.inner, request)
        place = dispatcher.take(failover.excluded) or await dispatcher.wait(failover.excluded)
        loop = asyncio.get_running_loop()
        self.calls += 1
        started = loop.time()
        first = loop.create_task(self.inner.complete_at(place, request, failover))
        tasks = [first]
        try:
            await asyncio.wait(tasks, timeout=None if self.delay.seconds == math.inf else self.delay.seconds)
            if not first.done() and (second := self._second(failover)) is not None:
                self.hedges += 1
                second.member.hedged += 1
                tasks.append(loop.create_task(self.inner.complete_at(second, request, failover)))
            return await _first_answer(tasks)
        finally:
            elapsed = loop.time() - started
            self.delay.add(elapsed)
            if not first.done() and elapsed > place.member.latency:
                place.member.note_latency(elapsed)  # it would have taken at least so long
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    def _second(self, failover: Failover) -> Place | None:
        """A member for the second request, if one has room that nobody waits for and the budget admits it."""
        if self.hedges + 1 > self.budget * self.calls:
            return None
        return self.inner.dispatcher.take(failover.excluded)

    def stream(self, request: ChatRequest) -> AsyncGenerator[StreamEvent, None]:
        """Pass the request on."""
        return self.inner.stream(request)

    async def aclose(self) -> None:
        """Close the members."""
        await self.inner.aclose()


async def _first_answer(tasks: list[asyncio.Task[ChatCompletionResult]]) -> ChatCompletionResult:
    """The first answer; the first task's error if none has one."""
    waiting = set(tasks)
    while waiting:
        done, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        for task in tasks:
            if task in done and task.exception() is None:
                return task.result()
    return tasks[0].result()
