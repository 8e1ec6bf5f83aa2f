"""Pools over real connections: what the simulations show, with few rows and real servers."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Iterator

import pytest

from flexllm_batch import CostTrackerConfig, LLMClientPool
from flexllm_mock import FaultRule, MockServer

ROWS = [f"row {number}" for number in range(150)]
HEALTHY = {"delay": 0.02}


@contextlib.contextmanager
def servers_of(*settings: dict[str, object]) -> Iterator[list[MockServer]]:
    """Mock servers with these settings."""
    with contextlib.ExitStack() as stack:
        yield [stack.enter_context(MockServer(**one)) for one in settings]  # type: ignore[arg-type]


def pool_over(servers: list[MockServer], **settings: object) -> LLMClientPool:
    """A pool of one member for each server."""
    endpoints = [{"base_url": server.base_url, "model": "mock", "name": f"s{i}"} for i, server in enumerate(servers)]
    return LLMClientPool(endpoints, **settings)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("sickness", "most_asked"),
    [
        ({"faults": [FaultRule(disconnect="before")]}, 3),
        ({"faults": [FaultRule(stall="before")]}, 8),
        ({"api_key": "another"}, 3),
        ({"delay": 0.4}, 30),
        ({"error_rate": 0.1, "error_status": 503}, 100),
        ({"faults": [FaultRule(disconnect="before", reset=True, every=2)]}, 100),
        ({"rpm": 600.0, "limit_burst": 1.0}, 100),
    ],
    ids=["dead", "hangs", "wrong key", "slow", "10 % 503", "flapping", "limit"],
)
def test_a_sick_member_costs_no_row(sickness, most_asked):
    """One of three: each row is answered once, and one that answers nothing gets its trials, or fills its slots."""
    with (
        servers_of({**HEALTHY, **sickness}, HEALTHY, HEALTHY) as servers,
        pool_over(servers, concurrency_limit=5, timeout=0.5) as pool,
    ):
        batch = pool.chat_batch_sync(ROWS, max_tokens=5)
        stats = pool.stats
    assert batch.stats.ok == len(ROWS)
    assert sum(one.ok for one in stats) == len(ROWS)
    assert stats[0].requests <= most_asked


def test_a_member_that_is_four_times_faster_does_four_fifths():
    """Shares, by what each has answered."""
    with servers_of({"delay": 0.2}, {"delay": 0.05}) as servers, pool_over(servers, concurrency_limit=8) as pool:
        batch = pool.chat_batch_sync([f"row {number}" for number in range(400)], max_tokens=5)
        slow, fast = pool.stats
    assert batch.stats.ok == 400
    assert 0.72 <= fast.ok / (fast.ok + slow.ok) <= 0.88


def test_the_slowest_calls_are_hedged_within_the_budget_and_the_losers_cancelled():
    """Each server takes a minute for its 60th request: somebody else answers, and nobody waits for it."""
    slow = {"delay": 0.01, "faults": [FaultRule(delay=60.0, every=60)]}
    with servers_of(slow, slow) as servers, pool_over(servers, concurrency_limit=4, hedge_after=0.5) as pool:
        batch = pool.chat_batch_sync([f"row {number}" for number in range(300)], max_tokens=5)
        hedged = sum(stats.hedged for stats in pool.stats)
        sent = sum(len(server.requests) for server in servers)
        outcomes = [request.outcome for server in servers for request in server.requests]
    assert batch.stats.ok == 300
    assert 2 <= hedged <= 0.03 * 300
    assert sent == 300 + hedged
    assert outcomes.count("cancelled") == hedged


@pytest.mark.parametrize("affinity", ["prefix", None])
def test_rows_with_the_same_beginning_find_it_in_the_servers_caches(affinity):
    """40 documents and 6 questions about each, two servers that keep 6 documents: at least 90 % of the optimum."""
    documents, questions = 40, 6
    prompts = [f"{d:4} ".ljust(4000, "x") + f"question {q}" for d in range(documents) for q in range(questions)]
    dice = random.Random(1)
    blocks = [prompts[start : start + 8 * questions] for start in range(0, len(prompts), 8 * questions)]
    for block in blocks:
        dice.shuffle(block)
    rows = [prompt for block in blocks for prompt in block]
    with (
        servers_of({"delay": 0.03, "prefix_cache": 6_000}, {"delay": 0.03, "prefix_cache": 6_000}) as servers,
        pool_over(servers, concurrency_limit=2, affinity=affinity) as pool,
    ):
        batch = pool.chat_batch_sync(rows, max_tokens=5)
    assert batch.stats.ok == len(rows)
    cached = sum(item.result.usage.cached_tokens for item in batch)
    optimum = 1000 * (len(rows) - documents)
    assert (cached >= 0.9 * optimum) == (affinity == "prefix")


def test_what_all_servers_bill_together_stays_within_the_budget():
    """D2: with retries and failovers, of which some were billed for nothing and count as what they could have cost."""
    limit, price = 0.005, {"input": 1.0, "output": 1.0}
    breaks = {"faults": [FaultRule(alter="empty_choices", every=5)]}
    with servers_of(breaks, HEALTHY, {"error_rate": 0.3}) as servers:
        endpoints = [{"base_url": server.base_url, "model": "mock", "price": price} for server in servers]
        with LLMClientPool(endpoints, cost_tracker=CostTrackerConfig.with_budget(limit)) as pool:
            batch = pool.chat_batch_sync([f"row {number:4}" for number in range(400)], max_tokens=8)
            assert pool.budget is not None
            spent = float(pool.budget.ledger.spent)
        billed = sum(server.stats().by_status.get(200, 0) for server in servers)
        failed = sum(server.stats().by_status.get(500, 0) for server in servers)
    (each,) = {float(item.cost) for item in batch if item.cost is not None}
    assert batch.stats.ok < billed < 400
    assert failed > 0
    assert billed * each <= spent <= limit
    assert spent >= 0.8 * limit
