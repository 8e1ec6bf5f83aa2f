"""A batch killed with SIGKILL again and again: nothing finished is lost or asked twice."""

from __future__ import annotations

import json
import random
import signal
from pathlib import Path

KILLS = 20
WINDOW = 20
ROWS = 1319


def whole_lines(path: Path) -> list[bytes]:
    """The lines that end in a newline; each must be valid JSON."""
    data = path.read_bytes() if path.exists() else b""
    lines = data.split(b"\n")[:-1]
    for line in lines:
        json.loads(line)
    return lines


def test_twenty_kills_lose_nothing_and_ask_nothing_finished_again(start_mock, cli, files, gsm8k, wait_until):
    """After each kill the same command goes on; requests <= rows + rows in flight at the kills."""
    mock = start_mock("--delay", "0.02")
    command = ("batch", gsm8k, "-o", files.output, "-m", "m", "--base-url", mock.base_url, "-c", WINDOW)
    moments = random.Random(7)
    in_flight = 0
    for _ in range(KILLS):
        asked = mock.requests()
        process = cli.start(*command)
        target = asked + moments.randrange(1, ROWS // KILLS)
        wait_until(lambda p=process, t=target: mock.requests() >= t or p.poll() is not None, "requests")
        process.send_signal(signal.SIGKILL)
        process.communicate()
        wait_until(lambda: mock.stats()["in_flight"] == 0, "the server to see the connections close")
        in_flight += min(WINDOW, mock.requests() - len(whole_lines(files.output)) - in_flight)
    finished = cli(*command)
    assert finished.returncode == 0, finished.stderr
    lines = files.lines()
    assert [line["index"] for line in lines] == list(range(ROWS))
    assert all(line["status"] == "success" for line in lines)
    assert mock.requests() <= ROWS + in_flight
    assert in_flight <= KILLS * WINDOW
