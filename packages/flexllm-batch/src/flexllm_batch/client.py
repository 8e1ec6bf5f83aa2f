"""LLMClient: one endpoint with limits, retries, costs and batches; the client that most people want."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterable, Iterable, Mapping
from pathlib import Path
from typing import Any, Literal, Self, Unpack, get_args, overload

from flexllm_batch.batch import Batch, BatchSettings
from flexllm_batch.cost import CostReport, Metered
from flexllm_batch.items import BatchItem, BatchResult, item_from_line
from flexllm_batch.limits import Limited
from flexllm_batch.plan import OnBadRow, ResumeMode
from flexllm_batch.pricing import Pricer
from flexllm_batch.progress import NoProgress, progress_for
from flexllm_batch.runner import Outcome
from flexllm_batch.sources import MessageLists, MessageStream, RowSource
from flexllm_batch.stop_rules import FailureLimit, parse_failure_limit
from flexllm_core import sync
from flexllm_core.config import load_config, resolve_endpoint
from flexllm_core.endpoint import EndpointConfig, endpoint_from, endpoint_with_key
from flexllm_core.errors import ConfigError, FlexLLMError, InputError
from flexllm_core.json_codec import decode_json
from flexllm_core.messages import MessagesInput
from flexllm_core.options import CHAT_OPTION_NAMES, ChatOptions, SaveInput, params_from_options, unknown_name_message
from flexllm_core.protocol import ChatModel
from flexllm_providers.client import ProviderClient
from flexllm_providers.methods import ChatMethods
from flexllm_providers.retry import Retrying, RetryPolicy

DEFAULT_CONCURRENCY = 50

_CLIENT_ARGUMENTS = ("retry_policy", "track_cost", "transport")
"""What `LLMClient` takes beside the settings of its endpoint."""

_CHOICES: dict[str, tuple[Any, ...]] = {
    "save_input": (True, False, "last"),
    "resume": get_args(ResumeMode),
    "on_bad_row": get_args(OnBadRow),
}
"""Options of few values."""


class BatchOptions(ChatOptions, total=False):
    """Options of the batch methods, beside those of a single call.

    `output_jsonl` (also `output_file`) is the checkpoint file: an interrupted batch goes on with it.
    `metadata` gives each row its own fields for the output line. `show_progress` draws a bar or plain
    lines on standard error. `max_failures` is a number of rows or a share such as "5%".
    """

    output_jsonl: str | Path | None
    output_file: str | Path | None
    save_input: SaveInput
    show_progress: bool
    track_cost: bool
    return_usage: bool
    resume: ResumeMode
    overwrite: bool
    on_bad_row: OnBadRow
    max_failures: int | str | None
    concurrency: int | None
    metadata: Iterable[Mapping[str, Any]] | None


class LLMClient(ChatMethods):
    """A client of one endpoint.

    Args:
        model: The model's id.
        base_url: Up to and including the version, such as `https://api.openai.com/v1`.
        api_key: The key; by default the environment variable of the endpoint's vendor.
        provider: `auto` finds it from the base URL.
        concurrency_limit: Requests in flight at most.
        max_qps: Requests per second at most.
        timeout: Seconds for each attempt.
        retry_times: Retries after the first attempt of a call.
        retry_policy: How failed calls are retried, in detail.
        track_cost: Put a cost on each answer.
        transport: Sends the requests, as in `ProviderClient`.
        endpoint: Everything above in one value, instead of the single arguments.
        settings: Any other field of `EndpointConfig`.

    Raises:
        ConfigError: A setting is unknown or unusable.
    """

    def __init__(
        self,
        model: str | None = None,
        base_url: str | None = None,
        api_key: str | None = None,
        *,
        provider: str = "auto",
        concurrency_limit: int | None = None,
        max_qps: float | None = None,
        timeout: float | None = None,
        retry_times: int | None = None,
        retry_policy: RetryPolicy | None = None,
        track_cost: bool = False,
        transport: Any = None,
        endpoint: EndpointConfig | None = None,
        **settings: Any,
    ) -> None:
        given = {
            "model": model,
            "base_url": base_url,
            "api_key": api_key,
            "provider": None if provider == "auto" else provider,
            "concurrency_limit": concurrency_limit,
            "max_qps": max_qps,
            "timeout": timeout,
            "retry_times": retry_times,
        }
        given = {name: value for name, value in given.items() if value is not None} | settings
        if endpoint is None:
            endpoint = endpoint_with_key(endpoint_from(given, "LLMClient"))
        elif given:
            raise ConfigError(f"LLMClient: {', '.join(given)} belong into the endpoint that is given beside them")
        self.endpoint = endpoint
        self.concurrency = endpoint.concurrency_limit or DEFAULT_CONCURRENCY
        provider_client = ProviderClient(endpoint, transport=transport)
        limited = Limited(provider_client, concurrency=self.concurrency, max_qps=endpoint.max_qps)
        policy = (retry_policy or RetryPolicy()).with_retry_times(endpoint.retry_times)
        self._retrying = Retrying(limited, policy)
        self._pricer = Pricer(endpoint.price, endpoint.base_url)
        chat_model: ChatModel = Metered(self._retrying, self._pricer) if track_cost else self._retrying
        super().__init__(chat_model, model=endpoint.model, params=endpoint.params, read=provider_client.read)

    @classmethod
    def from_config(cls, model: str | None = None, *, path: str | Path | None = None, **settings: Any) -> Self:
        """A client of a model of the configuration file, the default one when none is named.

        Args:
            model: Name or id of an entry.
            path: The file; by default the user's own.
            settings: Any argument of `LLMClient`; it wins over the file.

        Raises:
            NotConfiguredError: There is no such model or file.
            ConfigError: The file or a setting is unusable.
        """
        where = {name: settings.pop(name, None) for name in ("base_url", "api_key", "provider")}
        endpoint = resolve_endpoint(load_config(path), model=model, **where)
        own = {name: settings.pop(name) for name in list(settings) if name not in _CLIENT_ARGUMENTS}
        if own:
            endpoint = endpoint_from({**endpoint.model_dump(exclude_unset=True), **own}, "LLMClient.from_config")
        return cls(endpoint=endpoint, **settings)

    @property
    def cost_report(self) -> CostReport:
        """What this client's calls have cost; empty unless it was made with `track_cost=True`."""
        return self.chat_model.report if isinstance(self.chat_model, Metered) else CostReport()

    async def chat_batch(self, messages_list: Iterable[MessagesInput], **options: Unpack[BatchOptions]) -> BatchResult:
        """Answer every item of a list; failed rows have an `error` and do not raise.

        Raises:
            InputError: An item is unusable, unless `on_bad_row` says otherwise; nothing was sent.
            JournalError: The output cannot be used.
            ConfigError: An option is unknown or unusable.
        """
        _check_several(messages_list)
        messages = messages_list if isinstance(messages_list, list) else list(messages_list)
        run = _BatchRun(self, MessageLists(messages, options.get("metadata")), options)
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
        return _BatchRun(self, _source_for(messages, options), options).items()

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

    def chat_completions_batch_sync(
        self, messages_list: Iterable[MessagesInput], **options: Unpack[BatchOptions]
    ) -> list[str | None]:
        """`chat_completions_batch`, waiting for the result."""
        return sync.run(lambda: self.chat_completions_batch(messages_list, **options))

    def metered(self) -> Metered:
        """This client's chat model with a cost report of its own."""
        return Metered(self.chat_model, self._pricer)


