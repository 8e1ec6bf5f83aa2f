"""Measures batches with the response cache off, empty and full, and full beside flexllm 0.17.10.

`python benchmarks/cache.py [--rows N] [--repeat N]`. The endpoint is the nginx of the other benchmarks, and all runs
have the same rows. Each round begins with an empty cache of ours; that of 0.17.10 is filled once, which takes it some
minutes. Speeds are medians of the rounds, start-up included.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import sys
import tempfile
from collections import defaultdict
from pathlib import Path

from harness.child import ChildError, clean_environ, run_child
from harness.nginx import NginxError, serving
from harness.peers import DEFAULT_CACHE, PeerError, peer_python
from harness.rows import check_output, input_file
from workers.job import API_KEY, MODEL

OURS, OLD = "flexllm", "flexllm 0.17.10"
MODES = {"off": "--no-cache", "all misses": "--cache", "all hits": "--cache"}
_TIMEOUT = 600.0


def measure(command: list[str], mode: str, rows: int, home: Path, base_url: str) -> float:
    """Rows per second of a command in one mode; its cache is in `home`, its files are beside that."""
    folder, output = home.parent, home.parent / "out.jsonl"
    home.mkdir(exist_ok=True)
    for old in folder.glob("out.jsonl*"):
        old.unlink()
    endpoint = ["-m", MODEL, "--base-url", base_url, "--api-key", API_KEY, "-c", "100", "--no-track-cost"]
    usage = run_child(
        [*command, "batch", str(input_file(folder, rows)), "-o", str(output), MODES[mode], *endpoint],
        cwd=folder,
        environ=clean_environ(home),
        timeout=_TIMEOUT,
    )
    check_output(output, rows)
    speed = rows / usage.seconds
    print(f"{home.name:>15} {mode:<12} {speed:>9,.0f} rows/s {usage.peak_mib:6.0f} MiB", file=sys.stderr)
    return speed


def rounds(ours: list[str], old: list[str] | None, arguments: argparse.Namespace) -> dict[tuple[str, str], list[float]]:
    """The speeds of each contender in each mode; the misses fill the cache for the hits."""
    speeds: dict[tuple[str, str], list[float]] = defaultdict(list)
    with tempfile.TemporaryDirectory(prefix="flexllm-bench-") as name, serving() as base_url:
        home, old_home = Path(name, OURS), Path(name, OLD)
        if old is not None:
            measure(old, "all misses", arguments.rows, old_home, base_url)
        for _ in range(arguments.repeat):
            shutil.rmtree(home, ignore_errors=True)
            for mode in MODES:
                speeds[OURS, mode].append(measure(ours, mode, arguments.rows, home, base_url))
            if old is not None:
                speeds[OLD, "all hits"].append(measure(old, "all hits", arguments.rows, old_home, base_url))
    return speeds


def main() -> int:
    """Measure and print the table; the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--peers", type=Path, default=DEFAULT_CACHE, help="where the peer is installed")
    arguments = parser.parse_args()
    old = None
    try:
        old = [str(peer_python(arguments.peers, ("flexllm==0.17.10",)).with_name("flexllm"))]
    except PeerError as error:
        print(f"{OLD} is left out: {error}", file=sys.stderr)
    try:
        speeds = rounds([sys.executable, "-m", "flexllm_cli"], old, arguments)
    except (NginxError, ChildError) as error:
        print(error, file=sys.stderr)
        return 3
    medians = {key: statistics.median(values) for key, values in speeds.items()}
    for (who, mode), speed in medians.items():
        print(f"| {who} | {mode} | {speed:,.0f} rows/s |")
    print(f"all misses / off: {medians[OURS, 'all misses'] / medians[OURS, 'off']:.2f}")
    if (OLD, "all hits") in medians:
        print(f"all hits / {OLD}'s: {medians[OURS, 'all hits'] / medians[OLD, 'all hits']:.1f}x")
    return 0


if __name__ == "__main__":
    sys.exit(main())
