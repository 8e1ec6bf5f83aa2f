"""Servers that take everything and let it wait inside: no more is sent than they work on, where that costs nothing."""

from __future__ import annotations

from typing import Any

import pytest
from simulated_server import SimulatedServer, keep_asking, lognormal


@pytest.mark.parametrize("seed", range(3))
def test_a_silent_queue_is_found_and_kept_short_at_full_throughput(
    run_virtual: Any, seeded: Any, adaptive_client: Any, seed: int
) -> None:
    """64 are worked on, 400 could be sent: in the end answers come a third sooner, and none of the speed is lost."""
    seeded(seed)
    server = SimulatedServer(service=lognormal(2.0), seats=64, seed=seed)
    model = adaptive_client(server, 400)
    run_virtual(keep_asking(model, 400, 900.0))
    assert server.answers(600, 850) >= 0.95 * 250 * 64 / 2.0
    waits = [arrival.ended - arrival.at for arrival in server.arrivals if 600 < arrival.at < 850]
    assert sum(waits) / len(waits) < 0.7 * 2.0 * 400 / 64


@pytest.mark.parametrize("seed", range(3))
def test_a_server_whose_throughput_still_grows_is_not_throttled(
    run_virtual: Any, seeded: Any, adaptive_client: Any, seed: int
) -> None:
    """Each answer is slower the more there are at once, and more are answered per second all the same."""
    seeded(seed)

    def slowdown(working: int) -> float:
        return 1 + working / 100  # 200 at once: three times as slow, and 4/3 of the throughput of 100 at once

    answers = []
    for adaptive in (False, True):
        server = SimulatedServer(service=lognormal(2.0, 0.3), slowdown=slowdown, seed=seed)
        run_virtual(keep_asking(adaptive_client(server, 200, adaptive=adaptive), 200, 600.0))
        answers.append(server.answers(60, 550))
    assert answers[1] >= 0.97 * answers[0]
