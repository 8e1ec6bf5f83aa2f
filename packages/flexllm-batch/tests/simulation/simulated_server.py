"""A server in virtual time as a ChatModel: service times, seats with a queue, hidden limits, faults, and a bill."""

from __future__ import annotations

import asyncio
import math
import random
from collections import Counter, deque
from collections.abc import AsyncGenerator, Callable, Iterable
from dataclasses import dataclass, field

from simulated_limits import BucketLimit, Limit

from flexllm_core.errors import (
    AuthenticationError,
    BadRequestError,
    LLMConnectionError,
    LLMRequestError,
    RateLimitError,
    ServerError,
)
from flexllm_core.requests import ChatRequest
from flexllm_core.results import ChatCompletionResult, StreamEvent, Usage
from flexllm_providers.rate_headers import RateLimit

Service = Callable[[random.Random], float]
Fault = Callable[[float, str, random.Random], "LLMRequestError | str | None"]
"""Called with the time, the prompt and the dice: an error to answer with, `"hang"`, or None."""


def constant(seconds: float) -> Service:
    """Every answer takes so long."""
    return lambda dice: seconds


def lognormal(mean: float, sigma: float = 0.5) -> Service:
    """Service times with a tail: `sigma` 0.5 is usual for answers, 1.5 is heavy."""
    mu = math.log(mean) - sigma * sigma / 2
    return lambda dice: dice.lognormvariate(mu, sigma)


def dead(after: float = 0.0, until: float = math.inf) -> Fault:
    """Nobody listens."""
    return lambda now, prompt, dice: LLMConnectionError("connection refused") if after <= now < until else None


def unavailable(after: float = 0.0, until: float = math.inf, share: float = 1.0) -> Fault:
    """503 for a share of the requests."""
    return lambda now, prompt, dice: (
        ServerError("overloaded", status_code=503, kind="overload")
        if after <= now < until and dice.random() < share
        else None
    )


def flapping(up: float = 5.0, down: float = 5.0) -> Fault:
    """Up and down in turns: connections are reset while it is down."""
    return lambda now, prompt, dice: LLMConnectionError("reset") if now % (up + down) >= up else None


def wrong_key() -> Fault:
    """401 for all."""
    return lambda now, prompt, dice: AuthenticationError("HTTP 401: wrong key", status_code=401)


def hangs(after: float = 0.0, until: float = math.inf, share: float = 1.0) -> Fault:
    """Takes requests and never answers: only the client's timeout ends them."""
    return lambda now, prompt, dice: "hang" if after <= now < until and dice.random() < share else None


def poison(marker: str = "poison") -> Fault:
    """400 for the rows that hold the marker."""
    return lambda now, prompt, dice: BadRequestError("HTTP 400: no", status_code=400) if marker in prompt else None


@dataclass
class Arrival:
    """One request as the server saw it."""

    at: float
    prompt: str
    status: int = 0  # 0 while it is being answered
    ended: float = 0.0


