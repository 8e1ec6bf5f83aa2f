"""Pools of simulated servers, and batches over them, in virtual time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from simulated_server import SimulatedServer, row_text

from flexllm_batch.balance.balanced import Balanced
from flexllm_batch.balance.health import Breaker
from flexllm_batch.balance.member import Member
from flexllm_batch.limits.limited import Limited
from flexllm_core.errors import FlexLLMError, LLMTimeoutError
from flexllm_core.protocol import ModelWrapper
from flexllm_core.requests import ChatRequest
from flexllm_core.results import ChatCompletionResult, StreamEvent
from flexllm_providers.retry import Retrying


class TimedOut(ModelWrapper):
    """Gives up after so many seconds, as a transport does."""

    def __init__(self, server: SimulatedServer, seconds: float) -> None:
        super().__init__(server)
        self.seconds = seconds
        self.server = server

    async def complete(self, request: ChatRequest) -> ChatCompletionResult:
        """An answer in time, or a timeout."""
        try:
            async with asyncio.timeout(self.seconds):
                return await self.inner.complete(request)
        except TimeoutError:
            raise LLMTimeoutError(f"no answer within {self.seconds} s", endpoint=self.server.name) from None

    async def stream(self, request: ChatRequest) -> AsyncGenerator[StreamEvent, None]:
        """The same as events."""
        result = await self.complete(request)
        yield StreamEvent("content", result.content or "")
        yield StreamEvent("done", result=result)


def member(server: SimulatedServer, concurrency: int, *, timeout: float = 30.0, **options: Any) -> Member:
    """A member of a pool over a simulated server."""
    breaker = Breaker(options.pop("failure_threshold", 3), options.pop("recovery_time", 60.0))
    limits = {"adaptive": True, **options.pop("limits", {})}
    return Member(
        server.name, Limited(TimedOut(server, timeout), concurrency=concurrency, **limits), breaker, **options
    )


def pool_of(servers: Iterable[SimulatedServer], concurrency: int = 10, **options: Any) -> Retrying:
    """What a pool's calls go through: retries around balance around limits."""
    own = {
        name: options.pop(name)
        for name in ("timeout", "failure_threshold", "recovery_time", "limits")
        if name in options
    }
    return Retrying(Balanced([member(server, concurrency, **own) for server in servers], **options))


def alone(server: SimulatedServer, concurrency: int = 10, *, timeout: float = 30.0) -> Retrying:
    """What a client of one endpoint sends its calls through."""
    return Retrying(Limited(TimedOut(server, timeout), concurrency=concurrency, adaptive=True))


@dataclass
class Outcomes:
    """How the rows of a simulated batch ended.

    Attributes:
        ok: Numbers of the rows that were answered.
        failed: The errors of the others.
        latencies: Seconds of each row.
        seconds: Of the whole batch.
    """

    ok: list[int] = field(default_factory=list)
    failed: dict[int, Exception] = field(default_factory=dict)
    latencies: list[float] = field(default_factory=list)
    seconds: float = 0.0


async def run_rows(
    model: Any, rows: int, workers: int, prompts: Sequence[str] | None = None, *, stagger: float = 0.0
) -> Outcomes:
    """Ask so many rows by so many workers, as a batch does."""
    loop = asyncio.get_running_loop()
    outcomes = Outcomes()
    numbers = iter(range(rows))

    async def work() -> None:
        for number in numbers:
            prompt = prompts[number] if prompts is not None else row_text(number)
            started = loop.time()
            try:
                await model.complete(ChatRequest([{"role": "user", "content": prompt}], "m"))
                outcomes.ok.append(number)
            except FlexLLMError as error:
                outcomes.failed[number] = error
            outcomes.latencies.append(loop.time() - started)
            if stagger:
                await asyncio.sleep(stagger)

    started = loop.time()
    await asyncio.gather(*[work() for _ in range(workers)])
    outcomes.seconds = loop.time() - started
    return outcomes
