"""The mock as an ASGI application: finds the endpoint, decides the reply, counts, and has it delivered."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING

from flexllm_mock.asgi import (
    BAD_KEY_CODE,
    ApiError,
    ApiRequest,
    Endpoint,
    Headers,
    Receive,
    Reply,
    Scope,
    Send,
    Wire,
)
from flexllm_mock.auth import authorised, authorised_by_url
from flexllm_mock.claude.wire import ClaudeWire
from flexllm_mock.config import MockConfig
from flexllm_mock.credits import CreditsWire
from flexllm_mock.dashboard import DASHBOARD_PATH
from flexllm_mock.delivery import deliver
from flexllm_mock.faults.faulting import faulted, plain_error
from flexllm_mock.faults.rules import FaultRule, FaultScript
from flexllm_mock.fixtures.fixtures import FixtureScript, Played
from flexllm_mock.gemini.wire import GeminiWire
from flexllm_mock.models import ModelsWire
from flexllm_mock.openai.wire import OpenAIWire
from flexllm_mock.physics.delivery import deliver_by_engine
from flexllm_mock.physics.simulation import Simulation
from flexllm_mock.recording.replay import Replay, is_as_recorded, play
from flexllm_mock.requestlog import Outcome, RequestLog
from flexllm_mock.responses.wire import ResponsesWire
from flexllm_mock.scripted import Prescribed
from flexllm_mock.storage import Storage
from flexllm_mock.stored import StoredWire
from flexllm_mock.unknown import UnknownEndpoint

if TYPE_CHECKING:
    from starlette.types import ASGIApp

CONNECTION_STATE = "flexllm_mock.connection"
"""Key in the scope's state under which the server puts the connection, so that faults can close it."""

CONTROL_PREFIX = "/__mock__/"

_HEALTHY = Reply(200, b"req_health", body=b'{"status":"ok"}')
_MAX_CACHED_PATHS = 256
_WITH_BODY = ("POST", "PUT", "PATCH")


class ClientLeftError(Exception):
    """The client closed the connection while it was still sending its request."""