@dataclass
class SimulatedServer:
    """One endpoint.

    Attributes:
        service: Seconds of work for an answer.
        seats: Requests that are worked on at once; the others wait inside, silently. None: all.
        slowdown: Factor on the service time by the number of requests worked on.
        limits: Hidden limits.
        faults: The first that has something to say decides.
        tokens: Input and output tokens of an answer.
        refusal_seconds: A refusal takes so long.
        seed: Of the dice.
        arrivals: Every request, in the order of arrival.
        billed: Answers given, whether or not anybody still waited for them.
    """

    service: Service = field(default_factory=lambda: constant(1.0))
    seats: int | None = None
    slowdown: Callable[[int], float] = lambda working: 1.0
    limits: list[Limit] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)
    tokens: Callable[[random.Random, str], tuple[int, int]] = lambda dice, prompt: (len(prompt) // 4, 50)
    refusal_seconds: float = 0.05
    seed: int = 0
    name: str = "simulated"
    arrivals: list[Arrival] = field(default_factory=list)
    billed: int = 0
    billed_tokens: int = 0
    working: int = 0
    peak: int = 0
    in_system: int = 0

    def __post_init__(self) -> None:
        self.dice = random.Random(self.seed)
        self._queue: deque[asyncio.Future[None]] = deque()

    async def complete(self, request: ChatRequest) -> ChatCompletionResult:
        """Answer, or not."""
        now = asyncio.get_running_loop().time()
        arrival = Arrival(now, str(request.messages[-1]["content"]))
        self.arrivals.append(arrival)
        sizes = self.tokens(self.dice, arrival.prompt)
        try:
            await self._check(arrival, sum(sizes))
            await self._work()
        except LLMRequestError as error:
            arrival.status = error.status_code or 599
            error.endpoint = self.name
            raise
        except asyncio.CancelledError:
            arrival.status = 499
            raise
        finally:
            arrival.ended = asyncio.get_running_loop().time()
        arrival.status = 200
        self.billed += 1
        self.billed_tokens += sum(sizes)
        usage = Usage(sizes[0], sizes[1], sum(sizes))
        latency = arrival.ended - now
        return ChatCompletionResult("ok", finish_reason="stop", usage=usage, endpoint=self.name, latency=latency)

    def rate_limits(self) -> list[RateLimit]:
        """What the headers of a server that tells its limits say."""
        now = asyncio.get_running_loop().time()
        return [limit.headers(now) for limit in self.limits if isinstance(limit, BucketLimit)]

    async def _check(self, arrival: Arrival, tokens: int) -> None:
        for fault in self.faults:
            found = fault(arrival.at, arrival.prompt, self.dice)
            if found == "hang":
                await asyncio.Event().wait()
            if isinstance(found, LLMRequestError):
                await asyncio.sleep(self.refusal_seconds)
                raise found
        for limit in self.limits:
            refused, wait = limit.refuse(arrival.at, tokens, self.in_system)
            if refused:
                await asyncio.sleep(self.refusal_seconds)
                raise RateLimitError(f"HTTP 429: too many {limit.unit} per minute", status_code=429, retry_after=wait)

    async def _work(self) -> None:
        self.in_system += 1
        self.peak = max(self.peak, self.in_system)
        try:
            if self.seats is not None and self.working >= self.seats:
                place: asyncio.Future[None] = asyncio.get_running_loop().create_future()
                self._queue.append(place)
                await place
            self.working += 1
            try:
                await asyncio.sleep(self.service(self.dice) * self.slowdown(self.working))
            finally:
                self.working -= 1
                while self._queue:
                    place = self._queue.popleft()
                    if not place.done():
                        place.set_result(None)
                        break
        finally:
            self.in_system -= 1

    async def stream(self, request: ChatRequest) -> AsyncGenerator[StreamEvent, None]:
        """The same as events."""
        result = await self.complete(request)
        yield StreamEvent("content", result.content or "")
        yield StreamEvent("done", result=result)

    async def aclose(self) -> None:
        """Nothing is open."""

    def statuses(self, start: float = 0.0, end: float = math.inf) -> Counter[int]:
        """How many requests that arrived in a time had which status."""
        return Counter(arrival.status for arrival in self.arrivals if start <= arrival.at < end)

    def answers(self, start: float = 0.0, end: float = math.inf) -> int:
        """Answers of the requests that arrived in a time."""
        return self.statuses(start, end)[200]

    def refused_share(self, start: float = 0.0, end: float = math.inf) -> float:
        """The share of 429 among the requests that arrived in a time."""
        found = self.statuses(start, end)
        return found[429] / max(1, found.total())


def busiest(times: Iterable[float], window: float = 1.0) -> int:
    """The largest number of times in any half-open window of that many seconds."""
    ordered = sorted(times)
    most = first = 0
    for last, time in enumerate(ordered):
        while time - ordered[first] >= window - 1e-9:
            first += 1
        most = max(most, last - first + 1)
    return most


def row_text(number: int) -> str:
    """The prompt of a row; all have the same length."""
    return f"row {number:9}"


async def keep_asking(
    model: object, workers: int, until: float, prompt: Callable[[int], str] = row_text
) -> list[LLMRequestError]:
    """Ask with so many workers, as a batch does, until a time; the errors."""
    loop = asyncio.get_running_loop()
    errors: list[LLMRequestError] = []
    numbers = iter(range(10**9))

    async def work() -> None:
        while loop.time() < until:
            try:
                request = ChatRequest([{"role": "user", "content": prompt(next(numbers))}], "m")
                await model.complete(request)  # type: ignore[attr-defined]
            except LLMRequestError as error:
                errors.append(error)

    tasks = [asyncio.create_task(work()) for _ in range(workers)]
    await asyncio.sleep(until - loop.time())
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    return errors
