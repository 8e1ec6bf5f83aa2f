"""The runner: a bounded window of rows over a ChatModel, each ending in exactly one outcome."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator
from typing import Any

from flexllm_batch.inputs.records import Record
from flexllm_batch.outcome import Outcome
from flexllm_batch.recalled_rows import KnownAnswers, RecalledRows
from flexllm_batch.stop_rules import StopRules
from flexllm_core.protocol import ChatModel
from flexllm_core.requests import ChatRequest

Take = Callable[[], Awaitable[Outcome | None]]
"""Gives the next row to a worker; None after the last one."""


class Runner:
    """Asks rows, `window` of them at a time.

    Args:
        model: Answers the requests.
        window: Rows in flight.
        make_request: The request of a record.
        deliver: Takes each outcome as it comes; what it raises ends the run. It may return an awaitable,
            which the row's place in the window waits for: back-pressure.
        rules: When the run ends before its rows do.
        with_keys: Work out each request's fingerprint, before it is sent: a row whose answer could not be
            written must not be paid for.
        known: Where answers are that need no asking; only for records that come from an iterator.

    Attributes:
        stopped: No more rows are taken.
        in_flight: Rows that are being asked.
    """

    def __init__(
        self,
        model: ChatModel,
        *,
        window: int,
        make_request: Callable[[Record], ChatRequest],
        deliver: Callable[[Outcome], Awaitable[None] | None],
        rules: StopRules,
        with_keys: bool,
        known: KnownAnswers | None = None,
    ) -> None:
        self._model = model
        self._window = window
        self._make_request = make_request
        self._deliver = deliver
        self._rules = rules
        self._with_keys = with_keys
        self._known = known
        self.stopped = False
        self._recalled: RecalledRows | None = None
        self._workers: list[asyncio.Task[None]] = []
        self._taking: set[asyncio.Task[None]] = set()  # workers that wait for a row of an async source
        self._source_error: Exception | None = None
        self.in_flight = 0

    def stop(self) -> None:
        """Take no more rows; those in flight are finished."""
        self.stopped = True
        for worker in self._taking:
            worker.cancel()  # the source may never give another row

    def abort(self) -> None:
        """Take no more rows and leave those in flight."""
        self.stopped = True
        for worker in self._workers:
            worker.cancel()

    async def run(self, records: Iterator[Record] | AsyncIterator[Record]) -> None:
        """Ask the records; returns when each has its outcome, or the run was stopped or aborted.

        Raises:
            Exception: Whatever the records raised, when the rows in flight have their outcomes: they are paid for.
                Or what `deliver` raised, at once: outcomes cannot be taken any more.
        """
        self._workers = [asyncio.create_task(work) for work in self._works(records)]
        try:
            done, _ = await asyncio.wait(self._workers, return_when=asyncio.FIRST_EXCEPTION)
            failed = [task for task in done if not task.cancelled() and task.exception() is not None]
            if failed:
                self.abort()
        except asyncio.CancelledError:
            self.abort()
            raise
        finally:
            outcomes = await asyncio.gather(*self._workers, return_exceptions=True)
            self._workers = []
            if self._recalled is not None:
                await self._recalled.aclose()
        for outcome in outcomes:
            if isinstance(outcome, Exception):
                raise outcome
        if self._source_error is not None:
            raise self._source_error

    def _works(self, records: Iterator[Record] | AsyncIterator[Record]) -> list[Coroutine[Any, Any, None]]:
        """What the workers do, for each of them."""
        workers = range(max(1, self._window))
        if isinstance(records, AsyncIterator):
            take = _shared(records, self._prepared)
            return [self._work_async(take) for _ in workers]
        if self._known is not None:
            self._recalled = RecalledRows(records, self._known, lambda: self.stopped)
            return [self._work_recalled(self._recalled) for _ in workers]
        return [self._work(records) for _ in workers]

    async def _work(self, records: Iterator[Record]) -> None:
        # All workers share one iterator: they are tasks of one loop, and taking a row never waits.
        while not self.stopped:
            try:
                record = next(records, None)
            except Exception as error:  # noqa: BLE001 - the rows are somebody's own code; raised when the run is over
                self._source_broke(error)
                return
            if record is None:
                return
            await self._settle(self._prepared(record))

    async def _work_async(self, take: Take) -> None:
        while not self.stopped:
            row = await self._taken(take)
            if row is None or self.stopped:
                return
            await self._settle(row)

    async def _work_recalled(self, rows: RecalledRows) -> None:
        while not self.stopped:
            row = rows.ready() or await self._taken(rows.take)
            if row is None or self.stopped:
                return
            await self._settle(row if row.error is not None else self._with_request(row))

    async def _taken(self, take: Take) -> Outcome | None:
        """A row that may have to be waited for; None when there is no other."""
        worker = asyncio.current_task()
        assert worker is not None
        self._taking.add(worker)
        try:
            return await take()
        except Exception as error:  # noqa: BLE001 - as above
            self._source_broke(error)
            return None
        finally:
            self._taking.discard(worker)

    def _source_broke(self, error: Exception) -> None:
        """Take no more rows; those in flight are finished, and then `error` is raised."""
        self._source_error = self._source_error or error
        self.stop()

    def _prepared(self, record: Record) -> Outcome:
        """A record with its request; one that cannot be asked has its error instead."""
        if record.error is not None:
            return Outcome(record, error=record.error)
        try:
            request = self._make_request(record)
            return Outcome(record, request, request.fingerprint() if self._with_keys else None)
        except Exception as error:  # noqa: BLE001 - the boundary of a row: a fault in it is that row's error
            return Outcome(record, error=error)

    def _with_request(self, row: Outcome) -> Outcome:
        """A row that has its fingerprint, but no request yet."""
        try:
            row.request = self._make_request(row.record)
        except Exception as error:  # noqa: BLE001 - as above
            row.error = error
        else:
            if row.key is not None:
                row.request.known_as(row.key)
        return row

    async def _settle(self, row: Outcome) -> None:
        """Ask one row and deliver its outcome."""
        if row.request is not None and row.error is None:
            self.in_flight += 1
            try:
                row.result = await self._model.complete(row.request)
            except asyncio.CancelledError:
                worker = asyncio.current_task()
                if worker is None or worker.cancelling():
                    raise
                row.error = RuntimeError("the call was cancelled by something inside it")
            except Exception as error:  # noqa: BLE001 - the boundary of a row: a fault in it is that row's error
                row.error = error
            finally:
                self.in_flight -= 1
        waiting = self._end(row)
        if waiting is not None:
            await waiting

    def _end(self, row: Outcome) -> Awaitable[None] | None:
        """Deliver an outcome, after a look at whether it is to be the last."""
        if self._rules.should_stop(row.error):
            self.stop()
        return self._deliver(row)


def _shared(records: AsyncIterator[Record], prepared: Callable[[Record], Outcome]) -> Take:
    """One async iterator for many workers: they take turns, as a generator cannot be asked twice at once."""
    lock = asyncio.Lock()

    async def take() -> Outcome | None:
        async with lock:
            record = await anext(records, None)
        return None if record is None else prepared(record)

    return take
