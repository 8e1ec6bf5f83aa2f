"""Where rows come from: which source a path has, Python values, and the records of a source.

A source can be read more than once, because a batch first reads all rows to plan and only then asks
them; standard input is therefore kept in an unnamed temporary file, never in memory.
"""

from __future__ import annotations

import itertools
import sys
import tempfile
from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from flexllm_batch.inputs.json_source import JsonLines, Skip, SpooledLines
from flexllm_batch.inputs.records import Record, RowShape, read_record
from flexllm_batch.inputs.row_files import SKIPPED, Row, RowSource, unwritable
from flexllm_batch.inputs.table_sources import DelimitedText, ParquetFile
from flexllm_core.errors import InputError
from flexllm_core.json_codec import encode_json
from flexllm_core.messages import MessagesInput, normalize_messages


class MessageLists:
    """Messages given in Python as a list, with further fields for each where the caller has some."""

    name = "messages"

    def __init__(self, messages: Sequence[MessagesInput], metadata: Iterable[Mapping[str, Any]] | None = None) -> None:
        self._messages = messages
        self._metadata = None if metadata is None else list(metadata)
        if self._metadata is not None and len(self._metadata) != len(messages):
            raise InputError(f"metadata has {len(self._metadata)} entries for {len(messages)} rows")

    def rows(self) -> Iterator[Row]:
        """Each item as a row."""
        if self._metadata is None:
            for number, messages in enumerate(self._messages, 1):
                yield number, {"messages": messages}
        else:
            for number, (messages, more) in enumerate(zip(self._messages, self._metadata, strict=True), 1):
                yield number, unwritable(more, "metadata", number) or {**more, "messages": messages}


class MessageStream:
    """Messages given in Python one by one, by an iterable or async iterable that can be read only once."""

    def __init__(self, messages: Iterable[MessagesInput] | AsyncIterable[MessagesInput]) -> None:
        self._messages = messages

    async def spool(self) -> SpooledLines:
        """All of them in a temporary file, so that they can be read again.

        Raises:
            InputError: An item cannot be written as JSON.
        """
        with tempfile.TemporaryFile() as file:
            if isinstance(self._messages, AsyncIterable):
                async for messages in self._messages:
                    file.write(encode_json({"messages": messages}) + b"\n")
            else:
                for messages in self._messages:
                    file.write(encode_json({"messages": messages}) + b"\n")
            file.seek(0)
            return SpooledLines(file, "messages")

    def records(
        self, shape: RowShape, limit: int | None, wanted: Callable[[Record], bool]
    ) -> Iterator[Record] | AsyncIterator[Record]:
        """The records as they come, those that are `wanted`."""
        if isinstance(self._messages, AsyncIterable):
            return self._async_records(self._messages, shape, limit, wanted)
        items = enumerate(itertools.islice(self._messages, limit))
        return filter(wanted, (_message_record(index, messages, shape) for index, messages in items))

    async def _async_records(
        self,
        messages_stream: AsyncIterable[MessagesInput],
        shape: RowShape,
        limit: int | None,
        wanted: Callable[[Record], bool],
    ) -> AsyncIterator[Record]:
        if limit == 0:
            return
        index = 0
        async for messages in messages_stream:
            record = _message_record(index, messages, shape)
            if wanted(record):
                yield record
            index += 1
            if limit is not None and index >= limit:
                return  # without taking one more


def _message_record(index: int, messages: MessagesInput, shape: RowShape) -> Record:
    try:
        if not (shape.system or shape.user_field or shape.system_field):
            return Record(index, normalize_messages(messages))
        return read_record(index, {"messages": messages}, shape)
    except InputError as error:
        return Record(index, [], error=InputError(f"item {index}: {error}"))


def open_source(path: str | Path) -> RowSource:
    """The source for a path, by its ending; `-` is standard input, where rows must be JSON Lines.

    Raises:
        FileNotFoundError: There is no such file.
        InputError: It is a folder.
    """
    if str(path) == "-":
        return SpooledLines(sys.stdin.buffer)
    file = Path(path)
    if not file.exists():
        raise FileNotFoundError(f"{file}: no such input file")
    if file.is_dir():
        raise InputError("is a folder; expected a file of rows", source=str(file))
    if not file.is_file():
        with file.open("rb") as stream:  # a named pipe or process substitution can be read once only
            return SpooledLines(stream, str(file))
    suffixes = [suffix.lower() for suffix in file.suffixes]
    kind = suffixes[-2] if suffixes[-1:] == [".gz"] and len(suffixes) > 1 else suffixes[-1] if suffixes else ""
    if kind == ".csv":
        return DelimitedText(file, ",")
    if kind == ".tsv":
        return DelimitedText(file, "\t")
    if kind == ".parquet":
        return ParquetFile(file)
    return JsonLines(file)


def read_records(
    source: RowSource, shape: RowShape, limit: int | None = None, skip: Skip | None = None
) -> Iterator[Record]:
    """The records of a source, but for those to `skip`; one that cannot be asked has its `error` set."""
    rows = source.rows(skip) if isinstance(source, JsonLines | SpooledLines) else source.rows()
    for index, (line, row) in enumerate(itertools.islice(rows, limit)):
        if row is SKIPPED or (skip is not None and skip(index)):
            continue
        if isinstance(row, InputError):
            yield Record(index, [], error=row)
            continue
        try:
            record = read_record(index, row, shape)
            record.line = line
        except InputError as error:
            metadata = dict(row) if isinstance(row, dict) and unwritable(row, source.name, line) is None else {}
            if isinstance(source, MessageLists):  # rows of Python have an index, and no line
                problem = InputError(f"item {index}: {error}")
            else:
                problem = InputError(str(error), source=source.name, line=line)
            record = Record(index, [], metadata=metadata, error=problem)
        yield record
