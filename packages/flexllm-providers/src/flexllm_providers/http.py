"""The HTTP seam: the values that wires build and read, and the protocol that transports implement."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from typing import Protocol
from urllib.parse import urlsplit


@dataclass(frozen=True, slots=True)
class HttpRequest:
    """One HTTP request.

    `headers` hold credentials, so they and the body are left out of the repr.
    A URL never holds a key. Header names are lower case.
    """

    method: str
    url: str
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(default=b"", repr=False)


@dataclass(frozen=True, slots=True)
class HttpResponse:
    """A whole HTTP response. Header names are lower case; repeated headers are joined with `, `."""

    status: int
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Seconds for each phase of a request; None waits for ever.

    Attributes:
        connect: Name resolution, TCP and TLS handshakes together.
        first_byte: From the request being written to the first byte of the answer.
        idle: Between two bytes of the answer.
        total: The whole call, connecting included.
    """

    connect: float | None = 10.0
    first_byte: float | None = None
    idle: float | None = None
    total: float | None = 600.0


class StreamResponse(Protocol):
    """The head of a streamed answer, and its body as it arrives.

    Iterating gives non-empty chunks in order, with back-pressure: the transport reads no further
    ahead than a bounded buffer. `aclose` may be called at any time and more than once; a body that
    was not read to its end costs the connection, never another request's answer.
    """

    status: int
    headers: Mapping[str, str]

    def __aiter__(self) -> AsyncIterator[bytes]:
        """Iterate over the chunks of the body."""
        ...

    async def aclose(self) -> None:
        """Free the connection."""
        ...


class Transport(Protocol):
    """Sends requests; one instance per event loop.

    Both methods raise `LLMConnectionError` or `LLMTimeoutError` when there is no whole answer, and
    `LLMResponseError` when the answer is larger than the limit or encoded. They never follow
    redirects and never raise for a status: an encoded body of an error status is left out, so that
    the status still says what happened. Cancelling a call closes its connection, so that the
    server stops generating.
    """

    async def send(self, request: HttpRequest, timeouts: Timeouts) -> HttpResponse:
        """Send a request and read the whole answer."""
        ...

    async def stream(self, request: HttpRequest, timeouts: Timeouts) -> StreamResponse:
        """Send a request and return when the head of the answer has arrived."""
        ...

    async def aclose(self) -> None:
        """Close every connection."""
        ...


def origin_of(url: str) -> str:
    """Scheme, host and port of a URL, for messages: no path, query or credentials.

    >>> origin_of("https://user:pw@api.example.com:8443/v1?x=1")
    'https://api.example.com:8443'
    """
    parts = urlsplit(url)
    host = parts.hostname or ""
    host = f"[{host}]" if ":" in host else host
    return f"{parts.scheme}://{host}" + (f":{parts.port}" if parts.port else "")
