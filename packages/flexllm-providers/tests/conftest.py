"""Fixtures of the package's tests."""

from __future__ import annotations

import asyncio
import contextlib
import json
import selectors
import socket
import ssl
import struct
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from types import SimpleNamespace
from typing import Any

import pytest
import trustme

from flexllm_providers.http import HttpRequest, HttpResponse, Timeouts

# --- Transports: a server that follows a script, and the transports under test -------------------


class ServerConnection:
    """The server's side of one connection, for the script to use."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer
        self.requests: list[tuple[bytes, bytes]] = []
        self.sent = 0
        self.over = asyncio.Event()

    async def request(self, *, body: bool = True) -> tuple[bytes, bytes]:
        """Read one request: its head, and its body unless `body` is false."""
        head = await self.reader.readuntil(b"\r\n\r\n")
        length = next(
            (int(line[15:]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")), 0
        )
        content = await self.reader.readexactly(length) if body else b""
        self.requests.append((head, content))
        return head, content

    async def send(self, data: bytes) -> None:
        """Send bytes, with back-pressure."""
        self.writer.write(data)
        self.sent += len(data)
        await self.writer.drain()

    async def answer(self, body: bytes = b"ok", status: str = "200 OK", headers: str = "") -> None:
        """Send a whole answer with a content-length."""
        await self.send(f"HTTP/1.1 {status}\r\ncontent-length: {len(body)}\r\n{headers}\r\n".encode() + body)

    async def closed(self) -> None:
        """Wait until the client closes the connection."""
        with contextlib.suppress(OSError):
            while await self.reader.read(65536):
                pass

    def reset(self) -> None:
        """Close with a TCP reset."""
        raw = self.writer.get_extra_info("socket")
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()


Script = Callable[[ServerConnection], Awaitable[None]]


class ScriptedServer:
    """A server whose n-th connection follows the n-th script; the last one serves all that follow."""

    def __init__(self, scripts: tuple[Script, ...]) -> None:
        self.scripts = scripts
        self.connections: list[ServerConnection] = []
        self.problems: list[BaseException] = []
        self.port = 0
        self.host = "127.0.0.1"
        self.scheme = "http"
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def url(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}:{self.port}"

    async def start(self, host: str, context: ssl.SSLContext | None) -> None:
        self._server = await asyncio.start_server(self._accept, host, 0, ssl=context)
        self.host = host
        self.scheme = "https" if context else "http"
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        assert self._server is not None
        self._server.close()
        for task in self._tasks:
            task.cancel()
        for connection in self.connections:
            connection.writer.transport.abort()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await asyncio.sleep(0.01)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = ServerConnection(reader, writer)
        script = self.scripts[min(len(self.connections), len(self.scripts) - 1)]
        self.connections.append(connection)
        task = asyncio.get_running_loop().create_task(self._follow(script, connection))
        self._tasks.add(task)

    async def _follow(self, script: Script, connection: ServerConnection) -> None:
        try:
            await script(connection)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass  # the client closed: tests that care look at what it had sent
        finally:
            with contextlib.suppress(Exception):
                connection.writer.close()
            connection.over.set()


@pytest.fixture
async def serve() -> AsyncIterator[Callable[..., Awaitable[ScriptedServer]]]:
    """Start scripted servers: `await serve(script, ..., host=..., tls=context)`."""
    servers: list[ScriptedServer] = []

    async def start(*scripts: Script, host: str = "127.0.0.1", tls: ssl.SSLContext | None = None) -> ScriptedServer:
        server = ScriptedServer(scripts)
        await server.start(host, tls)
        servers.append(server)
        return server

    yield start
    for server in servers:
        await server.stop()


@pytest.fixture(params=["asyncio", "uvloop"])
def both_loops(request: pytest.FixtureRequest) -> tuple[str, dict[str, bool]]:
    """Both event loops, where uvloop is installed."""
    if request.param == "uvloop":
        pytest.importorskip("uvloop")
    return "asyncio", {"use_uvloop": request.param == "uvloop"}


@pytest.fixture(params=["h1", "httpx"])
def transport_kind(request: pytest.FixtureRequest) -> str:
    """Both transports of the package, one after the other."""
    kind: str = request.param
    return kind


@pytest.fixture
async def make_transport(transport_kind: str) -> AsyncIterator[Callable[..., Any]]:
    """Make transports of the kind under test; they are closed at the end."""
    made: list[Any] = []

    def make(**options: Any) -> Any:
        from flexllm_providers.transport.h1 import H1Transport
        from flexllm_providers.transport.httpx_transport import HttpxTransport

        made.append(H1Transport(**options) if transport_kind == "h1" else HttpxTransport(**options))
        return made[-1]

    yield make
    for transport in made:
        await transport.aclose()


@pytest.fixture(scope="session")
def authority() -> trustme.CA:
    """A certificate authority that nobody trusts by default."""
    return trustme.CA()


@pytest.fixture
def server_tls(authority: trustme.CA) -> ssl.SSLContext:
    """The server's side of TLS, with a certificate for localhost and 127.0.0.1."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost", "127.0.0.1").configure_cert(context)
    return context


