"""The runner: a bounded window of rows over a ChatModel, each ending in exactly one outcome."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass

from flexllm_batch.inputs.records import Record
from flexllm_batch.stop_rules import StopRules
from flexllm_core.protocol import ChatModel
from flexllm_core.requests import ChatRequest
from flexllm_core.results import ChatCompletionResult


@dataclass(slots=True)
class Outcome:
    """How a row ended: either `result` or `error` is set. `key` is the request's fingerprint, where it is needed."""

    record: Record
    key: str | None = None
    result: ChatCompletionResult | None = None
    error: Exception | None = None


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
    ) -> None:
        self._model = model
        self._window = window
        self._make_request = make_request
        self._deliver = deliver
        self._rules = rules
        self._with_keys = with_keys
        self.stopped = False
        self._workers: list[asyncio.Task[None]] = []
        self._taking: set[asyncio.Task[None]] = set()  # workers that wait for a row of an async source
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
            Exception: Whatever `deliver` or the records raised; rows in flight are left then.
        """
        rows = _shared(records) if isinstance(records, AsyncIterator) else None
        take = records if isinstance(records, Iterator) else None
        self._workers = [
            asyncio.create_task(self._work(take) if take is not None else self._work_async(rows))
            for _ in range(max(1, self._window))
        ]
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
        for outcome in outcomes:
            if isinstance(outcome, Exception):
                raise outcome

    async def _work(self, records: Iterator[Record]) -> None:
        # All workers share one iterator: they are tasks of one loop, and taking a row never waits.
        while not self.stopped:
            record = next(records, None)
            if record is None:
                return
            await self._settle(record)

    async def _work_async(self, records: Callable[[], Awaitable[Record | None]] | None) -> None:
        worker = asyncio.current_task()
        assert worker is not None
        while not self.stopped and records is not None:
            self._taking.add(worker)
            try:
                record = await records()
            finally:
                self._taking.discard(worker)
            if record is None or self.stopped:
                return
            await self._settle(record)

    async def _settle(self, record: Record) -> None:
        """Ask one record and deliver its outcome."""
        outcome = Outcome(record)
        if record.error is not None:
            outcome.error = record.error
        else:
            self.in_flight += 1
            try:
                request = self._make_request(record)
                if self._with_keys:
                    outcome.key = request.fingerprint()
                outcome.result = await self._model.complete(request)
            except asyncio.CancelledError:
                worker = asyncio.current_task()
                if worker is None or worker.cancelling():
                    raise
                outcome.error = RuntimeError("the call was cancelled by something inside it")
            except Exception as error:  # noqa: BLE001 - the boundary of a row: a fault in it is that row's error
                outcome.error = error
            finally:
                self.in_flight -= 1
        if self._rules.should_stop(outcome.error):
            self.stop()
        waiting = self._deliver(outcome)
        if waiting is not None:
            await waiting


def _shared(records: AsyncIterator[Record]) -> Callable[[], Awaitable[Record | None]]:
    """One async iterator for many workers: they take turns, as a generator cannot be asked twice at once."""
    lock = asyncio.Lock()

    async def take() -> Record | None:
        async with lock:
            return await anext(records, None)

    return take
