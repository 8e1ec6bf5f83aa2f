"""Connections of the HTTP/1.1 transport over hours of virtual time: deadlines, idle connections, races."""

from __future__ import annotations

import asyncio
import gc
import socket
from collections.abc import Callable
from typing import Any

import pytest

from flexllm_core.errors import LLMConnectionError, LLMTimeoutError
from flexllm_providers.http import HttpRequest, Timeouts
from flexllm_providers.transport.h1 import H1Transport
from flexllm_providers.transport.h1_connection import H1Connection

REQUEST = HttpRequest("POST", "http://llm.example/v1", {}, b"{}")
ANSWER = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"
FOREVER = Timeouts(connect=None, first_byte=None, idle=None, total=None)


class Network:
    """Stands in for name resolution and sockets: every connection is kept, and answers when told."""

    def __init__(self, transport_class: Any, loop: asyncio.AbstractEventLoop) -> None:
        self.transport_class = transport_class
        self.loop = loop
        self.connections: list[H1Connection] = []
        self.transports: list[Any] = []

    async def connect(self, origin: Any, label: str, factory: Callable[[], Any], timeouts: Any, total_at: float) -> Any:
        connection = factory()
        transport = self.transport_class(connection, self.loop)
        connection.connection_made(transport)
        self.connections.append(connection)
        self.transports.append(transport)
        return connection

    def close(self) -> None:
        pass


class Client:
    """An H1Transport on a network that is not there."""

    def __init__(self, transport_class: Any, **options: Any) -> None:
        self.loop = asyncio.get_running_loop()
        self.transport = H1Transport(**options)
        self.transport._bind(self.loop)
        self.network = Network(transport_class, self.loop)
        self.transport._connector = self.network  # type: ignore[assignment]

    async def call(self, timeouts: Timeouts = FOREVER, *, after: float = 0.0) -> bytes:
        """One request, answered `after` so many seconds."""
        task = asyncio.create_task(self.transport.send(REQUEST, timeouts))
        await asyncio.sleep(after)
        while not task.done() and not any(c._exchange is not None for c in self.network.connections):
            await asyncio.sleep(0)
        busy = next(c for c in self.network.connections if c._exchange is not None)
        busy.data_received(ANSWER)
        return (await task).body


@pytest.fixture
def make_client(loop_transport: Any) -> Callable[..., Client]:
    """Make clients; inside a running loop."""
    return lambda **options: Client(loop_transport, **options)


