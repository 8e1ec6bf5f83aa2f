"""Limits that nobody configured and the server does not tell: they are found, and found again when they change."""

from __future__ import annotations

import asyncio
import random
from typing import Any

import pytest
from simulated_limits import BucketLimit, SeatLimit, WindowLimit
from simulated_server import SimulatedServer, constant, keep_asking, lognormal, unavailable

HALVED_AT, DOUBLED_AT, END = 180.0, 360.0, 560.0
SETTLED = ((60.0, HALVED_AT, 1.0), (HALVED_AT + 60, DOUBLED_AT, 0.5), (DOUBLED_AT + 60, END - 20, 1.0))
"""From a minute after the start or a change on, until the next change, and the share of the first limit there."""


def prompt_of_some_size(number: int) -> str:
    return f"{number} " + "x" * int(4 * random.Random(number).lognormvariate(5.5, 0.5))


def tokens_of(dice: random.Random, prompt: str) -> tuple[int, int]:
    return len(prompt) // 4, int(dice.lognormvariate(4.5, 0.5))


MEAN_TOKENS = sum(sum(tokens_of(random.Random(n), prompt_of_some_size(n))) for n in range(4000)) / 4000


def run_with_changes(run_virtual: Any, model: Any, limit: Any, name: str, workers: int, **options: Any) -> None:
    async def main() -> None:
        def change(factor: float) -> None:
            setattr(limit, name, getattr(limit, name) * factor)

        loop = asyncio.get_running_loop()
        loop.call_at(HALVED_AT, change, 0.5)
        loop.call_at(DOUBLED_AT, change, 2)
        await keep_asking(model, workers, END, **options)

    run_virtual(main())


@pytest.mark.parametrize("kind", ["requests", "tokens", "requests, slow answers", "requests, with Retry-After"])
def test_a_hidden_rate_is_used_to_95_percent_and_1_percent_is_refused(
    run_virtual: Any, seeded: Any, adaptive_client: Any, kind: str
) -> None:
    """From a minute after the start on; and again from a minute after it was halved, and doubled."""
    refused = asked = 0
    for seed in range(4):
        seeded(seed)
        per_second = 20.0
        limit = BucketLimit(per_second * 60, burst=1 / 12, retry_after="Retry-After" in kind)
        if kind == "tokens":
            limit.unit, limit.per_minute = "tokens", per_second * 60 * MEAN_TOKENS
        seconds, workers = (5.0, 300) if "slow" in kind else (1.0, 60)
        server = SimulatedServer(service=lognormal(seconds), limits=[limit], seed=seed, tokens=tokens_of)
        options = {"prompt": prompt_of_some_size} if kind == "tokens" else {}
        run_with_changes(run_virtual, adaptive_client(server, workers), limit, "per_minute", workers, **options)
        for start, end, share in SETTLED:
            ideal = per_second * share * (end - start)
            assert server.answers(start, end) >= 0.95 * ideal, (seed, start)
            found = server.statuses(start, end)
            refused += found[429]
            asked += found.total()
    assert refused < 0.01 * asked


@pytest.mark.parametrize(("per_second", "most_refused"), [(1.0, 0.05), (2.0, 0.03), (3.0, 0.02)])
@pytest.mark.parametrize("burst", [1 / 12, 1 / 6])
def test_a_low_hidden_rate_is_found_for_a_few_more_refusals(
    run_virtual: Any, seeded: Any, adaptive_client: Any, per_second: float, most_refused: float, burst: float
) -> None:
    """And when it is doubled, that is found out within two minutes."""
    refused = asked = 0
    for seed in range(3):
        seeded(seed)
        limit = BucketLimit(per_second * 60, burst=burst)
        server = SimulatedServer(service=lognormal(1.0), limits=[limit], seed=seed)
        model = adaptive_client(server, 50)

        async def main(limit: BucketLimit = limit, model: Any = model) -> None:
            asyncio.get_running_loop().call_at(900.0, setattr, limit, "per_minute", per_second * 120)
            await keep_asking(model, 50, 1300.0)

        run_virtual(main())
        assert server.answers(60, 900) >= 0.95 * per_second * 840
        assert server.answers(1020, 1280) >= 0.95 * 2 * per_second * 260
        found = server.statuses(60, 900)
        refused += found[429]
        asked += found.total()
    assert refused <= most_refused * asked


