"""What an output file holds before a run: its answers, and the damage that an earlier crash left."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import IO, Any

from flexllm_batch.inputs.row_files import MAX_LINE
from flexllm_batch.outputs.answers import AnswerIndex
from flexllm_batch.outputs.journal import write_durably
from flexllm_batch.outputs.lines import is_output_line
from flexllm_core.errors import JournalConflictError
from flexllm_core.json_codec import decode_json

_OUR_START = b'{"index":'
_BUFFER = 256 * 1024


@dataclass(slots=True)
class Scan:
    """The result of reading an output file.

    Attributes:
        answers: The index of its answers.
        lines: Lines that are not blank.
        blank: Blank lines.
        errors: Lines of failed rows; they are asked again.
        foreign: Lines that are JSON but not ours.
        bad: Offset and length of each line that is unreadable or foreign.
        torn: Bytes of a last line that was cut off while it was written.
        unterminated: The last line is whole but lacks its newline.
        end: Offset after the last whole line.
        sample: The first answer, for messages.
    """

    answers: AnswerIndex = field(default_factory=AnswerIndex)
    lines: int = 0
    blank: int = 0
    errors: int = 0
    foreign: int = 0
    bad: list[tuple[int, int]] = field(default_factory=list)
    torn: int = 0
    unterminated: bool = False
    end: int = 0
    sample: dict[str, Any] | None = None

    @property
    def ours(self) -> int:
        """Lines that this tool wrote."""
        return len(self.answers) + self.errors


def scan_output(path: Path) -> Scan:
    """Read an output file line by line; changes nothing.

    Raises:
        JournalConflictError: None of its lines is ours: it is another tool's file.
        OSError: It cannot be read.
    """
    scan = Scan()
    offset = 0
    with path.open("rb", buffering=_BUFFER) as file:
        for line in file:
            _scan_line(scan, line, offset)
            offset += len(line)
    scan.end = offset - scan.torn
    foreign_torn = scan.torn and not scan.ours and not scan.bad and not _may_be_ours(path)
    if (scan.bad and not scan.ours) or foreign_torn:
        raise JournalConflictError(
            f"{path} was not written by flexllm (no line has its index, status and key); it is left as it is. "
            "Choose another output, or replace it with --overwrite (overwrite=True)"
        )
    return scan


def is_output(path: Path) -> bool:
    """Whether the first line of a file is one of ours."""
    with path.open("rb") as file:
        first = file.readline(MAX_LINE)
    try:
        return is_output_line(decode_json(first))
    except ValueError:
        return _OUR_START.startswith(first[: len(_OUR_START)])


def _scan_line(scan: Scan, line: bytes, offset: int) -> None:
    try:
        value = decode_json(line)
    except ValueError:
        value = None
    if is_output_line(value):
        scan.lines += 1
        if value["status"] == "error":
            scan.errors += 1
        else:
            scan.answers.add(value["key"], offset)
            if scan.sample is None:
                scan.sample = value
        if not line.endswith(b"\n"):
            scan.unterminated = True
    elif value is None and not line.endswith(b"\n"):
        scan.torn = len(line)
    elif not line.strip():
        scan.blank += 1
    else:
        # Whole JSON that lacks only its newline is another tool's line, not a torn one of ours.
        scan.lines += 1
        scan.bad.append((offset, len(line)))
        scan.foreign += isinstance(value, dict)


def _may_be_ours(path: Path) -> bool:
    """Whether a file that is nothing but one torn line may be the start of one of our lines.

    After a power cut it may also be nothing but NULs.
    """
    with path.open("rb") as file:
        if _OUR_START.startswith(file.read(len(_OUR_START))):
            return True
        file.seek(0)
        return not any(chunk.strip(b"\0") for chunk in iter(partial(file.read, 1 << 20), b""))


def repair(path: Path, fd: int, scan: Scan) -> list[str]:
    """Mend what the scan found, through the open file `fd`; says what was done.

    A torn last line is cut off. Unreadable lines are copied to `<path>.bad`, which is synced before
    they are blanked out, in place, so that the offsets of all other lines stay as they are.
    """
    notes = []
    if scan.torn:
        os.ftruncate(fd, scan.end)
        notes.append(f"{path}: the last line was torn by a crash and is cut off; its row is asked again")
    if scan.unterminated:
        os.write(fd, b"\n")
        scan.end += 1
    if scan.bad:
        side = path.with_name(path.name + ".bad")
        with path.open("r+b") as file:
            write_durably(side, _lines_at(file, scan.bad))
            for offset, length in scan.bad:
                file.seek(offset)
                file.write(b" " * (length - 1) + b"\n")
        notes.append(f"{path}: {len(scan.bad)} unreadable lines are moved to {side}; their rows are asked again")
    return notes


def _lines_at(file: IO[bytes], places: list[tuple[int, int]]) -> Iterator[bytes]:
    for offset, length in places:
        file.seek(offset)
        yield file.read(length)
