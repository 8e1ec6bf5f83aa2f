"""A pool with sick members: it is never worse than its best member alone, and what is sick costs next to nothing."""

from __future__ import annotations

import asyncio
import random
from typing import Any, get_args

import pytest
from simulated_limits import BucketLimit
from simulated_pool import Outcomes, alone, member, pool_of, run_rows
from simulated_server import (
    SimulatedServer,
    constant,
    dead,
    flapping,
    hangs,
    lognormal,
    poison,
    row_text,
    unavailable,
    wrong_key,
)

from flexllm_batch.balance.balanced import Balanced
from flexllm_batch.balance.strategies import LoadBalance
from flexllm_core.errors import (
    AuthenticationError,
    BadRequestError,
    FlexLLMError,
    LLMConnectionError,
    LLMResponseError,
    NoEndpointAvailableError,
    RateLimitError,
    ServerError,
)
from flexllm_providers.retry import Retrying

SICKNESSES: dict[str, Any] = {
    "dead": lambda: {"faults": [dead()]},
    "slow": lambda: {"service": lognormal(10.0, 0.3)},
    "10 % 503": lambda: {"faults": [unavailable(share=0.1)]},
    "flapping": lambda: {"faults": [flapping()]},
    "wrong key": lambda: {"faults": [wrong_key()]},
    "hidden limit": lambda: {"limits": [BucketLimit(120, burst=1 / 12)]},
    "hangs": lambda: {"faults": [hangs()]},
}
MEMBERS, CAPACITY, TIMEOUT = 4, 10, 20.0
STRATEGIES = get_args(LoadBalance)


def servers_with(sickness: str, sick: int) -> list[SimulatedServer]:
    healthy: dict[str, Any] = {"service": lognormal(1.0, 0.3)}
    return [
        SimulatedServer(name=f"s{i}", seed=i, **{**healthy, **(SICKNESSES[sickness]() if i < sick else {})})
        for i in range(MEMBERS)
    ]


def run_pool(run_virtual: Any, servers: list[SimulatedServer], rows: int, **options: Any) -> Outcomes:
    async def main() -> Outcomes:
        pool = pool_of(servers, CAPACITY, timeout=TIMEOUT, **options)
        return await run_rows(pool, rows, CAPACITY * len(servers))

    return run_virtual(main())


def rows_of_best_member(run_virtual: Any, sickness: str, sick: int, rows: int) -> int:
    """Rows that the best of the members answers alone."""
    if sick < MEMBERS:
        return rows

    async def main() -> Outcomes:
        server = servers_with(sickness, sick)[0]
        return await run_rows(alone(server, CAPACITY, timeout=TIMEOUT), rows, CAPACITY)

    return len(run_virtual(main()).ok)


@pytest.mark.parametrize("sick", range(1, MEMBERS + 1))
@pytest.mark.parametrize("sickness", SICKNESSES)
def test_a_sick_member_costs_no_row_and_hardly_any_time(
    run_virtual: Any, seeded: Any, sickness: str, sick: int
) -> None:
    """Least loaded: rows ok >= those of the best member alone; at most 1.1 times the healthy ones' ideal time."""
    seeded(1)
    rows = 1000
    outcomes = run_pool(run_virtual, servers_with(sickness, sick), rows)
    assert len(outcomes.ok) + len(outcomes.failed) == rows
    assert len(outcomes.ok) >= rows_of_best_member(run_virtual, sickness, sick, rows)
    if sick < MEMBERS:
        assert outcomes.seconds <= 1.1 * rows / (CAPACITY * (MEMBERS - sick))


@pytest.mark.parametrize("strategy", [name for name in STRATEGIES if name != "least_loaded"])
@pytest.mark.parametrize("sickness", SICKNESSES)
def test_no_strategy_loses_rows_to_sick_members(run_virtual: Any, seeded: Any, sickness: str, strategy: str) -> None:
    """Whichever member is picked first: rows ok >= those of the best member alone."""
    seeded(2)
    for sick in range(1, MEMBERS + 1):
        outcomes = run_pool(run_virtual, servers_with(sickness, sick), 150, load_balance=strategy)
        assert len(outcomes.ok) + len(outcomes.failed) == 150
        assert len(outcomes.ok) >= rows_of_best_member(run_virtual, sickness, sick, 150), sick