class VirtualSelector(selectors.DefaultSelector):  # type: ignore[misc, valid-type]
    """Does not wait: where the loop would sleep, its clock jumps instead."""

    now = 0.0

    def select(self, timeout: float | None = None) -> Any:
        ready = super().select(0)
        if not ready and timeout:
            self.now += timeout
        return ready


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop on which hours pass in no time. For tests without sockets."""

    def __init__(self) -> None:
        self._virtual = VirtualSelector()
        super().__init__(self._virtual)

    def time(self) -> float:
        return self._virtual.now


@pytest.fixture
def virtual_time() -> Callable[[Callable[[], Any]], Any]:
    """Run a coroutine function on a loop with virtual time."""

    def run(main: Callable[[], Any]) -> Any:
        with asyncio.Runner(loop_factory=VirtualLoop) as runner:
            return runner.run(main())

    return run


class LoopTransport(asyncio.Transport):
    """The loop's side of a connection: keeps what is written and closes when told."""

    def __init__(self, protocol: Any, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__()
        self.protocol = protocol
        self.loop = loop
        self.written = bytearray()
        self.reading = True
        self.aborted = False
        self.room = 1 << 40
        self.socket: socket.socket | None = None

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return self.socket if name == "socket" else default

    def write(self, data: Any) -> None:
        self.written += data
        if len(self.written) > self.room:
            self.protocol.pause_writing()

    def make_room(self, size: int) -> None:
        self.room = len(self.written) + size
        self.protocol.resume_writing()

    def abort(self) -> None:
        if not self.aborted:
            self.aborted = True
            self.loop.call_soon(self.protocol.connection_lost, None)

    def is_closing(self) -> bool:
        return self.aborted

    def pause_reading(self) -> None:
        self.reading = False

    def resume_reading(self) -> None:
        self.reading = True


@pytest.fixture
def loop_transport() -> type[LoopTransport]:
    """The class of transports without a network."""
    return LoopTransport


# --- end of the transports' section ---------------------------------------------------------------


# --- Chat clients: a transport that answers from a script, without any network --------------------


class FakeStream:
    """A streamed answer. Its pieces are bytes, seconds to wait (a float), errors to raise, or None to hang."""

    def __init__(self, status: int, headers: dict[str, str], pieces: Sequence[Any]) -> None:
        self.status = status
        self.headers = headers
        self.pieces = pieces
        self.read = 0
        self.closed = False

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for piece in self.pieces:
            if isinstance(piece, BaseException):
                raise piece
            if piece is None:
                await asyncio.Event().wait()
            elif isinstance(piece, float):
                await asyncio.sleep(piece)
            else:
                self.read += 1
                yield piece

    async def aclose(self) -> None:
        """Free the connection; closing takes a turn of the loop, as with a real one."""
        await asyncio.sleep(0)
        self.closed = True


class FakeTransport:
    """Answers one request after the other from a script, the last answer for ever.

    An answer is an error to raise, or `(status, headers, pieces)`; pieces as in `FakeStream`.
    """

    def __init__(self, answers: Sequence[Any]) -> None:
        self.answers = list(answers)
        self.requests: list[HttpRequest] = []
        self.timeouts: list[Timeouts] = []
        self.loops: list[asyncio.AbstractEventLoop] = []
        self.times: list[float] = []
        self.streams: list[FakeStream] = []
        self.closed_in: list[asyncio.AbstractEventLoop] = []

    @property
    def bodies(self) -> list[Any]:
        """The JSON of every request."""
        return [json.loads(request.body) for request in self.requests]

    def _next(self, request: HttpRequest, timeouts: Timeouts) -> FakeStream:
        loop = asyncio.get_running_loop()
        self.requests.append(request)
        self.timeouts.append(timeouts)
        self.loops.append(loop)
        self.times.append(loop.time())
        answer = self.answers[min(len(self.requests), len(self.answers)) - 1]
        if isinstance(answer, BaseException):
            raise answer
        return FakeStream(*answer)

    async def send(self, request: HttpRequest, timeouts: Timeouts) -> HttpResponse:
        """A whole answer."""
        answer = self._next(request, timeouts)
        body = b"".join([piece async for piece in answer])
        return HttpResponse(answer.status, answer.headers, body)

    async def stream(self, request: HttpRequest, timeouts: Timeouts) -> FakeStream:
        """A streamed answer."""
        self.streams.append(self._next(request, timeouts))
        return self.streams[-1]

    async def aclose(self) -> None:
        """Remembers in which loop."""
        self.closed_in.append(asyncio.get_running_loop())


@pytest.fixture
def fake_transport() -> Callable[..., FakeTransport]:
    """Make a `FakeTransport` from its answers."""
    return lambda *answers: FakeTransport(answers)


def json_answer(data: Any, status: int = 200, **headers: str) -> tuple[int, dict[str, str], list[bytes]]:
    """An answer with a JSON body; header names with underscores for hyphens."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return status, {"content-type": "application/json", **named}, [json.dumps(data).encode()]


def chat_answer(content: str = "Hi", **more: Any) -> tuple[int, dict[str, str], list[bytes]]:
    """A chat completion that says `content`."""
    message = {"role": "assistant", "content": content}
    choices = [{"index": 0, "message": message, "finish_reason": "stop"}]
    usage = {"prompt_tokens": 9, "completion_tokens": 3, "total_tokens": 12}
    return json_answer({"id": "c-1", "model": "m-real", "choices": choices, "usage": usage, **more})


def chat_stream(*contents: str, end: bool = True) -> tuple[int, dict[str, str], list[bytes]]:
    """A streamed chat completion, one piece for each chunk; without `end` it is cut."""
    head = {"id": "c-1", "model": "m-real"}
    chunks: list[Any] = [{**head, "choices": [{"index": 0, "delta": {"content": text}}]} for text in contents]
    if end:
        chunks.append({"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]})
        chunks.append({"choices": [], "usage": {"prompt_tokens": 9, "completion_tokens": 3, "total_tokens": 12}})
    pieces = [f"data: {json.dumps(chunk)}\n\n".encode() for chunk in chunks]
    return 200, {"content-type": "text/event-stream"}, [*pieces, *([b"data: [DONE]\n\n"] if end else [])]


@pytest.fixture
def answers() -> SimpleNamespace:
    """The makers of answers: `answers.json(data, status)`, `answers.chat(content)`, `answers.stream(*contents)`."""
    return SimpleNamespace(json=json_answer, chat=chat_answer, stream=chat_stream)


# --- end of the chat clients' section --------------------------------------------------------------
