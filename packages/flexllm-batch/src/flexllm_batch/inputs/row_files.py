"""What all files of rows have in common: opening them, numbering their rows, and a bound for each line."""

from __future__ import annotations

import gzip
import io
import zlib
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import IO, Any, Protocol, cast

from flexllm_core.errors import InputError
from flexllm_core.json_codec import encode_json

GZIP_MAGIC = b"\x1f\x8b"

UNREADABLE = (OSError, EOFError, zlib.error)
"""What a failing disk or a damaged gzip stream raises; reading cannot go on after it."""

MAX_LINE = 256 << 20
"""Bytes of a line, or of a cell of a table. A longer one is a bad row, and is not read into memory whole."""

_BLOCK = 64 * 1024

TOO_LONG = b"\0too long\0"
"""What stands for a line that is longer than MAX_LINE."""

SKIPPED = object()
"""What stands for a row that nobody wants, and that was not read."""

Row = tuple[int, Any]
"""A line number (or position, from 1) and the row, or SKIPPED, or the InputError that says why there is none."""


class RowSource(Protocol):
    """Rows that can be read again and again."""

    name: str

    def rows(self) -> Iterator[Row]:
        """The rows from the first on."""
        ...


def open_bytes(path: Path, name: str) -> IO[bytes]:
    """Open a file for reading; one that is gzipped, whatever its name, gives what is in it.

    Raises:
        InputError: It cannot be opened.
    """
    try:
        file = path.open("rb")
    except OSError as error:
        raise InputError(f"cannot be read: {error.strerror}", source=name) from None
    if file.read(2) == GZIP_MAGIC:
        file.close()  # GzipFile closes only a file that it opened itself
        return gzip.open(path)  # type: ignore[return-value]
    file.seek(0)
    return file


def bounded_lines(file: IO[bytes], limit: int | None = None) -> Iterator[bytes]:
    """The lines of a file; TOO_LONG for each that is longer than `limit` bytes (MAX_LINE)."""
    most = limit or MAX_LINE
    whole = most + 1  # with its newline
    begun = bytearray()  # a line that goes on in the next block
    # Of a gzipped file `read1` gives all that comes before a damage, and its own `readline` takes ten times as long.
    for block in iter(partial(cast("io.BufferedIOBase", file).read1, _BLOCK), b""):
        lines = io.BytesIO(block).readlines()
        if begun:
            begun += lines[0]
            del begun[whole + 1 :]
            if not lines[0].endswith(b"\n"):
                continue
            lines[0] = bytes(begun)
            begun.clear()
        if not lines[-1].endswith(b"\n"):
            begun += lines.pop()
        for line in lines:
            yield line if len(line) <= whole else TOO_LONG
    if begun:
        yield bytes(begun) if len(begun) <= most else TOO_LONG


def unwritable(fields: Mapping[str, Any], name: str, number: int) -> InputError | None:
    """Why a row's fields could not stand in an output line, which must be known before the row is paid for."""
    try:
        encode_json(fields)
    except InputError as error:
        return InputError(str(error), source=name, line=number)
    return None
