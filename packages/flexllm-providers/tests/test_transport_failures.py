"""What both transports do with answers that are cut, late, doubled or no HTTP, and with servers out of reach."""

from __future__ import annotations

import asyncio
import socket
from typing import Any

import pytest

from flexllm_core.errors import LLMConnectionError, LLMTimeoutError
from flexllm_providers.http import HttpRequest, Timeouts

SOON = Timeouts(connect=5, first_byte=5, idle=5, total=10)
HEADERS = {"authorization": "Bearer sk-sentinel"}


@pytest.fixture
def anyio_backend(both_loops: Any) -> Any:
    """These tests run on asyncio's event loop and on uvloop."""
    return both_loops


def post(url: str, body: bytes = b"{}") -> HttpRequest:
    return HttpRequest("POST", url + "/v1/chat/completions?secret=sk-sentinel", HEADERS, body)


async def echo_forever(connection: Any) -> None:
    while True:
        _, body = await connection.request()
        await connection.answer(body)


async def consume(transport: Any, request: HttpRequest, timeouts: Timeouts, streaming: bool) -> bytes:
    if not streaming:
        return bytes((await transport.send(request, timeouts)).body)
    stream = await transport.stream(request, timeouts)
    return b"".join([chunk async for chunk in stream])


def shows_no_secret(error: BaseException | None) -> bool:
    """Whether neither the error nor what caused it shows the key."""
    while error is not None:
        if "sentinel" in f"{error} {error!r} {vars(error)}":
            return False
        error = error.__cause__ or error.__context__
    return True


@pytest.mark.parametrize(
    ("sent", "reset"),
    [
        (b"", False),
        (b"", True),
        (b"HTTP/1.1 200 OK\r\ncontent-le", False),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf", False),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf", True),
        (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nhalf\r\n", False),
        (b"HTTP/1.1 200 OK\r\n\r\nhalf", True),
    ],
    ids=["nothing", "nothing-reset", "head", "body", "body-reset", "chunk", "until-close-reset"],
)
@pytest.mark.parametrize("streaming", [False, True])
async def test_cut_answers(serve: Any, make_transport: Any, sent: bytes, reset: bool, streaming: bool) -> None:
    """An answer that is cut is a transient error, never a shorter answer, and is not sent again here."""

    async def script(connection: Any) -> None:
        await connection.request()
        await connection.send(sent)
        await asyncio.sleep(0.03)
        if reset:
            connection.reset()

    server = await serve(script)
    with pytest.raises(LLMConnectionError) as caught:
        await consume(make_transport(), post(server.url), SOON, streaming)
    assert (caught.value.kind, caught.value.retryable, caught.value.reused) == ("transient", True, False)
    assert not isinstance(caught.value, LLMTimeoutError)
    assert caught.value.endpoint == server.url
    assert shows_no_secret(caught.value)
    assert len(server.connections) == 1


async def test_closed_on_arrival(serve: Any, make_transport: Any) -> None:
    """A server that closes or resets every connection at once is a transient error each time."""

    async def leave(connection: Any) -> None:
        if len(server.connections) % 2:
            connection.reset()

    server = await serve(leave)
    transport = make_transport()
    for number in range(30):
        if number % 3:
            await asyncio.sleep(0)
        with pytest.raises(LLMConnectionError) as caught:
            await transport.send(post(server.url, b"x" * number * 10_000), SOON)
        assert caught.value.kind == "transient"


