"""Tables as sources of rows: CSV, TSV and Parquet."""

from __future__ import annotations

import csv
import io
import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from flexllm_batch.inputs.row_files import MAX_LINE, UNREADABLE, Row, open_bytes, unwritable
from flexllm_core.errors import InputError, MissingExtraError

_STRUCTURED = ("messages", "body", "params")
"""Columns of a Parquet file that are part of the request."""

_BATCH_ROWS = 256


class DelimitedText:
    """CSV or TSV with a header line; every value is a text. Rows may have fewer values than the header."""

    def __init__(self, path: Path, delimiter: str) -> None:
        self.path = path
        self.name = str(path)
        self.delimiter = delimiter

    def rows(self) -> Iterator[Row]:
        """The rows as dicts; one that cannot be read comes as its InputError."""
        # The limit is the module's and meant for a quote that is never closed, which `strict` reports.
        csv.field_size_limit(max(csv.field_size_limit(), MAX_LINE))
        with open_bytes(self.path, self.name) as file:
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
                except (UnicodeDecodeError, *UNREADABLE) as error:
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
    """Apache Parquet, read by row group and within it by a few hundred rows.

    `messages`, `body` and `params` may be nested columns. Fields of theirs that are null are left out:
    a column of structs holds a null for every field that a row lacks and another row has.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.name = str(path)

    def rows(self) -> Iterator[Row]:
        """The rows as dicts, numbered from 1; where the file is damaged its InputError is the last."""
        try:
            from pyarrow import parquet  # an optional and heavy library
        except ImportError:
            raise MissingExtraError(
                f"{self.name}: reading Parquet needs the extra `parquet`: pip install 'flexllm-batch[parquet]'"
            ) from None
        number = 0
        try:
            # Without threads and read-ahead: other row groups than the one being read take no memory.
            with parquet.ParquetFile(self.path, pre_buffer=False) as file:
                batches = file.iter_batches(batch_size=_BATCH_ROWS, use_threads=False)
                lists = (batch.to_pylist(maps_as_pydicts="lossy") for batch in batches)
                for row in itertools.chain.from_iterable(lists):
                    number += 1
                    yield number, unwritable(row, self.name, number) or _without_nulls(row)
        except (OSError, ValueError) as error:
            problem = " ".join(str(error).split())
            yield number + 1, InputError(f"cannot be read as Parquet: {problem}", source=self.name, line=number + 1)


def _without_nulls(row: dict[str, Any]) -> dict[str, Any]:
    for name in _STRUCTURED:
        if isinstance(row.get(name), dict | list):
            row[name] = _pruned(row[name])
    return row


def _pruned(value: Any) -> Any:
    """A copy without the fields of dicts that are None; items of lists are all kept."""
    if isinstance(value, dict):
        return {key: _pruned(item) for key, item in value.items() if item is not None}
    if isinstance(value, list):
        return [_pruned(item) for item in value]
    return value
