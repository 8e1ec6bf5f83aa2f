"""What the server received and did: totals, the last requests, duplicates, and the log file."""

from __future__ import annotations

import json
import os
from collections import deque
from dataclasses import dataclass, field
from itertools import islice
from typing import Literal

from flexllm_mock.asgi import ApiRequest, Reply
from flexllm_mock.auth import has_key
from flexllm_mock.masking import masked, masked_text, masked_url, secrets_of
from flexllm_mock.verdict.conduct import Conduct, Facts, Failure
from flexllm_mock.waits import told_wait

Outcome = Literal["in_flight", "answered", "cancelled", "dropped"]

_KEPT = 1_000
_KEPT_BODY = 64 * 1024
_KEPT_BODIES = 8 * 1024 * 1024
_MAX_PATHS = 1_000
_OTHER_PATHS = "(other)"


@dataclass(frozen=True, slots=True)
class LoggedRequest:
    """One request. `received_at` is in seconds since the server started, `seconds` is how long it took until the answer
    was sent, None before; `status` is the one decided for it, None while the body is still arriving or when nothing was
    answered. Keys are masked in `headers` and in `url`, the path with its query.

    `outcome`: in_flight, answered, cancelled (the client left first) or dropped (a fault closed the connection).
    `digest` identifies messages and model. `body` is kept as it came for requests of up to 64 KiB, 8 MiB in all.
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
    body: bytes | None = field(repr=False)
    url: str
    seconds: float | None


@dataclass(frozen=True, slots=True)
class MockStats:
    """Totals since the start or the last reset.

    `by_status` counts finished answers; `cancelled` counts requests whose client left before the end, `dropped` those
    that a fault cut off. `duplicates` counts requests for answers whose messages and model had come before;
    `duplicate_answers` those of them that were answered with 200 again. `distinct` counts different contents; when it
    stands at 2,000,000 the duplicates of further contents are not counted. `key_in_url` counts requests with a key in
    their URL, where logs and proxies see it.
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
    """A request in the log while its fate is open.

    `conduct` is where its content counts for duplicates and retries, None when it does not. `failure` is None unless
    its client gets no good answer, and may ask again.
    """

    ordinal: int
    request: ApiRequest
    received_at: float
    conduct: Conduct | None
    status: int | None = None
    outcome: Outcome = "in_flight"
    body_size: int = 0
    body: bytes | None = None
    failure: Failure | None = None
    ended_at: float | None = None


