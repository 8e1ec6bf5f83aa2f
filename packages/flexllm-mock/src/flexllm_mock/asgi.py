"""ASGI's types, and the values that pass between the application, the wire formats and the delivery."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass
from typing import Any, Literal, Protocol
from urllib.parse import parse_qsl

from flexllm_mock.scripted import Prescribed

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Headers = list[tuple[bytes, bytes]]
Disconnect = Literal["before", "after_headers", "mid_body"]

BAD_KEY_CODE = "invalid_api_key"
"""The code of the error for a request without the right key."""

JSON_TYPE = b"application/json"
EVENT_STREAM_TYPE = b"text/event-stream"


@dataclass(slots=True)
class ApiRequest:
    """One request as the wire formats see it.

    `model`, `digest` and `event_stream` (the answer is one) are known once the body has been read.
    """

    method: str
    path: str
    headers: Headers
    query: bytes = b""
    body: bytes = b""
    payload: dict[str, Any] | None = None
    model: str | None = None
    digest: bytes | None = None
    event_stream: bool = False


@dataclass(slots=True)
class Reply:
    """What to answer, when, and whether to hang up.

    Either `body` is the whole answer, or `steps` are the pieces of a stream, one per token. `tokens` is the length that
    pacing gives to a whole answer; `delay` is in seconds, before the first byte. `request_id` goes out in the header
    `id_header`, unless it is empty: not every vendor sends one. `spoilt`: a fault made the answer one that its client
    may well refuse and ask for again.
    """

    status: int
    request_id: bytes
    body: bytes = b""
    steps: list[str] | None = None
    tokens: int = 0
    content_type: bytes = JSON_TYPE
    id_header: bytes = b"x-request-id"
    headers: tuple[tuple[bytes, bytes], ...] = ()
    delay: float = 0.0
    disconnect: Disconnect | None = None
    spoilt: bool = False


def header(request: ApiRequest, name: bytes) -> str | None:
    """Return the value of a request's header, None when it is not there; the name in lower case."""
    for each, value in request.headers:
        if each == name:
            return value.decode("latin-1").strip()
    return None


def query_fields(query: bytes) -> list[tuple[str, str]]:
    """Return the names and values in a URL's query."""
    return parse_qsl(query.decode("latin-1"))


def own_url(request: ApiRequest) -> str:
    """Return scheme and host at which the client called the server, so that links lead back to it."""
    scheme = header(request, b"x-forwarded-proto") or "http"
    return f"{'https' if scheme == 'https' else 'http'}://{header(request, b'host') or 'localhost'}"


class ApiError(Exception):
    """A request that gets an error answer; each wire format gives it its own shape."""

    def __init__(
        self, status: int, message: str, *, kind: str | None = None, param: str | None = None, code: str | None = None
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.kind = kind
        self.param = param
        self.code = code
        self.headers: tuple[tuple[bytes, bytes], ...] = ()


class Endpoint(Protocol):
    """One path of a vendor's API."""

    methods: frozenset[str]
    generates: bool
    """True when answers are generated, so that error draws, delay and pacing concern it."""
    url_key: bool
    """True when the vendor accepts a key in the URL, as `?key=`."""
    open: bool
    """True when no key is needed, because the URL itself is a secret that was given to someone with a key."""

    def read(self, request: ApiRequest) -> None:
        """Parse the body and fill in `payload`, `model` and `digest`; raises ApiError for a body that is not valid."""
        ...

    def reply(self, request: ApiRequest, literal: Prescribed | None = None) -> Reply:
        """Answer a request that was read, with the given answer if there is one; raises ApiError."""
        ...

    def refuse(self, request: ApiRequest, problem: ApiError) -> Reply:
        """Give an error the vendor's shape."""
        ...


class Wire(Protocol):
    """A vendor's API: finds the endpoint for a path."""

    def find(self, path: str) -> Endpoint | None:
        """Return the endpoint that serves a path, or None."""
        ...
