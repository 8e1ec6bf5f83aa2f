"""The portal: one background event loop in a daemon thread, on which every sync method runs.

A loop of its own per call would leave pooled connections bound to a dead loop, and could not be used
inside a running loop (a notebook). One loop per process has neither fault. After a fork the child
starts a portal of its own.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import os
import queue
import threading
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine, Iterator
from concurrent.futures import Future
from typing import Any, TypeVar

T = TypeVar("T")

_END = object()


class Portal:
    """An event loop in a daemon thread, started at its first use."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None

    def loop(self) -> asyncio.AbstractEventLoop:
        """The portal's loop; starts its thread when there is none."""
        with self._lock:
            if self._loop is None or self._thread is None or not self._thread.is_alive():
                self._loop = asyncio.new_event_loop()
                self._thread = threading.Thread(target=self._loop.run_forever, name="flexllm-portal", daemon=True)
                self._thread.start()
            return self._loop

    def run(self, call: Callable[[], Awaitable[T]]) -> T:
        """Run `call()` on the portal and wait for its result; KeyboardInterrupt cancels it.

        Raises:
            RuntimeError: Called from the portal's own thread, where waiting would never end.
        """
        future = self._submit(call)
        try:
            return future.result()
        except BaseException:
            future.cancel()
            raise

    def _submit(self, call: Callable[[], Awaitable[T]]) -> Future[T]:
        loop = self.loop()
        if threading.current_thread() is self._thread:
            raise RuntimeError("a sync method was called from flexllm's own event loop; use its async form there")
        context = contextvars.copy_context()
        done: Future[T] = Future()

        def start() -> None:
            task = loop.create_task(_settle(call, done), context=context)
            done.add_done_callback(lambda done: _cancel(loop, task) if done.cancelled() else None)

        loop.call_soon_threadsafe(start)
        return done

    def iterate(self, make: Callable[[], AsyncGenerator[T, None]], ahead: int | None = None) -> Iterator[T]:
        """Iterate over an async generator that runs on the portal.

        One task pumps the generator into a queue, because stepping it from several tasks would break
        its timeouts. With `ahead` it waits when it is so many items ahead; without, it never does, so that a
        slow consumer costs a stream nothing. Closing the iterator early cancels the pump and closes the generator.
        """
        items: queue.SimpleQueue[Any] = queue.SimpleQueue()
        taken, room, loop = 0, asyncio.Event(), self.loop()

        async def pump() -> None:
            generator, given = make(), 0
            try:
                async for item in generator:
                    items.put(item)
                    given += 1
                    while ahead is not None and given - taken >= ahead:
                        room.clear()
                        if given - taken >= ahead:  # what was taken before `clear` has set the old event
                            await room.wait()
            finally:
                await generator.aclose()

        future = self._submit(pump)
        future.add_done_callback(lambda _: items.put(_END))
        try:
            while (item := items.get()) is not _END:
                taken += 1
                if (
                    ahead is not None and taken % (ahead // 2 or 1) == 0
                ):  # not for each item: waking a loop costs more than handing an item over
                    with contextlib.suppress(RuntimeError):  # the loop was closed, and the pump with it
                        loop.call_soon_threadsafe(room.set)
                yield item
        finally:
            future.cancel()
        future.result()

    def close(self) -> None:
        """Cancel what runs, stop the loop and its thread; the next use starts new ones."""
        with self._lock:
            loop, thread, self._loop, self._thread = self._loop, self._thread, None, None
        if loop is not None and thread is not None:
            asyncio.run_coroutine_threadsafe(_cancel_all(), loop).result()
            loop.call_soon_threadsafe(loop.stop)
            thread.join()
            loop.close()


async def _settle(call: Callable[[], Awaitable[T]], done: Future[T]) -> None:
    """Run `call` and hand its outcome over; whoever waited may have left meanwhile."""
    try:
        result = await call()
    except asyncio.CancelledError:
        done.cancel()
        raise
    except BaseException as error:  # noqa: BLE001  # SystemExit would end the loop's thread, and the caller wait for ever
        if done.set_running_or_notify_cancel():
            done.set_exception(error)
    else:
        if done.set_running_or_notify_cancel():
            done.set_result(result)


def _cancel(loop: asyncio.AbstractEventLoop, task: asyncio.Task[None]) -> None:
    with contextlib.suppress(RuntimeError):  # the loop may have been closed meanwhile, and the task with it
        loop.call_soon_threadsafe(task.cancel)


async def _cancel_all() -> None:
    tasks = asyncio.all_tasks() - {asyncio.current_task()}
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    await asyncio.get_running_loop().shutdown_asyncgens()


_portal = Portal()
_left_behind: list[Portal] = []
"""Portals of parent processes. They are kept: to collect their loops would meddle with the parent's."""


def _forget_portal() -> None:
    """The child of a fork has a copy of the portal whose thread does not exist: start afresh."""
    global _portal
    _left_behind.append(_portal)
    _portal = Portal()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_portal)


def run(call: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """Run the coroutine that `call` makes on the process's portal, and wait for its result."""
    return _portal.run(call)


def iterate(make: Callable[[], AsyncGenerator[T, None]], ahead: int | None = None) -> Iterator[T]:
    """Iterate over the async generator that `make` makes on the process's portal, at most `ahead` items ahead."""
    return _portal.iterate(make, ahead)
