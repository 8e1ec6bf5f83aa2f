"""Draw docs/pool.svg: who answers how much in a pool while a member dies and comes back, from the simulation.

python scripts/pool_picture.py            write docs/pool.svg
python scripts/pool_picture.py --check    fail when the file is not what the simulation gives
"""

from __future__ import annotations

import random
import sys

from simulation_pictures import DOCS, Chart, Series, run_in_virtual_time, write_or_check

from simulated_pool import Outcomes, pool_of, run_rows  # isort: skip - found by a path that simulation_pictures sets
from simulated_server import SimulatedServer, dead, lognormal  # isort: skip

END, BIN = 360.0, 5.0
ROWS, SLOTS = 22_000, 20
DIES, RETURNS = 100.0, 200.0

CHART = Chart(
    end=END,
    most=84.0,
    step=20,
    title="Answers per second of each of three endpoints in a pool while one of them is gone for a while",
    series=(
        Series("gone", "bar", 180, "server c is gone"),
        Series("all", "line", 330, "all"),
        Series("fast", "line", 400, "a, four times faster"),
        Series("steady", "line", 570, "b"),
        Series("returning", "line", 630, "c"),
    ),
    style="""    .gone { fill: #c62828; opacity: 0.12 }
    .all { stroke: #999; stroke-width: 2; stroke-dasharray: 6 4; fill: none }
    .fast { stroke: #1769aa; stroke-width: 2; fill: none }
    .steady { stroke: #2e7d32; stroke-width: 2; fill: none }
    .returning { stroke: #c62828; stroke-width: 2; fill: none }
""",
    dark_style=".fast { stroke: #64b5f6 } .steady { stroke: #81c784 } .returning { stroke: #ef5350 }",
)


def simulate() -> tuple[list[SimulatedServer], Outcomes]:
    """A batch over three servers with 20 slots each, and how its rows ended."""
    random.seed(1)
    servers = [
        SimulatedServer(name="a", service=lognormal(0.5, 0.3), seed=1),
        SimulatedServer(name="b", service=lognormal(2.0, 0.3), seed=2),
        SimulatedServer(name="c", service=lognormal(2.0, 0.3), seed=3, faults=[dead(DIES, RETURNS)]),
    ]
    found: list[Outcomes] = []

    async def main() -> None:
        found.append(await run_rows(pool_of(servers, SLOTS), ROWS, SLOTS * len(servers)))

    run_in_virtual_time(main)
    return servers, found[0]


def draw() -> str:
    """The picture; its figures are printed."""
    servers, outcomes = simulate()
    fast, steady, returning = servers
    tried = sum(returning.statuses(DIES, RETURNS).values())
    print(f"{len(outcomes.ok)} of {ROWS} rows ok in {outcomes.seconds:.0f} s; {tried} requests to c while it was gone")
    for start, end in ((20, DIES), (DIES + 10, RETURNS), (RETURNS + 60, END)):
        rates = [server.answers(start, end) / (end - start) for server in servers]
        print(f"{start:3.0f} to {end:3.0f} s: {', '.join(f'{rate:.1f}' for rate in rates)} per second")

    def line(kind: str, *of: SimulatedServer) -> str:
        bins = [index * BIN for index in range(int(END / BIN))]
        points = [(start + BIN / 2, sum(one.answers(start, start + BIN) for one in of) / BIN) for start in bins]
        return CHART.line(kind, points)

    lines = [line("all", *servers), line("fast", fast), line("steady", steady), line("returning", returning)]
    return CHART.svg([CHART.bar("gone", DIES, RETURNS - DIES, CHART.most), *lines])


if __name__ == "__main__":
    sys.exit(write_or_check(__doc__, DOCS / "pool.svg", draw))
