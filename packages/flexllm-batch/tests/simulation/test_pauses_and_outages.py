"""Pauses that the server asks for, and servers that are gone for a while: nothing is lost, and no herd comes back."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from simulated_server import (
    SimulatedServer,
    busiest,
    constant,
    dead,
    flapping,
    hangs,
    keep_asking,
    lognormal,
    row_text,
    unavailable,
)

from flexllm_core.errors import LLMConnectionError, LLMRequestError, RateLimitError, ServerError
from flexllm_core.requests import ChatRequest
from flexllm_core.results import ChatCompletionResult


async def ask_rows(model: Any, rows: int, workers: int) -> tuple[list[Any], float]:
    """Ask so many rows with so many workers; their outcomes, and the time that it took."""
    numbers = iter(range(rows))
    outcomes: list[Any] = []

    async def work() -> None:
        for number in numbers:
            try:
                outcomes.append(await model.complete(ChatRequest([{"role": "user", "content": row_text(number)}], "m")))
            except LLMRequestError as error:
                outcomes.append(error)

    await asyncio.gather(*[work() for _ in range(workers)])
    return outcomes, asyncio.get_running_loop().time()


def all_answered(outcomes: list[Any], rows: int) -> bool:
    return len(outcomes) == rows and all(isinstance(outcome, ChatCompletionResult) for outcome in outcomes)


@pytest.mark.parametrize("seed", range(10))
def test_a_pause_of_three_seconds_is_obeyed_and_costs_three_seconds(
    run_virtual: Any, seeded: Any, adaptive_client: Any, seed: int
) -> None:
    """429 with Retry-After: 3, 200 rows, 50 in flight: nothing in the pause, none lost, 10 % over the ideal at most."""
    seeded(seed)
    told_at: list[float] = []

    def once(now: float, prompt: str, dice: Any) -> LLMRequestError | None:
        if now >= 4.0 and (not told_at or now < told_at[0]):
            told_at[:] = [now + 0.05]
            return RateLimitError("HTTP 429", status_code=429, retry_after=3.0)
        return None

    server = SimulatedServer(service=constant(2.0), faults=[once], seed=seed)
    outcomes, took = run_virtual(ask_rows(adaptive_client(server, 50), 200, 50))
    assert all_answered(outcomes, 200)
    refused = [arrival for arrival in server.arrivals if arrival.status == 429]
    assert refused
    first, last = refused[0].ended, refused[-1].ended
    assert not [arrival for arrival in server.arrivals if first < arrival.at < last + 3.0 - 0.06]
    assert took <= 1.1 * (200 / 50 * 2.0 + 3.0 + 0.5)


def test_after_a_pause_not_all_rows_fire_at_once(run_virtual: Any, seeded: Any, adaptive_client: Any) -> None:
    """They come in a ramp of a second or so."""
    seeded(3)
    told: list[float] = []

    def once(now: float, prompt: str, dice: Any) -> LLMRequestError | None:
        if now < 0.01 or told:
            return None
        told.append(now)
        return RateLimitError("HTTP 429", status_code=429, retry_after=5.0)

    server = SimulatedServer(service=constant(0.5), faults=[once])
    run_virtual(keep_asking(adaptive_client(server, 400), 400, 20.0))
    after = sorted(arrival.at for arrival in server.arrivals if arrival.at > told[0] + 5.0)
    assert busiest(after[:200], 0.05) <= 100
    assert after[0] <= told[0] + 5.6


@pytest.mark.parametrize("fault", [dead, unavailable])
@pytest.mark.parametrize("seed", range(4))
def test_an_outage_costs_few_requests_and_no_row(
    run_virtual: Any, seeded: Any, adaptive_client: Any, fault: Any, seed: int
) -> None:
    """A minute in the middle of a run: one request at a time tries it, and the others wait."""
    seeded(seed)
    server = SimulatedServer(service=lognormal(1.0), faults=[fault(10.0, 70.0)], seed=seed)
    outcomes, took = run_virtual(ask_rows(adaptive_client(server, 50), 2000, 50))
    assert all_answered(outcomes, 2000)
    failed = [arrival for arrival in server.arrivals if arrival.status != 200]
    assert len(failed) <= 150, "two for each row in flight, and the probes"
    assert took <= 70 + 6.6 + 1.35 * (2000 / 50 - 10) + 8
    back = sorted(arrival.at for arrival in server.arrivals if arrival.at >= 70 and arrival.status == 200)
    assert sum(1 for at in back if at < back[0] + 1.0) <= 2 * 50


def test_flapping_costs_no_row(run_virtual: Any, seeded: Any, adaptive_client: Any) -> None:
    """Five seconds up, five seconds down, again and again."""
    seeded(5)
    server = SimulatedServer(service=constant(0.5), faults=[flapping(5.0, 5.0)])
    outcomes, _ = run_virtual(ask_rows(adaptive_client(server, 20), 1000, 20))
    assert all_answered(outcomes, 1000)


def test_a_server_that_hangs_for_a_while_is_used_again(run_virtual: Any, seeded: Any, adaptive_client: Any) -> None:
    """Requests that never end hold their slots until the client's own timeout, and then others are tried."""
    seeded(6)
    server = SimulatedServer(service=constant(0.5), faults=[hangs(5.0, 20.0)])
    model = adaptive_client(WithTimeout(server, 10.0), 20)
    outcomes, took = run_virtual(ask_rows(model, 500, 20))
    assert all_answered(outcomes, 500)
    assert took <= 60


