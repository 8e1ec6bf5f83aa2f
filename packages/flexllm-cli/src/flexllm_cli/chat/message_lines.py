"""Messages of several lines, put together from the lines that a person types or a program pipes.

A line that ends in a backslash goes on in the next one. A line that begins with three double quotes begins a block,
which ends with a line that ends in them. Pasted text of several lines is one message as it is.
"""

from __future__ import annotations

QUOTES = '"""'


class MessageLines:
    """Takes lines; gives a message when it is whole."""

    def __init__(self) -> None:
        self._lines: list[str] = []
        self._block = False

    @property
    def open(self) -> bool:
        """Whether a message has begun and is not whole."""
        return self._block or bool(self._lines)

    def reset(self) -> None:
        """Forget what has begun."""
        self._lines.clear()
        self._block = False

    def add(self, line: str) -> str | None:
        """The message that this line makes whole; None if there is more to come."""
        if self._block:
            return self._in_block(line)
        if not self._lines and line.lstrip().startswith(QUOTES):
            self._block = True
            return self._in_block(line.lstrip()[len(QUOTES) :], first=True)
        if line.endswith("\\") and "\n" not in line:
            self._lines.append(line[:-1])
            return None
        return self._whole(line)

    def rest(self) -> str | None:
        """What has begun, where no more lines come."""
        return self._whole(None) if self._lines else None

    def _in_block(self, line: str, *, first: bool = False) -> str | None:
        if line.rstrip().endswith(QUOTES):
            last = line.rstrip()[: -len(QUOTES)]
            return self._whole(last or None)
        if line or not first:
            self._lines.append(line)
        return None

    def _whole(self, last: str | None) -> str:
        message = "\n".join([*self._lines, *([] if last is None else [last])])
        self.reset()
        return message
