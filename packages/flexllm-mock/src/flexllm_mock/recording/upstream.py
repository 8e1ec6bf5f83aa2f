"""A client for the real endpoint behind the recorder: one request per connection, the answer piece by piece."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Self
from urllib.parse import urlsplit

import h11

from flexllm_mock.asgi import Headers

_CONNECT_SECONDS = 30.0
_READ_BYTES = 64 * 1024
_MAX_HEAD_BYTES = 256 * 1024
_HOP_BY_HOP = frozenset(
    b"connection keep-alive proxy-authenticate proxy-authorization proxy-connection te trailer transfer-encoding "
    b"upgrade expect".split()
)
_OWN = frozenset((b"host", b"content-length", b"accept-encoding"))


class UpstreamError(Exception):
    """The endpoint cannot be reached, or does not speak HTTP; the message says which and why."""


class UpstreamCutError(UpstreamError):
    """The endpoint hung up in the middle of its answer."""


@dataclass(frozen=True, slots=True)
class Upstream:
    """The address of a real endpoint."""

    scheme: str
    host: str
    port: int
    path: str

    @classmethod
    def parse(cls, url: str) -> Self:
        """Read a URL. Raises ValueError for one that is not http or https, or holds a password."""
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError(f"{parts.scheme}://...: the upstream must be a URL such as https://api.openai.com/v1")
        if parts.username is not None or parts.query or parts.fragment:
            raise ValueError("the upstream's URL must have no user, query or fragment: keys come with the requests")
        port = parts.port or (443 if parts.scheme == "https" else 80)
        return cls(parts.scheme, parts.hostname, port, parts.path.rstrip("/"))

    def target(self, path: str, query: bytes) -> bytes:
        """Return the target of a request to the recorder at the endpoint.

        What the upstream's path ends with and the request's begins with, such as `/v1`, is there once.
        """
        for at in range(len(self.path)):
            if self.path[at] == "/" and (path == self.path[at:] or path.startswith(self.path[at:] + "/")):
                path = path[len(self.path) - at :]
                break
        target = (self.path + path).encode("latin-1", "replace") or b"/"
        return target + b"?" + query if query else target

    @property
    def origin(self) -> str:
        """Scheme, host and port, for messages."""
        return f"{self.scheme}://{self._authority}"

    @property
    def _authority(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == (443 if self.scheme == "https" else 80) else f"{host}:{self.port}"

    @contextlib.asynccontextmanager
    async def exchange(self, method: str, target: bytes, headers: Headers, body: bytes) -> AsyncIterator[UpstreamReply]:
        """Send a request and give its answer, whose headers have come. Raises UpstreamError."""
        tls = ssl.create_default_context() if self.scheme == "https" else None
        try:
            async with asyncio.timeout(_CONNECT_SECONDS):
                reader, writer = await asyncio.open_connection(self.host, self.port, ssl=tls)
        except TimeoutError:
            raise UpstreamError(f"{self.origin} does not answer within {_CONNECT_SECONDS:g} s") from None
        except OSError as error:  # ssl.SSLError is one
            raise UpstreamError(f"cannot connect to {self.origin}: {error.strerror or error}") from None
        try:
            reply = UpstreamReply(reader, self.origin)
            writer.write(reply.request(method, target, self._sent(headers, body), body))
            try:
                await writer.drain()
                await reply.begin()
            except OSError as error:
                raise UpstreamError(f"{self.origin} hung up: {error.strerror or error}") from None
            yield reply
        finally:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()

    def _sent(self, headers: Headers, body: bytes) -> Headers:
        kept = [header for header in end_to_end(headers) if header[0] not in _OWN]
        length = [(b"content-length", b"%d" % len(body))]
        # Uncompressed, so that what is recorded can be read, and searched for keys.
        own = [(b"host", self._authority.encode()), (b"accept-encoding", b"identity"), (b"connection", b"close")]
        return [*own, *kept, *length]


class UpstreamReply:
    """An answer while it arrives: `status` and `headers`, then its pieces."""

    def __init__(self, reader: asyncio.StreamReader, origin: str) -> None:
        self._reader = reader
        self._origin = origin
        self._http = h11.Connection(h11.CLIENT, max_incomplete_event_size=_MAX_HEAD_BYTES)
        self.status = 0
        self.headers: Headers = []

    def request(self, method: str, target: bytes, headers: Headers, body: bytes) -> bytes:
        """Return the bytes of a request. Raises UpstreamError for one that HTTP does not allow."""
        try:
            parts = [self._http.send(h11.Request(method=method, target=target, headers=headers))]
            parts.append(self._http.send(h11.Data(data=body)) if body else b"")
            parts.append(self._http.send(h11.EndOfMessage()))
        except h11.LocalProtocolError as error:
            raise UpstreamError(f"the request cannot be forwarded: {error}") from None
        return b"".join([part for part in parts if part])

    async def begin(self) -> None:
        """Wait for the headers. Raises UpstreamError."""
        event = await self._event()
        while isinstance(event, h11.InformationalResponse):
            event = await self._event()
        if not isinstance(event, h11.Response):
            raise UpstreamError(f"{self._origin} hung up without an answer")
        self.status = event.status_code
        self.headers = [(bytes(name), bytes(value)) for name, value in event.headers]

    async def pieces(self) -> AsyncIterator[bytes]:
        """Give the body's pieces as they arrive. Raises UpstreamCutError when it does not come to its end."""
        while True:
            try:
                event = await self._event()
            except (UpstreamError, OSError) as error:
                raise UpstreamCutError(str(error)) from None
            if isinstance(event, h11.Data):
                yield bytes(event.data)
            elif isinstance(event, h11.EndOfMessage):
                return
            else:
                raise UpstreamCutError(f"{self._origin} hung up in the middle of its answer")

    async def _event(self) -> object:
        try:
            event: object = self._http.next_event()
            while event is h11.NEED_DATA:
                self._http.receive_data(await self._reader.read(_READ_BYTES))
                event = self._http.next_event()
        except h11.RemoteProtocolError as error:
            raise UpstreamError(f"{self._origin}: {error}") from None
        return event


def end_to_end(headers: Headers) -> Headers:
    """Return headers, names in lower case, without those that concern one connection only."""
    named: set[bytes] = set()
    for name, value in headers:
        if name.lower() == b"connection":
            named.update(each.strip().lower() for each in value.split(b","))
    return [
        (name.lower(), value)
        for name, value in headers
        if name.lower() not in _HOP_BY_HOP and name.lower() not in named
    ]
