"""How a batch behaves at size: a fresh run, a half-done and a finished one, and what the old package takes.

`python benchmarks/scale.py` needs nginx, some minutes, and 2 GB of disk. README.md says more.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from harness.child import ChildError, clean_environ, run_child
from harness.contenders import CLI, CONTENDERS, OLD, Contender, Task
from harness.nginx import NginxError, count_requests, find_nginx, serving
from harness.peers import DEFAULT_CACHE, PeerError, peer_python
from harness.rounds import BENCHMARKS
from harness.rows import check_output, input_file

EXIT_NO_NGINX = 3
CONCURRENCY = 100
_TIMEOUT = 1800.0  # seconds for one run


@dataclass(frozen=True, slots=True)
class Step:
    """One run: what was there before it, and what it took.

    Attributes:
        name: What kind of run.
        contender: Who ran.
        rows: Rows of the input.
        requests: Requests that reached the server.
        seconds: From the start of the process to its end.
        cpu_seconds: CPU time of it: on a machine that does other things too, what it would take alone.
        peak_mib: Its largest resident memory.
    """

    name: str
    contender: str
    rows: int
    requests: int
    seconds: float
    cpu_seconds: float
    peak_mib: float

    def line(self) -> str:
        """A row of the table."""
        figures = (
            f"{self.rows:,} | {self.requests:,} | {self.seconds:.1f} | {self.cpu_seconds:.1f} | {self.peak_mib:.0f}"
        )
        return f"| {self.name} | {self.contender} | {figures} |"


class Scale:
    """Runs the steps in a folder against a server."""

    def __init__(self, base_url: str, folder: Path, cache: Path) -> None:
        self._base_url = base_url
        self._folder = folder
        self._cache = cache
        self._environ = clean_environ(folder / "home")
        (folder / "home").mkdir()
        self.output = folder / "out.jsonl"

    def run(self, name: str, contender_name: str, rows: int) -> Step:
        """Run a contender on so many rows with the output as it is."""
        contender = next(each for each in CONTENDERS if each.name == contender_name)
        source = input_file(self._folder, rows)
        task = Task(
            self._python(contender), self._base_url, contender.loops[-1], rows, CONCURRENCY, source, self.output
        )
        before = count_requests(self._base_url)
        usage = run_child(contender.command(task), cwd=BENCHMARKS, environ=self._environ, timeout=_TIMEOUT)
        asked = count_requests(self._base_url) - before
        check_output(self.output, rows)
        step = Step(name, contender_name, rows, asked, usage.seconds, usage.cpu_seconds, usage.peak_mib)
        print(step.line(), file=sys.stderr)
        return step

    def _python(self, contender: Contender) -> Path:
        return peer_python(self._cache, contender.requirements) if contender.requirements else Path(sys.executable)

    def keep_lines(self, count: int) -> None:
        """Cut the output after its first lines, as if the run had been killed there."""
        with self.output.open("r+b") as file:
            for _ in range(count):
                file.readline()
            file.truncate(file.tell())


def _steps(scale: Scale, rows: int, peer_rows: int) -> Iterator[Step]:
    yield scale.run("fresh", CLI, rows)
    yield scale.run("finished", CLI, rows)
    scale.keep_lines(rows // 2)
    yield scale.run("half done", CLI, rows)
    if peer_rows:
        scale.keep_lines(peer_rows)
        yield scale.run("finished", CLI, peer_rows)
        try:
            yield scale.run("finished", OLD, peer_rows)
        except (PeerError, ChildError) as error:
            print(f"{OLD} is left out: {error}", file=sys.stderr)


def main() -> int:
    """Run the steps, and print and write the table; the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000, help="rows (%(default)s)")
    parser.add_argument(
        "--peer-rows", type=int, default=300_000, help="rows for the old package, 0 for none (%(default)s)"
    )
    parser.add_argument("--cache", type=Path, default=DEFAULT_CACHE, help="where it is installed (%(default)s)")
    parser.add_argument("--folder", type=Path, help="where the files go (the system's temporary folder)")
    arguments = parser.parse_args()
    try:
        find_nginx()
    except NginxError as error:
        print(error, file=sys.stderr)
        return EXIT_NO_NGINX
    with tempfile.TemporaryDirectory(prefix="flexllm-scale-", dir=arguments.folder) as name, serving() as base_url:
        scale = Scale(base_url, Path(name), arguments.cache)
        steps = list(_steps(scale, arguments.rows, min(arguments.peer_rows, arguments.rows)))
    print("| output before | who | rows | requests | s | CPU s | peak MiB |\n|---|---|---|---|---|---|---|")
    print("\n".join(step.line() for step in steps))
    now = datetime.datetime.now(tz=datetime.UTC)
    path = BENCHMARKS / "results" / f"scale-{now:%Y%m%d-%H%M%S}.json"
    path.parent.mkdir(exist_ok=True)
    facts = {
        "time": now.isoformat(timespec="seconds"),
        "cpus": os.cpu_count(),
        "steps": [asdict(step) for step in steps],
    }
    path.write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")
    print(f"\nAll figures: {path} ({os.cpu_count()} CPUs, load now {os.getloadavg()[0]:.1f})")
    return 0


if __name__ == "__main__":
    sys.exit(main())
