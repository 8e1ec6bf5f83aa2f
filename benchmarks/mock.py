"""Measures the mock with wrk, beside the mock of flexllm 0.17.10 and a bare ASGI callable: `hatch run bench-mock`.

Every server gets the same requests in turns. Each round gives requests per second, and requests per second of the
server's own CPU time, which does not suffer from what else the machine does. Ratios are medians of the rounds' ratios.
"""

from __future__ import annotations

import argparse
import contextlib
import http.client
import os
import re
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from harness.peers import DEFAULT_CACHE, PeerError, peer_python

EXIT_NO_WRK = 3
READY_WITHIN = 20.0
OLD = "flexllm==0.17.10"
SCRIPT = """
local asked = 0
wrk.method = "POST"
wrk.path = "/v1/chat/completions"
wrk.headers["content-type"] = "application/json"
function request()
  asked = asked + {step}
  return wrk.format(nil, nil, nil, '{{"model":"mock-model","stream":{stream},"messages":[' ..
    '{{"role":"user","content":"Tell me in one sentence what question ' .. asked .. ' is about"}}]}}')
end
"""
PACED_STREAMS = 10
UNITS = {"us": 1e-3, "ms": 1.0, "s": 1e3}


@dataclass(frozen=True)
class Load:
    """What is asked: streams or not, each request another or always the same, over so many connections."""

    stream: bool
    distinct: bool
    connections: int

    def __str__(self) -> str:
        return f"{'stream' if self.stream else 'single'} {'distinct' if self.distinct else 'same'} c={self.connections}"


@dataclass(frozen=True)
class Figures:
    """One run: requests per second, per second of the server's CPU time, and the 99th percentile in milliseconds."""

    rate: float
    per_cpu: float
    p99: float


def commands(cache: Path) -> dict[str, list[str]]:
    """The servers, each as its command without the port."""
    here = Path(__file__).parent
    found = {
        "mock": [sys.executable, "-m", "flexllm_mock", "--quiet", "--port"],
        "bare ASGI": [sys.executable, str(here / "workers" / "bare_asgi.py")],
    }
    try:
        python = peer_python(cache, (OLD,))
    except PeerError as error:
        print(f"{error}; it is left out", file=sys.stderr)
    else:
        found["0.17.10"] = [str(python.parent / "flexllm"), "mock", "-d", "0", "-l", "150", "-p"]
    return found


@contextlib.contextmanager
def serving(command: list[str], folder: str) -> Iterator[tuple[int, int]]:
    """Run a server; gives its port and pid."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with Path(folder, "server.log").open("w+") as log:
        server = subprocess.Popen([*command, str(port)], stdout=log, stderr=log, cwd=folder)
        try:
            end = time.monotonic() + READY_WITHIN
            while not _answers(port):
                if server.poll() is not None or time.monotonic() > end:
                    raise SystemExit(f"{command[0]} does not start: {Path(folder, 'server.log').read_text()[-500:]}")
                time.sleep(0.05)
            yield port, server.pid
        finally:
            server.terminate()
            server.wait(READY_WITHIN)


def _answers(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
        return True
    return False


def cpu_seconds(pid: int) -> float:
    """The CPU time of a process so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def measure(command: list[str], load: Load, seconds: int) -> Figures:
    """Run one server under one load, after a moment of warming up."""
    with tempfile.TemporaryDirectory() as folder, serving(command, folder) as (port, pid):
        script = Path(folder, "requests.lua")
        script.write_text(SCRIPT.format(stream=str(load.stream).lower(), step=int(load.distinct)))
        _wrk(port, script, load, 1)
        before = cpu_seconds(pid)
        text = _wrk(port, script, load, seconds)
        used = cpu_seconds(pid) - before
    if wrong := re.search(r"(Socket errors|Non-2xx).*", text):
        raise SystemExit(f"{command[0]} under {load}: {wrong[0]}")
    requests = int(re.search(r"(\d+) requests in", text)[1])  # type: ignore[index]
    value, unit = re.search(r"99%\s+([\d.]+)(us|ms|s)\b", text).groups()  # type: ignore[union-attr]
    rate = float(re.search(r"Requests/sec:\s+([\d.]+)", text)[1])  # type: ignore[index]
    return Figures(rate, requests / used, float(value) * UNITS[unit])