@pytest.mark.parametrize("sickness", ["dead", "wrong key"])
@pytest.mark.parametrize("strategy", STRATEGIES)
def test_a_member_that_never_answers_gets_its_trials_and_nothing_else(
    run_virtual: Any, seeded: Any, sickness: str, strategy: str
) -> None:
    """Three requests to find out, and one in each recovery time."""
    seeded(3)
    servers = servers_with(sickness, 3)
    outcomes = run_pool(run_virtual, servers, 2500, load_balance=strategy)
    assert len(outcomes.ok) == 2500
    trials = 3 + outcomes.seconds // 60
    assert all(len(server.arrivals) <= trials for server in servers[:3])


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_poison_rows_are_sent_once_and_change_no_health(run_virtual: Any, strategy: str) -> None:
    """D5: a caller's 400 is neither sent elsewhere nor held against a member, even with a threshold of one."""
    servers = [SimulatedServer(name=f"s{i}", seed=i, faults=[poison()]) for i in range(3)]
    prompts = [f"poison {n}" if n % 3 == 0 else row_text(n) for n in range(300)]

    async def main() -> tuple[Outcomes, Balanced]:
        balanced = Balanced([member(server, 10, failure_threshold=1) for server in servers], load_balance=strategy)
        return await run_rows(Retrying(balanced), 300, 30, prompts), balanced

    outcomes, balanced = run_virtual(main())
    assert sorted(outcomes.failed) == list(range(0, 300, 3))
    assert all(isinstance(error, BadRequestError) for error in outcomes.failed.values())
    asked = [arrival.prompt for server in servers for arrival in server.arrivals]
    assert len(asked) == len(set(asked)) == 300
    assert [stats.state for stats in balanced.stats] == ["closed"] * 3


def test_a_dead_member_beside_a_flaky_one_loses_no_row(run_virtual: Any, seeded: Any) -> None:
    """D4: 10 % 503 and a dead endpoint, 200 rows: all are answered, as they are without the dead one."""
    seeded(4)
    flaky = SimulatedServer(name="flaky", faults=[unavailable(share=0.1)], seed=1)
    gone = SimulatedServer(name="gone", faults=[dead()], seed=2)
    outcomes = run_pool(run_virtual, [gone, flaky], 200)
    assert len(outcomes.ok) == 200
    assert len(gone.arrivals) <= 4


@pytest.mark.parametrize("workers", [2, 4, 8])
@pytest.mark.parametrize("share", [0.2, 1.0])
def test_rows_that_no_member_answers_end_the_run(run_virtual: Any, seeded: Any, workers: int, share: float) -> None:
    """D1: each member fails, always or now and then: no row goes round for ever."""
    seeded(5)

    def fails(now: float, prompt: str, dice: random.Random) -> Any:
        return ServerError("HTTP 500", status_code=500) if dice.random() < share else None

    servers = [SimulatedServer(name=f"s{i}", faults=[fails, poison("7")], seed=i) for i in range(2)]

    async def main() -> Outcomes:
        return await run_rows(pool_of(servers, workers), 100, 2 * workers)

    outcomes = run_virtual(main())
    assert len(outcomes.ok) + len(outcomes.failed) == 100
    assert len(outcomes.ok) > 60 if share < 1 else not outcomes.ok


def random_fault(dice: random.Random) -> Any:
    """A fault that comes and goes as the dice say."""
    share, period, begin = dice.random(), dice.uniform(0.5, 90), dice.uniform(0, 60)
    make = dice.choice(
        [
            lambda: LLMConnectionError("reset"),
            lambda: ServerError("HTTP 500", status_code=500),
            lambda: ServerError("HTTP 503", status_code=503, kind="overload"),
            lambda: RateLimitError("HTTP 429", status_code=429, retry_after=dice.choice([None, 0.0, 2.0, 30.0, 300.0])),
            lambda: AuthenticationError("HTTP 401", status_code=401),
            lambda: LLMResponseError("empty"),
            lambda: "hang",
        ]
    )
    return lambda now, prompt, own: make() if now >= begin and now % period < share * period else None


