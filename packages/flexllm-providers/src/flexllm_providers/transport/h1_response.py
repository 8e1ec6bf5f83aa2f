"""Reads one HTTP/1.1 answer after another from bytes, without I/O: limits, encodings, the end of a body."""

from __future__ import annotations

from typing import Any

from httptools import HttpParserError, HttpParserUpgrade, HttpResponseParser

from flexllm_core.errors import LLMConnectionError, LLMRequestError
from flexllm_providers.transport import errors as transport_errors
from flexllm_providers.transport.raw_headers import RawHeaders

MAX_BODY = 64 * 1024 * 1024
MAX_HEAD = 64 * 1024

BODYLESS = frozenset({204, 304})

_END_OF_HEAD = b"\r\n\r\n"
_FIRST_BYTE = ord("H")


class ResponseReader:
    """The answers of one connection, one at a time: `begin`, `feed` until `complete`, `begin` again.

    The parser finds the structure; the bytes of the head are kept as they came and decoded by who
    wants them. Everything that a server can make grow is bounded: the head, the body, and bytes
    that lead nowhere (interim answers, chunk extensions, trailers).

    Attributes:
        status: Status of the answer, once `head_done`.
        head: Its status line and fields, once `head_done`.
        head_done: The head has arrived.
        body: What has arrived of the body since `take_body`.
        complete: The answer is whole.
        keep_alive: The connection may be used again: known at the end, and false also when bytes
            came after the end.

    Args:
        label: The origin, for messages.
        max_body: Bytes of a body.
        max_head: Bytes of a head, interim answers included.
    """

    __slots__ = (
        "_before", "_data", "_discarding", "_failure", "_fed", "_idle_bytes", "_in_pieces", "_interims",
        "_judged", "_label", "_last_size", "_max_body", "_max_head", "_parser", "_size",
        "body", "complete", "head", "head_done", "keep_alive", "status",
    )  # fmt: skip

    def __init__(self, label: str, *, max_body: int = MAX_BODY, max_head: int = MAX_HEAD) -> None:
        self._label = label
        self._max_body = max_body
        self._max_head = max_head
        self._parser: Any = HttpResponseParser(self)
        self._data = self._before = self.head = b""
        self.status = self._interims = self._idle_bytes = self._last_size = 0
        self.keep_alive = self._discarding = self._judged = self._in_pieces = False
        self._failure: LLMRequestError | None = None
        self.begin()

    def begin(self) -> None:
        """Expect the next answer."""
        self.head_done = self.complete = False
        self.body: bytes | bytearray = b""
        self._fed = self._size = 0

    def close(self) -> None:
        """Let go of the parser, which refers back to this object."""
        self._parser = None

    @property
    def started(self) -> bool:
        """Whether any byte of the answer has arrived."""
        return self._fed > 0

    def feed(self, data: bytes) -> None:
        """Take bytes that the server sent.

        Raises:
            LLMConnectionError: This is not HTTP/1.1, or its head is too large.
            LLMResponseError: The body is too large or encoded.
        """
        self._data = data
        self._fed += len(data)
        try:
            self._parser.feed_data(data)
        except (HttpParserError, HttpParserUpgrade) as error:
            if not self.complete:
                raise (self._failure or self._garbage(error)) from None
            self.keep_alive = False
        self._data = b""
        if not self.complete:
            self._check_progress(data)

    def feed_eof(self) -> None:
        """The server has closed its side: the end of a body that lasts until then, else a cut.

        Raises:
            LLMConnectionError: The answer is not whole.
        """
        headers = self.headers()
        framed = "content-length" in headers or headers.get("transfer-encoding", "").lower() == "chunked"
        if framed or not self.head_done:
            raise self.cut("the server closed the connection")
        self.complete = True
        self.keep_alive = False

    def cut(self, reason: str) -> LLMConnectionError:
        """The error for a connection that ended now, saying how far the answer had come."""
        if self.head_done:
            reason += f" in the middle of the body, after {self._size:,} bytes"
        elif self.started:
            reason += " in the middle of the head"
        return transport_errors.broken(self._label, reason)

    def headers(self) -> RawHeaders:
        """The headers of the answer, once `head_done`."""
        return RawHeaders(self.head)

    def take_body(self) -> bytes:
        """The bytes of the body since the last call."""
        body = self.body
        self.body = b""
        return body if isinstance(body, bytes) else bytes(body)

    # Called by the parser. These run for every answer: they do the least that is right.

    def on_message_begin(self) -> None:
        """Stop at the first byte of an answer that nobody asked for."""
        if self.complete:
            raise _StopParsing

    def on_headers_complete(self) -> None:
        """Keep the head, and decide whether the body may be read."""
        parser, data = self._parser, self._data
        status = self.status = parser.get_status_code()
        end = data.find(_END_OF_HEAD)
        if status >= 200 and not self._in_pieces and 0 < end <= self._max_head and data[0] == _FIRST_BYTE:
            self.head = data[:end]
        elif not self._unusual_head(status):
            return
        self.head_done = True
        self.keep_alive = parser.should_keep_alive()
        self._discarding = self._judged = False
        if self.head.lower().find(b"encoding") >= 0:  # twice as fast as `in`
            self._check_encoding()

    def on_body(self, data: bytes) -> None:
        """Take a piece of the body."""
        size = self._size = self._size + len(data)
        if self.body or self._discarding or size > self._max_body:
            self._more_body(data)
        else:
            self.body = data

    def on_message_complete(self) -> None:
        """The answer is whole, unless it was an interim one."""
        self.complete = self.head_done

    # What is rare.

    def _unusual_head(self, status: int) -> bool:
        """A head that came in pieces, after blank lines or interim answers, or is one of those: then False."""
        if 100 <= status < 200:
            self._in_pieces = True
            self._interims += 1
            return False
        rest = self._before + self._data
        for _ in range(self._interims + 1):
            self.head, _, rest = rest.lstrip(b"\r\n").partition(_END_OF_HEAD)
        self._before, self._interims, self._in_pieces = b"", 0, False
        if len(self.head) > self._max_head:
            self._stop(self._head_too_large())
        if status < 100 or not self.head.startswith(b"HTTP/"):
            self._stop(self._garbage("no such status or protocol"))
        return True

    def _more_body(self, data: bytes) -> None:
        if self._size > self._max_body:
            self._stop(transport_errors.too_large(self._label, self._max_body, self.status))
        if self._discarding:
            return
        if isinstance(self.body, bytes):
            # A list of pieces would let a server that sends tiny chunks cost fifty times their size.
            self.body = bytearray(self.body)
        self.body += data

    def _check_encoding(self) -> None:
        headers = self.headers()
        if not is_encoded(headers.get("content-encoding", ""), headers.get("transfer-encoding", "")):
            return
        if self.status < 300:
            self._stop(transport_errors.encoded(self._label, self.status))
        self._discarding = True  # the status of an error says enough, and decides whether to ask again

    def _check_progress(self, data: bytes) -> None:
        """More is to come: check its announced length, and that what comes leads somewhere."""
        if not self.head_done:
            self._in_pieces = True
            self._before += data
            if len(self._before) > self._max_head:
                raise self._head_too_large()
            return
        if not self._judged:
            self._judged = True
            self._idle_bytes = self._last_size = 0
            length = self.headers().get("content-length", "")
            if length.isdecimal() and int(length) > self._max_body and self.status not in BODYLESS:
                raise transport_errors.too_large(self._label, self._max_body, self.status)
        elif self._size > self._last_size:
            self._idle_bytes = 0
            self._last_size = self._size
        else:
            self._idle_bytes += len(data)
            if self._idle_bytes > self._max_head:
                raise transport_errors.broken(self._label, "it sends bytes without end that are no body")

    def _head_too_large(self) -> LLMConnectionError:
        return transport_errors.broken(self._label, f"its head is larger than {self._max_head:,} bytes")

    def _garbage(self, error: object) -> LLMConnectionError:
        switched = isinstance(error, HttpParserUpgrade) or "Upgrade" in str(error)
        reason = "it changes to another protocol" if switched else f"it is not HTTP/1.1 ({error})"
        return transport_errors.broken(self._label, reason)

    def _stop(self, failure: LLMRequestError) -> None:
        self._failure = failure
        raise _StopParsing


def is_encoded(content_encoding: str, transfer_encoding: str) -> bool:
    """Whether the body is anything but the plain bytes, chunked or not."""
    plain = content_encoding.lower() in {"", "identity"}
    return not plain or transfer_encoding.lower() not in {"", "chunked", "identity"}


class _StopParsing(Exception):  # noqa: N818 - a signal to the parser, not an error
    """Raised inside a callback to make the parser stop."""
