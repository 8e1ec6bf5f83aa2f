"""An incremental parser of server-sent events, fed with the bytes of a body in any pieces.

Format: WHATWG HTML, section 9.2. Fields other than `event` and `data` are not needed here. Servers of
language models also send comments as keep-alive, CRLF line ends, and data lines without a space.
"""

from __future__ import annotations

from dataclasses import dataclass

from flexllm_core.errors import LLMResponseError

MAX_EVENT_BYTES = 16 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class ServerSentEvent:
    """One event: its name, empty where the server gives none, and its data lines joined with LF."""

    event: str
    data: str


class SSEParser:
    """Turns bytes into events. Any split of the same bytes gives the same events."""

    def __init__(self, max_event_bytes: int = MAX_EVENT_BYTES) -> None:
        self._max = max_event_bytes
        self._tail: list[bytes] = []  # the pieces after the last line end; joined once, however many there are
        self._tail_size = 0
        self._after_cr = False  # the last byte was a CR: an LF that follows belongs to it
        self._first = True
        self._event = ""
        self._data: list[str] = []
        self._size = 0

    def feed(self, chunk: bytes) -> list[ServerSentEvent]:
        """The events that `chunk` completes.

        Raises:
            LLMResponseError: An event is larger than the limit.
        """
        if self._after_cr and chunk:
            self._after_cr = False
            chunk = chunk.removeprefix(b"\n")
        if not chunk:
            return []
        self._after_cr = chunk.endswith(b"\r")
        if b"\r" in chunk:
            chunk = chunk.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        first, *lines = chunk.split(b"\n")
        self._tail.append(first)
        self._tail_size += len(first)
        out: list[ServerSentEvent] = []
        for line in lines:
            self._check_size()
            self._line(b"".join(self._tail), out)
            self._tail, self._tail_size = [line], len(line)
        self._check_size()
        return out

    def _check_size(self) -> None:
        if self._size + self._tail_size > self._max:
            raise LLMResponseError(f"the stream holds an event of more than {self._max} bytes", kind="refused")

    def close(self) -> list[ServerSentEvent]:
        """The events at the end of the body: a last event without its blank line counts if it has data.

        The standard drops it, but servers that end the body right after their last line are common,
        and a wire decides itself whether the stream was whole.
        """
        out: list[ServerSentEvent] = []
        self._line(b"".join(self._tail), out)
        self._line(b"", out)
        self._tail, self._tail_size = [], 0
        return out

    def _line(self, line: bytes, out: list[ServerSentEvent]) -> None:
        if self._first:
            self._first = False
            line = line.removeprefix(b"\xef\xbb\xbf")
        if not line:
            if self._data:
                out.append(ServerSentEvent(self._event, "\n".join(self._data)))
            self._event, self._data, self._size = "", [], 0
            return
        name, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if name == b"data":
            self._data.append(value.decode("utf-8", "replace"))
            self._size += len(value) + 1  # empty lines count too
        elif name == b"event":
            self._event = value.decode("utf-8", "replace")