class RequestLog:
    """Counts requests, follows what the client does, and remembers the last 1,000; `file` gets a line for each.

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
        self._entries: deque[Entry] = deque()
        self._body_bytes = 0
        self._by_path: dict[str, int] = {}
        self._by_status: dict[int, int] = {}
        self._peak = self.in_flight
        self._cancelled = self._dropped = 0
        self._key_in_url = 0
        self._conduct = Conduct()
        self._carriers: set[object] = set()
        self._connections = 0

    def close(self) -> None:
        """Close the log file."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def begin(
        self, request: ApiRequest, received_at: float, connection: object = None, *, compared: bool = True
    ) -> Entry:
        """Note that a request has arrived on a connection; every entry must be ended."""
        self._requests += 1
        self.in_flight += 1
        if self.in_flight > self._peak:
            self._peak = self.in_flight
        paths = self._by_path
        path = request.path
        if path not in paths and len(paths) >= _MAX_PATHS:
            path = _OTHER_PATHS
        paths[path] = paths.get(path, 0) + 1
        if connection is not None and connection not in self._carriers:
            self._carriers.add(connection)
            self._connections += 1
        conduct = self._conduct
        conduct.arrived(received_at)
        entry = Entry(self._requests, request, received_at, conduct if compared else None)
        entries = self._entries
        entries.append(entry)
        if len(entries) > _KEPT:
            oldest = entries.popleft()
            if oldest.body is not None:
                self._body_bytes -= oldest.body_size
                oldest.body = None
        if request.query and has_key(request.query):
            self._key_in_url += 1
            conduct.key_in_url(entry.ordinal)
        return entry

    def decided(self, entry: Entry, status: int | None, reply: Reply | None = None) -> None:
        """Note the answer that a request will get, before any delay, so that the file counts what was received."""
        entry.status = status
        request = entry.request
        size = entry.body_size = len(request.body)
        if 0 < size <= _KEPT_BODY and entry.ordinal > self._requests - _KEPT:
            entry.body = request.body
            self._body_bytes += size
            if self._body_bytes > _KEPT_BODIES:
                self._drop_bodies()
        if reply is not None and (status != 200 or reply.cut or reply.spoilt):
            entry.failure = _failure(status, reply)
        elif reply is not None and reply.fetches is not None:
            self._conduct.fetched(reply.fetches)
        if entry.conduct is not None and request.digest is not None:
            entry.conduct.asked(entry, request.digest)
        if self._descriptor >= 0:
            self._write(entry)
        request.body = b""  # large bodies and parsed ones are not held while the answer waits
        request.payload = None

    def _drop_bodies(self) -> None:
        """Drop the oldest bodies, until a quarter of their memory is free: not for each request anew."""
        room = _KEPT_BODIES * 3 // 4
        for entry in reversed(self._entries):
            if entry.body is not None:
                room -= entry.body_size
                if room < 0:
                    entry.body = None
        self._body_bytes = sum(entry.body_size for entry in self._entries if entry.body is not None)

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

    def end(self, entry: Entry, outcome: Outcome, at: float = 0.0) -> None:
        """Note how and when a request ended."""
        self.in_flight -= 1
        entry.outcome = outcome
        entry.ended_at = at
        if entry.conduct is not None and entry.request.digest is not None:
            entry.conduct.ended(entry, entry.request.digest, at, outcome)
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
            distinct=self._conduct.distinct,
            duplicates=self._conduct.duplicates,
            duplicate_answers=self._conduct.duplicate_answers,
            key_in_url=self._key_in_url,
            open_connections=self.open_connections,
            total_connections=self.total_connections,
        )

    def facts(self) -> Facts:
        """Return what the client did, for a verdict."""
        return self._conduct.facts(
            requests=self._requests,
            key_in_url=self._key_in_url,
            connections=self._connections,
            peak_concurrency=self._peak,
        )

    def connection_closed(self, connection: object) -> None:
        """Forget a connection that carries no further requests."""
        self._carriers.discard(connection)

    def recent(self, limit: int = _KEPT, *, hide_keys: bool = False) -> list[LoggedRequest]:
        """Return the last requests, oldest first; `hide_keys` masks keys in bodies, models and paths as well."""
        skipped = max(0, len(self._entries) - limit)
        return [_shown(entry, hide_keys=hide_keys) for entry in islice(self._entries, skipped, None)]


def _failure(status: int | None, reply: Reply) -> Failure | None:
    """Return what is wrong with an answer, None when nothing is."""
    if status is None or status >= 400:
        return Failure(told=told_wait(reply.headers, reply.body))
    return Failure(cut=reply.cut) if reply.cut or reply.spoilt else None


def _shown(entry: Entry, *, hide_keys: bool) -> LoggedRequest:
    request, body = entry.request, entry.body
    secrets = secrets_of(request.headers, request.query)
    path, model = request.path, request.model
    if hide_keys:
        path = masked_text(path, secrets)
        model = None if model is None else masked_text(model, secrets)
        if body:  # surrogateescape keeps bytes that are no UTF-8
            body = masked_text(body.decode("utf-8", "surrogateescape"), secrets).encode("utf-8", "surrogateescape")
    return LoggedRequest(
        ordinal=entry.ordinal,
        method=request.method,
        path=path,
        model=model,
        status=entry.status,
        outcome=entry.outcome,
        received_at=round(entry.received_at, 6),
        headers=masked(request.headers, secrets),
        body_size=entry.body_size,
        digest=request.digest.hex() if request.digest else None,
        body=body,
        url=masked_url(request.path, request.query, secrets),
        seconds=None if entry.ended_at is None else round(entry.ended_at - entry.received_at, 6),
    )
