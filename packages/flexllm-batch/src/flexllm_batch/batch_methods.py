"""BatchMethods: the batch methods, written once for the client of one endpoint and that of several."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator, AsyncIterable, Iterable, Iterator, Sequence
from typing import Literal, Unpack, overload

from flexllm_batch.batch_call import BatchCall, check_several, source_for
from flexllm_batch.batch_options import BatchOptions
from flexllm_batch.cost.budget import Budget
from flexllm_batch.cost.budgeted import Budgeted
from flexllm_batch.cost.metered import CostReport, Metered
from flexllm_batch.cost.pricing import PricesAnswers
from flexllm_batch.inputs.sources import MessageLists
from flexllm_batch.items import BatchItem, BatchResult
from flexllm_batch.limits.limited import Limited
from flexllm_core import sync
from flexllm_core.endpoint import EndpointConfig
from flexllm_core.errors import FlexLLMError
from flexllm_core.messages import MessagesInput
from flexllm_core.protocol import ChatModel
from flexllm_providers.methods import ChatMethods

ITEMS_AHEAD = 64
"""Outcomes that a batch in the background is ahead of whoever iterates over it, beside its own window."""


class RowSkippedError(FlexLLMError):
    """A row that was not asked: it was bad and left out, or the run stopped before it."""


class BatchMethods(ChatMethods):
    """Batches over a chat model, beside the single calls.

    Attributes:
        concurrency: Rows in flight of a batch at most.
        pricer: Prices the answers of batches that track their cost.
        endpoints: Where the rows go, for the manifest.
        labels: What messages and results call them.
        meter: Prices every answer of the client; None when it was not asked to.
        budget: What all calls together may cost; None for no limit.
        budgeted: Where the budget is kept, for each endpoint.
        limited: The limits of each endpoint.
    """

    concurrency: int
    pricer: PricesAnswers
    meter: Metered | None
    endpoints: Sequence[EndpointConfig] = ()
    labels: tuple[str, ...] = ()
    budget: Budget | None = None
    budgeted: tuple[Budgeted, ...] = ()
    limited: tuple[Limited, ...] = ()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(map(repr, self.labels))}, model={self.model!r})"

    @property
    def cost_report(self) -> CostReport:
        """What this client's calls have cost; empty unless it was made with `track_cost=True`."""
        return self.meter.report if self.meter else CostReport()

    async def chat_batch(self, messages_list: Iterable[MessagesInput], **options: Unpack[BatchOptions]) -> BatchResult:
        """Answer every item of a list; failed rows have an `error` and do not raise.

        Raises:
            InputError: An item is unusable, unless `on_bad_row` says otherwise; nothing was sent.
            JournalError: The output cannot be used.
            ConfigError: An option is unknown or unusable.
        """
        check_several(messages_list)
        messages = messages_list if isinstance(messages_list, list) else list(messages_list)
        run = BatchCall(self, MessageLists(messages, options.get("metadata")), options)
        found: dict[int, BatchItem] = {}
        async with contextlib.aclosing(run.items()) as outcomes:
            async for item in outcomes:
                found[item.index] = item
        stopped = run.batch.rules.stopped_by
        items = [
            found.get(index) or BatchItem(index, error=stopped or RowSkippedError(f"row {index} was left out"))
            for index in range(len(messages))
        ]
        return BatchResult(items, run.batch.stats, run.report)

    def chat_batch_iter(
        self, messages: Iterable[MessagesInput] | AsyncIterable[MessagesInput], **options: Unpack[BatchOptions]
    ) -> AsyncGenerator[BatchItem, None]:
        """Answer items as they come from an iterable, and give each outcome when it is there.

        Memory is bounded by the rows in flight: no further item is taken while the consumer lags
        behind. With an output, the items of an iterator are kept in a temporary file first, to find
        which of them are answered already.
        """
        return BatchCall(self, source_for(messages, options), options).items()

    @overload
    async def chat_completions_batch(
        self,
        messages_list: Iterable[MessagesInput],
        *,
        return_cost_report: Literal[False] = ...,
        **options: Unpack[BatchOptions],
    ) -> list[str | None]: ...
    @overload
    async def chat_completions_batch(
        self,
        messages_list: Iterable[MessagesInput],
        *,
        return_cost_report: Literal[True],
        **options: Unpack[BatchOptions],
    ) -> tuple[list[str | None], CostReport]: ...
    @overload
    async def chat_completions_batch(
        self,
        messages_list: Iterable[MessagesInput],
        *,
        return_cost_report: bool = ...,
        **options: Unpack[BatchOptions],
    ) -> list[str | None] | tuple[list[str | None], CostReport]: ...
    async def chat_completions_batch(
        self,
        messages_list: Iterable[MessagesInput],
        *,
        return_cost_report: bool = False,
        **options: Unpack[BatchOptions],
    ) -> list[str | None] | tuple[list[str | None], CostReport]:
        """Answer every item of a list with its text, None for rows that failed.

        With `return_cost_report` also what it cost. `chat_batch` gives the errors too.
        """
        if return_cost_report:
            options["track_cost"] = True
        batch = await self.chat_batch(messages_list, **options)
        return (batch.contents, batch.cost) if return_cost_report else batch.contents

    def iter_chat_completions_batch(
        self, messages: Iterable[MessagesInput] | AsyncIterable[MessagesInput], **options: Unpack[BatchOptions]
    ) -> AsyncGenerator[BatchItem, None]:
        """Another name of `chat_batch_iter`."""
        return self.chat_batch_iter(messages, **options)

    def chat_batch_sync(self, messages_list: Iterable[MessagesInput], **options: Unpack[BatchOptions]) -> BatchResult:
        """`chat_batch`, waiting for the result."""
        return sync.run(lambda: self.chat_batch(messages_list, **options))

    def chat_batch_iter_sync(
        self, messages: Iterable[MessagesInput] | AsyncIterable[MessagesInput], **options: Unpack[BatchOptions]
    ) -> Iterator[BatchItem]:
        """`chat_batch_iter` as an ordinary iterator, with memory that is bounded too. Leaving it early ends the run.

        The items of `messages` are taken in a background thread.
        """
        return sync.iterate(lambda: self.chat_batch_iter(messages, **options), ahead=ITEMS_AHEAD)

    def iter_chat_completions_batch_sync(
        self, messages: Iterable[MessagesInput] | AsyncIterable[MessagesInput], **options: Unpack[BatchOptions]
    ) -> Iterator[BatchItem]:
        """Another name of `chat_batch_iter_sync`."""
        return self.chat_batch_iter_sync(messages, **options)

    @overload
    def chat_completions_batch_sync(
        self,
        messages_list: Iterable[MessagesInput],
        *,
        return_cost_report: Literal[False] = ...,
        **options: Unpack[BatchOptions],
    ) -> list[str | None]: ...
    @overload
    def chat_completions_batch_sync(
        self,
        messages_list: Iterable[MessagesInput],
        *,
        return_cost_report: Literal[True],
        **options: Unpack[BatchOptions],
    ) -> tuple[list[str | None], CostReport]: ...
    @overload
    def chat_completions_batch_sync(
        self,
        messages_list: Iterable[MessagesInput],
        *,
        return_cost_report: bool = ...,
        **options: Unpack[BatchOptions],
    ) -> list[str | None] | tuple[list[str | None], CostReport]: ...
    def chat_completions_batch_sync(
        self,
        messages_list: Iterable[MessagesInput],
        *,
        return_cost_report: bool = False,
        **options: Unpack[BatchOptions],
    ) -> list[str | None] | tuple[list[str | None], CostReport]:
        """`chat_completions_batch`, waiting for the result."""
        return sync.run(
            lambda: self.chat_completions_batch(messages_list, return_cost_report=return_cost_report, **options)
        )

    def metered(self, chat_model: ChatModel) -> Metered:
        """A chat model made of this client's, with a cost report of its own."""
        return Metered(chat_model, self.pricer, self.budget)

    def current_limit(self) -> int | None:
        """How many requests may be in flight now, over all endpoints, on the running event loop; None if unknown."""
        return sum(each.gate.limit for each in self.limited) or None

    def check_price(self, model: str | None) -> None:
        """Refuse a model whose calls could not be kept within the budget; None is each endpoint's own.

        Raises:
            ConfigError: An endpoint's price of the model is unknown, and that is not to be ignored.
        """
        for member in self.budgeted:
            member.check_price(model)
