"""The figures held against the goals, as ratios: a machine's speed falls out of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from harness.contenders import AIOHTTP, BARE, CLI, LIBRARY, OLD, OLD_CAPPED, OPENAI
from harness.rounds import Case, cpu_ratio, find_case, speed_ratio
from harness.startup import HELP, IMPORT, IMPORT_CLIENT

BIG_RUN_ROWS = 200_000
BIG_RUN_MIB = 200.0
HELP_SECONDS = 0.35
IMPORT_SECONDS = 0.25


@dataclass(frozen=True, slots=True)
class Goal:
    """One goal: a ratio that must be at least, or at most, a bound. No ratio: not measured."""

    text: str
    ratio: float | None
    bound: float
    at_least: bool = True

    @property
    def verdict(self) -> str:
        """`met`, `NOT met` or `not measured`."""
        if self.ratio is None:
            return "not measured"
        return "met" if (self.ratio >= self.bound if self.at_least else self.ratio <= self.bound) else "NOT met"


def goals(cases: Sequence[Case], big_run: Case | None, startups: Mapping[str, float]) -> list[Goal]:
    """All goals with what was measured."""
    found: list[Goal] = []
    for concurrency in dict.fromkeys(case.concurrency for case in cases):
        found += _goals_at(cases, concurrency)
    whole = big_run is not None and big_run.is_measurable and big_run.rows == BIG_RUN_ROWS
    peak = big_run.peak_mib / BIG_RUN_MIB if big_run is not None and whole else None
    found.append(Goal(f"CLI, {BIG_RUN_ROWS:,} rows: peak memory / {BIG_RUN_MIB:.0f} MiB", peak, 1.0, at_least=False))
    for name, limit in ((HELP, HELP_SECONDS), (IMPORT, IMPORT_SECONDS), (IMPORT_CLIENT, IMPORT_SECONDS)):
        ratio = startups[name] / limit if name in startups else None
        found.append(Goal(f"`{name}`: time / {limit} s", ratio, 1.0, at_least=False))
    return found


def _goals_at(cases: Sequence[Case], concurrency: int) -> Iterator[Goal]:
    at = f"at {concurrency:,}"
    cli = find_case(cases, CLI, "uvloop", concurrency)
    for name in (OLD, OLD_CAPPED):
        old = find_case(cases, name, "asyncio", concurrency)
        yield Goal(f"{at}: CLI / {name}, rows/s", speed_ratio(cli, old), 10.0)
        yield Goal(f"{at}: CLI / {name}, CPU per row", cpu_ratio(cli, old), 1 / 8, at_least=False)
    for loop in ("asyncio", "uvloop"):
        library = find_case(cases, LIBRARY, loop, concurrency)
        for name, bound in ((BARE, 0.4), (AIOHTTP, 1.0), (OPENAI, 10.0)):
            ratio = speed_ratio(library, find_case(cases, name, loop, concurrency))
            yield Goal(f"{at}: library / {name} on {loop}, rows/s", ratio, bound)
