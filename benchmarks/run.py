"""Measures flexllm and its peers side by side: `hatch run bench`. README.md says what is measured and how."""

from __future__ import annotations

import argparse
import importlib.util
import os
import resource
import signal
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path

from harness.contenders import CLI, CONTENDERS, OLD, Contender
from harness.goals import BIG_RUN_ROWS, goals
from harness.nginx import NginxError, find_nginx, serving
from harness.peers import DEFAULT_CACHE, PeerError, peer_python
from harness.results import write_results
from harness.rounds import BENCHMARKS, Case, Rounds
from harness.startup import startup_times
from harness.tables import big_run_line, case_tables, failure_list, goal_table, startup_table

EXIT_NO_NGINX = 3
EXIT_TERMINATED = 143
BIG_RUN = "big-run"
STARTUP = "startup"
STARTUP_REPEATS = 11
QUICK_ROWS = 2_000
LOOPS = ("asyncio", "uvloop")


def _parse() -> argparse.Namespace:
    names = [contender.name for contender in CONTENDERS] + [BIG_RUN, STARTUP]
    parser = argparse.ArgumentParser(prog="hatch run bench", description=__doc__)
    parser.add_argument("--rows", type=int, help="rows of the fast contenders (50,000)")
    parser.add_argument("--repeat", type=int, help="repeats of everything (3)")
    parser.add_argument("--concurrency", type=int, nargs="+", default=[100, 1000], help="requests in flight (100 1000)")
    parser.add_argument("--loop", choices=LOOPS, help="only this event loop")
    parser.add_argument("--only", default="", help=f"only these, several with commas: {', '.join(names)}")
    parser.add_argument("--base", default=OLD, help="what ratios are to, such as bare-loop/uvloop (%(default)s)")
    parser.add_argument("--cache", type=Path, default=DEFAULT_CACHE, help="where the peers are installed (%(default)s)")
    parser.add_argument("--quick", action="store_true", help=f"a smoke test: {QUICK_ROWS:,} rows, once")
    arguments = parser.parse_args()
    arguments.rows = arguments.rows or (QUICK_ROWS if arguments.quick else 50_000)
    arguments.repeat = arguments.repeat or (1 if arguments.quick else 3)
    arguments.only = set(filter(None, arguments.only.split(","))) or set(names)
    if unknown := arguments.only - set(names):
        parser.error(f"--only knows {', '.join(names)}; not {', '.join(sorted(unknown))}")
    return arguments


def _make_cases(arguments: argparse.Namespace) -> list[Case]:
    """The cases that were asked for; peers that cannot be installed are said and left out."""
    loops = [arguments.loop] if arguments.loop else list(LOOPS)
    if (
        "uvloop" in loops and importlib.util.find_spec("uvloop") is None
    ):  # then our command could not show what it does on it
        loops.remove("uvloop")
        print("uvloop is not installed here: everybody is measured on asyncio only", file=sys.stderr)
    pythons: dict[str, Path] = {}
    for contender in CONTENDERS:
        if contender.name in arguments.only:
            try:
                pythons[contender.name] = _python(contender, arguments.cache)
            except PeerError as error:
                print(f"{contender.name} is left out: {error}", file=sys.stderr)
    return [
        Case(contender, loop, concurrency, contender.rows(arguments.rows, concurrency), pythons[contender.name])
        for concurrency in arguments.concurrency
        for contender in CONTENDERS
        for loop in contender.loops
        if contender.name in pythons and loop in loops
    ]


def _python(contender: Contender, cache: Path) -> Path:
    return peer_python(cache, contender.requirements) if contender.requirements else Path(sys.executable)


def _big_run(rounds: Rounds, *, quick: bool) -> Case:
    """Many rows through our command, for its memory: once, as a peak hardly varies."""
    cli = next(contender for contender in CONTENDERS if contender.name == CLI)
    case = Case(cli, "uvloop", 100, QUICK_ROWS if quick else BIG_RUN_ROWS, Path(sys.executable))
    rounds.repeat([case], 1)
    return case


def _raise_open_files() -> None:
    """A thousand connections need more open files than many systems give at first; children inherit the limit."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 16_384 if hard == resource.RLIM_INFINITY else min(hard, 16_384)
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def _print_sections(sections: Iterable[tuple[str, str]]) -> None:
    for title, text in sections:
        if text:
            print(f"## {title}\n\n{text}\n" if title else f"{text}\n")


def main() -> int:
    """Measure what the arguments ask for, and print and write the results; the exit code."""
    arguments = _parse()
    try:
        find_nginx()
    except NginxError as error:
        print(error, file=sys.stderr)
        return EXIT_NO_NGINX
    _raise_open_files()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(EXIT_TERMINATED))  # or nginx and the child would live on
    cases, big_run, startups = _make_cases(arguments), None, {}
    with tempfile.TemporaryDirectory(prefix="flexllm-bench-") as name, serving() as base_url:
        rounds = Rounds(base_url, Path(name))
        rounds.repeat(cases, arguments.repeat)
        if BIG_RUN in arguments.only:
            big_run = _big_run(rounds, quick=arguments.quick)
        if STARTUP in arguments.only:
            startups = startup_times(Path(name), 3 if arguments.quick else STARTUP_REPEATS)
    found = goals(cases, big_run, startups)
    _print_sections(
        [
            ("", case_tables(cases, arguments.base)),
            ("Failures", failure_list(cases)),
            ("Memory", big_run_line(big_run) if big_run else ""),
            ("Start-up", startup_table(startups) if startups else ""),
            ("Goals", goal_table(found)),
        ]
    )
    if arguments.quick:
        print("A smoke test: with so few rows and one repeat these figures and verdicts tell nothing.\n")
    path = write_results(BENCHMARKS / "results", cases, big_run, startups, found)
    print(f"All samples: {path} ({os.cpu_count()} CPUs, load now {os.getloadavg()[0]:.1f})")
    return 0


if __name__ == "__main__":
    sys.exit(main())
