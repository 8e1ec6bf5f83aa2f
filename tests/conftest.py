"""Fixtures that drive the real programs: the command line and the mock server as processes of their own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

DATA = Path(__file__).parent.parent / "examples" / "data" / "gsm8k-test.jsonl"
DEADLINE = 60.0


def wait_until(condition: Callable[[], Any], what: str) -> Any:
    """Poll until `condition()` is true; a hang becomes a failure."""
    deadline = time.monotonic() + DEADLINE
    while time.monotonic() < deadline:
        if value := condition():
            return value
        time.sleep(0.002)
    raise AssertionError(f"timed out waiting for {what}")


@dataclass
class MockProcess:
    """A `flexllm-mock` process: its URL and the log of the requests that it received."""

    process: subprocess.Popen[bytes]
    url: str
    log: Path

    @property
    def base_url(self) -> str:
        return self.url + "/v1"

    def requests(self) -> int:
        return self.log.read_bytes().count(b"\n") if self.log.exists() else 0

    def digests(self) -> list[str]:
        return [json.loads(line)["digest"] for line in self.log.read_text().splitlines()]

    def post(self, path: str, value: object) -> None:
        request = urllib.request.Request(
            self.url + path, json.dumps(value).encode(), {"content-type": "application/json"}, method="POST"
        )
        with urllib.request.urlopen(request, timeout=10):
            pass

    def end_faults(self) -> None:
        request = urllib.request.Request(self.url + "/__mock__/faults", method="DELETE")
        with urllib.request.urlopen(request, timeout=10):
            pass

    def stats(self) -> dict[str, Any]:
        with urllib.request.urlopen(self.url + "/__mock__/stats", timeout=10) as response:
            stats: dict[str, Any] = json.load(response)
        return stats


@contextmanager
def _mock_process(folder: Path, *args: str) -> Iterator[MockProcess]:
    ready, log = folder / "ready.json", folder / "requests.jsonl"
    process = subprocess.Popen(
        [
            sys.executable,
            "-m",
            "flexllm_mock",
            "--port",
            "0",
            "--quiet",
            "--ready-file",
            ready,
            "--log-file",
            log,
            *args,
        ],
        stdout=subprocess.DEVNULL,
    )
    try:
        wait_until(ready.exists, "the mock server")
        yield MockProcess(process, json.loads(ready.read_text())["url"], log)
    finally:
        process.terminate()
        process.wait(10)


@pytest.fixture
def start_mock(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., MockProcess]]:
    """Start mock servers with options; they are stopped at the end of the test."""
    with ExitStack() as stack:
        yield lambda *args: stack.enter_context(_mock_process(tmp_path_factory.mktemp("mock"), *args))


@pytest.fixture
def mock(start_mock: Callable[..., MockProcess]) -> MockProcess:
    """A mock server that answers at once."""
    return start_mock()


@dataclass
class Cli:
    """Runs `flexllm` as a user does, in a home folder of its own."""

    home: Path

    def environment(self) -> dict[str, str]:
        keep = {name: os.environ[name] for name in ("PATH", "LANG", "COVERAGE_PROCESS_START") if name in os.environ}
        return {**keep, "HOME": str(self.home), "PYTHONDONTWRITEBYTECODE": "1", "FLEXLLM_LANG": "en"}

    def start(self, *args: object, **options: Any) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "flexllm_cli", *map(str, args)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            stdin=options.pop("stdin", subprocess.DEVNULL),
            text=True,
            env={**self.environment(), **options.pop("env", {})},
            **options,
        )

    def __call__(self, *args: object, text: str | None = None, **options: Any) -> subprocess.CompletedProcess[str]:
        process = self.start(*args, stdin=subprocess.PIPE if text is not None else subprocess.DEVNULL, **options)
        try:
            out, err = process.communicate(text, timeout=DEADLINE)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            out, err = process.communicate()
            raise AssertionError(f"flexllm did not end: {err}") from None
        assert "Traceback" not in err, err
        return subprocess.CompletedProcess(args, process.returncode, out, err)


@pytest.fixture
def cli(tmp_path: Path) -> Cli:
    """The command line."""
    home = tmp_path / "home"
    home.mkdir()
    return Cli(home)


@dataclass
class BatchFiles:
    """An input and an output file, and what a test asks about them."""

    input: Path
    output: Path

    def write_input(self, rows: list[dict[str, Any]]) -> None:
        self.input.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")

    def lines(self) -> list[dict[str, Any]]:
        data = self.output.read_bytes()
        assert data == b"" or data.endswith(b"\n"), "the last line is torn"
        return [json.loads(line) for line in data.split(b"\n") if line.strip()]

    def answers(self) -> list[dict[str, Any]]:
        """The lines without what may differ between two runs of the same work."""
        return [{k: v for k, v in line.items() if k not in ("attempts", "latency")} for line in self.lines()]


@pytest.fixture
def files(tmp_path: Path) -> BatchFiles:
    """Paths for one batch."""
    return BatchFiles(tmp_path / "in.jsonl", tmp_path / "out.jsonl")


@pytest.fixture
def gsm8k() -> Path:
    """The 1,319 questions of the GSM8K test set."""
    return DATA


@pytest.fixture(name="wait_until")
def wait_until_fixture() -> Callable[[Callable[[], Any], str], Any]:
    """`wait_until(condition, what)`."""
    return wait_until