async def test_stream_hands_over_what_came_before_the_cut(serve: Any, make_transport: Any) -> None:
    """The chunks that arrived are read first; then the error."""

    async def script(connection: Any) -> None:
        await connection.request()
        await connection.send(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf")

    server = await serve(script)
    stream = await make_transport().stream(post(server.url), SOON)
    await asyncio.sleep(0.05)
    assert await anext(stream) == b"half"
    for _ in range(2):
        with pytest.raises(LLMConnectionError):
            await anext(stream)


@pytest.mark.parametrize("reset", [False, True])
async def test_keep_alive_race(serve: Any, make_transport: Any, reset: bool) -> None:
    """A kept connection that dies under the next request: the request goes once more, on a new one."""

    async def script(connection: Any) -> None:
        await connection.request()
        await connection.answer(b"first")
        await connection.request()
        if reset:
            connection.reset()

    server = await serve(script, echo_forever)
    transport = make_transport()
    assert (await transport.send(post(server.url), SOON)).body == b"first"
    assert (await transport.send(post(server.url, b"second"), SOON)).body == b"second"
    assert [len(connection.requests) for connection in server.connections] == [2, 1]


async def test_keep_alive_race_is_retried_once(serve: Any, make_transport: Any) -> None:
    """When the new connection dies as well, that is the error; nothing is sent a third time."""

    async def first(connection: Any) -> None:
        await connection.request()
        await connection.answer(b"first")
        await connection.request()

    async def second(connection: Any) -> None:
        await connection.request()

    server = await serve(first, second)
    transport = make_transport()
    await transport.send(post(server.url), SOON)
    with pytest.raises(LLMConnectionError) as caught:
        await transport.send(post(server.url), SOON)
    assert not caught.value.reused
    assert [len(connection.requests) for connection in server.connections] == [2, 1]


async def test_a_begun_answer_is_not_asked_for_again(serve: Any, make_transport: Any) -> None:
    """A kept connection that dies in the middle of an answer is an error at once."""

    async def script(connection: Any) -> None:
        await connection.request()
        await connection.answer(b"first")
        await connection.request()
        await connection.send(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf")

    server = await serve(script, echo_forever)
    transport = make_transport()
    await transport.send(post(server.url), SOON)
    with pytest.raises(LLMConnectionError):
        await transport.send(post(server.url), SOON)
    assert len(server.connections) == 1


async def test_connection_closed_while_idle(serve: Any, make_transport: Any) -> None:
    """A connection that the server closed in the meantime is not used, and nothing is lost or doubled."""

    async def once(connection: Any) -> None:
        await connection.request()
        await connection.answer(b"first")

    server = await serve(once, echo_forever)
    transport = make_transport()
    await transport.send(post(server.url), SOON)
    await asyncio.sleep(0.05)
    assert (await transport.send(post(server.url, b"second"), SOON)).body == b"second"
    assert [len(connection.requests) for connection in server.connections] == [1, 1]


async def test_bytes_after_the_end(serve: Any, make_transport: Any) -> None:
    """What a server sends on an idle connection is never the answer to the next request."""

    async def script(connection: Any) -> None:
        await connection.request()
        await connection.answer(b"first")
        await asyncio.sleep(0.02)
        await connection.answer(b"unasked")
        await connection.closed()

    server = await serve(script, echo_forever)
    transport = make_transport()
    await transport.send(post(server.url), SOON)
    await asyncio.sleep(0.06)
    assert (await transport.send(post(server.url, b"second"), SOON)).body == b"second"
    await asyncio.wait_for(server.connections[0].over.wait(), 2)


async def test_bytes_after_the_end_in_one_packet(serve: Any, make_transport: Any, transport_kind: str) -> None:
    """A second answer behind the first is nobody's answer."""

    async def script(connection: Any) -> None:
        while True:
            _, body = await connection.request()
            extra = b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nevil"
            await connection.send(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % len(body) + body + extra)

    server = await serve(script)
    transport = make_transport()
    answered = 0
    for number in range(6):
        try:
            assert (await transport.send(post(server.url, b"%d" % number), SOON)).body == b"%d" % number
            answered += 1
        except LLMConnectionError:
            assert transport_kind == "httpx"  # it cannot look into httpcore's buffer before it asks
    assert answered == (6 if transport_kind == "h1" else 3)


async def test_early_answer(serve: Any, make_transport: Any, transport_kind: str) -> None:
    """A server that answers and closes without reading a large body is heard.

    Closing with unread bytes resets the connection; over httpx the answer survives only if the
    server reads on, as proxies do.
    """

    async def refuse(connection: Any) -> None:
        await connection.request(body=False)
        await connection.answer(b"too large", "413 Payload Too Large", "connection: close\r\n")
        if transport_kind == "httpx":
            await connection.closed()

    server = await serve(refuse)
    transport = make_transport()
    for _ in range(10):
        answer = await transport.send(post(server.url, b"x" * 8_000_000), SOON)
        assert (answer.status, answer.body) == (413, b"too large")
    stream = await transport.stream(post(server.url, b"x" * 8_000_000), SOON)
    assert stream.status == 413
    await stream.aclose()


@pytest.mark.parametrize(
    "garbage",
    [
        b"hello, this is not HTTP at all\r\n\r\n",
        b"HTTP/1.1 banana\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nno colon here\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nab",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nbanana\r\n",
        b"\x00\x00\x12\x04\x00\x00\x00\x00\x00" * 10,
        b"HTTP/1.1 200 OK\r\n" + b"x-long: " + b"y" * 300_000 + b"\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"x-many: yyyyyyyyyyyyyyyy\r\n" * 30_000 + b"\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: x\r\n\r\n" + b"z" * 100,
    ],
    ids=["text", "status", "field", "lengths", "chunk", "http2", "long-header", "many-headers", "upgrade"],
)
async def test_garbage(serve: Any, make_transport: Any, garbage: bytes) -> None:
    """What is not HTTP is a connection error, and the connection is closed."""

    async def script(connection: Any) -> None:
        await connection.request()
        await connection.send(garbage)
        await connection.closed()

    server = await serve(script)
    with pytest.raises(LLMConnectionError) as caught:
        await make_transport().send(post(server.url), Timeouts(first_byte=1, idle=1))
    assert not isinstance(caught.value, LLMTimeoutError)
    assert caught.value.kind == "transient"
    assert len(str(caught.value)) < 300
    await asyncio.wait_for(server.connections[0].over.wait(), 2)


async def test_connection_refused(make_transport: Any) -> None:
    """The message says what happened to which server, and shows neither query nor key."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
    with pytest.raises(LLMConnectionError) as caught:
        await make_transport().send(post(f"http://127.0.0.1:{port}"), SOON)
    assert str(caught.value) == f"could not connect to http://127.0.0.1:{port}: connection refused"
    assert caught.value.endpoint == f"http://127.0.0.1:{port}"
    assert (caught.value.kind, caught.value.retryable) == ("transient", True)
    assert shows_no_secret(caught.value)


async def test_unknown_host(make_transport: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A name that cannot be resolved is a transient error that says so."""
    loop = asyncio.get_running_loop()
    if type(loop).__module__.startswith("uvloop"):
        pytest.skip("uvloop resolves names itself")
    resolve = socket.getaddrinfo

    def fake(host: Any, *args: Any, **options: Any) -> Any:
        if host == "nowhere.example":
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return resolve(host, *args, **options)

    monkeypatch.setattr(socket, "getaddrinfo", fake)
    with pytest.raises(LLMConnectionError, match="cannot be resolved") as caught:
        await make_transport().send(post("http://nowhere.example"), SOON)
    assert caught.value.kind == "transient"
