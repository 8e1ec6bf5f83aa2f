"""What both transports do with answers: framing, reuse of connections, streams, limits, encodings."""

from __future__ import annotations

import asyncio
import gzip
import hashlib
from collections.abc import Callable
from typing import Any

import pytest

from flexllm_core.errors import ConfigError, LLMConnectionError, LLMResponseError
from flexllm_providers.http import HttpRequest, Timeouts

SOON = Timeouts(connect=5, first_byte=5, idle=5, total=10)
OK = b"HTTP/1.1 200 OK\r\n"
SHORT = OK + b"content-length: 2\r\n\r\nok"
CHUNKED = OK + b"Transfer-Encoding: Chunked\r\n\r\n"
HEADERS = {"authorization": "Bearer sk-sentinel", "content-type": "application/json"}


@pytest.fixture
def anyio_backend(both_loops: Any) -> Any:
    """These tests run on asyncio's event loop and on uvloop."""
    return both_loops


def post(url: str, body: bytes = b"{}", **headers: str) -> HttpRequest:
    return HttpRequest("POST", url + "/v1/chat/completions?x=1", HEADERS | headers, body)


async def echo_forever(connection: Any) -> None:
    while True:
        _, body = await connection.request()
        await connection.answer(body)


def raw(*chunks: bytes, close: bool = False) -> Callable[[Any], Any]:
    """A script: for each request send these chunks, some time apart."""

    async def script(connection: Any) -> None:
        while True:
            await connection.request()
            for chunk in chunks:
                await connection.send(chunk)
                await asyncio.sleep(0.005)
            if close:
                return

    return script


async def consume(transport: Any, request: HttpRequest, streaming: bool) -> bytes:
    if streaming:
        return await read_all(await transport.stream(request, SOON))
    return bytes((await transport.send(request, SOON)).body)


async def read_all(stream: Any) -> bytes:
    return b"".join([chunk async for chunk in stream])


async def test_request_bytes_and_answer(serve: Any, make_transport: Any) -> None:
    """A request arrives with its method, path, headers and length, and the answer comes back whole."""

    async def script(connection: Any) -> None:
        await connection.request()
        await connection.answer(b'{"a": 1}', "201 Created", "X-Request-Id: r1\r\nVia: a\r\nVia: b\r\n")

    server = await serve(script)
    answer = await make_transport().send(post(server.url, b'{"q": 2}'), SOON)
    head, body = server.connections[0].requests[0]
    lines = head.decode().lower().split("\r\n")
    assert lines[0] == "post /v1/chat/completions?x=1 http/1.1"
    assert f"host: 127.0.0.1:{server.port}" in lines
    assert "authorization: bearer sk-sentinel" in lines
    assert "accept-encoding: identity" in lines
    assert "content-length: 8" in lines
    assert body == b'{"q": 2}'
    assert (answer.status, answer.body) == (201, b'{"a": 1}')
    assert answer.headers["x-request-id"] == "r1"
    assert answer.headers["via"] == "a, b"


async def test_get_has_no_body(serve: Any, make_transport: Any) -> None:
    """A GET says nothing about a body."""
    server = await serve(echo_forever)
    answer = await make_transport().send(HttpRequest("GET", server.url + "/v1/models", HEADERS), SOON)
    assert answer.status == 200
    assert b"content-length" not in server.connections[0].requests[0][0].lower()


async def test_the_transport_frames_the_message(serve: Any, make_transport: Any) -> None:
    """A caller's framing headers cannot contradict the body that is sent."""
    server = await serve(echo_forever)
    headers = {"Content-Length": "5", "transfer-encoding": "chunked", "Accept-Encoding": "gzip", "connection": "close"}
    answer = await make_transport().send(HttpRequest("POST", server.url, headers, b"0123456789"), SOON)
    head = server.connections[0].requests[0][0].lower()
    assert answer.body == b"0123456789"
    assert b"chunked" not in head
    assert b"gzip" not in head
    assert b"close" not in head
    assert head.count(b"content-length") == 1


async def test_connections_are_reused(serve: Any, make_transport: Any) -> None:
    """Requests one after the other share a connection; those at the same time have one each."""
    server = await serve(echo_forever)
    transport = make_transport()
    for number in range(5):
        assert (await transport.send(post(server.url, b"%d" % number), SOON)).body == b"%d" % number
    assert len(server.connections) == 1
    for _ in range(2):
        bodies = [b"%d" % number for number in range(20)]
        answers = await asyncio.gather(*[transport.send(post(server.url, body), SOON) for body in bodies])
        assert [answer.body for answer in answers] == bodies
    assert len(server.connections) == 20


@pytest.mark.parametrize("head", [b"HTTP/1.1 200 OK\r\nConnection: close\r\n", b"HTTP/1.0 200 OK\r\n"])
async def test_closing_is_honoured(serve: Any, make_transport: Any, head: bytes) -> None:
    """After `connection: close` or HTTP/1.0 the next request has a connection of its own."""
    server = await serve(raw(head + b"content-length: 2\r\n\r\nok"))
    transport = make_transport()
    for _ in range(2):
        assert (await transport.send(post(server.url), SOON)).body == b"ok"
    assert len(server.connections) == 2
    await asyncio.wait_for(server.connections[0].over.wait(), 2)


