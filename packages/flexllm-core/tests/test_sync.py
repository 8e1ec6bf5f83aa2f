"""The portal: sync calls on one background loop, from anywhere, without a leak or a hang."""

from __future__ import annotations

import asyncio
import contextvars
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import AsyncGenerator, Iterator
from concurrent.futures import CancelledError

import pytest

from flexllm_core import sync
from flexllm_core.sync import Portal

SOON = 10.0
"""Seconds after which a test that waits for another thread has failed."""


@pytest.fixture
def portal() -> Iterator[Portal]:
    """A portal of the test's own, closed in the end."""
    portal = Portal()
    yield portal
    portal.close()


async def numbers(count: int, closed: threading.Event | None = None) -> AsyncGenerator[int, None]:
    """The numbers below `count`; tells when it is closed."""
    try:
        for number in range(count):
            await asyncio.sleep(0)
            yield number
    finally:
        await asyncio.sleep(0)  # closing may itself need the loop
        if closed is not None:
            closed.set()


async def for_ever(cancelled: threading.Event, started: threading.Event | None = None) -> None:
    """Waits until it is cancelled, and tells."""
    if started is not None:
        started.set()
    try:
        await asyncio.Event().wait()
    except asyncio.CancelledError:
        cancelled.set()
        raise


async def fail(error: BaseException) -> None:
    """Raises."""
    raise error


def test_a_call_gives_its_result_and_its_error(portal: Portal) -> None:
    """As if it had been awaited."""

    async def double(number: int) -> int:
        await asyncio.sleep(0)
        return 2 * number

    assert portal.run(lambda: double(21)) == 42
    with pytest.raises(KeyError, match="x"):
        portal.run(lambda: fail(KeyError("x")))


def test_all_calls_share_one_loop_and_thread(portal: Portal) -> None:
    """So pooled connections stay usable from call to call."""

    async def where() -> tuple[asyncio.AbstractEventLoop, threading.Thread]:
        return asyncio.get_running_loop(), threading.current_thread()

    (loop, thread), again = portal.run(where), portal.run(where)
    assert again == (loop, thread)
    assert thread is not threading.current_thread()
    assert thread.daemon


async def test_it_works_inside_a_running_loop(portal: Portal) -> None:
    """A notebook's cell can use the sync methods."""

    async def answer() -> str:
        await asyncio.sleep(0)
        return "ok"

    assert portal.run(answer) == "ok"
    assert list(portal.iterate(lambda: numbers(3))) == [0, 1, 2]
    assert sync.run(answer) == "ok"


