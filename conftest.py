"""Fixtures for every test of the repository."""

from __future__ import annotations

import asyncio
import os
import selectors
from collections.abc import Callable, Coroutine
from concurrent.futures import Executor
from typing import Any, TypeVar

import pytest
from hypothesis import HealthCheck, settings

T = TypeVar("T")

# Property tests are about behaviour: a machine that is busy with other things makes none of them wrong.
settings.register_profile("flexllm", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("flexllm")

PROXY_VARIABLES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY")
OWN_PREFIXES = ("FLEXLLM_", "OPENAI_")
VENDOR_SUFFIXES = ("_API_KEY", "_AUTH_TOKEN")

SLOW = (
    "packages/flexllm-batch/tests/simulation/test_hidden_limits.py",
    "packages/flexllm-batch/tests/simulation/test_hedging.py",
    "packages/flexllm-batch/tests/simulation/test_affinity.py",
    "packages/flexllm-batch/tests/simulation/test_pool_faults.py",
    "packages/flexllm-batch/tests/simulation/test_silent_queue.py",
    "packages/flexllm-batch/tests/test_report.py",
    "packages/flexllm-core/tests/test_yaml_reader.py",
    "packages/flexllm-mock/tests/test_dashboard.py",
    "packages/flexllm-mock/tests/test_pytest_plugin.py",
    "packages/flexllm-providers/tests/test_transport_interrupts.py",
    "tests/cli/test_canary.py",
    "tests/cli/test_chat.py",
    "tests/cli/test_completion.py",
    "tests/cli/test_contracts.py",
    "tests/cli/test_error_table.py",
    "tests/cli/test_exit_code_table.py",
    "tests/cli/test_pool.py",
    "tests/crash/test_cache_kill9.py",
    "tests/crash/test_changed_input.py",
    "tests/crash/test_full_disk.py",
    "tests/crash/test_kill9.py",
    "tests/crash/test_paid_answers.py",
    "tests/crash/test_signals.py",
    "tests/crash/test_torn_tail.py",
    "tests/limits",
    "tests/mock",
    "tests/test_docs.py",
    "tests/transport",
    "tests/verdict",
)
"""Files and folders whose tests take long: many processes, real servers, browsers, or hours of simulated traffic.

`hatch run test` leaves them out, `hatch run slow` runs them, and CI runs both.
"""

STUCK_AFTER = 10.0
"""Real seconds after which a virtual loop that waits for nothing that it knows of is taken to be stuck."""


@pytest.hookimpl(tryfirst=True)  # before pytest selects by marks
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Mark the tests that take long."""
    slow = [config.rootpath / name for name in SLOW]
    for item in items:
        if any(item.path == path or path in item.path.parents for path in slow):
            item.add_marker(pytest.mark.slow)


@pytest.fixture
def anyio_backend() -> str:
    """Async tests run on asyncio, the only loop that flexllm supports."""
    return "asyncio"


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """No proxy, key, configuration or language of the machine reaches a test."""
    for name in list(os.environ):
        if name.upper() in PROXY_VARIABLES or name.startswith(OWN_PREFIXES) or name.endswith(VENDOR_SUFFIXES):
            monkeypatch.delenv(name)
    monkeypatch.setenv("FLEXLLM_LANG", "en")  # whatever language this machine speaks


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    """An event loop whose clock jumps to the next timer when nothing is ready: hours pass in milliseconds.

    Everything that waits through the loop (`asyncio.sleep`, timeouts, `loop.call_later`) keeps its
    order and its distances; `loop.time()` starts at 0 and advances by jumps only, so that a test may
    compare times exactly. While a job is in an executor (`asyncio.to_thread`) the clock stands still,
    and waits for the job in real time. Sockets work, but a peer's real time does not hold the clock
    back: simulate servers with timers instead. What can never wake up again is a RuntimeError, after
    `STUCK_AFTER` real seconds.
    """

    def __init__(self) -> None:
        self._now = 0.0
        self._in_threads = 0
        super().__init__(_JumpingSelector(self))

    def time(self) -> float:
        """The virtual clock, in seconds."""
        return self._now

    def advance(self, seconds: float) -> None:
        """Jump ahead; the selector's part."""
        self._now += seconds

    @property
    def in_threads(self) -> bool:
        """Whether a job is running in an executor."""
        return self._in_threads > 0

    def run_in_executor(self, executor: Executor | None, func: Callable[..., T], *args: Any) -> asyncio.Future[T]:  # type: ignore[override]
        """As every loop's, but the clock stands still until the job is done."""
        future = super().run_in_executor(executor, func, *args)
        self._in_threads += 1
        future.add_done_callback(self._left_thread)
        return future

    def _left_thread(self, _: object) -> None:
        self._in_threads -= 1


class _JumpingSelector(selectors.DefaultSelector):
    """Polls without waiting, and advances the loop's clock by what it would have waited."""

    def __init__(self, loop: VirtualTimeLoop) -> None:
        super().__init__()
        self._loop = loop

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """What is ready now; else, after a jump, nothing."""
        ready: list[tuple[selectors.SelectorKey, int]] = super().select(0)
        if ready or (timeout is not None and timeout <= 0):
            return ready
        if timeout is not None and not self._loop.in_threads:
            self._loop.advance(timeout)
            return []
        ready = super().select(STUCK_AFTER)
        if not ready:
            raise RuntimeError("nothing will wake this loop: no timer, no I/O, and no thread that comes to an end")
        return ready


@pytest.fixture
def run_virtual() -> Callable[[Coroutine[Any, Any, T]], T]:
    """Run a coroutine in virtual time: `run_virtual(main())` returns its result.

    Inside, `asyncio.get_running_loop().time()` is the virtual clock.
    """

    def run(main: Coroutine[Any, Any, T]) -> T:
        with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
            return runner.run(main)

    return run