class RowSkippedError(FlexLLMError):
    """A row that was not asked: it was bad and left out, or the run stopped before it."""


class _BatchRun:
    """One batch call of a client: its options, and its outcomes as a stream of items."""

    def __init__(
        self,
        client: LLMClient,
        source: RowSource | MessageStream,
        options: BatchOptions,
    ) -> None:
        check_batch_options(options)
        track_cost = options.get("track_cost", isinstance(client.chat_model, Metered))
        self._metered = client.metered() if track_cost else None
        self._window = min(options.get("concurrency") or client.concurrency, client.concurrency)
        settings = batch_settings(client, options, self._window, track_cost=track_cost)
        self._finished: deque[BatchItem] = deque()
        self._arrived = asyncio.Event()
        self._room = asyncio.Event()
        progress = progress_for(track_cost=track_cost) if options.get("show_progress") else NoProgress()
        chat_model: ChatModel = self._metered or client.chat_model
        if options.get("preprocess"):
            from flexllm_providers.media_model import embedding_media  # only rows with media need it

            chat_model = embedding_media(chat_model, options.get("media_root"))
        self.batch = Batch(
            chat_model,
            source,
            settings,
            on_outcome=self._put,
            progress=progress,
        )

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


def _source_for(
    messages: Iterable[MessagesInput] | AsyncIterable[MessagesInput], options: BatchOptions
) -> RowSource | MessageStream:
    _check_several(messages)
    if isinstance(messages, list | tuple):
        return MessageLists(messages, options.get("metadata"))
    if options.get("metadata") is not None:
        raise ConfigError("metadata needs a list of messages, not an iterator")
    return MessageStream(messages)


def _check_several(messages: object) -> None:
    """Refuse a single text or message: its characters or keys would be asked one by one."""
    if isinstance(messages, str | bytes | Mapping):
        raise InputError(f"expected several messages, one for each row, found a single {type(messages).__name__}")


def check_batch_options(options: Mapping[str, Any]) -> None:
    """Refuse unknown options, and values that could only be mistakes.

    Raises:
        ConfigError: With a suggestion.
    """
    known = CHAT_OPTION_NAMES | BatchOptions.__annotations__.keys()
    for name in options:
        if name not in known:
            raise ConfigError(unknown_name_message("option", name, frozenset(known)))
    for name, choices in _CHOICES.items():
        if name in options and options[name] not in choices:
            raise ConfigError(f"{name} is {options[name]!r}; expected one of {', '.join(map(repr, choices))}")
    concurrency = options.get("concurrency")
    if concurrency is not None and (type(concurrency) is not int or concurrency < 1):
        raise ConfigError(f"concurrency is {concurrency!r}; expected a number of rows above 0")
    if options.get("output_jsonl") is not None and options.get("output_file") is not None:
        raise ConfigError("output_file is another name of output_jsonl; give one of them")


def batch_settings(client: LLMClient, options: BatchOptions, window: int, *, track_cost: bool) -> BatchSettings:
    """The settings of a batch from the options of its call."""
    chat = {name: value for name, value in options.items() if name in CHAT_OPTION_NAMES}
    limit = options.get("max_failures")
    return BatchSettings(
        model=options.get("model") or client.model,
        params={**client.params, **params_from_options(chat)},
        extra_headers=options.get("extra_headers") or {},
        window=window,
        output=options.get("output_jsonl") or options.get("output_file"),
        save_input=options.get("save_input", True),
        return_usage=options.get("return_usage", True),
        resume=options.get("resume", "auto"),
        overwrite=options.get("overwrite", False),
        on_bad_row=options.get("on_bad_row", "fail"),
        max_failures=FailureLimit() if limit is None else parse_failure_limit(str(limit)),
        track_cost=track_cost,
    )
