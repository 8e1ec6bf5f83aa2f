"""Compaction: at the end of a complete run the output is rewritten in input order, one line per row."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

from flexllm_batch.inputs.records import Record
from flexllm_batch.outputs.journal import write_durably
from flexllm_batch.outputs.line_reader import LineReader
from flexllm_batch.outputs.lines import rewritten
from flexllm_batch.outputs.replacement import replacing
from flexllm_batch.planning.plan import RowOffsets
from flexllm_core.errors import JournalError
from flexllm_core.json_codec import decode_json
from flexllm_core.options import SaveInput


def compact(
    path: Path,
    offsets: RowOffsets,
    records: Iterable[Record],
    stale: Sequence[int],
    *,
    fingerprint: Callable[[Record], str],
    save_input: SaveInput,
) -> None:
    """Rewrite an output file; the old one stands whole until the new one is whole and on the disk.

    Args:
        path: The file; the caller holds its lock.
        offsets: The line of each row.
        records: The rows again, read only when something moved.
        stale: Answers that belong to no row: appended to `<path>.stale` first.
        fingerprint: That of a record's request, by which its answer is known.
        save_input: What the lines keep of their input.

    Raises:
        JournalError: It cannot be written; the old file is left, valid and complete but not in order.
    """
    try:
        with replacing(path) as new, path.open("rb") as old:
            reader = LineReader(old.fileno())
            if stale:
                write_durably(path.with_name(path.name + ".stale"), map(reader.read, stale))
            shutil.copymode(path, new.name)
            new.writelines(_lines(reader, offsets, _Rows(path, records, fingerprint), save_input))
    except OSError as error:
        raise JournalError(
            f"{path}: the answers are all in it, but it cannot be rewritten in input order: "
            f"{error.strerror or error}; the same command does that later"
        ) from error


class _Rows:
    """The records whose lines are rewritten, found again in the input."""

    def __init__(self, path: Path, records: Iterable[Record], fingerprint: Callable[[Record], str]) -> None:
        self._path = path
        self._records = iter(records)
        self._fingerprint = fingerprint

    def find(self, index: int, key: str) -> Record:
        """The record of a row, if it still is the one that the answer with this key was found for."""
        record = next((row for row in self._records if row.index == index), None)
        if record is None or record.error is not None or self._fingerprint(record) != key:
            raise JournalError(
                f"{self._path}: row {index} of the input has changed during the run; the answers are all in the "
                "output, and the same command brings it in order"
            )
        return record


def _lines(reader: LineReader, offsets: RowOffsets, rows: _Rows, save_input: SaveInput) -> Iterator[bytes]:
    for index, offset, moved in offsets.known():
        line = reader.read(offset)
        if moved:
            value = decode_json(line)
            line = rewritten(value, rows.find(index, value["key"]), save_input)
        yield line if line.endswith(b"\n") else line + b"\n"
