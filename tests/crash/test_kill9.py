"""A batch killed with SIGKILL again and again: nothing finished is lost or asked twice.

`FLEXLLM_CRASH_ROWS=100000 FLEXLLM_KILLS=50 pytest -s tests/crash/test_kill9.py` does it at size, and prints how
long each run took until its first request, in seconds and, where the system tells, in CPU time.
"""

from __future__ import annotations

import json
import os
import random
import signal
import statistics
import time
from pathlib import Path

import pytest

KILLS = int(os.environ.get("FLEXLLM_KILLS", "20"))
LONG_ROWS = int(os.environ.get("FLEXLLM_CRASH_ROWS", "0"))
WINDOW = 20


def whole_lines(path: Path) -> list[bytes]:
    """The lines that end in a newline; each must be valid JSON."""
    data = path.read_bytes() if path.exists() else b""
    lines = data.split(b"\n")[:-1]
    for line in lines:
        json.loads(line)
    return lines


@pytest.fixture
def source(gsm8k, files) -> tuple[Path, int]:
    """The questions of GSM8K, or as many rows as the environment says; and their number."""
    if not LONG_ROWS:
        return gsm8k, 1319
    files.write_input([{"q": f"question {number} " + "word " * 40} for number in range(LONG_ROWS)])
    return files.input, LONG_ROWS


def cpu_seconds(pid: int) -> float:
    """CPU time that a process has taken so far, which other load hardly changes; 0 where there is no /proc."""
    path = Path(f"/proc/{pid}/stat")
    if not path.exists():
        return 0.0
    fields = path.read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def test_kills_lose_nothing_and_ask_nothing_finished_again(start_mock, cli, files, source, wait_until):
    """After each kill the same command goes on; requests <= rows + rows in flight at the kills."""
    path, rows = source
    mock = start_mock("--delay", "0.02")
    command = ("batch", path, "-o", files.output, "-m", "m", "--base-url", mock.base_url, "-c", WINDOW)
    moments = random.Random(7)
    in_flight, rescans, cpu, bytes_per_row = 0, [], [], 600
    for _ in range(KILLS):
        asked = size(mock.log)
        started = time.monotonic()
        process = cli.start(*command)
        wait_until(lambda p=process, a=asked: size(mock.log) > a or p.poll() is not None, "the first request")
        rescans.append(time.monotonic() - started)
        cpu.append(cpu_seconds(process.pid))
        target = size(files.output) + bytes_per_row * moments.randrange(1, rows // KILLS)
        wait_until(lambda p=process, t=target: size(files.output) >= t or p.poll() is not None, "answers")
        process.send_signal(signal.SIGKILL)
        process.communicate()
        wait_until(lambda: mock.stats()["in_flight"] == 0, "the server to see the connections close")
        in_flight += min(WINDOW, mock.requests() - len(whole_lines(files.output)) - in_flight)
    finished = cli.start(*command)
    _, errors = finished.communicate(timeout=60 + rows / 100)
    assert finished.returncode == 0, errors
    lines = files.lines()
    assert [line["index"] for line in lines] == list(range(rows))
    assert all(line["status"] == "success" for line in lines)
    assert mock.requests() <= rows + in_flight
    assert in_flight <= KILLS * WINDOW
    print(f"{rows} rows, {KILLS} kills, {mock.requests()} requests, {in_flight} in flight at kills; "
          f"until the first request: median {statistics.median(rescans):.2f} s, most {max(rescans):.2f} s; "
          f"CPU median {statistics.median(cpu):.2f} s, most {max(cpu):.2f} s")  # fmt: skip