class WithTimeout:
    """A model whose calls end after so many seconds, as every client's do."""

    def __init__(self, inner: Any, seconds: float) -> None:
        self.inner = inner
        self.seconds = seconds

    async def complete(self, request: ChatRequest) -> ChatCompletionResult:
        try:
            async with asyncio.timeout(self.seconds):
                return await self.inner.complete(request)  # type: ignore[no-any-return]
        except TimeoutError:
            raise LLMConnectionError("timed out") from None


def test_an_endless_storm_ends_in_a_clear_error(run_virtual: Any, seeded: Any, adaptive_client: Any) -> None:
    """Nothing but 503 for five minutes: all rows that wait are told, once, with few requests sent."""
    seeded(7)
    server = SimulatedServer(faults=[unavailable()])
    outcomes, took = run_virtual(ask_rows(adaptive_client(server, 50), 50, 50))
    assert len(outcomes) == 50
    assert all(isinstance(outcome, ServerError) for outcome in outcomes)
    given_up = [outcome for outcome in outcomes if "so it is given up" in str(outcome)]
    assert len(given_up) >= 40
    assert not given_up[0].retryable
    assert 300 <= took <= 330
    assert len(server.arrivals) <= 130


def test_after_giving_up_calls_fail_at_once_until_a_probe_succeeds(
    run_virtual: Any, seeded: Any, adaptive_client: Any
) -> None:
    """Nobody waits for five minutes again; but an endpoint that is back is found."""
    seeded(8)
    server = SimulatedServer(service=constant(0.1), faults=[unavailable(0.0, 400.0)])
    model = adaptive_client(server, 10, patience=60.0)

    async def main() -> None:
        loop = asyncio.get_running_loop()
        await ask_rows(model, 10, 10)
        gave_up_at, sent = loop.time(), len(server.arrivals)
        outcomes, now = await ask_rows(model, 100, 10)
        assert now - gave_up_at < 30
        assert len(server.arrivals) - sent < 20
        assert not any(isinstance(outcome, ChatCompletionResult) for outcome in outcomes)
        await asyncio.sleep(410 - loop.time())
        outcomes, _ = await ask_rows(model, 1, 1)
        assert all_answered(outcomes, 1)

    run_virtual(main())


def test_one_that_never_answered_is_not_waited_for(run_virtual: Any, seeded: Any, adaptive_client: Any) -> None:
    """Nobody listens at that address: its errors come as soon as the retries are used up."""
    seeded(9)
    server = SimulatedServer(faults=[dead()])
    outcomes, took = run_virtual(ask_rows(adaptive_client(server, 50), 50, 50))
    assert all(isinstance(outcome, LLMConnectionError) for outcome in outcomes)
    assert took < 15
