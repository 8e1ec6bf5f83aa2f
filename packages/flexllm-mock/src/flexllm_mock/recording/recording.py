"""Recordings: requests and their answers with their timings, as lines of a file, without keys."""

from __future__ import annotations

import contextlib
import json
import re
from base64 import b64decode, b64encode
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from hashlib import blake2b
from pathlib import Path
from typing import Any

from flexllm_mock.asgi import ApiRequest, Headers
from flexllm_mock.jsontext import canonical
from flexllm_mock.masking import LEAST_SECRET, masked_text, masked_url

FORMAT = 1
"""Version of the file's format."""

_REQUEST_HEADERS = ("content-type", "anthropic-version", "anthropic-beta", "openai-beta")
_RESPONSE_HEADERS = re.compile(
    r"content-type|retry-after(-ms)?|(x-)?request-id|(x|anthropic)-ratelimit-.*|x-should-retry"
    r"|openai-(model|version|processing-ms)|allow|location"
)


class RecordingError(ValueError):
    """A recording that cannot be read; the message says where and why."""


@dataclass(frozen=True, slots=True)
class RecordedResponse:
    """An answer: `chunks` are its pieces with the seconds after the request at which they came, as `after` is those
    until its headers. `cut`: the server hung up before its end.
    """

    status: int
    headers: tuple[tuple[str, str], ...]
    after: float
    chunks: tuple[tuple[float, bytes], ...]
    cut: bool = False

    @property
    def body(self) -> bytes:
        """All that was sent."""
        return b"".join([data for _, data in self.chunks])


@dataclass(frozen=True, slots=True)
class RecordedRequest:
    """A request without its keys. `body` is its JSON, or its text where it is none; `digest` identifies it."""

    method: str
    target: str
    body: Any
    digest: str
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Exchange:
    """A request and its answer."""

    request: RecordedRequest
    response: RecordedResponse


def recorded_request(request: ApiRequest, secrets: Iterable[str] = ()) -> RecordedRequest:
    """Return a request as it is recorded, and as it is looked up: without the secrets and all that looks like keys.

    Bodies that are JSON are compared as JSON, so that the order of keys and spaces do not matter.
    """
    secrets = list(secrets)
    text = request.body.decode("utf-8", "backslashreplace")
    body: Any = masked_text(text, secrets)
    with contextlib.suppress(ValueError, RecursionError):
        body = _without_keys(json.loads(body), secrets)
    target = masked_url(request.path, request.query, secrets)
    digest = blake2b(canonical([request.method, target, body]), digest_size=16).hexdigest()
    given = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in request.headers}
    headers = {name: masked_text(given[name], secrets) for name in _REQUEST_HEADERS if name in given}
    return RecordedRequest(request.method, target, body, digest, headers)


def recorded_response(
    status: int,
    headers: Headers,
    after: float,
    chunks: list[tuple[float, bytes]],
    secrets: Iterable[str] = (),
    *,
    cut: bool = False,
) -> RecordedResponse:
    """Return an answer as it is recorded: headers that say something about it, and its pieces, without keys."""
    secrets = list(secrets)
    shown = [
        (name, masked_text(value, secrets))
        for name, value in ((name.decode("latin-1").lower(), value.decode("latin-1")) for name, value in headers)
        if _RESPONSE_HEADERS.fullmatch(name)
    ]
    whole = b"".join([data for _, data in chunks])
    if _masked_bytes(whole, secrets) != whole:
        pieces = [(at, _masked_bytes(data, secrets)) for at, data in chunks]
        again = b"".join([data for _, data in pieces])
        # A key may lie across two pieces; then the answer is kept as one.
        hidden = _masked_bytes(whole, secrets)
        chunks = pieces if again == hidden else [(chunks[-1][0], hidden)]
    return RecordedResponse(status, tuple(shown), after, tuple(chunks), cut)


def spells_secret(body: bytes, secrets: Iterable[str]) -> bool:
    """Tell whether the events or items of a stream spell out a secret, token by token, where no search finds it."""
    long_ones = [secret for secret in secrets if len(secret) >= LEAST_SECRET]
    text = body.decode("utf-8", "replace")
    if not long_ones:
        return False
    values = [line[len("data:") :] for line in text.splitlines() if line.startswith("data:")] or [text]
    spelled: dict[str, list[str]] = {}
    for value in values:
        with contextlib.suppress(ValueError, RecursionError):
            for place, said in _texts(json.loads(value)):
                spelled.setdefault(place, []).append(said)
    joined = ["".join(said) for said in spelled.values()]
    return any(secret in said for secret in long_ones for said in joined)


