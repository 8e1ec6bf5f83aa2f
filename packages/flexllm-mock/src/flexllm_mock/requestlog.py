"""What the server received and did: totals, the last requests, duplicates, and the log file."""

from __future__ import annotations

import json
import os
from collections import deque
from dataclasses import dataclass
from typing import Literal

from flexllm_mock.asgi import ApiRequest, Headers

Outcome = Literal["in_flight", "answered", "cancelled", "dropped"]

_KEPT = 1_000
_KEPT_BODY = 64 * 1024
_MAX_PATHS = 1_000
_OTHER_PATHS = "(other)"
# Identities of contents take about 100 bytes each, so there is an end to how many are remembered.
_MAX_CONTENTS = 2_000_000
_SECRET_NAMES = ("authorization", "cookie", "key", "token", "secret")
_MASK = "***"


@dataclass(frozen=True, slots=True)
class LoggedRequest:
    """One request. `received_at` is in seconds since the server started; `status` is the one decided for it, None while
    the body is still arriving or when nothing was answered; headers that carry keys are masked.

    `outcome`: in_flight, answered, cancelled (the client left first) or dropped (a fault closed the connection).
    `digest` identifies messages and model. `body` is kept for requests of up to 64 KiB.
    """

    ordinal: int
    method: str
    path: str
    model: str | None
    status: int | None
    outcome: Outcome
    received_at: float
    headers: dict[str, str]
    body_size: int
    digest: str | None
    body: bytes | None


@dataclass(frozen=True, slots=True)
class MockStats:
    """Totals since the start or the last reset.

    `by_status` counts finished answers; `cancelled` counts requests whose client left before the end, `dropped` those
    that a fault cut off. `duplicates` counts requests whose messages and model had come before; `duplicate_answers`
    those of them that were answered with 200 again. `distinct` counts different contents; when it stands at 2,000,000
    the duplicates of further contents are not counted. `key_in_url` counts requests with a key in their URL, where
    logs and proxies see it.
    """

    requests: int
    by_path: dict[str, int]
    by_status: dict[int, int]
    in_flight: int
    peak_in_flight: int
    cancelled: int
    dropped: int
    distinct: int
    duplicates: int
    duplicate_answers: int
    key_in_url: int
    open_connections: int
    total_connections: int


@dataclass(slots=True)
class Entry:
    """A request in the log while its fate is open."""

    ordinal: int
    request: ApiRequest
    received_at: float
    status: int | None = None
    outcome: Outcome = "in_flight"
    body_size: int = 0
    body: bytes | None = None


class RequestLog:
    """Counts requests and remembers the last 1,000; `file` gets a line for each.

    Raises OSError when the file cannot be opened or written.
    """

    def __init__(self, file: str | os.PathLike[str] | None = None) -> None:
        self._descriptor = -1
        if file is not None:
            self._descriptor = os.open(file, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        self.in_flight = 0
        self.open_connections = 0
        self.total_connections = 0
        self.reset()

    def reset(self) -> None:
        """Forget all requests but those in flight; the log file keeps its lines."""
        self._requests = 0
        self._entries: deque[Entry] = deque(maxlen=_KEPT)
        self._by_path: dict[str, int] = {}
        self._by_status: dict[int, int] = {}
        self._peak = self.in_flight
        self._cancelled = self._dropped = self._duplicates = self._duplicate_answers = 0
        self._key_in_url = 0
        self._answered: dict[bytes, bool] = {}

    def close(self) -> None:
        """Close the log file."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def begin(self, request: ApiRequest, received_at: float) -> Entry:
        """Note that a request has arrived; every entry must be ended."""
        self._requests += 1
        self.in_flight += 1
        if self.in_flight > self._peak:
            self._peak = self.in_flight
        paths = self._by_path
        path = request.path
        if path not in paths and len(paths) >= _MAX_PATHS:
            path = _OTHER_PATHS
        paths[path] = paths.get(path, 0) + 1
        entry = Entry(self._requests, request, received_at)
        self._entries.append(entry)
        return entry

    def count_key_in_url(self) -> None:
        """Note that a request had a key in its URL."""
        self._key_in_url += 1

    def decided(self, entry: Entry, status: int | None) -> None:
        """Note the status that a request will get, before any delay, so that the file counts what was received."""
        entry.status = status
        request = entry.request
        entry.body_size = len(request.body)
        if entry.body_size <= _KEPT_BODY:
            entry.body = request.body
        if request.digest is not None:
            self._compare(request.digest, status == 200)
        if self._descriptor >= 0:
            self._write(entry)
        request.body = b""  # large bodies and parsed ones are not held while the answer waits
        request.payload = None

    def _compare(self, digest: bytes, answered: bool) -> None:
        known = self._answered
        before = known.get(digest)
        if before is not None:
            self._duplicates += 1
            if answered:
                self._duplicate_answers += before
                known[digest] = True
        elif len(known) < _MAX_CONTENTS:
            known[digest] = answered

    def _write(self, entry: Entry) -> None:
        request = entry.request
        line = json.dumps(
            {
                "ordinal": entry.ordinal,
                "path": request.path,
                "model": request.model,
                "digest": request.digest.hex() if request.digest else None,
                "status": entry.status,
            }
        )
        data = line.encode() + b"\n"
        # One write per line: whatever dies afterwards, the line is in the file, and lines never mix.
        if os.write(self._descriptor, data) != len(data):
            raise OSError("the request log took only a part of a line")

    def end(self, entry: Entry, outcome: Outcome) -> None:
        """Note how a request ended."""
        self.in_flight -= 1
        entry.outcome = outcome
        if outcome == "answered":
            if entry.status is not None:
                self._by_status[entry.status] = self._by_status.get(entry.status, 0) + 1
        elif outcome == "cancelled":
            self._cancelled += 1
        else:
            self._dropped += 1

    def stats(self) -> MockStats:
        """Return the totals."""
        return MockStats(
            requests=self._requests,
            by_path=dict(self._by_path),
            by_status=dict(self._by_status),
            in_flight=self.in_flight,
            peak_in_flight=self._peak,
            cancelled=self._cancelled,
            dropped=self._dropped,
            distinct=len(self._answered),
            duplicates=self._duplicates,
            duplicate_answers=self._duplicate_answers,
            key_in_url=self._key_in_url,
            open_connections=self.open_connections,
            total_connections=self.total_connections,
        )

    def recent(self) -> list[LoggedRequest]:
        """Return the last requests, oldest first."""
        return [_shown(entry) for entry in self._entries]


def _shown(entry: Entry) -> LoggedRequest:
    request = entry.request
    return LoggedRequest(
        ordinal=entry.ordinal,
        method=request.method,
        path=request.path,
        model=request.model,
        status=entry.status,
        outcome=entry.outcome,
        received_at=round(entry.received_at, 6),
        headers=masked(request.headers),
        body_size=entry.body_size,
        digest=request.digest.hex() if request.digest else None,
        body=entry.body,
    )


def masked(headers: Headers) -> dict[str, str]:
    """Return headers as text, with the values of those that can hold a key replaced by `***`."""
    shown: dict[str, str] = {}
    for raw_name, raw_value in headers:
        name, value = raw_name.decode("latin-1").lower(), raw_value.decode("latin-1")
        if any(secret in name for secret in _SECRET_NAMES):
            value = _MASK
        shown[name] = f"{shown[name]}, {value}" if name in shown else value
    return shown
