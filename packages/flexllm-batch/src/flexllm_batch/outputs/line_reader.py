"""LineReader: the lines of an open file by their offsets, read in blocks where the offsets are near each other."""

from __future__ import annotations

from flexllm_batch.outputs.journal import pread, read_line

_LINE = 4096
_BEFORE = 64 * 1024
_BEHIND = 192 * 1024


class LineReader:
    """Reads lines whose offsets rise but for small leaps, as those of the rows of a run do.

    A system call for each line would cost more. A line that stands far from the one before is read alone, so that
    rows in any order do not read the file many times over.

    Args:
        fd: The open file; nothing that was read before may change.
    """

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._start = 0
        self._data = b""
        self._last = 0

    def read(self, offset: int) -> bytes:
        """The line at an offset, with its newline."""
        at = offset - self._start
        if 0 <= at < len(self._data):
            end = self._data.find(b"\n", at) + 1
            if end:
                self._last = offset
                return self._data[at:end]
        near, self._last = -_BEFORE <= offset - self._last <= _BEHIND, offset
        before = min(offset, _BEFORE) if near else 0
        self._start = offset - before
        self._data = pread(self._fd, before + _BEHIND if near else _LINE, self._start)
        end = self._data.find(b"\n", before) + 1
        return self._data[before:end] if end else read_line(self._fd, offset, _BEHIND)
