"""What both transports do when a call ends before its answer: timeouts, cancellation, closing."""

from __future__ import annotations

import asyncio
import os
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


async def hang(connection: Any) -> None:
    await connection.request()
    await connection.closed()


async def say_nothing(connection: Any) -> None:
    await connection.closed()


async def half(connection: Any) -> None:
    await connection.request()
    await connection.send(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhalf")
    await connection.closed()


async def trickle(connection: Any) -> None:
    await connection.request()
    await connection.send(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n")
    for _ in range(100):
        await connection.send(b".")
        await asyncio.sleep(0.02)


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


@pytest.mark.parametrize("streaming", [False, True])
@pytest.mark.parametrize(
    ("script", "timeouts", "phase"),
    [
        (hang, Timeouts(first_byte=0.1), "first_byte"),
        (half, Timeouts(first_byte=5, idle=0.1), "idle"),
        (hang, Timeouts(first_byte=5, total=0.2), "total"),
        (half, Timeouts(first_byte=5, idle=5, total=0.2), "total"),
        (trickle, Timeouts(first_byte=5, idle=1, total=0.2), "total"),
    ],
    ids=["first_byte", "idle", "total-waiting", "total-body", "total-trickle"],
)
async def test_timeouts(
    serve: Any, make_transport: Any, script: Any, timeouts: Timeouts, phase: str, streaming: bool
) -> None:
    """Each phase has its limit and its name, and the server sees the connection close."""
    server = await serve(script)
    with pytest.raises(LLMTimeoutError) as caught:
        await consume(make_transport(), post(server.url), timeouts, streaming)
    assert caught.value.phase == phase
    assert caught.value.kind == "timeout"
    assert caught.value.endpoint == server.url
    assert shows_no_secret(caught.value)
    for connection in server.connections:
        await asyncio.wait_for(connection.over.wait(), 2)


@pytest.mark.parametrize(
    ("timeouts", "phase"), [(Timeouts(connect=0.1), "connect"), (Timeouts(connect=5, total=0.1), "total")]
)
async def test_timeout_while_connecting(serve: Any, make_transport: Any, timeouts: Timeouts, phase: str) -> None:
    """The TLS handshake is part of connecting."""
    server = await serve(say_nothing)
    with pytest.raises(LLMTimeoutError) as caught:
        await make_transport(verify=False).send(post(server.url.replace("http", "https")), timeouts)
    assert caught.value.phase == phase
    await asyncio.wait_for(server.connections[0].over.wait(), 2)


async def test_a_slow_reader_is_not_an_idle_server(serve: Any, make_transport: Any) -> None:
    """The idle limit does not run while the caller is busy with what has arrived."""
    size = 3_000_000

    async def script(connection: Any) -> None:
        await connection.request()
        await connection.answer(b"z" * size)
        await connection.closed()

    server = await serve(script)
    stream = await make_transport().stream(post(server.url), Timeouts(idle=0.1))
    received = len(await anext(stream))
    await asyncio.sleep(0.3)
    async for chunk in stream:
        received += len(chunk)
    assert received == size


@pytest.mark.parametrize("stage", ["connecting", "waiting", "body", "stream"])
async def test_cancellation_closes_the_connection(serve: Any, make_transport: Any, stage: str) -> None:
    """Whatever a cancelled call is waiting for, the server sees its connection close, and others go on."""
    script = {"connecting": say_nothing, "waiting": hang, "body": half, "stream": half}[stage]
    server = await serve(script, echo_forever)
    transport = make_transport(verify=False)
    url = server.url.replace("http", "https") if stage == "connecting" else server.url
    task = asyncio.create_task(consume(transport, post(url), SOON, stage == "stream"))
    while not server.connections:
        await asyncio.sleep(0.005)
    await asyncio.sleep(0.05)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await asyncio.wait_for(server.connections[0].over.wait(), 2)
    assert (await transport.send(post(server.url, b"next"), SOON)).body == b"next"
    assert len(server.connections) == 2


async def test_many_cancelled_calls_leave_room(serve: Any, make_transport: Any) -> None:
    """Calls that are cancelled while they connect take nothing away from those that follow."""
    server = await serve(*[say_nothing] * 30, echo_forever)
    transport = make_transport(verify=False)
    url = server.url.replace("http", "https")
    tasks = [asyncio.create_task(transport.send(post(url), SOON)) for _ in range(30)]
    while len(server.connections) < 30:
        await asyncio.sleep(0.005)
    for task in tasks:
        task.cancel()
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert all(isinstance(result, asyncio.CancelledError) for result in results)
    answers = await asyncio.gather(*[transport.send(post(server.url, b"%d" % n), SOON) for n in range(10)])
    assert [answer.body for answer in answers] == [b"%d" % n for n in range(10)]
    for connection in server.connections[:30]:
        await asyncio.wait_for(connection.over.wait(), 2)


async def test_closing_the_transport(serve: Any, make_transport: Any) -> None:
    """`aclose` closes what is idle and fails what is under way; afterwards the transport says so."""
    server = await serve(hang, half, echo_forever)
    transport = make_transport()
    waiting = asyncio.create_task(transport.send(post(server.url), SOON))
    while not server.connections:
        await asyncio.sleep(0.005)
    stream = await transport.stream(post(server.url), SOON)
    assert await anext(stream) == b"half"
    await transport.send(post(server.url), SOON)
    assert len(server.connections) == 3
    await transport.aclose()
    await transport.aclose()
    with pytest.raises(LLMConnectionError):
        await waiting
    with pytest.raises(LLMConnectionError):
        await anext(stream)
    for connection in server.connections:
        await asyncio.wait_for(connection.over.wait(), 2)
    with pytest.raises(RuntimeError, match="closed"):
        await transport.send(post(server.url), SOON)


@pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="counts open files in /proc")
async def test_no_socket_is_left_open(serve: Any, make_transport: Any) -> None:
    """Failures of every kind leave no socket behind."""

    async def cut(connection: Any) -> None:
        await connection.request()
        await connection.send(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf")

    server = await serve(cut, hang, half, cut, hang, half, say_nothing)
    transport = make_transport(verify=False)
    before = len(os.listdir("/proc/self/fd"))
    quick = Timeouts(first_byte=0.05, idle=0.05, connect=0.05)
    for number in range(7):
        url = server.url.replace("http", "https") if number == 6 else server.url
        with pytest.raises(LLMConnectionError):
            await consume(transport, post(url), quick, number % 2 == 1)
    for connection in server.connections:
        await asyncio.wait_for(connection.over.wait(), 2)
    await asyncio.sleep(0.05)
    assert len(os.listdir("/proc/self/fd")) <= before + 1  # the certificates are read once
