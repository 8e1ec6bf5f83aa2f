"""JSON Lines as a source of rows: from a file, or from a stream that can be read only once."""

from __future__ import annotations

import gzip
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import IO

from flexllm_batch.inputs.row_files import (
    GZIP_MAGIC,
    MAX_LINE,
    SKIPPED,
    TOO_LONG,
    UNREADABLE,
    Row,
    bounded_lines,
    open_bytes,
)
from flexllm_core.errors import InputError
from flexllm_core.json_codec import MAX_DEPTH, decode_finite_json

_BOM = b"\xef\xbb\xbf"
Skip = Callable[[int], bool]
"""Whether nobody wants a row, by its index; such a row is not parsed."""

_UTF16_BOMS = (b"\xff\xfe", b"\xfe\xff")


class JsonLines:
    """JSON Lines in a file, also gzipped. Blank lines are skipped; BOM and CRLF are fine."""

    def __init__(self, path: Path, name: str | None = None) -> None:
        self.path = path
        self.name = name or str(path)

    def rows(self, skip: Skip | None = None) -> Iterator[Row]:
        """The rows; a line that is not JSON comes as its InputError."""
        with open_bytes(self.path, self.name) as file:
            yield from json_rows(bounded_lines(file), self.name, skip)


class SpooledLines:
    """JSON Lines from a stream that can be read only once, kept in a temporary file."""

    def __init__(self, stream: IO[bytes], name: str = "standard input") -> None:
        self.name = name
        self._file = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as the source
        shutil.copyfileobj(stream, self._file, 1 << 20)

    def rows(self, skip: Skip | None = None) -> Iterator[Row]:
        """The rows from the first on; one reader at a time."""
        self._file.seek(0)
        head = self._file.read(2)
        self._file.seek(0)
        file: IO[bytes] = self._file
        if head == GZIP_MAGIC:
            file = gzip.GzipFile(fileobj=self._file)  # type: ignore[assignment]
        yield from json_rows(bounded_lines(file), self.name, skip)

    def close(self) -> None:
        """Remove the temporary file."""
        self._file.close()


def json_rows(lines: Iterable[bytes], name: str, skip: Skip | None = None) -> Iterator[Row]:
    """Parse JSON Lines, numbering the lines from 1. NaN and the infinities, which JSON does not have, are null."""
    number = index = 0
    try:
        for found in lines:
            number += 1
            line = found if number > 1 else found.removeprefix(_BOM)
            if skip is not None and skip(index):
                if line.strip():
                    index += 1
                    yield number, SKIPPED
                continue
            try:
                row = decode_finite_json(line)
                # What is opened is closed again, so that a short line cannot be deep.
                if len(line) >= 2 * MAX_DEPTH and line.count(b"[") + line.count(b"{") >= MAX_DEPTH:
                    # Its metadata stand one level deeper in the output, where they must be read again.
                    decode_finite_json(b"[" + line + b"]")
            except ValueError as error:
                if line.strip():
                    index += 1
                    yield number, InputError(f"not valid JSON: {_reason(error, line)}", source=name, line=number)
            else:
                index += 1
                yield number, row
    except UNREADABLE as error:
        yield number + 1, InputError(f"cannot be read: {error}", source=name, line=number + 1)


def _reason(error: ValueError, line: bytes) -> str:
    if line == TOO_LONG:
        return f"the line is longer than {MAX_LINE >> 20} MiB"
    try:
        line.decode("utf-8")
    except UnicodeDecodeError:
        utf16 = line.startswith(_UTF16_BOMS)
        return "the file is UTF-16; expected UTF-8" if utf16 else "the line is not UTF-8 text"
    return str(error).replace(" at line 1 column", " at column").replace(": line 1 column", ": column")
