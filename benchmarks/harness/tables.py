"""The figures as Markdown tables."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from harness.goals import Goal
from harness.rounds import Case, cpu_ratio, find_case, speed_ratio

_HEAD = ("contender", "loop", "rows", "start s", "rows/s", "CPU us/row", "peak MiB", "rows/s ratio", "CPU ratio")


def case_tables(cases: Sequence[Case], base: str) -> str:
    """A table for each concurrency; ratios are to the contender `base`, such as `bare-loop/asyncio`."""
    parts = []
    for concurrency in dict.fromkeys(case.concurrency for case in cases):
        name, _, loop = base.partition("/")
        base_case = find_case(cases, name, loop or "asyncio", concurrency)
        rows = [_row(case, base_case) for case in cases if case.concurrency == concurrency]
        parts.append(f"## {concurrency:,} in flight (ratios to {base})\n\n{_table(_HEAD, rows)}")
    return "\n\n".join(parts)


def failure_list(cases: Iterable[Case]) -> str:
    """Which cases failed and why; empty when none did."""
    failed = (case for case in cases if case.failure)
    return "\n".join(f"- {case.contender.name}/{case.loop} at {case.concurrency:,}: {case.failure}" for case in failed)


def big_run_line(case: Case) -> str:
    """The long run in one line."""
    if not case.is_measurable:
        return f"{case.rows:,} rows through the command failed: {case.failure or 'too few rows to tell'}"
    return (
        f"{case.rows:,} rows through the command at {case.concurrency:,} in flight: "
        f"{case.rows_per_second:,.0f} rows/s, {case.cpu_us_per_row:.1f} us/row, peak {case.peak_mib:.0f} MiB"
    )


def startup_table(startups: Mapping[str, float]) -> str:
    """Start-up times."""
    return _table(("command", "seconds"), [(f"`{name}`", f"{value:.3f}") for name, value in startups.items()])


def goal_table(goals: Iterable[Goal]) -> str:
    """Goals and what was measured."""
    rows = [
        (
            goal.text,
            f"{'>=' if goal.at_least else '<='} {goal.bound:.3g}",
            "-" if goal.ratio is None else f"{goal.ratio:.3g}",
            goal.verdict,
        )
        for goal in goals
    ]
    return _table(("ratio", "goal", "measured", "verdict"), rows)


def _row(case: Case, base: Case | None) -> tuple[str, ...]:
    head = (case.contender.name, case.loop, f"{case.rows:,}")
    if not case.is_measurable:
        return (*head, "failed" if case.failure else "too few rows", *[""] * (len(_HEAD) - len(head) - 1))
    speed, cpu = speed_ratio(case, base), cpu_ratio(case, base)
    return (
        *head,
        f"{case.startup_seconds:.2f}",
        f"{case.rows_per_second:,.0f}",
        f"{case.cpu_us_per_row:,.1f}",
        f"{case.peak_mib:,.0f}",
        "-" if speed is None else f"{speed:.2f}",
        "-" if cpu is None else f"{cpu:.3f}",
    )


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)
