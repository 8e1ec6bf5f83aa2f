"""Measures how soon the command line says something: `python benchmarks/startup.py [--repeat N]`.

Each command is started N times, in turn, in an empty home folder; the first round fills the caches and is not
counted. The figures are seconds from the start of the process to the first byte on standard output, and to its end.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path

from harness.child import clean_environ

COMMANDS: dict[str, tuple[list[str], float]] = {
    "flexllm --help": (["--help"], 0.3),
    "flexllm version": (["version"], 0.3),
    "flexllm list": (["list"], 0.3),
    "flexllm ask -m mock": (["ask", "Hello", "-m", "mock"], 0.8),
}
"""The arguments of each command, and the seconds within which its first byte is wanted."""


def first_byte_and_end(command: list[str], folder: Path) -> tuple[float, float]:
    """Seconds to the first byte of a command's output, or to its end where it has none, and to its end."""
    started = time.perf_counter()
    with subprocess.Popen(
        command,
        cwd=folder,
        env=clean_environ(folder),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    ) as process:
        assert process.stdout is not None
        process.stdout.read(1)
        first = time.perf_counter() - started
        process.stdout.read()
    return first, time.perf_counter() - started


def main() -> int:
    """Measure and print a table; 1 where a first byte comes too late."""
    parser = argparse.ArgumentParser(description="Start-up times of the command line.")
    parser.add_argument("--repeat", type=int, default=11, metavar="N", help="rounds that count (default: 11)")
    repeats = parser.parse_args().repeat
    program = str(Path(sys.executable).with_name("flexllm"))
    samples: dict[str, list[tuple[float, float]]] = defaultdict(list)
    with tempfile.TemporaryDirectory() as name:
        for number in range(repeats + 1):
            for label, (arguments, _) in COMMANDS.items():
                sample = first_byte_and_end([program, *arguments], Path(name))
                if number:
                    samples[label].append(sample)
    late = False
    print(f"{'command':<22} {'first byte':>10} {'end':>8} {'wanted':>8}")
    for label, (_, wanted) in COMMANDS.items():
        first, end = (statistics.median(values) for values in zip(*samples[label], strict=True))
        late |= first > wanted
        print(f"{label:<22} {first:>8.3f} s {end:>6.3f} s {wanted:>6.1f} s")
    return 1 if late else 0


if __name__ == "__main__":
    sys.exit(main())