def test_many_threads_use_one_portal_at_once(portal: Portal) -> None:
    """The first calls race for its start."""
    results: list[int] = []
    barrier = threading.Barrier(8)

    async def echo(number: int) -> int:
        await asyncio.sleep(0.001)
        return number

    def call(number: int) -> None:
        barrier.wait(SOON)
        results.append(portal.run(lambda: echo(number)))

    threads = [threading.Thread(target=call, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(SOON)
    assert sorted(results) == list(range(8))


def test_a_stream_is_an_iterator(portal: Portal) -> None:
    """All items in order, then its end."""
    assert list(portal.iterate(lambda: numbers(100))) == list(range(100))
    assert list(portal.iterate(lambda: numbers(0))) == []


@pytest.mark.parametrize("ahead", [1, 2, 7])
def test_an_iterator_may_be_bounded(portal: Portal, ahead: int) -> None:
    """It is never further ahead than it may be, and loses nothing by waiting."""
    given: list[int] = []

    async def count() -> AsyncGenerator[int, None]:
        for number in range(200):
            given.append(number)
            yield number

    most = 0
    for number, item in enumerate(portal.iterate(count, ahead)):
        assert item == number
        sync.run(lambda: asyncio.sleep(0))
        portal.run(lambda: asyncio.sleep(0))  # the pump has gone on as far as it can
        most = max(most, len(given) - number)
    assert len(given) == 200
    assert most <= ahead + 2  # with the one that was just taken, and the one that it waits with


def test_a_streams_error_comes_after_its_items(portal: Portal) -> None:
    """What had arrived is given first."""

    async def breaks() -> AsyncGenerator[int, None]:
        yield 1
        yield 2
        raise KeyError("x")

    items = portal.iterate(breaks)
    assert [next(items), next(items)] == [1, 2]
    with pytest.raises(KeyError):
        next(items)


def test_a_stream_that_is_closed_early_is_cancelled_and_closed(portal: Portal) -> None:
    """So the server stops generating; its cleanup may await."""
    closed = threading.Event()
    items = portal.iterate(lambda: numbers(10**9, closed))
    assert next(items) == 0
    items.close()  # type: ignore[attr-defined]
    assert closed.wait(SOON)


def test_a_stream_that_waits_is_cancelled_too(portal: Portal) -> None:
    """Not only one that is about to give an item."""
    cancelled = threading.Event()

    async def stalls() -> AsyncGenerator[int, None]:
        yield 1
        await for_ever(cancelled)

    items = portal.iterate(stalls)
    assert next(items) == 1
    del items
    assert cancelled.wait(SOON)


def test_a_stream_that_is_never_begun_does_nothing(portal: Portal) -> None:
    """No request is sent for an iterator that nobody uses."""
    made = []

    def make() -> AsyncGenerator[int, None]:
        made.append(1)
        return numbers(1)

    portal.iterate(make)
    assert made == []


@pytest.mark.skipif(not hasattr(signal, "pthread_kill"), reason="needs POSIX signals")
@pytest.mark.parametrize("streamed", [False, True])
def test_keyboard_interrupt_cancels_the_call(portal: Portal, streamed: bool) -> None:
    """Ctrl-C in a sync call ends the request at the server too."""
    cancelled, started = threading.Event(), threading.Event()
    main = threading.main_thread().ident
    assert main is not None

    def interrupt() -> None:
        started.wait(SOON)
        time.sleep(0.05)  # the main thread is about to wait, or waits
        signal.pthread_kill(main, signal.SIGINT)

    async def stalls() -> AsyncGenerator[int, None]:
        await for_ever(cancelled, started)
        yield 1

    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    thread = threading.Thread(target=interrupt)
    thread.start()
    try:
        with pytest.raises(KeyboardInterrupt):
            list(portal.iterate(stalls)) if streamed else portal.run(lambda: for_ever(cancelled, started))
    finally:
        signal.signal(signal.SIGINT, before)
        thread.join(SOON)
    assert cancelled.wait(SOON)


def test_a_sync_call_from_the_portals_own_thread_is_refused(portal: Portal) -> None:
    """It would wait for itself; the error says what to do."""

    async def inner() -> int:
        return 1

    async def outer() -> int:
        return portal.run(inner)

    async def outer_stream() -> list[int]:
        return list(portal.iterate(lambda: numbers(1)))

    with pytest.raises(RuntimeError, match="use its async form"):
        portal.run(outer)
    with pytest.raises(RuntimeError, match="use its async form"):
        portal.run(outer_stream)


def test_context_variables_of_the_caller_are_seen(portal: Portal) -> None:
    """Tracing finds its span; what the call sets stays in the call."""
    variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="none")

    async def read() -> str:
        seen = variable.get()
        variable.set("inside")
        return seen

    async def read_stream() -> AsyncGenerator[str, None]:
        yield variable.get()

    variable.set("mine")
    assert portal.run(read) == "mine"
    assert list(portal.iterate(read_stream)) == ["mine"]
    assert variable.get() == "mine"


@pytest.mark.parametrize("error", [SystemExit(3), KeyboardInterrupt(), GeneratorExit()])
def test_an_error_that_would_end_the_loop_reaches_the_caller(portal: Portal, error: BaseException) -> None:
    """The thread survives it, and nobody waits for ever."""
    caught: list[BaseException] = []

    def call() -> None:
        try:
            portal.run(lambda: fail(error))
        except BaseException as raised:
            caught.append(raised)

    thread = threading.Thread(target=call, daemon=True)
    thread.start()
    thread.join(SOON)
    assert caught == [error]
    assert list(portal.iterate(lambda: numbers(2))) == [0, 1]


def test_a_call_that_is_cancelled_inside_raises(portal: Portal) -> None:
    """And does not hang."""
    with pytest.raises(CancelledError):
        portal.run(lambda: fail(asyncio.CancelledError()))


def test_close_cancels_what_runs_and_the_next_use_starts_anew(portal: Portal) -> None:
    """Nobody is left waiting for a loop that has stopped."""
    cancelled, started = threading.Event(), threading.Event()
    outcome: list[type[BaseException]] = []

    def call() -> None:
        try:
            portal.run(lambda: for_ever(cancelled, started))
        except CancelledError as error:
            outcome.append(type(error))

    thread = threading.Thread(target=call)
    thread.start()
    assert started.wait(SOON)
    portal.close()
    thread.join(SOON)
    assert outcome == [CancelledError]
    assert cancelled.is_set()
    assert list(portal.iterate(lambda: numbers(2))) == [0, 1]
    portal.close()
    portal.close()  # twice is harmless


FORK = """
import asyncio, gc, os, sys, warnings
warnings.simplefilter("error")
from flexllm_core import sync

async def answer(number):
    await asyncio.sleep(0.001)
    return number

async def numbers():
    for number in range(3):
        yield number

assert sync.run(lambda: answer(1)) == 1
child = os.fork()
if not child:
    gc.collect()
    ok = sync.run(lambda: answer(2)) == 2 and list(sync.iterate(numbers)) == [0, 1, 2]
    gc.collect()
    os._exit(0 if ok else 1)
_, status = os.waitpid(child, 0)
assert status == 0, status
assert sync.run(lambda: answer(3)) == 3  # the parent's loop still wakes up
assert list(sync.iterate(numbers)) == [0, 1, 2]
print("done")
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_after_a_fork_parent_and_child_both_work() -> None:
    """Each on a loop of its own."""
    run = subprocess.run([sys.executable, "-c", FORK], capture_output=True, text=True, timeout=60)
    assert (run.stdout, run.stderr, run.returncode) == ("done\n", "", 0)


def test_a_program_that_never_closes_ends_silently() -> None:
    """The thread is a daemon and leaves no noise at exit, in the middle of a stream either."""
    code = (
        "import asyncio\n"
        "from flexllm_core import sync\n"
        "async def endless():\n"
        "    while True:\n"
        "        yield 1\n"
        "        await asyncio.sleep(0.001)\n"
        "items = sync.iterate(endless)\n"
        "print(next(items), next(items))\n"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert (run.stdout, run.stderr, run.returncode) == ("1 1\n", "", 0)
