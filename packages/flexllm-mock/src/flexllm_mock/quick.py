"""Answers plain requests at once, in the callback that has read them.

Most requests to a mock need nothing that ASGI is for: the body is here, the answer is made without waiting, and one
write sends it. For those the task, the events and the messages of ASGI would cost more than the answer itself. All
others go the usual way: whatever waits, streams its body in, breaks, or is not for an endpoint that generates answers.
"""

from __future__ import annotations

import asyncio
import http
import logging

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from flexllm_mock.app import MockApp
from flexllm_mock.asgi import ApiRequest, Endpoint, Headers, Reply
from flexllm_mock.delivery import head

# A larger body goes the usual way, which makes its sender wait when it comes too fast.
_MAX_BODY = 60_000
_STATUS_LINES = {status.value: f"HTTP/1.1 {status.value} {status.phrase}\r\n".encode() for status in http.HTTPStatus}
_ERROR = (
    b"HTTP/1.1 500 Internal Server Error\r\ncontent-type: text/plain; charset=utf-8\r\ncontent-length: 21\r\n"
    b"connection: close\r\n\r\nInternal Server Error"
)


class QuickProtocol(HttpToolsProtocol):
    """Uvicorn's HTTP protocol with a short way for plain requests; `mock` is the application behind both ways."""

    mock: MockApp

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin with a connection; a timer that is set once closes it when it is idle for too long."""
        super().connection_made(transport)
        self._endpoint: Endpoint | None = None
        self._path, self._query = "", b""
        self._parts: list[bytes] = []
        self._size = 0
        self._ended = False
        self._last_active = self.loop.time()
        self._idle_timer = self.loop.call_later(self.timeout_keep_alive, self._check_idle)

    def connection_lost(self, exc: Exception | None) -> None:
        """Log a request whose sender has left in its middle."""
        self._idle_timer.cancel()
        if self._endpoint is not None:
            self.mock.abandon(ApiRequest("POST", self._path, self.headers, self._query), self.transport)
            self._endpoint = None
        super().connection_lost(exc)

    def shutdown(self) -> None:
        """Close the connection, after the request that is arriving if there is one."""
        if self._endpoint is None:
            super().shutdown()
        else:
            self._ended = True

    def on_message_begin(self) -> None:
        """Prepare for a request; what ASGI needs of it is made when it is needed."""
        self.url = b""
        self.headers = []
        self.expect_100_continue = False

    def on_headers_complete(self) -> None:
        """Choose the way."""
        if self._ended:
            return
        if self._is_idle and self.mock.is_plain and not self.expect_100_continue:
            parser = self.parser
            if parser.get_method() == b"POST" and parser.get_http_version() == "1.1" and not parser.should_upgrade():
                path, _, self._query = self.url.partition(b"?")
                endpoint = self.mock.quick_endpoint(path)
                if endpoint is not None:
                    self._endpoint, self._path = endpoint, path.decode("ascii")
                    self._parts.clear()
                    self._size = 0
                    return
        self._take_the_usual_way()

    @property
    def _is_idle(self) -> bool:
        cycle: RequestResponseCycle | None = self.cycle
        return cycle is None or cycle.response_complete

    def _take_the_usual_way(self) -> None:
        url, headers, waits = self.url, self.headers, self.expect_100_continue
        self._endpoint = None
        super().on_message_begin()
        self.url, self.expect_100_continue = url, waits
        headers_of_scope: Headers = self.headers
        headers_of_scope += headers
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """Keep a part of the body."""
        if self._ended and self._endpoint is None:
            return
        if self._endpoint is None:
            super().on_body(body)
            return
        self._parts.append(body)
        self._size += len(body)
        if self._size > _MAX_BODY:
            self._change_the_way()

    def _change_the_way(self) -> None:
        """Give a request that has begun the short way to ASGI, with the body that has come so far."""
        parts = self._parts.copy()
        self._take_the_usual_way()
        for part in parts:
            super().on_body(part)

    def on_message_complete(self) -> None:
        """Answer."""
        endpoint = self._endpoint
        if endpoint is None:
            if not self._ended:
                super().on_message_complete()
            return
        if self.flow.write_paused or not self.mock.is_plain:
            self._change_the_way()
            super().on_message_complete()
            return
        body = self._parts[0] if len(self._parts) == 1 else b"".join(self._parts)
        self._endpoint = None
        request = ApiRequest("POST", self._path, self.headers, self._query, body)
        self._last_active = self.loop.time()
        keep = self.parser.should_keep_alive() and not self._ended
        try:
            self.mock.answer_now(endpoint, request, self.transport, self._kept if keep else self._last)
        except Exception:
            logging.getLogger("uvicorn.error").exception("Exception in the mock")
            self.transport.write(_ERROR)
            keep = False
        if not keep:
            self._ended = True
            self.transport.close()

    def _kept(self, reply: Reply) -> None:
        self.transport.write(response(reply, keep=True))

    def _last(self, reply: Reply) -> None:
        self.transport.write(response(reply, keep=False))

    def _check_idle(self) -> None:
        """Close the connection when it was idle for long enough; else look again when it could have been."""
        if self._endpoint is not None or not self._is_idle:
            self._last_active = self.loop.time()
        left = self._last_active + self.timeout_keep_alive - self.loop.time()
        if left <= 0:
            self.timeout_keep_alive_handler()
        else:
            self._idle_timer = self.loop.call_later(left, self._check_idle)


def response(reply: Reply, *, keep: bool) -> bytes:
    """Return a plain reply as HTTP/1.1; `keep` tells whether the connection stays open."""
    lines = [_STATUS_LINES.get(reply.status) or b"HTTP/1.1 %d \r\n" % reply.status]
    for name, value in head(reply):
        lines.append(b"%b: %b\r\n" % (name, value))
    if not keep:
        lines.append(b"connection: close\r\n")
    content = reply.content()
    if reply.steps is None:
        lines.append(b"content-length: %d\r\n\r\n" % len(content))
        lines.append(content)
    else:
        lines.append(b"transfer-encoding: chunked\r\n\r\n")
        if content:
            lines.append(b"%x\r\n%b\r\n" % (len(content), content))
        lines.append(b"0\r\n\r\n")
    return b"".join(lines)
