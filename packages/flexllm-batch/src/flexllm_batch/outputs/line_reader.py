"""LineReader: the lines of an open file by their offsets, read in blocks where the offsets rise."""

from __future__ import annotations

from flexllm_batch.outputs.journal import pread, read_line

_LINE = 4096
_BLOCK = 64 * 1024


class LineReader:
    """Reads lines whose offsets mostly rise, as those of the rows of a run do: a system call for each would cost more.

    A line that stands elsewhere is read alone, so that rows in any order do not read the file many times over.

    Args:
        fd: The open file; nothing that was read before may change.
    """

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._start = 0
        self._data = b""

    def read(self, offset: int) -> bytes:
        """The line at an offset, with its newline."""
        at = offset - self._start
        if 0 <= at < len(self._data):
            end = self._data.find(b"\n", at) + 1
            if end:
                return self._data[at:end]
        goes_on = 0 <= at <= len(self._data)
        self._data, self._start = pread(self._fd, _BLOCK if goes_on else _LINE, offset), offset
        end = self._data.find(b"\n") + 1
        return self._data[:end] if end else read_line(self._fd, offset, _BLOCK)
