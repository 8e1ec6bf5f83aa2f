"""ASGI's types, and the values that pass between the application, the wire formats and the delivery."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol
from urllib.parse import parse_qsl

from flexllm_mock.physics.engine import Plan
from flexllm_mock.scripted import Prescribed
from flexllm_mock.steps import Steps, whole

if TYPE_CHECKING:
    from flexllm_mock.recording.recording import RecordedResponse

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Headers = list[tuple[bytes, bytes]]
Stage = Literal["before", "mid_headers", "after_headers", "mid_body"]
"""How much of an answer has gone out when a fault strikes."""
Vendor = Literal["openai", "claude", "gemini"]

Limit = Literal["requests", "input_tokens", "output_tokens", "concurrency"]
"""What a client can have too much of."""

BAD_KEY_CODE = "invalid_api_key"
"""The code of the error for a request without the right key."""

SPENT_CODE = "insufficient_quota"
"""The code of the 429 for an account whose money or quota is used up, so that asking again does not help."""

JSON_TYPE = b"application/json"
EVENT_STREAM_TYPE = b"text/event-stream"


@dataclass(slots=True)
class ApiRequest:
    """One request as the wire formats see it.

    `model`, `digest` and `event_stream` (the answer is one) are known once the body has been read. `cached_tokens` is
    set where a simulated prefix cache decides about them, `call` where draws depend on the request.
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
    cached_tokens: int | None = None
    call: bytes = b""


@dataclass(slots=True)
class Reply:
    """What to answer, when, and what goes wrong on the way.

    Either `body` is the whole answer, or `steps` are the pieces of a stream, one per token. `tokens` is the length that
    pacing gives to a whole answer; `delay` is in seconds, before the first byte. `request_id` goes out in the header
    `id_header`, unless it is empty: not every vendor sends one. `prompt_tokens` and `output_tokens` are what the answer
    costs of the limits, all choices together. `due` says when each step is sent, in seconds after the first one; a
    whole answer is sent when the last one is due. `plan`: when an engine would send it. `breakage` is what happens to
    the connection; `on_end` is called when the delivery is over, however it ended. `recorded` is an answer that is
    replayed, as it is; `body` and `headers` are then only for the log. `cut`: the answer stops before its
    end. `spoilt`: it is one that its client may well refuse and ask for again. `fetches` is
    the digest of a request whose answer this gives once more, from where it is stored.
    """

    status: int
    request_id: bytes
    body: bytes = b""
    steps: Steps | None = None
    tokens: int = 0
    content_type: bytes = JSON_TYPE
    id_header: bytes = b"x-request-id"
    headers: tuple[tuple[bytes, bytes], ...] = ()
    delay: float = 0.0
    prompt_tokens: int = 0
    output_tokens: int = 0
    due: Sequence[float] | None = None
    plan: Plan | None = None
    breakage: Breakage | None = None
    on_end: Callable[[], None] | None = None
    recorded: RecordedResponse | None = None
    cut: bool = False
    spoilt: bool = False
    fetches: bytes | None = None

    @property
    def length(self) -> int:
        """Tokens that are generated one after another."""
        return self.tokens if self.steps is None else len(self.steps)

    @property
    def broken(self) -> bool:
        """Whether a fault lets the answer arrive in another way than as a whole, plain body."""
        return self.breakage is not None or self.cut

    def content(self) -> bytes:
        """Return the whole answer as it is sent, whether it is a stream or not."""
        return self.body if self.steps is None else whole(self.steps).encode()


@dataclass(slots=True)
class Breakage:
    """How a fault breaks the delivery of a reply.

    `stall`: the stage at which nothing more is sent, for `stall_seconds` or until the client leaves. `disconnect`: the
    stage at which the connection is closed, with `reset` by a TCP reset. `refuse`: seconds for which the server refuses
    connections. `pieces` replace the answer's body; each is a write of its own, `gap` seconds after the one before.
    """

    stall: Stage | None = None
    stall_seconds: float | None = None
    disconnect: Stage | None = None
    reset: bool = False
    refuse: float = 0.0
    pieces: list[bytes] | None = None
    gap: float = 0.0

    @property
    def silent(self) -> bool:
        """Whether the client gets no status line."""
        stages = [self.disconnect]
        if self.stall_seconds is None:
            stages.append(self.stall)
        return "before" in stages or "mid_headers" in stages


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
    """A request that gets an error answer; each wire format gives it its own shape.

    `retry_in`: seconds after which to ask again, told in the vendor's way. `headers` are sent in any case. `limit` is
    what a 429 is about.
    """

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
        self.retry_in: float | None = None
        self.limit: Limit = "requests"


class Endpoint(Protocol):
    """One path of a vendor's API."""

    methods: frozenset[str]
    generates: bool
    """True when answers are generated, so that error draws, delay and pacing concern it."""
    vendor: Vendor
    """Whose headers and errors the endpoint has."""
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
