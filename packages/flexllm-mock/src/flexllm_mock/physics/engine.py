"""A model of an inference engine: when the first token comes, when the others do, and who has to wait for a place.

It needs nothing but the running event loop and its clock, so that it runs in real time inside the server, and in
virtual time inside simulations.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from types import TracebackType
from typing import Self

from flexllm_mock.faults.dice import Dice
from flexllm_mock.physics.distributions import Distribution, distribution

_NO_TIME = Distribution("fixed", 0.0)


@dataclass(frozen=True, slots=True)
class Plan:
    """When an answer's tokens come: the first one `first` seconds after its sequence has got a place, each one `due`
    seconds after the first."""

    first: float
    due: Sequence[float]

    @property
    def total(self) -> float:
        """Seconds from getting a place to the last token."""
        return self.first + (self.due[-1] if self.due else 0.0)


@dataclass(frozen=True, slots=True)
class Timing:
    """How long an answer took, in seconds: in the queue, to the first token, and in all, both with the queue."""

    queued: float
    first: float
    total: float


class Engine:
    """An engine that runs up to `max_num_seqs` sequences at a time; others wait, first come, first served.

    `ttft`: time to the first token, once a sequence runs, besides the prefill. `token_time`: from token to token.
    Both are seconds or distributions (`distribution` lists the forms). `prefill_rate`: prompt tokens per second, None
    for no time. `seed`: another one gives other draws; a draw depends on nothing but the seed and the call's key.

    Raises ValueError for a number out of range.
    """

    def __init__(
        self,
        *,
        ttft: float | str | Distribution = _NO_TIME,
        token_time: float | str | Distribution = _NO_TIME,
        prefill_rate: float | None = None,
        max_num_seqs: int | None = None,
        seed: int = 0,
    ) -> None:
        if prefill_rate is not None and not prefill_rate > 0:
            raise ValueError(f"prefill_rate must be tokens per second above 0, not {prefill_rate}")
        if max_num_seqs is not None and max_num_seqs < 1:
            raise ValueError(f"max_num_seqs must be 1 or more, not {max_num_seqs}")
        self._ttft = distribution(ttft)
        self._token_time = distribution(token_time)
        self._prefill_rate = prefill_rate
        self._max_num_seqs = max_num_seqs
        self._seed = seed.to_bytes(8, "big", signed=True)
        self._queue: deque[Seat] = deque()
        self.running = 0
        """Sequences that have a place."""

    @property
    def waiting(self) -> int:
        """Sequences in the queue."""
        return len(self._queue)

    def plan(self, key: bytes, *, prompt_tokens: int = 0, output_tokens: int = 1, cached_tokens: int = 0) -> Plan:
        """Draw the times of an answer. `cached_tokens` of the prompt take no prefill."""
        dice = Dice(self._seed + key + b"engine")
        first = _drawn(self._ttft, dice)
        if self._prefill_rate is not None:
            first += max(0, prompt_tokens - cached_tokens) / self._prefill_rate
        gaps = max(0, output_tokens - 1)
        if self._token_time.random:
            return Plan(first, list(accumulate((_drawn(self._token_time, dice) for _ in range(gaps)), initial=0.0)))
        gap = self._token_time.first
        return Plan(first, [gap * index for index in range(gaps + 1)])

    def seat(self) -> Seat:
        """Join the queue. Leave it or the place with `leave`, or use it as `async with engine.seat():`."""
        seat = Seat(self)
        if self._max_num_seqs is None or self.running < self._max_num_seqs:
            self.running += 1
            seat.turn.set_result(None)
        else:
            self._queue.append(seat)
        return seat

    def left(self, seat: Seat) -> None:
        """Take back a seat; the part of `Seat.leave`."""
        if not seat.turn.done():
            self._queue.remove(seat)
            seat.turn.cancel()
        elif self._queue:
            self._queue.popleft().turn.set_result(None)
        else:
            self.running -= 1

    async def serve(
        self, key: bytes, *, prompt_tokens: int = 0, output_tokens: int = 1, cached_tokens: int = 0
    ) -> Timing:
        """Spend the time that an answer takes, and return it: what a simulation needs."""
        loop = asyncio.get_running_loop()
        arrived = loop.time()
        plan = self.plan(key, prompt_tokens=prompt_tokens, output_tokens=output_tokens, cached_tokens=cached_tokens)
        async with self.seat():
            queued = loop.time() - arrived
            await asyncio.sleep(plan.total)
        return Timing(queued, queued + plan.first, loop.time() - arrived)


class Seat:
    """A place in the engine, or in the queue for one; `turn` is done when it is a place. Made by `Engine.seat`."""

    __slots__ = ("_engine", "_left", "turn")

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._left = False
        self.turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def leave(self) -> None:
        """Give the place, or the one in the queue, to the next; does nothing the second time."""
        if not self._left:
            self._left = True
            self._engine.left(self)

    async def __aenter__(self) -> Self:
        try:
            await asyncio.shield(self.turn)
        except BaseException:
            self.leave()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.leave()


def _drawn(times: Distribution, dice: Dice) -> float:
    if not times.random:
        return times.first
    # 53 bits, and never 0 or 1, where some distributions have no value.
    return times.quantile(((dice.bits() >> 11) + 0.5) / 2**53)
