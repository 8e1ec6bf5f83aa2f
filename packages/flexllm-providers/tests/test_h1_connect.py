"""Making connections: shared look-ups, addresses that race, and what is left when calls are cancelled."""

from __future__ import annotations

import asyncio
import errno
import socket
from typing import Any

import pytest

from flexllm_core.errors import LLMConnectionError
from flexllm_providers.http import Timeouts
from flexllm_providers.transport import h1_connect
from flexllm_providers.transport.h1_connect import Connector, first_socket, interleave
from flexllm_providers.transport.request_head import Origin

V4, V6 = socket.AF_INET, socket.AF_INET6


def address(host: str, family: Any = V4) -> Any:
    return (family, socket.SOCK_STREAM, 6, "", (host, 80))


class FakeSocket:
    """A socket that only knows whether it is closed."""

    def __init__(self, host: str) -> None:
        self.host = host
        self.closed = False

    def close(self) -> None:
        self.closed = True


class Hosts:
    """Addresses that answer after some seconds, or fail."""

    def __init__(self, **delays: float | OSError) -> None:
        self.delays = delays
        self.tried: list[tuple[str, float]] = []
        self.sockets: list[FakeSocket] = []

    async def open(self, loop: asyncio.AbstractEventLoop, where: Any) -> FakeSocket:
        host = where[4][0]
        self.tried.append((host, round(loop.time(), 3)))
        sock = FakeSocket(host)
        self.sockets.append(sock)
        outcome = self.delays[host]
        try:
            if isinstance(outcome, OSError):
                raise outcome
            await asyncio.sleep(outcome)
        except BaseException:
            sock.close()
            raise
        return sock


def race(virtual_time: Any, monkeypatch: pytest.MonkeyPatch, hosts: Hosts, *addresses: Any) -> Any:
    monkeypatch.setattr(h1_connect, "_open_socket", hosts.open)

    async def main() -> Any:
        try:
            return await first_socket(asyncio.get_running_loop(), addresses)
        finally:
            await asyncio.sleep(0)
            await asyncio.sleep(0)

    return virtual_time(main)


def test_families_take_turns() -> None:
    """Addresses alternate between families, in the resolver's order."""
    mixed = [address("a6", V6), address("b6", V6), address("c6", V6), address("a4"), address("b4")]
    assert [each[4][0] for each in interleave(mixed)] == ["a6", "a4", "b6", "b4", "c6"]


def test_a_silent_address_costs_a_quarter_second(virtual_time: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """While one address does not answer the next is tried, and the loser's socket is closed."""
    hosts = Hosts(a6=100, a4=0.1)
    won = race(virtual_time, monkeypatch, hosts, address("a6", V6), address("a4"))
    assert won.host == "a4"
    assert hosts.tried == [("a6", 0.0), ("a4", 0.25)]
    assert [sock.closed for sock in hosts.sockets] == [True, False]


def test_a_refusing_address_costs_nothing(virtual_time: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A failure starts the next address at once."""
    hosts = Hosts(a6=OSError(errno.ENETUNREACH, "no"), a4=0.1)
    assert race(virtual_time, monkeypatch, hosts, address("a6", V6), address("a4")).host == "a4"
    assert hosts.tried == [("a6", 0.0), ("a4", 0.0)]


def test_both_answer_at_once(virtual_time: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of two connections made at the same moment one is kept and one closed."""
    hosts = Hosts(a6=0.5, a4=0.25)
    won = race(virtual_time, monkeypatch, hosts, address("a6", V6), address("a4"))
    assert [sock.closed for sock in hosts.sockets if sock is not won] == [True]
    assert not won.closed


def test_the_first_failure_is_told(virtual_time: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """When no address can be reached the error is that of the preferred one."""
    hosts = Hosts(a6=OSError(errno.ECONNREFUSED, "first"), a4=OSError(errno.ENETUNREACH, "second"))
    with pytest.raises(OSError, match="first"):
        race(virtual_time, monkeypatch, hosts, address("a6", V6), address("a4"))


def test_cancelling_a_race_closes_every_socket(virtual_time: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is left open when the call goes away."""
    hosts = Hosts(a6=100, a4=100)
    monkeypatch.setattr(h1_connect, "_open_socket", hosts.open)

    async def main() -> None:
        task = asyncio.create_task(first_socket(asyncio.get_running_loop(), [address("a6", V6), address("a4")]))
        await asyncio.sleep(1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await asyncio.sleep(0.1)

    virtual_time(main)
    assert [sock.closed for sock in hosts.sockets] == [True, True]


async def test_one_look_up_for_all_that_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    """Calls that start together share a look-up; one that is cancelled does not take it from the others."""
    loop = asyncio.get_running_loop()
    lookups: list[str] = []
    answer = asyncio.Event()

    async def getaddrinfo(host: str, port: int, **options: Any) -> Any:
        lookups.append(host)
        await answer.wait()
        return [address("1.2.3.4")]

    monkeypatch.setattr(loop, "getaddrinfo", getaddrinfo)
    connector = Connector(loop, verify=True)
    tasks = [asyncio.create_task(connector._resolve("llm.example", 80)) for _ in range(100)]
    await asyncio.sleep(0)
    tasks[0].cancel()
    answer.set()
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert isinstance(results[0], asyncio.CancelledError)
    assert results[1:] == [[address("1.2.3.4")]] * 99
    assert lookups == ["llm.example"]
    assert await connector._resolve("127.0.0.1", 80) != []
    assert lookups == ["llm.example"]


async def test_closing_ends_a_look_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """A call whose transport is closed while it looks up a name fails; it is not cancelled."""
    loop = asyncio.get_running_loop()

    async def getaddrinfo(host: str, port: int, **options: Any) -> Any:
        await asyncio.sleep(100)

    monkeypatch.setattr(loop, "getaddrinfo", getaddrinfo)
    connector = Connector(loop, verify=True)
    origin = Origin("http", "llm.example", 80)
    call = connector.connect(origin, "http://llm.example", asyncio.Protocol, Timeouts(), float("inf"))
    task = asyncio.create_task(call)
    await asyncio.sleep(0.01)
    connector.close()
    with pytest.raises(LLMConnectionError):
        await task


async def test_a_host_that_is_no_name() -> None:
    """A host that cannot be a DNS name is a connection error like an unknown one."""
    connector = Connector(asyncio.get_running_loop(), verify=True)
    host = "a" * 70 + ".example"
    with pytest.raises(LLMConnectionError, match="could not connect"):
        await connector.connect(Origin("http", host, 80), "http://x", asyncio.Protocol, Timeouts(), float("inf"))


async def test_addresses_are_checked_before_anything_is_connected_to() -> None:
    """With the host and all that it resolves to; what the check raises ends the call as it is."""
    seen: list[Any] = []

    def check(host: str, addresses: Any) -> None:
        seen.append((host, [address[4][0] for address in addresses]))
        raise PermissionError("not there") if host == "127.0.0.2" else KeyError("ours")

    connector = Connector(asyncio.get_running_loop(), True, check)
    for host, expected in (("127.0.0.1", KeyError), ("127.0.0.2", LLMConnectionError)):
        with pytest.raises(expected):
            await connector.connect(Origin("http", host, 9), "http://x", asyncio.Protocol, Timeouts(), float("inf"))
    assert seen == [("127.0.0.1", ["127.0.0.1"]), ("127.0.0.2", ["127.0.0.2"])]
