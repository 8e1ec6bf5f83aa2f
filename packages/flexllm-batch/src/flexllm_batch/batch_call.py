"""One call of a batch method: its options become a batch, and its outcomes a stream of items."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flexllm_batch.batch import Batch
from flexllm_batch.batch_options import BatchOptions, batch_settings, check_batch_options
from flexllm_batch.batch_settings import BatchSettings
from flexllm_batch.contracts.contracted import with_contract
from flexllm_batch.cost.budget import budget_warning
from flexllm_batch.cost.metered import CostReport
from flexllm_batch.inputs.row_files import RowSource
from flexllm_batch.inputs.sources import MessageLists, MessageStream
from flexllm_batch.items import BatchItem, item_from_line
from flexllm_batch.outcome import Outcome
from flexllm_batch.outputs.manifest import RunManifest
from flexllm_batch.progress import NoProgress, Progress, progress_for
from flexllm_core.errors import ConfigError, InputError
from flexllm_core.json_codec import decode_json
from flexllm_core.messages import MessagesInput

if TYPE_CHECKING:
    from flexllm_batch.batch_methods import BatchMethods


class BatchCall:
    """One batch call of a client: its options, and its outcomes as a stream of items."""

    def __init__(
        self,
        client: BatchMethods,
        source: RowSource | MessageStream,
        options: BatchOptions,
    ) -> None:
        check_batch_options(options)
        track_cost = options.get("track_cost", client.meter is not None)
        self._window = min(options.get("concurrency") or client.concurrency, client.concurrency)
        settings = batch_settings(
            options, model=client.model, params=client.params, window=self._window, track_cost=track_cost
        )
        self._finished: deque[BatchItem] = deque()
        self._arrived = asyncio.Event()
        self._room = asyncio.Event()
        progress: Progress = NoProgress()
        if options.get("show_progress"):
            progress = progress_for(track_cost=track_cost, limit=client.current_limit)
        chat_model = client.chat_model
        if settings.contract is not None:
            chat_model = with_contract(chat_model, settings.contract, client.metered if track_cost else None)
        self._metered = client.metered(chat_model) if track_cost else None
        chat_model = self._metered or chat_model
        if options.get("preprocess"):
            from flexllm_providers.media.model import embedding_media  # only rows with media need it

            chat_model = embedding_media(chat_model, options["preprocess"], options.get("media_root"))
        self.batch = Batch(
            chat_model,
            source,
            settings,
            on_outcome=self._put,
            progress=progress,
            manifest=_manifest(client, settings) if options.get("manifest") else None,
            check_price=client.check_price if client.budgeted else None,
            budget=client.budget,
        )
        self._budget, self._warn = client.budget, lambda ledger: progress.note(budget_warning(ledger))

    @property
    def report(self) -> CostReport:
        """What this batch cost."""
        return self._metered.report if self._metered else CostReport()

    def _put(self, outcome: Outcome) -> Any:
        record = outcome.record
        self._finished.append(BatchItem(record.index, outcome.result, outcome.error, record.metadata))
        self._arrived.set()
        return self._wait_for_room() if len(self._finished) >= 2 * self._window else None

    async def _wait_for_room(self) -> None:
        while len(self._finished) >= 2 * self._window:
            self._room.clear()
            await self._room.wait()

    async def items(self) -> AsyncGenerator[BatchItem, None]:
        """The rows answered already, then the others as they finish. Closing early ends the run."""
        try:
            if self._budget is not None:
                self._budget.add_listener(self._warn)
            await self.batch.prepare()
            for item in self._resumed():
                yield item
            running = asyncio.ensure_future(self.batch.run())
            running.add_done_callback(lambda _: self._arrived.set())
            try:
                while not running.done():
                    await self._arrived.wait()
                    self._arrived.clear()
                    while self._finished:
                        item = self._finished.popleft()
                        self._room.set()
                        yield item
                while self._finished:
                    yield self._finished.popleft()
            finally:
                self._finished.clear()
                self._room.set()
                running.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await running
        finally:
            if self._budget is not None:
                self._budget.remove_listener(self._warn)
            self.batch.close()

    def _resumed(self) -> Iterable[BatchItem]:
        plan, output = self.batch.plan, self.batch.output
        if plan is None or output is None or not plan.kept:
            return
        output.begin()
        # A row that has moved may have other metadata than the line that answers it.
        for record in itertools.islice(self.batch.records(), plan.total):
            if output.is_answered(record.index):
                item = item_from_line(decode_json(output.read_line(output.offsets.get(record.index))))
                item.index, item.metadata = record.index, record.metadata
                yield item


def _manifest(client: BatchMethods, settings: BatchSettings) -> RunManifest:
    if settings.output is None:
        raise ConfigError("manifest needs output_jsonl, beside which it is written")
    return RunManifest(Path(settings.output), settings, client.endpoints)


def source_for(
    messages: Iterable[MessagesInput] | AsyncIterable[MessagesInput], options: BatchOptions
) -> RowSource | MessageStream:
    """The source of a call's messages: a list can be read again, an iterator only once."""
    check_several(messages)
    if isinstance(messages, list | tuple):
        return MessageLists(messages, options.get("metadata"))
    if options.get("metadata") is not None:
        raise ConfigError("metadata needs a list of messages, not an iterator")
    return MessageStream(messages)


def check_several(messages: object) -> None:
    """Refuse a single text or message: its characters or keys would be asked one by one."""
    if isinstance(messages, str | bytes | Mapping):
        raise InputError(f"expected several messages, one for each row, found a single {type(messages).__name__}")