@pytest.mark.parametrize(
    ("chunks", "status", "body"),
    [
        ([OK + b"content-le", b"ngth: 5\r\n", b"\r\n", b"he", b"llo"], 200, b"hello"),
        ([CHUNKED + b"5\r\nhe", b"llo\r\n1;x=y\r\n!\r\n0\r\n", b"Link: b\r\n\r\n"], 200, b"hello!"),
        ([b"HTTP/1.1 200\r\ncontent-length: 2 \r\n\r\nok"], 200, b"ok"),
        ([b"HTTP/1.1 204 No Content\r\n\r\n"], 204, b""),
        ([b"HTTP/1.1 304 Not Modified\r\ncontent-length: 5\r\n\r\n"], 304, b""),
        ([OK + b"content-length: 0\r\n\r\n"], 200, b""),
        ([b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 103 Early\r\nlink: x\r\n\r\n" + SHORT], 200, b"ok"),
        ([OK + b"connection: Upgrade\r\nupgrade: h2c\r\ncontent-length: 2\r\n\r\nok"], 200, b"ok"),
        ([b"HTTP/1.1 429 Too Many Requests\r\nretry-after: 1\r\ncontent-length: 2\r\n\r\n{}"], 429, b"{}"),
    ],
    ids=["pieces", "chunked", "bare", "204", "304", "empty", "interim", "upgrade-offer", "429"],
)
async def test_framing(serve: Any, make_transport: Any, chunks: list[bytes], status: int, body: bytes) -> None:
    """Whatever the framing and the packets, the same connection serves two requests in a row."""
    server = await serve(raw(*chunks))
    transport = make_transport()
    for _ in range(2):
        answer = await transport.send(post(server.url), SOON)
        assert (answer.status, answer.body) == (status, body)
        assert "link" not in answer.headers
        stream = await transport.stream(post(server.url), SOON)
        assert (stream.status, await read_all(stream)) == (status, body)
    assert len(server.connections) == 1


async def test_body_until_close(serve: Any, make_transport: Any) -> None:
    """A body without a length ends with the connection."""
    server = await serve(raw(b"HTTP/1.1 200 OK\r\n\r\nhe", b"llo", close=True))
    transport = make_transport()
    assert (await transport.send(post(server.url), SOON)).body == b"hello"
    assert await read_all(await transport.stream(post(server.url), SOON)) == b"hello"


async def test_large_bodies(serve: Any, make_transport: Any) -> None:
    """Megabytes go both ways unharmed."""

    async def script(connection: Any) -> None:
        while True:
            _, body = await connection.request()
            await connection.answer(hashlib.sha256(body).hexdigest().encode() + body)

    server = await serve(script)
    transport = make_transport()
    for size in (65_536, 65_537, 5_000_000):
        body = bytes(range(256)) * (size // 256 + 1)
        answer = await transport.send(post(server.url, body), SOON)
        assert answer.body == hashlib.sha256(body).hexdigest().encode() + body
    assert len(server.connections) == 1


async def test_stream_arrives_in_time(serve: Any, make_transport: Any) -> None:
    """Each chunk is handed over when it arrives, not when the next one does."""
    read = asyncio.Event()

    async def script(connection: Any) -> None:
        await connection.request()
        await connection.send(
            b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
        )
        for chunk in (b"6\r\ndata:1\r\n", b"6\r\ndata:2\r\n", b"0\r\n\r\n"):
            await connection.send(chunk)
            if chunk[:1] == b"6":
                await asyncio.wait_for(read.wait(), 2)
                read.clear()
        await connection.closed()

    server = await serve(script)
    stream = await make_transport().stream(post(server.url), SOON)
    assert stream.headers["content-type"] == "text/event-stream"
    chunks = []
    async for chunk in stream:
        chunks.append(chunk)
        read.set()
    assert chunks == [b"data:1", b"data:2"]


async def test_stream_back_pressure(serve: Any, make_transport: Any) -> None:
    """While nobody reads, the server cannot send: the client buffers little. Then everything arrives."""
    total = 60 * 1024 * 1024
    piece = b"x" * 65_536

    async def script(connection: Any) -> None:
        await connection.request()
        await connection.send(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % total)
        while connection.sent < total:
            await connection.send(piece)
        await connection.closed()

    server = await serve(script)
    stream = await make_transport().stream(post(server.url), SOON)
    connection = server.connections[0]
    before = -1
    while connection.sent != before:
        before = connection.sent
        await asyncio.sleep(0.15)
    assert before < total / 2  # the buffers of the kernel hold some megabytes
    size = 0
    async for chunk in stream:
        size += len(chunk)
    assert size == total


async def test_stream_closed_early(serve: Any, make_transport: Any) -> None:
    """A stream that is closed before its end costs the connection; read to its end it keeps it."""

    async def script(connection: Any) -> None:
        await connection.request()
        await connection.send(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nabc")
        await connection.closed()

    server = await serve(script, echo_forever)
    transport = make_transport()
    stream = await transport.stream(post(server.url), SOON)
    assert await anext(stream) == b"abc"
    await stream.aclose()
    await stream.aclose()
    await asyncio.wait_for(server.connections[0].over.wait(), 2)
    with pytest.raises(LLMConnectionError):
        await anext(stream)
    for _ in range(2):
        assert await read_all(await transport.stream(post(server.url, b"whole"), SOON)) == b"whole"
    assert len(server.connections) == 2


async def test_redirects_are_not_followed(serve: Any, make_transport: Any) -> None:
    """A redirect is an answer like any other: neither key nor prompt reaches the second host."""
    second = await serve(echo_forever)

    async def script(connection: Any) -> None:
        await connection.request()
        await connection.answer(b"", "307 Temporary Redirect", f"location: {second.url}/v1\r\n")

    first = await serve(script)
    answer = await make_transport().send(post(first.url), SOON)
    assert answer.status == 307
    assert answer.headers["location"] == second.url + "/v1"
    assert second.connections == []


@pytest.mark.parametrize(
    "head",
    [OK + b"content-length: 999999\r\n\r\n", CHUNKED, b"HTTP/1.1 500 Oops\r\n\r\n"],
    ids=["announced", "chunked", "until-close"],
)
@pytest.mark.parametrize("streaming", [False, True])
async def test_size_limit(serve: Any, make_transport: Any, head: bytes, streaming: bool) -> None:
    """A body above the limit is an error that is not retried, and ends the connection."""

    async def script(connection: Any) -> None:
        await connection.request()
        await connection.send(head)
        for _ in range(50):
            await connection.send((b"4e20\r\n" if head == CHUNKED else b"") + b"y" * 20_000 + b"\r\n")
        await connection.closed()

    server = await serve(script)
    transport = make_transport(max_response_bytes=100_000)
    with pytest.raises(LLMResponseError, match="100,000 bytes") as caught:
        await consume(transport, post(server.url), streaming)
    assert not caught.value.retryable
    await asyncio.wait_for(server.connections[0].over.wait(), 2)


@pytest.mark.parametrize("header", ["Content-Encoding: gzip", "content-encoding: br", "CONTENT-ENCODING: x, identity"])
async def test_encoded_bodies_are_refused(serve: Any, make_transport: Any, header: str) -> None:
    """A compressed body, which was not asked for, is an error; of an error answer the status still counts."""
    body = gzip.compress(b"x" * 1000)
    fields = f"{header}\r\nretry-after: 7\r\ncontent-length: {len(body)}\r\n\r\n".encode()
    server = await serve(raw(b"HTTP/1.1 200 OK\r\n" + fields + body), raw(b"HTTP/1.1 503 Busy\r\n" + fields + body))
    transport = make_transport()
    with pytest.raises(LLMResponseError, match="encoded") as caught:
        await transport.send(post(server.url), SOON)
    assert not caught.value.retryable
    for _ in range(2):
        answer = await transport.send(post(server.url), SOON)
        assert (answer.status, answer.headers["retry-after"], answer.body) == (503, "7", b"")
    assert len(server.connections) == 2


@pytest.mark.parametrize("name", ["x-title", "authorization", "x\r\nevil", "", "with space"])
@pytest.mark.parametrize("value", ["a\r\nevil: 1", "a\nb", "sk-sentinel\x00", "\u2028"])
async def test_header_injection_is_refused(serve: Any, make_transport: Any, name: str, value: str) -> None:
    """No header can end its line; the error names the header and not its value; nothing is sent."""
    server = await serve(echo_forever)
    with pytest.raises(ConfigError) as caught:
        await make_transport().send(HttpRequest("POST", server.url, {name: value}, b"{}"), SOON)
    assert "sentinel" not in str(caught.value)
    assert "evil" not in str(caught.value)
    assert server.connections == []


@pytest.mark.parametrize("tail", ["/a b", "/a\r\nx: y", "/\x00", "/a\tb"])
async def test_url_injection_is_refused(serve: Any, make_transport: Any, tail: str) -> None:
    """No URL can end the request line."""
    server = await serve(echo_forever)
    with pytest.raises(ConfigError):
        await make_transport().send(HttpRequest("GET", server.url + tail, {}), SOON)
    with pytest.raises(ConfigError):
        await make_transport().send(HttpRequest("GET /x", server.url, {}), SOON)
    assert server.connections == []


async def test_ipv6(serve: Any, make_transport: Any) -> None:
    """An IPv6 literal is connected to, and stands in brackets in the host header."""
    try:
        server = await serve(echo_forever, host="::1")
    except OSError:
        pytest.skip("this machine has no IPv6")
    assert (await make_transport().send(post(server.url, b"six"), SOON)).body == b"six"
    assert f"host: [::1]:{server.port}\r\n".encode() in server.connections[0].requests[0][0].lower()


async def test_names_with_several_addresses(serve: Any, make_transport: Any) -> None:
    """`localhost` is reached whichever of its addresses listens."""
    server = await serve(echo_forever)
    answer = await make_transport().send(post(f"http://localhost:{server.port}", b"here"), SOON)
    assert answer.body == b"here"