def _texts(value: Any, place: str = "") -> Iterator[tuple[str, str]]:
    """Yield the texts in a JSON value with their places; the places of a list are one."""
    if isinstance(value, str):
        yield place, value
    elif isinstance(value, dict):
        for name, inner in value.items():
            yield from _texts(inner, f"{place}.{name}")
    elif isinstance(value, list):
        for inner in value:
            yield from _texts(inner, place)


def write_exchange(exchange: Exchange) -> str:
    """Write an exchange as a line, without its newline."""
    request, response = exchange.request, exchange.response
    line: dict[str, Any] = {
        "format": FORMAT,
        "request": {
            "method": request.method,
            "target": request.target,
            "digest": request.digest,
            "headers": dict(request.headers),
            "body": request.body,
        },
        "response": {
            "status": response.status,
            "headers": [list(each) for each in response.headers],
            "after": round(response.after, 6),
            "chunks": [[round(at, 6), _as_text(data)] for at, data in response.chunks],
        },
    }
    if response.cut:
        line["response"]["cut"] = True
    return json.dumps(line, separators=(",", ":"))


def read_recording(file: Path) -> list[Exchange]:
    """Read a recording. Raises RecordingError that names the line. A last line that is torn is left out."""
    try:
        lines = file.read_bytes().split(b"\n")
    except OSError as error:
        raise RecordingError(f"{file}: {error.strerror or error}") from None
    exchanges: list[Exchange] = []
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            exchanges.append(_exchange(json.loads(line)))
        except (ValueError, TypeError, KeyError, RecursionError) as error:
            if number == len(lines):
                continue  # whoever wrote it was killed
            problem = f"{error} is missing" if isinstance(error, KeyError) else str(error)
            raise RecordingError(f"{file}:{number}: not a line of a recording: {problem}") from None
    if not exchanges:
        raise RecordingError(f"{file}: nothing is recorded in it")
    return exchanges


def _exchange(line: Any) -> Exchange:
    if line["format"] != FORMAT:
        raise ValueError(f"its format is {line['format']!r}, known is {FORMAT}")
    request, response = line["request"], line["response"]
    body = request["body"]
    headers = tuple((str(name), str(value)) for name, value in response["headers"])
    for name, value in headers:
        if re.search(r"[^!#$%&'*+.^_`|~0-9a-z-]", name) or re.search(r"[^\t\x20-\x7e\x80-\xff]", value):
            raise ValueError(f"the header {name!r} is none")
    status = response["status"]
    if not isinstance(status, int) or not 200 <= status <= 599:
        raise ValueError(f"the status is {status!r}")
    # From the body and not from the line, so that a recording may be edited by hand.
    digest = blake2b(canonical([request["method"], request["target"], body]), digest_size=16).hexdigest()
    return Exchange(
        RecordedRequest(str(request["method"]), str(request["target"]), body, digest, dict(request.get("headers", {}))),
        RecordedResponse(
            status,
            headers,
            _seconds(response["after"]),
            tuple((_seconds(at), _as_bytes(data)) for at, data in response["chunks"]),
            response.get("cut") is True,
        ),
    )


def _seconds(value: Any) -> float:
    seconds = float(value)
    if not 0 <= seconds < float("inf"):
        raise ValueError(f"{value!r} is no number of seconds")
    return seconds


def _without_keys(value: Any, secrets: list[str]) -> Any:
    """Return a JSON value with the keys in its texts masked."""
    if isinstance(value, str):
        return masked_text(value, secrets)
    if isinstance(value, list):
        return [_without_keys(each, secrets) for each in value]
    if isinstance(value, dict):
        return {masked_text(name, secrets): _without_keys(each, secrets) for name, each in value.items()}
    return value


def _masked_bytes(data: bytes, secrets: list[str]) -> bytes:
    # Every byte is one character of Latin-1, so that what is no key stays as it is.
    return masked_text(data.decode("latin-1"), secrets).encode("latin-1")


def _as_text(data: bytes) -> str | dict[str, str]:
    try:
        return data.decode()
    except UnicodeDecodeError:  # a piece may end inside a character
        return {"base64": b64encode(data).decode()}


def _as_bytes(data: Any) -> bytes:
    return b64decode(data["base64"], validate=True) if isinstance(data, dict) else str(data).encode()
