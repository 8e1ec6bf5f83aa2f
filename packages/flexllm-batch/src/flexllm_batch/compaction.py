"""Compaction: at the end of a complete run the output is rewritten in input order, one line per row."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from flexllm_batch.answers import NO_OFFSET
from flexllm_batch.journal import read_line, sync_folder, write_durably
from flexllm_batch.lines import rewritten
from flexllm_batch.plan import RowOffsets
from flexllm_batch.records import Record
from flexllm_core.errors import JournalError
from flexllm_core.json_codec import decode_json
from flexllm_core.options import SaveInput

_BUFFER = 1 << 20


def compact(
    path: Path,
    offsets: RowOffsets,
    records: Iterable[Record],
    stale: Sequence[int],
    *,
    save_input: SaveInput,
) -> None:
    """Rewrite an output file; the old one stands whole until the new one is whole and on the disk.

    Args:
        path: The file; the caller holds its lock.
        offsets: The line of each row.
        records: The rows again, read only when something moved.
        stale: Answers that belong to no row: appended to `<path>.stale` first.
        save_input: What the lines keep of their input.

    Raises:
        JournalError: It cannot be written; the old file is left, valid and complete but not in order.
    """
    temporary = path.with_name(path.name + ".tmp")
    try:
        with path.open("rb") as old:
            if stale:
                write_durably(path.with_name(path.name + ".stale"), (read_line(old.fileno(), at) for at in stale))
            with temporary.open("wb", buffering=_BUFFER) as new:
                shutil.copymode(path, temporary)
                new.writelines(_lines(old.fileno(), offsets, records, save_input))
                new.flush()
                os.fsync(new.fileno())
        temporary.replace(path)
        sync_folder(path.parent)
    except OSError as error:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise JournalError(
            f"{path}: the answers are all in it, but it cannot be rewritten in input order: "
            f"{error.strerror or error}; the same command does that later"
        ) from error


def _lines(fd: int, offsets: RowOffsets, records: Iterable[Record], save_input: SaveInput) -> Iterator[bytes]:
    rows = iter(records) if offsets.any_moved else iter(())
    for index in range(len(offsets)):
        offset = offsets.get(index)
        if offset == NO_OFFSET:
            continue
        line = read_line(fd, offset)
        if offsets.is_moved(index):
            record = next(row for row in rows if row.index == index)
            line = rewritten(decode_json(line), record, save_input)
        yield line