@pytest.mark.parametrize("seed", range(3))
def test_a_hidden_number_of_seats_is_used_and_hardly_ever_exceeded(
    run_virtual: Any, seeded: Any, adaptive_client: Any, seed: int
) -> None:
    """A server that refuses by how many requests it has, not by how often they come."""
    seeded(seed)
    limit = SeatLimit(40)
    server = SimulatedServer(service=lognormal(1.0), limits=[limit], seed=seed)
    run_with_changes(run_virtual, adaptive_client(server, 100), limit, "seats", 100)
    for start, end, share in SETTLED:
        assert server.answers(start, end) >= 0.93 * 40 * share * (end - start)
        assert server.refused_share(start, end) < 0.01


@pytest.mark.parametrize("fixed", [False, True])
@pytest.mark.parametrize("retry_after", [False, True])
def test_a_limit_by_the_minute_is_used_up_and_waited_for(
    run_virtual: Any, seeded: Any, adaptive_client: Any, fixed: bool, retry_after: bool
) -> None:
    """A server that takes what comes and then nothing until the minute is over: few ask in vain meanwhile."""
    seeded(1)
    limit = WindowLimit(600, fixed=fixed, retry_after=retry_after)
    server = SimulatedServer(service=lognormal(1.0), limits=[limit], seed=1)
    run_virtual(keep_asking(adaptive_client(server, 50), 50, 480.0))
    assert server.answers(0, 420) >= 0.85 * 7 * 600
    assert server.refused_share(60, 420) < 0.1


def test_a_server_without_limits_is_not_slowed_down(run_virtual: Any, seeded: Any, adaptive_client: Any) -> None:
    """The concurrency that the user set is reached within seconds, and kept."""
    seeded(1)
    server = SimulatedServer(service=lognormal(20.0))
    run_virtual(keep_asking(adaptive_client(server, 500), 500, 200.0))
    in_flight_at_2 = sum(1 for arrival in server.arrivals if arrival.at <= 2.0)
    assert in_flight_at_2 >= 500
    assert server.peak == 500


@pytest.mark.parametrize("share", [0.02, 0.1])
def test_errors_that_do_not_depend_on_the_load_slow_nobody_down(
    run_virtual: Any, seeded: Any, adaptive_client: Any, share: float
) -> None:
    """Every tenth request gets a 503 whatever is done: to send less would help nobody."""
    seeded(2)
    server = SimulatedServer(service=constant(1.0), faults=[unavailable(share=share)], seed=2)
    run_virtual(keep_asking(adaptive_client(server, 50), 50, 120.0))
    assert server.answers(10, 110) >= 0.9 * (1 - share) * 50 * 100


@pytest.mark.parametrize("unit", ["requests", "tokens"])
@pytest.mark.parametrize("seed", range(3))
def test_limits_that_headers_tell_are_used_up_and_hardly_ever_refused(
    run_virtual: Any, seeded: Any, adaptive_client: Any, unit: str, seed: int
) -> None:
    """A server that says what is left: the rate comes down to the refill before anything is refused."""
    seeded(seed)
    per_minute = 1200.0 if unit == "requests" else 1200.0 * MEAN_TOKENS
    limit = BucketLimit(per_minute, burst=1.0, unit=unit)
    server = SimulatedServer(service=lognormal(1.0), limits=[limit], seed=seed, tokens=tokens_of)
    model = adaptive_client(server, 60, rate_limits=server.rate_limits)
    run_virtual(keep_asking(model, 60, 320.0, prompt_of_some_size))
    assert server.answers(60, 300) >= 0.95 * 20 * 240
    assert server.refused_share() < 0.005
