"""Repeats of all runs in turn (A B C A B C), so that what else the machine does falls on everybody alike."""

from __future__ import annotations

import os
import statistics
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from harness.child import ChildError, Usage, clean_environ, run_child
from harness.contenders import Contender, Task
from harness.rows import WrongAnswersError, check_count, check_output, input_file

BENCHMARKS = Path(__file__).resolve().parent.parent
_TIMEOUT = 300.0  # seconds for one run


@dataclass(slots=True)
class Case:
    """One contender on one event loop at one concurrency, and what its repeats took.

    `startups` are runs of a single row with the same command: what they take is not the rows' doing, and is
    subtracted. It would weigh on the contenders that get fewer rows.
    """

    contender: Contender
    loop: str
    concurrency: int
    rows: int
    python: Path
    runs: list[Usage] = field(default_factory=list)
    startups: list[Usage] = field(default_factory=list)
    loads: list[float] = field(default_factory=list)
    failure: str = ""

    @property
    def startup_seconds(self) -> float:
        """Median seconds of a run of one row."""
        return statistics.median(usage.seconds for usage in self.startups)

    @property
    def speeds(self) -> list[float]:
        """Rows per second of each round, start-up subtracted."""
        startup = self.startup_seconds
        return [(self.rows - 1) / (usage.seconds - startup) for usage in self.runs]

    @property
    def cpu_costs(self) -> list[float]:
        """CPU time per row of each round in microseconds, start-up subtracted."""
        startup = statistics.median(usage.cpu_seconds for usage in self.startups)
        return [(usage.cpu_seconds - startup) / (self.rows - 1) * 1e6 for usage in self.runs]

    @property
    def is_measurable(self) -> bool:
        """Whether it ran, and long enough to tell its rows from its start-up."""
        return not self.failure and bool(self.runs) and min(*self.speeds, *self.cpu_costs) > 0

    @property
    def rows_per_second(self) -> float:
        """Median of the rounds' rows per second."""
        return statistics.median(self.speeds)

    @property
    def cpu_us_per_row(self) -> float:
        """Median of the rounds' CPU time per row in microseconds."""
        return statistics.median(self.cpu_costs)

    @property
    def peak_mib(self) -> float:
        """Median of the peaks of resident memory."""
        return statistics.median(usage.peak_mib for usage in self.runs)


def find_case(cases: Iterable[Case], name: str, loop: str, concurrency: int) -> Case | None:
    """The measured case of a contender; None when it was not measured, failed, or was too short."""
    wanted = (name, loop, concurrency)
    for case in cases:
        if (case.contender.name, case.loop, case.concurrency) == wanted and case.is_measurable:
            return case
    return None


def speed_ratio(case: Case | None, base: Case | None) -> float | None:
    """Rows per second of one case over another's; None where one is missing."""
    return _ratio(case.speeds, base.speeds) if case and base else None


def cpu_ratio(case: Case | None, base: Case | None) -> float | None:
    """CPU time per row of one case over another's; None where one is missing."""
    return _ratio(case.cpu_costs, base.cpu_costs) if case and base else None


def _ratio(values: list[float], base: list[float]) -> float:
    """The median of the rounds' ratios: a round's two runs met about the same load."""
    return statistics.median(value / other for value, other in zip(values, base, strict=True))


class Rounds:
    """Runs cases against a server, in `folder`.

    Args:
        base_url: The endpoint.
        folder: A temporary folder for inputs and outputs.
    """

    def __init__(self, base_url: str, folder: Path) -> None:
        self._base_url = base_url
        self._folder = folder
        self._environ = clean_environ(folder / "home")
        (folder / "home").mkdir(exist_ok=True)

    def repeat(self, cases: Sequence[Case], repeats: int) -> None:
        """Run every case so many times in turn; a case that fails is left out of the later rounds.

        An uncounted run of one row comes before each first one: it compiles modules and fills caches.
        """
        for case in cases:
            self._attempt(case, 1)
        for number in range(1, repeats + 1):
            for case in cases:
                if not case.failure:
                    self._measure(case, f"round {number} of {repeats}")

    def _measure(self, case: Case, label: str) -> None:
        case.loads.append(os.getloadavg()[0])
        startup = self._attempt(case, 1)
        usage = self._attempt(case, case.rows) if startup else None
        if startup and usage:
            case.startups.append(startup)
            case.runs.append(usage)
        outcome = f"{usage.seconds:.1f} s" if usage else case.failure
        print(f"{label}: {case.contender.name}/{case.loop} at {case.concurrency}: {outcome}", file=sys.stderr)

    def _attempt(self, case: Case, rows: int) -> Usage | None:
        try:
            return self._run(case, rows)
        except (ChildError, WrongAnswersError) as error:
            case.failure = str(error)
            return None

    def _run(self, case: Case, rows: int) -> Usage:
        output = self._folder / "out.jsonl"
        source = input_file(self._folder, rows) if case.contender.reads else self._folder
        task = Task(case.python, self._base_url, case.loop, rows, case.concurrency, source, output)
        try:
            usage = run_child(case.contender.command(task), cwd=BENCHMARKS, environ=self._environ, timeout=_TIMEOUT)
            if case.contender.writes:
                check_output(output, rows)
            else:
                check_count(usage.stdout, rows)
        finally:
            for leftover in self._folder.glob("out*"):
                leftover.unlink()
        return usage
