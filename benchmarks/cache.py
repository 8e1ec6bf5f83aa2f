"""Measures batches with the response cache off, empty and full, beside those of flexllm 0.17.10.

`python benchmarks/cache.py [--rows N] [--repeat N]`. The endpoint is the nginx of the other benchmarks. Each round
begins with empty folders; speeds are medians of the rounds, start-up included.
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
_OLD_SHARE = 5  # the old command gets a fifth of the rows


def measure(command: list[str], rows: int, folder: Path, base_url: str) -> dict[str, float]:
    """Rows per second of a command in each mode, in this order: the misses fill the cache for the hits."""
    home = folder / "home"
    shutil.rmtree(home, ignore_errors=True)
    home.mkdir()
    speeds = {}
    for number, (mode, option) in enumerate(MODES.items()):
        output = folder / f"out-{number}.jsonl"
        output.unlink(missing_ok=True)
        endpoint = ["-m", MODEL, "--base-url", base_url, "--api-key", API_KEY, "-c", "100", "--no-track-cost"]
        usage = run_child(
            [*command, "batch", str(input_file(folder, rows)), "-o", str(output), option, *endpoint],
            cwd=folder,
            environ=clean_environ(home),
            timeout=_TIMEOUT,
        )
        check_output(output, rows)
        speeds[mode] = rows / usage.seconds
        print(f"{command[-1]:>40} {mode:<12} {speeds[mode]:>9,.0f} rows/s {usage.peak_mib:6.0f} MiB", file=sys.stderr)
    return speeds


def main() -> int:
    """Measure and print the table; the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--peers", type=Path, default=DEFAULT_CACHE, help="where the peer is installed")
    arguments = parser.parse_args()
    commands = {OURS: ([sys.executable, "-m", "flexllm_cli"], arguments.rows)}
    try:
        old = peer_python(arguments.peers, ("flexllm==0.17.10",)).with_name("flexllm")
        commands[OLD] = ([str(old)], max(1, arguments.rows // _OLD_SHARE))
    except PeerError as error:
        print(f"{OLD} is left out: {error}", file=sys.stderr)
    speeds: dict[tuple[str, str], list[float]] = defaultdict(list)
    try:
        with tempfile.TemporaryDirectory(prefix="flexllm-bench-") as name, serving() as base_url:
            for _ in range(arguments.repeat):
                for who, (command, rows) in commands.items():
                    for mode, speed in measure(command, rows, Path(name), base_url).items():
                        speeds[who, mode].append(speed)
    except (NginxError, ChildError) as error:
        print(error, file=sys.stderr)
        return 3
    medians = {key: statistics.median(values) for key, values in speeds.items()}
    for (who, mode), speed in medians.items():
        print(f"| {who} | {mode} | {speed:,.0f} rows/s |")
    print(f"all misses / off: {medians[OURS, 'all misses'] / medians[OURS, 'off']:.2f}")
    if OLD in commands:
        print(f"all hits / {OLD}'s: {medians[OURS, 'all hits'] / medians[OLD, 'all hits']:.1f}x")
    return 0


if __name__ == "__main__":
    sys.exit(main())
