"""RecalledRows: rows whose answers are known end at once, many in one step; the others are left to be asked."""

from __future__ import annotations

import asyncio
import itertools
from collections import deque
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass

from flexllm_batch.inputs.records import Record
from flexllm_batch.outcome import Outcome
from flexllm_core.protocol import Recall

BLOCK = 128
"""Rows that are looked up together at first, and as long as all of them are known."""

LARGEST_BLOCK = 1024
"""Rows that are looked up together at most.

While rows are asked, the database's thread waits some milliseconds for Python's lock, and takes it from the event loop
several times for each block; so a block is twice as large when the one before had to be waited for. Rows that are
asked slowly are not read far ahead."""

AHEAD = 2
"""Blocks under way: the database reads some while the rows of another end."""


@dataclass(frozen=True, slots=True)
class KnownAnswers:
    """Answers that need no asking.

    Attributes:
        recall: Finds them.
        fingerprint: That of a record's request.
        deliver: Takes the outcomes of many rows at once; back-pressure as in `Runner`.
    """

    recall: Recall
    fingerprint: Callable[[Record], str]
    deliver: Callable[[Sequence[Outcome]], Awaitable[None] | None]


class RecalledRows:
    """Rows to be asked, for many workers of one event loop.

    A look-up by itself costs each row some steps of the event loop; together they cost one. While the rows of a
    block end, the next block is looked up. Requests are made of those rows only that are to be asked.

    Args:
        records: The rows.
        known: Answers that need no asking.
        stopped: Whether no more rows are taken.
    """

    def __init__(self, records: Iterator[Record], known: KnownAnswers, stopped: Callable[[], bool]) -> None:
        self._records = records
        self._known = known
        self._stopped = stopped
        self._ready: deque[Outcome] = deque()
        self._exhausted = False
        self._size = BLOCK
        self._broken: Exception | None = None  # why the rows ended
        self._ahead: deque[asyncio.Task[list[Outcome]]] = deque()
        self._filling: asyncio.Future[None] | None = None  # those wait for it who find another at it

    def ready(self) -> Outcome | None:
        """The next row that is to be asked, if it was looked up already; else None, and `take` gives it."""
        return self._ready.popleft() if self._ready else None

    async def take(self) -> Outcome | None:
        """The next row that is to be asked; None after the last one.

        Raises:
            Exception: Whatever the rows raised, after the rows before it.
        """
        while not self._ready:
            if self._exhausted or self._stopped():
                return None
            if self._filling is not None:
                await asyncio.shield(self._filling)
                continue
            self._filling = asyncio.get_running_loop().create_future()
            try:
                await self._fill()
            finally:
                self._filling.set_result(None)
                self._filling = None
        return self._ready.popleft()

    async def _fill(self) -> None:
        """End the rows of blocks that are known, until one has a row to be asked."""
        while not (self._ready or self._exhausted or self._stopped()):
            while len(self._ahead) < AHEAD:
                self._ahead.append(asyncio.create_task(self._looked_up()))
            await asyncio.sleep(0)  # it begins, so that the database has work while the rows of the next block end
            looking = self._ahead.popleft()
            late = not looking.done()
            block = await looking
            self._exhausted = not block
            if self._exhausted and self._broken is not None:
                raise self._broken
            known = [row for row in block if row.result is not None]
            if len(known) == len(block):
                self._size = BLOCK
            elif late:
                self._size = min(2 * self._size, LARGEST_BLOCK)
            self._ready.extend(block if not known else [row for row in block if row.result is None])
            waiting = self._known.deliver(known) if known else None
            if waiting is not None:
                await waiting

    async def _looked_up(self) -> list[Outcome]:
        """The next block, its rows with the results that are known."""
        block: list[Outcome] = []
        try:
            block.extend(map(self._keyed, itertools.islice(self._records, self._size)))
        except Exception as error:  # noqa: BLE001 - the rows are somebody's own code; raised when those before it are taken
            self._broken = error
        asked = [row for row in block if row.key is not None]
        if asked:
            results = await self._known.recall([row.key for row in asked if row.key is not None])
            for row, result in zip(asked, results, strict=True):
                row.result = result
        return block

    def _keyed(self, record: Record) -> Outcome:
        """A record with the fingerprint of its request; one that cannot be asked has its error instead."""
        if record.error is not None:
            return Outcome(record, error=record.error)
        try:
            return Outcome(record, None, self._known.fingerprint(record))
        except Exception as error:  # noqa: BLE001 - the boundary of a row: a fault in it is that row's error
            return Outcome(record, error=error)

    async def aclose(self) -> None:
        """Give up the blocks that are looked up ahead."""
        for task in self._ahead:
            task.cancel()
        await asyncio.gather(*self._ahead, return_exceptions=True)