@pytest.mark.parametrize("block", range(4))
def test_every_row_ends_under_any_schedule_of_failures(run_virtual: Any, seeded: Any, block: int) -> None:
    """1,000 random schedules in which all members fail at random: each row has one definite outcome."""
    for seed in range(block * 250, block * 250 + 250):
        seeded(seed)
        dice = random.Random(seed)
        servers = [
            SimulatedServer(
                service=constant(dice.uniform(0.05, 3)),
                faults=[random_fault(dice) for _ in range(dice.randint(1, 3))],
                name=f"s{i}",
                seed=seed + i,
            )
            for i in range(dice.randint(1, 4))
        ]
        options = {
            "load_balance": dice.choice(STRATEGIES),
            "failure_threshold": dice.randint(1, 4),
            "recovery_time": dice.choice([0.1, 5.0, 60.0]),
            "fallback": dice.random() < 0.8,
            "timeout": 10.0,
            "limits": {"adaptive": dice.random() < 0.7},
        }
        rows, workers = 12, dice.randint(1, 12)

        async def main(
            servers: list[SimulatedServer] = servers, options: dict[str, Any] = options, workers: int = workers
        ) -> Outcomes:
            return await run_rows(pool_of(servers, 3, **options), 12, workers)

        outcomes = run_virtual(main())
        assert len(outcomes.ok) + len(outcomes.failed) == rows, seed
        assert all(isinstance(error, FlexLLMError) for error in outcomes.failed.values()), seed
        assert all(server.in_system == 0 for server in servers), seed


@pytest.mark.parametrize("workers", [8, 20, 40])
def test_a_member_that_is_four_times_faster_does_four_fifths(run_virtual: Any, seeded: Any, workers: int) -> None:
    """Two members share a batch by what they can do."""
    seeded(6)
    fast = SimulatedServer(service=lognormal(0.25, 0.3), name="fast", seed=1)
    slow = SimulatedServer(service=lognormal(1.0, 0.3), name="slow", seed=2)

    async def main() -> Outcomes:
        return await run_rows(pool_of([slow, fast], workers // 2), 3000, workers)

    outcomes = run_virtual(main())
    assert len(outcomes.ok) == 3000
    assert 0.75 <= fast.billed / 3000 <= 0.85


def test_all_members_gone_is_said_with_each_ones_error(run_virtual: Any) -> None:
    """Who never answered is not waited for long; the error names every member."""
    servers = [
        SimulatedServer(name="one", faults=[dead()]),
        SimulatedServer(name="two", faults=[wrong_key()]),
    ]
    outcomes = run_pool(run_virtual, servers, 40)
    assert outcomes.seconds < 15
    last = outcomes.failed[39]
    assert isinstance(last, NoEndpointAvailableError)
    assert {type(error) for error in last.errors} == {LLMConnectionError, AuthenticationError}
    assert "one: connection refused" in str(last)
    assert "two: HTTP 401" in str(last)


def test_a_pool_that_was_gone_for_a_while_loses_nothing(run_virtual: Any, seeded: Any) -> None:
    """All members are out for 40 s: the calls wait, and one member goes on within seconds of the return."""
    seeded(7)
    servers = [SimulatedServer(name=f"s{i}", faults=[dead(after=5, until=45)], seed=i) for i in range(2)]
    outcomes = run_pool(run_virtual, servers, 400)
    assert len(outcomes.ok) == 400
    assert outcomes.seconds < 45 + 7 + 330 / 10
    assert sum(server.answers(45, 55) for server in servers) > 20


def test_keys_of_one_endpoint_are_used_by_what_their_quotas_admit(run_virtual: Any, seeded: Any) -> None:
    """Two accounts of one provider, one with three times the rate of the other: both are used up."""
    seeded(8)
    rates = (360, 120)
    servers = [
        SimulatedServer(name=f"key {i}", limits=[BucketLimit(rate, burst=1 / 12)], seed=i)
        for i, rate in enumerate(rates)
    ]

    async def main() -> None:
        balanced = pool_of(servers, 20)
        task = asyncio.create_task(run_rows(balanced, 10**6, 40))
        await asyncio.sleep(300)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    run_virtual(main())
    for server, rate in zip(servers, rates, strict=True):
        assert server.answers(60, 290) >= 0.9 * rate / 60 * 230
        assert server.refused_share(60, 290) < 0.05
