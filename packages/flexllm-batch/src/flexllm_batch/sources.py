"""Where rows come from: files of several formats, standard input, and Python values.

A source can be read more than once, because a batch first reads all rows to plan and only then asks
them; standard input is therefore kept in an unnamed temporary file, never in memory.
"""

from __future__ import annotations

import csv
import gzip
import io
import itertools
import shutil
import sys
import tempfile
import zlib
from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any, Protocol

from flexllm_batch.records import Record, RowShape, read_record
from flexllm_core.errors import InputError, MissingExtraError
from flexllm_core.json_codec import MAX_DEPTH, decode_json, encode_json
from flexllm_core.messages import MessagesInput, normalize_messages

_BOM = b"\xef\xbb\xbf"
_GZIP_MAGIC = b"\x1f\x8b"
_UNREADABLE = (OSError, EOFError, zlib.error)
"""What a failing disk or a damaged gzip stream raises; reading cannot go on after it."""

_MAX_CELL = 1 << 30

Row = tuple[int, Any]
"""A line number (or position, from 1) and the row, or the InputError that says why there is none."""


class RowSource(Protocol):
    """Rows that can be read again and again."""

    name: str

    def rows(self) -> Iterator[Row]:
        """The rows from the first on."""
        ...


class JsonLines:
    """JSON Lines in a file, also gzipped. Blank lines are skipped; BOM and CRLF are fine."""

    def __init__(self, path: Path, name: str | None = None) -> None:
        self.path = path
        self.name = name or str(path)

    def rows(self) -> Iterator[Row]:
        """The rows; a line that is not JSON comes as its InputError."""
        with _open_bytes(self.path, self.name) as file:
            yield from json_rows(file, self.name)


class SpooledLines:
    """JSON Lines from a stream that can be read only once, kept in a temporary file."""

    def __init__(self, stream: IO[bytes], name: str = "standard input") -> None:
        self.name = name
        self._file = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as the source
        shutil.copyfileobj(stream, self._file, 1 << 20)

    def rows(self) -> Iterator[Row]:
        """The rows from the first on; one reader at a time."""
        self._file.seek(0)
        head = self._file.read(2)
        self._file.seek(0)
        lines: Iterable[bytes] = gzip.GzipFile(fileobj=self._file) if head == _GZIP_MAGIC else self._file
        yield from json_rows(lines, self.name)

    def close(self) -> None:
        """Remove the temporary file."""
        self._file.close()


def json_rows(lines: Iterable[bytes], name: str) -> Iterator[Row]:
    """Parse JSON Lines, numbering the lines from 1."""
    iterator = iter(lines)
    for number in itertools.count(1):
        try:
            line = next(iterator, None)
        except _UNREADABLE as error:
            yield number, InputError(f"cannot be read: {error}", source=name, line=number)
            return
        if line is None:
            return
        if number == 1:
            line = line.removeprefix(_BOM)
        try:
            row = decode_json(line)
            if line.count(b"[") + line.count(b"{") >= MAX_DEPTH:
                # Its metadata stand one level deeper in the output, where they must be read again.
                decode_json(b"[" + line + b"]")
        except ValueError as error:
            if line.strip():
                yield number, InputError(f"not valid JSON: {_reason(error, line)}", source=name, line=number)
        else:
            yield number, row


def _reason(error: ValueError, line: bytes) -> str:
    try:
        line.decode("utf-8")
    except UnicodeDecodeError:
        return "the line is not UTF-8 text"
    return str(error).replace(" at line 1 column", " at column").replace(": line 1 column", ": column")


class DelimitedText:
    """CSV or TSV with a header line; every value is a text. Rows may have fewer values than the header."""

    def __init__(self, path: Path, delimiter: str) -> None:
        self.path = path
        self.name = str(path)
        self.delimiter = delimiter

    def rows(self) -> Iterator[Row]:
        """The rows as dicts; one that cannot be read comes as its InputError."""
        # The limit is the module's and meant for a quote that is never closed, which `strict` reports.
        csv.field_size_limit(max(csv.field_size_limit(), _MAX_CELL))
        with _open_bytes(self.path, self.name) as file:
            text = io.TextIOWrapper(file, "utf-8-sig", newline="")
            reader = csv.reader(text, delimiter=self.delimiter, strict=True)
            header: list[str] | None = None
            while True:
                line = reader.line_num + 1
                try:
                    values = next(reader, None)
                except csv.Error as error:
                    yield line, self._bad_row(line, f"cannot be read: {error}")
                    if header is None:
                        return  # without a header the next row would be taken for one
                    continue
                except (UnicodeDecodeError, *_UNREADABLE) as error:
                    yield line, self._bad_row(line, f"cannot be read: {error}")
                    return
                if values is None:
                    return
                if not values:
                    continue
                if header is None:
                    header = values
                    if len(set(header)) < len(header):
                        yield line, self._bad_row(line, "the header names a column twice")
                        return
                elif len(values) > len(header):
                    yield line, self._bad_row(line, f"has more values than the header's {len(header)}")
                else:
                    yield line, dict(zip(header, values, strict=False))

    def _bad_row(self, line: int, problem: str) -> InputError:
        return InputError(problem, source=self.name, line=line)


class ParquetFile:
    """Apache Parquet, read by row group."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.name = str(path)

    def rows(self) -> Iterator[Row]:
        """The rows as dicts, numbered from 1."""
        try:
            from pyarrow import parquet  # an optional and heavy library
        except ImportError:
            raise MissingExtraError(
                f"{self.name}: reading Parquet needs the extra `parquet`: pip install 'flexllm-batch[parquet]'"
            ) from None
        try:
            with parquet.ParquetFile(self.path) as file:
                batches = (batch.to_pylist() for batch in file.iter_batches(batch_size=1024))
                for number, row in enumerate(itertools.chain.from_iterable(batches), 1):
                    yield number, unwritable(row, self.name, number) or row
        except (OSError, ValueError) as error:
            raise InputError(f"cannot be read as Parquet: {error}", source=self.name) from None


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


def unwritable(fields: Mapping[str, Any], name: str, number: int) -> InputError | None:
    """Why a row's fields could not stand in an output line, which must be known before the row is paid for."""
    try:
        encode_json(fields)
    except InputError as error:
        return InputError(str(error), source=name, line=number)
    return None


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


def _open_bytes(path: Path, name: str) -> IO[bytes]:
    try:
        file = path.open("rb")
    except OSError as error:
        raise InputError(f"cannot be read: {error.strerror}", source=name) from None
    if file.read(2) == _GZIP_MAGIC:
        file.close()  # GzipFile closes only a file that it opened itself
        return gzip.open(path)  # type: ignore[return-value]
    file.seek(0)
    return file


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


def read_records(source: RowSource, shape: RowShape, limit: int | None = None) -> Iterator[Record]:
    """The records of a source; one that cannot be asked has its `error` set."""
    rows = source.rows()
    for index, (line, row) in enumerate(itertools.islice(rows, limit)):
        if isinstance(row, InputError):
            yield Record(index, [], error=row)
            continue
        try:
            yield read_record(index, row, shape)
        except InputError as error:
            metadata = dict(row) if isinstance(row, dict) and unwritable(row, source.name, line) is None else {}
            problem = InputError(str(error), source=source.name, line=line)
            yield Record(index, [], metadata=metadata, error=problem)
