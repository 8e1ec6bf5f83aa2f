"""Hedging under heavy-tailed service times: the slowest calls get much faster for a few more requests."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from simulated_pool import Outcomes, member, run_rows
from simulated_server import SimulatedServer, constant, hangs, lognormal

from flexllm_batch.balance.balanced import Balanced
from flexllm_batch.balance.hedging import Hedged
from flexllm_core.errors import ConfigError
from flexllm_providers.retry import Retrying


def servers_with_tail(seed: int) -> list[SimulatedServer]:
    return [SimulatedServer(service=lognormal(1.0, 1.8), name=f"s{i}", seed=seed * 10 + i) for i in range(3)]


def run(run_virtual: Any, servers: list[SimulatedServer], rows: int, **hedge: Any) -> tuple[Outcomes, Balanced]:
    async def main() -> tuple[Outcomes, Balanced]:
        balanced = Balanced([member(server, 20, timeout=1000.0) for server in servers])
        model = Retrying(Hedged(balanced, **hedge) if hedge else balanced)
        return await run_rows(model, rows, 30), balanced

    return run_virtual(main())


def percentile(outcomes: Outcomes, share: float) -> float:
    return sorted(outcomes.latencies)[int(share * len(outcomes.latencies))]


@pytest.mark.parametrize("seed", range(3))
def test_the_99th_percentile_falls_by_two_fifths_for_three_percent_more(
    run_virtual: Any, seeded: Any, seed: int
) -> None:
    """`hedge_after="p95"` with the usual budget."""
    seeded(seed)
    rows = 4000
    plain, _ = run(run_virtual, servers_with_tail(seed), rows)
    servers = servers_with_tail(seed)
    hedged, balanced = run(run_virtual, servers, rows, after="p95")
    assert len(hedged.ok) == rows
    assert percentile(hedged, 0.99) <= 0.6 * percentile(plain, 0.99)
    sent = sum(len(server.arrivals) for server in servers)
    assert sent <= 1.03 * rows
    assert sent - rows == sum(stats.hedged for stats in balanced.stats) > 50


def test_the_loser_is_cancelled_and_both_count_as_attempts(run_virtual: Any) -> None:
    """A member that hangs: the other answers, and nothing is left behind."""
    stuck = SimulatedServer(name="stuck", faults=[hangs()])
    quick = SimulatedServer(name="quick", service=constant(1.0))

    async def main() -> Any:
        balanced = Balanced([member(stuck, 5), member(quick, 5)], load_balance="fallback")
        model = Hedged(balanced, 2.0, 1.0)
        from flexllm_core.requests import ChatRequest

        result = await model.complete(ChatRequest([{"role": "user", "content": "x"}]))
        return result, asyncio.get_running_loop().time(), balanced.stats, len(asyncio.all_tasks())

    result, seconds, stats, tasks = run_virtual(main())
    assert (result.endpoint, result.attempts, seconds) == ("quick", 2, 3.0)
    assert [arrival.status for arrival in stuck.arrivals] == [499]
    assert [one.in_flight for one in stats] == [0, 0]
    assert tasks == 1


def test_no_more_are_hedged_than_the_budget_admits(run_virtual: Any) -> None:
    """However short the delay is."""
    servers = [SimulatedServer(service=constant(1.0), name=f"s{i}") for i in range(2)]
    outcomes, _ = run(run_virtual, servers, 1000, after=0.1, budget=0.05)
    assert len(outcomes.ok) == 1000
    assert 1000 < sum(len(server.arrivals) for server in servers) <= 1050


@pytest.mark.parametrize(("after", "budget"), [("p50", 0.03), (0, 0.03), (True, 0.03), (1.0, 0.0), (1.0, 1.5)])
def test_values_that_make_no_sense_are_refused(after: Any, budget: float) -> None:
    """With their name."""
    with pytest.raises(ConfigError, match="hedge_"):
        Hedged(Balanced([member(SimulatedServer(), 1)]), after, budget)