class MockApp:
    """A mock LLM server as an ASGI 3 application; `MockServer` runs it.

    Raises OSError when the log file cannot be opened. Call `close` when done.
    """

    def __init__(self, config: MockConfig | None = None, faults: Iterable[FaultRule] = ()) -> None:
        self.config = config or MockConfig()
        self.log = RequestLog(self.config.log_file)
        self.faults = FaultScript(faults)
        self._storage = Storage()
        self._script: FixtureScript | None = None
        if self.config.fixtures or self.config.qa:
            self._script = FixtureScript(self.config.fixtures, self.config.qa)
        self._replay = None if self.config.replay is None else Replay(Path(self.config.replay))
        self._simulation = Simulation(self.config)
        self._wires: tuple[Wire, ...] = (
            OpenAIWire(self.config),
            ClaudeWire(self.config, self._storage, self._run_row),
            GeminiWire(self.config, self._storage, self._run_row),
            ResponsesWire(self.config, self._storage),
            StoredWire(self.config, self._storage, self._run_row),
            CreditsWire(self.config),
            ModelsWire(self.config),
        )
        self._unknown: Endpoint = UnknownEndpoint(self.config.seed)
        self._endpoints: dict[str, Endpoint] = {}
        self._api_key = None if self.config.api_key is None else self.config.api_key.encode()
        self._quick_endpoints: dict[bytes, Endpoint | None] = {}
        waits = self.config.delay or self.config.token_rate or self._simulation.active
        self._is_plain = not waits and self._script is None and self._replay is None
        self.started: float | None = None
        """Loop time from which the log counts; without a server that sets it, that of the first request."""

        self.refuse_connections: Callable[[float], None] | None = None
        """Makes the server refuse new connections for some seconds; whoever listens sets it."""

    def reset(self) -> None:
        """Return to the state of the start: no requests, nothing stored, initial faults unused, random errors anew."""
        self.log.reset()
        self.faults.reset()
        self._storage.clear()
        if self._script is not None:
            self._script.reset()
        if self._replay is not None:
            self._replay.reset()
        self._simulation.reset()

    def close(self) -> None:
        """Close the log file, and forget what clients have stored."""
        self._storage.clear()
        self.log.close()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            raise RuntimeError(f"the mock serves HTTP, not {scope['type']}: turn lifespan and websockets off")
        path = scope["path"]
        endpoint = self._endpoints.get(path)
        if endpoint is None:
            if path == "/health":
                await deliver(_HEALTHY, receive, send)
                return
            if path.startswith(CONTROL_PREFIX):
                await self._serve_control(scope, receive, send)
                return
            if path == DASHBOARD_PATH and scope["method"] in ("GET", "HEAD"):
                await self._control(scope, receive, send)  # without a key: the page holds nothing, and asks for it
                return
            endpoint = self._find(path)
        await self._serve(endpoint, scope, receive, send)

    async def _serve(self, endpoint: Endpoint, scope: Scope, receive: Receive, send: Send) -> None:
        now = asyncio.get_running_loop().time()
        if self.started is None:
            self.started = now
        query = scope.get("query_string", b"")
        request = ApiRequest(scope["method"], scope["path"], scope["headers"], query)
        connection = scope.get("state", {}).get(CONNECTION_STATE)
        entry = self.log.begin(request, now - self.started, connection, compared=endpoint.generates)
        outcome: Outcome = "cancelled"
        reply: Reply | None = None
        try:
            try:
                reply = await self._receive_and_decide(endpoint, request, receive)
            except ClientLeftError:
                self.log.decided(entry, None)
                return
            silent = reply.breakage is not None and reply.breakage.silent
            self.log.decided(entry, None if silent else reply.status, reply)
            if reply.breakage is not None and reply.breakage.refuse and self.refuse_connections is not None:
                self.refuse_connections(reply.breakage.refuse)
            if reply.recorded is not None and is_as_recorded(reply):
                outcome = await play(reply.recorded, self.config.replay_speed, receive, send, connection)
                return
            engine = self._simulation.engine
            if engine is None or reply.plan is None:
                token_rate = self.config.token_rate
                outcome = await deliver(reply, receive, send, token_rate=token_rate, connection=connection)
            else:
                outcome = await deliver_by_engine(engine, reply.plan, reply, receive, send, connection=connection)
        finally:
            if reply is not None and reply.on_end is not None:
                reply.on_end()
            self.log.end(entry, outcome, asyncio.get_running_loop().time() - self.started)

    async def _receive_and_decide(self, endpoint: Endpoint, request: ApiRequest, receive: Receive) -> Reply:
        try:
            if request.method not in endpoint.methods and self._replay is None:
                raise _wrong_method(endpoint, request)
            if request.method in _WITH_BODY:
                request.body = await read_body(request.headers, receive, self.config.max_body_bytes)
        except ApiError as problem:
            return endpoint.refuse(request, problem)
        return self._check_and_decide(endpoint, request)

    def _check_and_decide(self, endpoint: Endpoint, request: ApiRequest) -> Reply:
        if self._api_key is not None and not endpoint.open and not self._admits(endpoint, request, self._api_key):
            return endpoint.refuse(request, ApiError(401, "Incorrect API key provided.", code=BAD_KEY_CODE))
        reply = self._decide(endpoint, request)
        return self._simulation.admit(endpoint, request, reply) if self._simulation.active else reply

    @property
    def is_plain(self) -> bool:
        """Whether every answer can be sent at once and as it is: nothing waits, breaks, plays or replays."""
        return self._is_plain and not self.faults

    def quick_endpoint(self, path: bytes) -> Endpoint | None:
        """Return the endpoint that generates the answers to what is posted to a path, None for all other paths."""
        try:
            return self._quick_endpoints[path]
        except KeyError:
            endpoint = None
            if path.startswith(b"/") and path.isascii() and b"%" not in path:
                found = self._find(path.decode())
                endpoint = found if found.generates and "POST" in found.methods else None
            if len(self._quick_endpoints) < _MAX_CACHED_PATHS:
                self._quick_endpoints[path] = endpoint
            return endpoint

    def answer_now(
        self, endpoint: Endpoint, request: ApiRequest, connection: object, write: Callable[[Reply], None]
    ) -> None:
        """Serve a request whose body is here, while the application `is_plain`."""
        now = asyncio.get_running_loop().time()
        if self.started is None:
            self.started = now
        log = self.log
        entry = log.begin(request, now - self.started, connection)
        outcome: Outcome = "cancelled"
        try:
            if len(request.body) > self.config.max_body_bytes:
                reply = endpoint.refuse(request, _too_large(self.config.max_body_bytes))
            else:
                reply = self._check_and_decide(endpoint, request)
            log.decided(entry, reply.status, reply)
            write(reply)
            outcome = "answered"
        finally:
            log.end(entry, outcome, now - self.started)

    def abandon(self, request: ApiRequest, connection: object) -> None:
        """Log a request whose client left while it was still sending it."""
        now = asyncio.get_running_loop().time()
        at = now - (now if self.started is None else self.started)
        entry = self.log.begin(request, at, connection)
        self.log.decided(entry, None)
        self.log.end(entry, "cancelled", at)

    @staticmethod
    def _admits(endpoint: Endpoint, request: ApiRequest, key: bytes) -> bool:
        return authorised(request.headers, key) or (endpoint.url_key and authorised_by_url(request.query, key))

    def _decide(self, endpoint: Endpoint, request: ApiRequest) -> Reply:
        problem: ApiError | None = None
        try:
            endpoint.read(request)
        except ApiError as error:
            problem = error
        except RecursionError:
            problem = ApiError(400, "The JSON body of your request nests too deeply.")
        rule = self.faults.pick(request) if self.faults else None
        if problem is None and endpoint.generates and self._simulation.active:
            drawn = self._simulation.begin(request)
            rule = drawn if rule is None else rule
        if rule is not None:
            return faulted(rule, endpoint, request, partial(self._ordinary, endpoint, request, problem))
        return self._ordinary(endpoint, request, problem)

    def _ordinary(
        self, endpoint: Endpoint, request: ApiRequest, problem: ApiError | None, literal: Prescribed | None = None
    ) -> Reply:
        """Answer a request that no fault rule prevents: as recorded, as a fixture says, else as the mock by itself."""
        if self._replay is not None and literal is None:
            try:
                return self._replay.reply(request)
            except ApiError as missing:
                if not self.config.replay_fallback:
                    return endpoint.refuse(request, missing)
            if request.method not in endpoint.methods:
                problem = _wrong_method(endpoint, request)
        if problem is None and literal is None and self._script is not None and endpoint.generates:
            played = self._script.play(request, asyncio.get_running_loop().time())
            if played is not None:
                return self._played(played, endpoint, request)
        return self._answered(endpoint, request, problem, literal)

    def _run_row(self, request: ApiRequest) -> Reply:
        """Answer one row of a batch as if it had come by itself."""
        return self._decide(self._endpoints.get(request.path) or self._find(request.path), request)

    def _answered(
        self, endpoint: Endpoint, request: ApiRequest, problem: ApiError | None, literal: Prescribed | None = None
    ) -> Reply:
        try:
            if problem is not None:
                raise problem
            reply = endpoint.reply(request, literal)
        except ApiError as error:
            return endpoint.refuse(request, error)
        except RecursionError:
            return endpoint.refuse(request, ApiError(400, "The JSON body of your request nests too deeply."))
        if endpoint.generates:
            reply.delay = self.config.delay
        return reply

    def _played(self, played: Played, endpoint: Endpoint, request: ApiRequest) -> Reply:
        if played.fault is None:
            return self._answered(endpoint, request, played.problem, played.answer)
        answer = partial(self._answered, endpoint, request, None)
        return faulted(played.fault, endpoint, request, answer, prescribed=played.answer, problem=played.problem)

    def _find(self, path: str) -> Endpoint:
        for wire in self._wires:
            endpoint = wire.find(path)
            if endpoint is not None:
                if len(self._endpoints) < _MAX_CACHED_PATHS:
                    self._endpoints[path] = endpoint
                return endpoint
        return self._unknown

    async def _serve_control(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self._api_key is not None and not authorised(scope["headers"], self._api_key):
            request = ApiRequest(scope["method"], scope["path"], scope["headers"])
            await deliver(self._unknown.refuse(request, plain_error(401)), receive, send)
            return
        await self._control(scope, receive, send)

    @cached_property
    def _control(self) -> ASGIApp:
        from flexllm_mock.control import control_app  # most servers are never asked, and starlette takes time to load

        return control_app(self)


async def read_body(headers: Headers, receive: Receive, limit: int) -> bytes:
    """Read a whole request body. Raises ApiError 413 above `limit` bytes, and ClientLeftError."""
    message = await receive()
    if not message.get("more_body") and message["type"] == "http.request":
        body: bytes = message["body"]
        if len(body) > limit:
            raise _too_large(limit)
        return body
    declared = dict(headers).get(b"content-length", b"")
    if declared.isdigit() and int(declared) > limit:
        raise _too_large(limit)
    parts, size, more = list[bytes](), 0, True
    while more:
        if message["type"] == "http.disconnect":
            raise ClientLeftError
        parts.append(message["body"])
        size += len(message["body"])
        if size > limit:
            raise _too_large(limit)
        more = message.get("more_body", False)
        if more:
            message = await receive()
    return b"".join(parts)


def _wrong_method(endpoint: Endpoint, request: ApiRequest) -> ApiError:
    error = ApiError(405, f"Method {request.method} is not allowed on {request.path}.")
    error.headers = ((b"allow", ", ".join(sorted(endpoint.methods)).encode()),)
    return error


def _too_large(limit: int) -> ApiError:
    return ApiError(413, f"The request body is larger than {limit} bytes.", code="request_too_large")
