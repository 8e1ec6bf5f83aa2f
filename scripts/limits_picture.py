"""Draw docs/limits.svg: what a client learns of a server's hidden limit while the limit changes, from the simulation.

python scripts/limits_picture.py            write docs/limits.svg
python scripts/limits_picture.py --check    fail when the file is not what the simulation gives
"""

from __future__ import annotations

import asyncio
import random
import sys

from simulation_pictures import DOCS, Chart, Series, run_in_virtual_time, write_or_check

from flexllm_batch import Limited
from flexllm_providers.retry import Retrying

from simulated_limits import BucketLimit  # isort: skip - found by a path that simulation_pictures sets
from simulated_server import SimulatedServer, keep_asking, lognormal  # isort: skip

END, BIN = 540.0, 5.0
CHANGES = ((0.0, 20.0), (180.0, 10.0), (360.0, 20.0))
"""Times, and the requests per second that the server admits from then on."""

CHART = Chart(
    end=END,
    most=32.0,
    step=10,
    title="Answered and refused requests per second while a server's hidden limit is halved and doubled",
    series=(
        Series("limit", "line", 220, "the server's hidden limit"),
        Series("answered", "line", 440, "answered"),
        Series("refused", "bar", 560, "refused (429)"),
    ),
    style="""    .limit { stroke: #999; stroke-width: 2; stroke-dasharray: 6 4; fill: none }
    .answered { stroke: #1769aa; stroke-width: 2; fill: none }
    .refused { fill: #c62828 }
""",
    dark_style=".answered { stroke: #64b5f6 } .refused { fill: #ef5350 }",
)


def simulate() -> SimulatedServer:
    """Nine minutes of a batch with 60 rows in flight, and a server that tells nobody its limit."""
    random.seed(1)
    limit = BucketLimit(CHANGES[0][1] * 60, burst=1 / 12)
    server = SimulatedServer(service=lognormal(1.0), limits=[limit], seed=1)
    model = Retrying(Limited(server, concurrency=60, adaptive=True))

    async def main() -> None:
        for time, per_second in CHANGES[1:]:
            asyncio.get_running_loop().call_at(time, setattr, limit, "per_minute", per_second * 60)
        await keep_asking(model, 60, END + 10)

    run_in_virtual_time(main)
    return server


def draw() -> str:
    """The picture; its figures are printed."""
    server = simulate()
    for start, end, rate in ((60, 180, 20), (240, 360, 10), (420, 540, 20)):
        share = server.answers(start, end) / (end - start) / rate
        print(f"{start:3} to {end:3} s: {share:.1%} of the limit, {server.refused_share(start, end):.2%} refused")
    bins = [index * BIN for index in range(int(END / BIN))]
    ends = [time for time, _ in CHANGES[1:]] + [END]
    steps = [(at, rate) for (time, rate), end in zip(CHANGES, ends, strict=True) for at in (time, end)]
    refused = [(start, server.statuses(start, start + BIN)[429] / BIN) for start in bins]
    answered = [(start + BIN / 2, server.answers(start, start + BIN) / BIN) for start in bins]
    bars = [CHART.bar("refused", start, BIN, rate) for start, rate in refused if rate]
    return CHART.svg([*bars, CHART.line("limit", steps), CHART.line("answered", answered)])


if __name__ == "__main__":
    sys.exit(write_or_check(__doc__, DOCS / "limits.svg", draw))
