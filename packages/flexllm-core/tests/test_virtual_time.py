"""The virtual clock on which the tests of waiting code run."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

RunVirtual = Callable[[Coroutine[Any, Any, Any]], Any]


def now() -> float:
    """The running loop's clock."""
    return asyncio.get_running_loop().time()


def test_hours_pass_at_once_and_exactly(run_virtual: RunVirtual) -> None:
    """`loop.time()` moves by what was waited, no more and no less."""

    async def main() -> list[float]:
        times = [now()]
        for seconds in (0.5, 3600, 86_400 * 3):
            await asyncio.sleep(seconds)
            times.append(now())
        return times

    started = time.monotonic()
    assert run_virtual(main()) == pytest.approx([0, 0.5, 3600.5, 86_400 * 3 + 3600.5], abs=1e-6)
    assert time.monotonic() - started < 60


def test_timers_keep_their_order(run_virtual: RunVirtual) -> None:
    """Whoever waits shorter is first, and equal times in the order of their start."""

    async def main() -> list[int]:
        done: list[int] = []

        async def wait(name: int, seconds: float) -> None:
            await asyncio.sleep(seconds)
            done.append(name)

        await asyncio.gather(wait(1, 30), wait(2, 10), wait(3, 20), wait(4, 10))
        return done

    assert run_virtual(main()) == [2, 4, 3, 1]


def test_a_timeout_fires_at_its_time(run_virtual: RunVirtual) -> None:
    """asyncio's own timeouts use the loop's clock."""

    async def main() -> float:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(120):
                await asyncio.Event().wait()
        return now()

    assert run_virtual(main()) == pytest.approx(120)


def test_work_that_needs_no_time_takes_none(run_virtual: RunVirtual) -> None:
    """The clock moves only while nothing is ready."""

    async def main() -> float:
        for _ in range(1000):
            await asyncio.sleep(0)
        return now()

    assert run_virtual(main()) == 0


def test_the_clock_stands_still_while_a_thread_works(run_virtual: RunVirtual) -> None:
    """A timer does not overtake a job in an executor, however long that takes."""

    async def main() -> tuple[float, list[str]]:
        done: list[str] = []

        async def timer() -> None:
            await asyncio.sleep(0.001)
            done.append("timer")

        async def job() -> None:
            await asyncio.to_thread(time.sleep, 0.05)
            done.append("job")

        await asyncio.gather(timer(), job())
        return now(), done

    assert run_virtual(main()) == (pytest.approx(0.001), ["job", "timer"])


def test_an_error_comes_out(run_virtual: RunVirtual) -> None:
    """And the loop is closed."""

    async def main() -> None:
        await asyncio.sleep(5)
        raise KeyError("x")

    with pytest.raises(KeyError):
        run_virtual(main())


def test_sockets_work(run_virtual: RunVirtual) -> None:
    """Both ends in the loop itself."""

    async def main() -> bytes:
        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await asyncio.sleep(10)
            writer.write(await reader.read(4))
            writer.close()

        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        async with server:
            reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname()[:2])
            writer.write(b"ping")
            answer = await reader.read()
            writer.close()
        return answer

    assert run_virtual(main()) == b"ping"
