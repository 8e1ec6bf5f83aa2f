"""The recorder: an ASGI application that hands requests on to a real endpoint and writes down what comes back."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from flexllm_mock.app import CONNECTION_STATE, ClientLeftError, read_body
from flexllm_mock.asgi import ApiError, ApiRequest, Receive, Reply, Scope, Send
from flexllm_mock.delivery import deliver
from flexllm_mock.faults.breaking import Connection
from flexllm_mock.masking import secrets_of
from flexllm_mock.recording.recording import (
    Exchange,
    recorded_request,
    recorded_response,
    spells_secret,
    write_exchange,
)
from flexllm_mock.recording.upstream import Upstream, UpstreamCutError, UpstreamError, UpstreamReply, end_to_end
from flexllm_mock.requestlog import Outcome, RequestLog
from flexllm_mock.unknown import UnknownEndpoint
from flexllm_mock.waiting import stays

_logger = logging.getLogger("flexllm_mock")

_MAX_BODY_BYTES = 100 * 1024 * 1024
_CLOSE_SECONDS = 2.0


@dataclass(slots=True)
class _Heard:
    """What has come back for a request, with the seconds since it was received."""

    status: int = 0
    headers: list[tuple[bytes, bytes]] = field(default_factory=list)
    after: float = 0.0
    chunks: list[tuple[float, bytes]] = field(default_factory=list)
    cut: bool = False


class RecordApp:
    """Forwards every request to `upstream` with the caller's key, and appends what was exchanged to a file.

    Neither is an answer recorded whose client leaves before its end, nor one that cannot be searched for keys. Raises
    OSError when the file cannot be opened. Call `close` when done.
    """

    def __init__(self, upstream: Upstream, out: Path) -> None:
        self.log = RequestLog()
        self.recorded = 0
        self.left_out = 0
        self.started: float | None = None
        self.refuse_connections: Callable[[float], None] | None = None
        self._upstream = upstream
        self._errors = UnknownEndpoint(0)
        # Readable by its owner alone: prompts and answers can be private.
        self._descriptor = os.open(out, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)

    def close(self) -> None:
        """Close the file."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Forward one request."""
        if scope["type"] != "http":
            raise RuntimeError(f"the recorder serves HTTP, not {scope['type']}")
        begun = asyncio.get_running_loop().time()
        request = ApiRequest(scope["method"], scope["path"], scope["headers"], scope.get("query_string", b""))
        connection: Connection | None = scope.get("state", {}).get(CONNECTION_STATE)
        entry = self.log.begin(request, begun - (self.started or begun), connection)
        outcome: Outcome = "cancelled"
        try:
            try:
                request.body = await read_body(request.headers, receive, _MAX_BODY_BYTES)
            except ClientLeftError:
                return
            except ApiError as problem:
                outcome = await deliver(self._errors.refuse(request, problem), receive, send)
                return
            outcome = await self._while_client_stays(request, receive, send, begun, connection)
        finally:
            self.log.end(entry, outcome, asyncio.get_running_loop().time() - (self.started or begun))

    async def _while_client_stays(
        self, request: ApiRequest, receive: Receive, send: Send, begun: float, connection: Connection | None
    ) -> Outcome:
        forwarding = asyncio.ensure_future(self._forward(request, send, begun))
        leaving = asyncio.ensure_future(_left(receive))
        try:
            await asyncio.wait((forwarding, leaving), return_when=asyncio.FIRST_COMPLETED)
            if not forwarding.done():
                return "cancelled"
        finally:
            leaving.cancel()
            forwarding.cancel()
            await asyncio.gather(forwarding, leaving, return_exceptions=True)
        heard = forwarding.result()
        if isinstance(heard, Reply):
            return await deliver(heard, receive, send)
        self._write(request, heard)
        if heard.cut and connection is not None:  # the client shall see what was seen here
            connection.close()
            await stays(receive, _CLOSE_SECONDS)
            return "dropped"
        return "answered"

    async def _forward(self, request: ApiRequest, send: Send, begun: float) -> _Heard | Reply:
        """Pass an answer on as it comes, and return what was heard; an error of the recorder's own instead."""
        target = self._upstream.target(request.path, request.query)
        since = partial(_since, asyncio.get_running_loop(), begun)
        try:
            async with self._upstream.exchange(request.method, target, request.headers, request.body) as reply:
                return await self._pass_on(reply, send, _Heard(reply.status, reply.headers, since()), begun)
        except UpstreamError as error:
            return self._errors.refuse(request, ApiError(502, str(error), code="upstream_error"))

    @staticmethod
    async def _pass_on(reply: UpstreamReply, send: Send, heard: _Heard, begun: float) -> _Heard:
        loop = asyncio.get_running_loop()
        await send({"type": "http.response.start", "status": reply.status, "headers": end_to_end(reply.headers)})
        try:
            async for data in reply.pieces():
                heard.chunks.append((_since(loop, begun), data))
                await send({"type": "http.response.body", "body": data, "more_body": True})
        except UpstreamCutError:
            heard.cut = True
        else:
            await send({"type": "http.response.body", "body": b""})
        return heard

    def _write(self, request: ApiRequest, heard: _Heard) -> None:
        if any(name.lower() == b"content-encoding" and value != b"identity" for name, value in heard.headers):
            self.left_out += 1  # compressed against our word: it cannot be searched for keys
            return
        secrets = secrets_of(request.headers, request.query)
        response = recorded_response(heard.status, heard.headers, heard.after, heard.chunks, secrets, cut=heard.cut)
        if spells_secret(response.body, secrets):
            self.left_out += 1
            return
        line = write_exchange(Exchange(recorded_request(request, secrets), response)).encode() + b"\n"
        try:
            # One write per line, so that lines never mix and a killed recorder loses at most the last one.
            if os.write(self._descriptor, line) != len(line):
                raise OSError("only a part of a line was written")
        except OSError as error:  # the client has its answer all the same
            self.left_out += 1
            _logger.error("an answer could not be recorded: %s", error.strerror or error)  # noqa: TRY400 no traceback
            return
        self.recorded += 1


async def _left(receive: Receive) -> None:
    """Return when the client has left."""
    while (await receive())["type"] != "http.disconnect":
        pass


def _since(loop: asyncio.AbstractEventLoop, begun: float) -> float:
    return loop.time() - begun