def _wrk(port: int, script: Path, load: Load, seconds: int) -> str:
    command = ["wrk", "-t1", f"-c{load.connections}", f"-d{seconds}s", "--latency", "-s", str(script)]
    return subprocess.run([*command, f"http://127.0.0.1:{port}"], capture_output=True, text=True, check=True).stdout


def report(load: Load, rounds: list[dict[str, Figures]]) -> None:
    """Print a line per server, with the mock's ratios to the others."""
    for name in rounds[0]:
        runs = [each[name] for each in rounds]
        rate, per_cpu, p99 = (
            statistics.median(getattr(run, field) for run in runs) for field in ("rate", "per_cpu", "p99")
        )
        ratio = ""
        if name != "mock":
            of_rate = statistics.median(each["mock"].rate / each[name].rate for each in rounds)
            of_cpu = statistics.median(each["mock"].per_cpu / each[name].per_cpu for each in rounds)
            ratio = f"   the mock has {of_rate:.2f}x of it, per CPU second {of_cpu:.2f}x"
        print(f"{load!s:22} {name:10} {rate:8,.0f}/s {per_cpu:8,.0f}/CPU s  p99 {p99:6.2f} ms{ratio}", flush=True)


def pacing() -> str:
    """Tell what a client in another process sees of `--delay 0.2 --token-rate 50`."""
    command = [sys.executable, "-m", "flexllm_mock", "--quiet", "--delay", "0.2", "--token-rate", "50", "--port"]
    firsts, gaps = list[float](), list[float]()
    with tempfile.TemporaryDirectory() as folder, serving(command, folder) as (port, _):
        for number in range(PACED_STREAMS):
            times = _token_times(port, f"Question {number}")
            firsts.append(times[0])
            gaps += [after - before for before, after in pairwise(times)]
    shown = [f"{name} {_spread(times)}" for name, times in (("first token after", firsts), ("gaps of", gaps))]
    return f"--delay 0.2 --token-rate 50, {PACED_STREAMS} streams: {'; '.join(shown)}"


def _spread(times: list[float]) -> str:
    return f"{min(times):.4f} to {max(times):.4f} s, median {statistics.median(times):.4f}"


def _token_times(port: int, question: str) -> list[float]:
    """Seconds from the request to each token of a stream."""
    body = f'{{"model":"mock","stream":true,"messages":[{{"role":"user","content":"{question}"}}]}}'
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", port, timeout=READY_WITHIN)) as connection:
        connection.connect()
        start = time.perf_counter()
        connection.request("POST", "/v1/chat/completions", body)
        response = connection.getresponse()
        return [time.perf_counter() - start for line in response if b'"content":"' in line and b'"role"' not in line]


def main() -> int:
    """Measure what was asked for."""
    parser = argparse.ArgumentParser(prog="hatch run bench-mock", description=__doc__)
    parser.add_argument("--seconds", type=int, default=5, help="length of a run (%(default)s)")
    parser.add_argument("--repeat", type=int, default=3, help="rounds (%(default)s)")
    parser.add_argument("--connections", type=int, nargs="+", default=[32, 64], help="(32 64)")
    parser.add_argument("--same", action="store_true", help="also with always the same request")
    parser.add_argument("--cache", type=Path, default=DEFAULT_CACHE, help="where 0.17.10 is installed (%(default)s)")
    arguments = parser.parse_args()
    if shutil.which("wrk") is None:
        print("wrk is needed: apt-get install wrk", file=sys.stderr)
        return EXIT_NO_WRK
    print(pacing())
    servers = commands(arguments.cache)
    for connections in arguments.connections:
        for distinct in (True, False) if arguments.same else (True,):
            for stream in (False, True):
                load = Load(stream, distinct, connections)
                rounds = [
                    {name: measure(command, load, arguments.seconds) for name, command in servers.items()}
                    for _ in range(arguments.repeat)
                ]
                report(load, rounds)
    return 0


if __name__ == "__main__":
    sys.exit(main())
