"""RecalledRows: rows whose answers are known end at once, many in one step; the others are left to be asked."""

from __future__ import annotations

import asyncio
import itertools
from collections import deque
from collections.abc import Awaitable, Callable, Iterator, Sequence

from flexllm_batch.outcome import Outcome
from flexllm_core.protocol import Recall

BLOCK = 256
"""Rows that are looked up together."""

AHEAD = 2
"""Blocks under way: the database reads some while the rows of another end."""


class RecalledRows:
    """Rows to be asked, for many workers of one event loop.

    A look-up by itself costs each row some steps of the event loop; together they cost one. While the rows of a
    block end, the next block is looked up.

    Args:
        rows: The rows with their requests.
        recall: Finds the answers that are known.
        end: Takes the rows that are answered so; back-pressure as in `Runner`.
        stopped: Whether no more rows are taken.
    """

    def __init__(
        self,
        rows: Iterator[Outcome],
        recall: Recall,
        end: Callable[[Sequence[Outcome]], Awaitable[None] | None],
        stopped: Callable[[], bool],
    ) -> None:
        self._rows = rows
        self._recall = recall
        self._end = end
        self._stopped = stopped
        self._ready: deque[Outcome] = deque()
        self._exhausted = False
        self._broken: Exception | None = None  # why the rows ended
        self._ahead: deque[asyncio.Task[list[Outcome]]] = deque()
        self._filling: asyncio.Future[None] | None = None  # those wait for it who find another at it

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
            block = await self._ahead.popleft()
            self._exhausted = not block
            if self._exhausted and self._broken is not None:
                raise self._broken
            known = [row for row in block if row.result is not None]
            self._ready.extend(block if not known else [row for row in block if row.result is None])
            waiting = self._end(known) if known else None
            if waiting is not None:
                await waiting

    async def _looked_up(self) -> list[Outcome]:
        """The next block, its rows with the results that are known."""
        block: list[Outcome] = []
        try:
            block.extend(itertools.islice(self._rows, BLOCK))
        except Exception as error:  # noqa: BLE001 - the rows are somebody's own code; raised when those before it are taken
            self._broken = error
        asked = [row for row in block if row.request is not None]
        if asked:
            results = await self._recall([row.request for row in asked if row.request is not None])
            for row, result in zip(asked, results, strict=True):
                row.result = result
        return block

    async def aclose(self) -> None:
        """Give up the blocks that are looked up ahead."""
        for task in self._ahead:
            task.cancel()
        await asyncio.gather(*self._ahead, return_exceptions=True)
