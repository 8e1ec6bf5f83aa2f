"""Several keys of one endpoint that tells what is left of each one's quota: they are used by that."""

from __future__ import annotations

import asyncio
import random
from typing import Any

import pytest
from simulated_limits import BucketLimit
from simulated_pool import member, run_rows
from simulated_server import SimulatedServer, lognormal

from flexllm_batch.balance.balanced import Balanced
from flexllm_providers.retry import Retrying

QUOTAS = (600, 2400)
"""Requests per minute: 10 and 40 in a second."""

MEAN_TOKENS = 110


def tokens_of(dice: random.Random, prompt: str) -> tuple[int, int]:
    return len(prompt) // 4, int(dice.lognormvariate(4.5, 0.5))


def servers_with(unit: str, seed: int, quotas: tuple[int, ...] = QUOTAS) -> list[SimulatedServer]:
    each = 1 if unit == "requests" else MEAN_TOKENS
    limits = [BucketLimit(quota * each, burst=1.0, unit=unit) for quota in quotas]
    return [
        SimulatedServer(service=lognormal(1.0, 0.3), limits=[limit], tokens=tokens_of, seed=10 * seed + i, name=f"{i}")
        for i, limit in enumerate(limits)
    ]


def run(run_virtual: Any, servers: list[SimulatedServer], workers: int, seconds: float, **options: Any) -> None:
    async def main() -> None:
        members = [member(server, 100, limits={"rate_limits": server.rate_limits}, site="one") for server in servers]
        task = asyncio.create_task(run_rows(Retrying(Balanced(members, **options)), 10**6, workers))
        await asyncio.sleep(seconds)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    run_virtual(main())


@pytest.mark.parametrize("unit", ["requests", "tokens"])
@pytest.mark.parametrize("workers", [10, 45, 100])
def test_the_shares_follow_the_quotas_and_nothing_is_refused(
    run_virtual: Any, seeded: Any, unit: str, workers: int
) -> None:
    """Quotas of 1 to 4; a fifth, most and twice of what both admit together is asked for."""
    seeded(workers)
    servers = servers_with(unit, seed=1)
    run(run_virtual, servers, workers, 120.0)
    answers = [server.answers() for server in servers]
    assert 0.76 <= answers[1] / sum(answers) <= 0.84
    assert sum(server.statuses()[429] for server in servers) == 0
    assert sum(answers) >= 0.95 * 120 * min(workers * 0.97, 50)


def test_a_key_whose_quota_is_used_up_elsewhere_is_left_in_peace(run_virtual: Any, seeded: Any) -> None:
    """Equal quotas, of which the first has a tenth left: the other one gets almost everything at first."""
    seeded(3)
    servers = servers_with("requests", 2, (1200, 1200))
    (first,) = servers[0].limits
    for _ in range(1080):
        first.refuse(0.0, 1, 0)
    run(run_virtual, servers, 20, 20.0)
    assert servers[1].answers() >= 5 * servers[0].answers()
    assert servers[0].answers() > 0
    assert sum(server.statuses()[429] for server in servers) == 0


def test_turns_stay_turns(run_virtual: Any, seeded: Any) -> None:
    """Who asks for `round_robin` gets it, whatever the quotas are."""
    seeded(4)
    servers = servers_with("requests", 3)
    run(run_virtual, servers, 10, 30.0, load_balance="round_robin")
    assert abs(servers[0].answers() - servers[1].answers()) <= 10