def test_a_thousand_requests_set_few_timers(
    virtual_time: Any, make_client: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A request moves its connection's deadline; it does not set a timer of its own."""

    async def main() -> int:
        client = make_client()
        timers = []
        set_timer = client.loop.call_at
        monkeypatch.setattr(
            client.loop, "call_at", lambda *args, **named: timers.append(args) or set_timer(*args, **named)
        )
        for _ in range(1000):
            assert await client.call(Timeouts(connect=1, first_byte=60, idle=10, total=600)) == b"ok"
        assert len(client.network.connections) == 1
        return sum("H1Connection" in repr(callback) for callback in timers)

    assert virtual_time(main) == 1


def test_each_request_has_its_own_deadline(virtual_time: Any, make_client: Any) -> None:
    """Time that earlier requests of the connection took does not count."""

    async def main() -> float:
        client = make_client()
        for _ in range(5):
            await client.call(Timeouts(first_byte=60, total=600), after=50)
        started = client.loop.time()
        with pytest.raises(LLMTimeoutError) as caught:
            await client.transport.send(REQUEST, Timeouts(first_byte=60, total=600))
        assert caught.value.phase == "first_byte"
        return float(client.loop.time() - started)

    assert virtual_time(main) == pytest.approx(60, abs=0.01)


def test_a_shorter_deadline_is_kept(virtual_time: Any, make_client: Any) -> None:
    """A request with a short limit after one with a long limit ends in time."""

    async def main() -> float:
        client = make_client()
        await client.call(Timeouts(first_byte=500, total=600))
        started = client.loop.time()
        with pytest.raises(LLMTimeoutError):
            await client.transport.send(REQUEST, Timeouts(first_byte=1, total=600))
        return float(client.loop.time() - started)

    assert virtual_time(main) == pytest.approx(1, abs=0.01)


def test_bytes_move_the_idle_deadline(virtual_time: Any, make_client: Any) -> None:
    """The idle limit counts from the last byte, the total limit from the beginning."""

    async def main() -> tuple[str, float]:
        client = make_client()
        task = asyncio.create_task(client.transport.send(REQUEST, Timeouts(first_byte=5, idle=10, total=1000)))
        await asyncio.sleep(4)
        connection = client.network.connections[0]
        connection.data_received(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n")
        for _ in range(20):
            await asyncio.sleep(9)
            connection.data_received(b".")
        with pytest.raises(LLMTimeoutError) as caught:
            await task
        assert client.network.transports[0].aborted
        return caught.value.phase, client.loop.time()

    assert virtual_time(main) == ("idle", pytest.approx(4 + 180 + 10, abs=0.01))


def test_idle_connections_expire(virtual_time: Any, make_client: Any) -> None:
    """An idle connection is closed after its time, by one timer that is gone when nothing is idle."""

    async def main() -> None:
        client = make_client(keepalive_expiry=30)
        await client.call()
        await asyncio.sleep(20)
        await client.call()
        await asyncio.sleep(29)
        assert not client.network.transports[0].aborted
        await asyncio.sleep(2)
        assert client.network.transports[0].aborted
        pool = client.transport._pools[next(iter(client.transport._pools))]
        assert (pool.idle_connections, pool.open_connections, pool._sweep_timer) == (0, 0, None)
        await client.call()
        assert len(client.network.connections) == 2
        await client.transport.aclose()
        assert repr(client.transport) == "<H1Transport, 0 connections>"

    virtual_time(main)


def test_idle_connections_are_bounded(virtual_time: Any, make_client: Any) -> None:
    """No more connections are kept than allowed, and the one used last is used next."""

    async def main() -> None:
        client = make_client(max_idle_per_origin=3)
        tasks = [asyncio.create_task(client.transport.send(REQUEST, FOREVER)) for _ in range(5)]
        await asyncio.sleep(0.1)
        assert len(client.network.connections) == 5
        for connection in client.network.connections:
            connection.data_received(ANSWER)
        await asyncio.gather(*tasks)
        assert [transport.aborted for transport in client.network.transports] == [False] * 3 + [True] * 2
        await client.call()
        assert client.network.transports[2].written.count(b"POST") == 2

    virtual_time(main)


def test_requests_to_two_origins_share_nothing(virtual_time: Any, make_client: Any) -> None:
    """A connection serves its origin only: scheme, host and port."""

    async def main() -> None:
        client = make_client()
        for url in ("http://a.example/", "http://b.example/", "http://a.example:81/", "http://a.example/x"):
            task = asyncio.create_task(client.transport.send(HttpRequest("GET", url, {}), FOREVER))
            await asyncio.sleep(0.1)
            next(c for c in client.network.connections if c._exchange is not None).data_received(ANSWER)
            await task
        assert [connection.label for connection in client.network.connections] == [
            "http://a.example", "http://b.example", "http://a.example:81",
        ]  # fmt: skip

    virtual_time(main)


@pytest.mark.parametrize("event", ["answer", "failure"])
@pytest.mark.parametrize("streaming", [False, True])
def test_cancelled_at_the_same_moment(virtual_time: Any, make_client: Any, event: str, streaming: bool) -> None:
    """A call cancelled just when it ends leaves a usable connection or a closed one, and no complaint."""

    async def main() -> None:
        client = make_client()
        complaints: list[Any] = []
        client.loop.set_exception_handler(lambda loop, context: complaints.append(context))
        method = client.transport.stream if streaming else client.transport.send
        task = asyncio.create_task(method(REQUEST, FOREVER))
        await asyncio.sleep(0.1)
        connection = client.network.connections[0]
        connection.data_received(
            ANSWER[:-1] if event == "answer" and streaming else ANSWER if event == "answer" else b"garbage"
        )
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        del task
        await asyncio.sleep(0)
        gc.collect()  # a future whose error nobody asked for complains when it goes
        assert client.network.transports[0].aborted is (streaming or event == "failure")
        if event == "answer" and not streaming:
            assert await client.call() == b"ok"
            assert len(client.network.connections) == 1
        await asyncio.sleep(1)
        assert complaints == []

    virtual_time(main)


def test_cancelled_when_writing_fails(virtual_time: Any, make_client: Any) -> None:
    """A call cancelled just when its connection fails, before it waits for the answer, leaves no complaint."""

    async def main() -> None:
        client = make_client()
        complaints: list[Any] = []
        client.loop.set_exception_handler(lambda loop, context: complaints.append(context))
        await client.call()
        client.network.transports[0].room = 0
        request = HttpRequest("POST", REQUEST.url, {}, b"x" * 1_000_000)
        task = asyncio.create_task(client.transport.send(request, FOREVER))
        await asyncio.sleep(1)
        client.network.connections[0].data_received(b"garbage")
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        del task
        await asyncio.sleep(0)
        gc.collect()
        assert complaints == []
        assert client.network.transports[0].aborted

    virtual_time(main)


def test_cancelled_before_the_answer_comes(virtual_time: Any, make_client: Any) -> None:
    """An answer that arrives between the cancellation and its delivery is not handed to anybody."""

    async def main() -> None:
        client = make_client()
        task = asyncio.create_task(client.transport.send(REQUEST, FOREVER))
        await asyncio.sleep(0.1)
        task.cancel()
        client.network.connections[0].data_received(ANSWER)
        with pytest.raises(asyncio.CancelledError):
            await task
        assert await client.call() == b"ok"

    virtual_time(main)


def test_large_bodies_wait_for_the_socket(virtual_time: Any, make_client: Any) -> None:
    """A large body is written only as fast as the socket takes it, and not at all after the answer."""

    async def main() -> None:
        client = make_client()
        await client.call()
        connection, transport = client.network.connections[0], client.network.transports[0]
        transport.room = written = len(transport.written)
        request = HttpRequest("POST", REQUEST.url, {}, b"x" * 1_000_000)
        task = asyncio.create_task(client.transport.send(request, Timeouts(first_byte=5)))
        for _ in range(4):
            await asyncio.sleep(4)  # slow, but not stopped
            assert not task.done()
            assert written < len(transport.written) <= written + 200_000
            written = len(transport.written)
            transport.make_room(100_000)
        connection.data_received(b"HTTP/1.1 413 Too Large\r\ncontent-length: 0\r\n\r\n")
        assert (await task).status == 413
        assert transport.aborted

    virtual_time(main)


@pytest.mark.parametrize("waiting", [b"", b"HTTP/1.1 413 Too Large\r\ncontent-length: 4\r\n\r\nnope"])
def test_an_answer_behind_a_failed_write(virtual_time: Any, make_client: Any, waiting: bytes) -> None:
    """When writing fails, an answer that is waiting in the socket is read; without one the request goes again."""

    async def main() -> None:
        client = make_client()
        await client.call()
        connection, transport = client.network.connections[0], client.network.transports[0]
        transport.room = 0
        transport.socket, server = socket.socketpair()
        with transport.socket, server:
            server.sendall(waiting)
            request = HttpRequest("POST", REQUEST.url, {}, b"x" * 1_000_000)
            task = asyncio.create_task(client.transport.send(request, FOREVER))
            await asyncio.sleep(1)
            connection.connection_lost(BrokenPipeError())
            await asyncio.sleep(1)
            assert len(client.network.connections) == (1 if waiting else 2)
            client.network.connections[-1].data_received(ANSWER)
            assert (await task).body == (b"nope" if waiting else b"ok")

    virtual_time(main)


def test_expired_connections_are_not_taken(virtual_time: Any, make_client: Any) -> None:
    """Even if the timer is late, a connection is not used after its time."""

    async def main() -> None:
        client = make_client(keepalive_expiry=30)
        await client.call()
        (pool,) = client.transport._pools.values()
        assert pool.take(client.loop.time() + 31) is None
        assert client.network.transports[0].aborted

    virtual_time(main)


def test_a_stream_closed_before_it_was_read(virtual_time: Any, make_client: Any) -> None:
    """A stream whose body had arrived but was not read does not look like an empty one when closed."""

    async def main() -> None:
        client = make_client()
        task = asyncio.create_task(client.transport.stream(REQUEST, FOREVER))
        await asyncio.sleep(1)
        client.network.connections[0].data_received(ANSWER)
        stream = await task
        await stream.aclose()
        with pytest.raises(LLMConnectionError):
            await anext(stream)
        assert not client.network.transports[0].aborted

    virtual_time(main)


def test_a_transport_belongs_to_one_loop() -> None:
    """Using a transport on a second event loop is refused with a sentence."""
    transport = H1Transport()

    async def use() -> None:
        with pytest.raises(LLMConnectionError):
            await transport.send(HttpRequest("GET", "http://127.0.0.1:9/", {}), Timeouts())

    with asyncio.Runner() as first, asyncio.Runner() as second:
        first.run(use())
        with pytest.raises(RuntimeError, match="event loop"):
            second.run(use())
