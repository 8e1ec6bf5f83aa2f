"""MockServer: start, stop, ports, threads; and the settings."""

from __future__ import annotations

import asyncio
import dataclasses
import gc
import socket
import threading
import time
from contextlib import suppress

import pytest

from flexllm_mock import FaultRule, MockConfig, MockServer, MockServerError
from flexllm_mock.config import MockOptions
from flexllm_mock.httpserver import HttpServer, listen, url_of


def mock_threads():
    return [thread for thread in threading.enumerate() if thread.name == "flexllm-mock"]


def test_with_block_serves_and_ends(client_for, protocol):
    """Inside the block the server answers; afterwards nobody listens and no thread is left."""
    with MockServer() as server:
        assert server.url.startswith("http://127.0.0.1:")
        assert server.base_url == f"{server.url}/v1"
        assert client_for(server.url).chat().status == 200
        assert server.running
    assert not server.running
    assert mock_threads() == []
    with pytest.raises(ConnectionRefusedError):
        client_for(server.url).get("/health")
    assert server.stats().requests == 1
    assert len(server.requests) == 1
    gc.collect()


async def test_async_with_block(client_for):
    """The same as an async context manager, whose loop goes on while the server starts and stops."""
    async with MockServer() as server:
        answer = await asyncio.to_thread(client_for(server.url).chat)
        assert answer.status == 200
    assert mock_threads() == []


async def test_stop_ends_waiting_requests_of_the_same_loop():
    """Leaving the block while a request waits closes it at once, and its client sees the end."""
    async with MockServer(delay=300) as server:
        host, port = server.url.removeprefix("http://").split(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        body = b'{"model":"m","messages":[{"role":"user","content":"x"}]}'
        writer.write(b"POST /chat/completions HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n" % len(body) + body)
        while not server.stats().in_flight:
            await asyncio.sleep(0.001)
    assert mock_threads() == []
    with suppress(ConnectionResetError):
        assert await reader.read() == b""
    writer.close()
    assert server.stats().cancelled == 1


@pytest.mark.parametrize("stream", [False, True])
def test_stop_is_quick_with_idle_and_waiting_connections(protocol, client_for, chat_bytes, capfd, stream):
    """Connections that are idle, waiting or in the middle of a stream do not hold the server, nor make noise."""
    server = MockServer(delay=0 if stream else 300, token_rate=0.01)
    server.start()
    client = client_for(server.url)
    with client.connect(), client.connect() as waiting, client.connect() as half:
        waiting.sendall(chat_bytes(stream=stream))
        half.sendall(chat_bytes()[:-5])
        while server.stats().in_flight < 2:
            pass
        start = time.monotonic()
        server.stop()
        assert time.monotonic() - start < 5
    assert mock_threads() == []
    assert server.stats().in_flight == 0
    assert capfd.readouterr().err == ""


def test_port_is_free_again_at_once(client_for):
    """A server can take the port of one that has just stopped."""
    with MockServer() as first:
        client_for(first.url).chat()
        port = int(first.url.rsplit(":", 1)[1])
    for _ in range(3):
        with MockServer(port=port) as again:
            assert again.url == first.url
            assert client_for(again.url).chat().status == 200


def test_taken_port_is_an_error():
    """A second server on the same port raises instead of leaving its user with the first."""
    with MockServer() as first:
        port = int(first.url.rsplit(":", 1)[1])
        second = MockServer(port=port)
        with pytest.raises(MockServerError, match=f"port {port} on 127.0.0.1 is taken"):
            second.start()
        assert not second.running
        second.stop()


def test_address_that_is_not_ours_is_an_error():
    """An address of another machine cannot be listened on, and the error says which it was."""
    with pytest.raises(MockServerError, match=r"cannot listen on 192\.0\.2\.1"):
        MockServer(host="192.0.2.1").start()


def test_server_can_be_used_again(client_for):
    """Each start begins with a clean state; starting twice is an error."""
    server = MockServer(faults=[FaultRule(status=500, times=1)])
    for _ in range(2):
        with server:
            assert [client_for(server.url).chat().status for _ in range(2)] == [500, 200]
            assert server.stats().requests == 2
            with pytest.raises(MockServerError, match="running already"):
                server.start()


def test_server_that_was_not_started_says_so():
    """Its address and counts are errors rather than guesses; stopping it does nothing."""
    server = MockServer()
    for use in (lambda: server.url, server.stats, lambda: server.requests, server.reset):
        with pytest.raises(MockServerError, match="not been started"):
            use()
    server.stop()


def test_servers_are_independent(client_for):
    """Two servers in one process have their own answers, faults and counts."""
    with MockServer(seed=1) as one, MockServer(seed=2) as two:
        one.add_fault(FaultRule(status=500, times=1))
        assert client_for(one.url).chat().status == 500
        assert client_for(two.url).chat().text != client_for(one.url).chat().text
        assert (one.stats().requests, two.stats().requests) == (2, 1)
        one.reset()
        assert (one.stats().requests, two.stats().requests) == (0, 1)


def test_log_file_that_cannot_be_opened_frees_the_port(tmp_path):
    """A start that fails leaves no socket behind."""
    with MockServer() as server:
        port = int(server.url.rsplit(":", 1)[1])
    with pytest.raises(FileNotFoundError):
        MockServer(port=port, log_file=tmp_path / "no" / "folder").start()
    with MockServer(port=port):
        pass


def test_start_that_fails_in_the_thread_raises(monkeypatch, client_for):
    """An error while starting reaches the caller, and the server can be started afterwards."""

    async def broken(self, sockets=None):
        raise OSError("no descriptors left")

    server = MockServer()
    with monkeypatch.context() as patched:
        patched.setattr(HttpServer, "startup", broken)
        with pytest.raises(OSError, match="no descriptors left"):
            server.start()
    assert not server.running
    assert server.stats().requests == 0
    with server:
        assert client_for(server.url).chat().status == 200


def test_error_in_a_call_reaches_the_caller():
    """What fails in the server's loop on behalf of a caller is raised there."""
    with MockServer() as server, pytest.raises(ZeroDivisionError):
        server._call(lambda: 1 / 0)


def test_keep_alive_and_pipelined_requests(client, protocol, chat_bytes):
    """One connection carries many requests, also when they are sent without waiting."""
    last = chat_bytes(n=2).replace(b"host: mock", b"host: mock\r\nconnection: close")
    received = client.raw(chat_bytes() + chat_bytes(stream=True) + last)
    assert received.count(b"HTTP/1.1 200 OK") == 3
    assert client.server.stats().total_connections == 1


@pytest.mark.skipif(not socket.has_dualstack_ipv6(), reason="no IPv6 here")
def test_url_of_an_ipv6_address():
    """An IPv6 address is in brackets, and a wildcard address becomes one that can be connected to."""
    with listen("::1", 0) as listener:
        assert url_of(listener) == f"http://[::1]:{listener.getsockname()[1]}"
    with listen("0.0.0.0", 0) as listener:
        assert url_of(listener).startswith("http://127.0.0.1:")


def test_config_and_options_agree():
    """The keyword arguments of MockServer are the fields of MockConfig."""
    assert list(MockOptions.__annotations__) == [field.name for field in dataclasses.fields(MockConfig)]
    assert MockServer(MockConfig(seed=3, delay=1), delay=2).config == MockConfig(seed=3, delay=2)


@pytest.mark.parametrize(
    "wrong",
    [
        {"port": -1},
        {"port": 65536},
        {"delay": -1},
        {"delay": float("nan")},
        {"token_rate": float("inf")},
        {"error_rate": 1.1},
        {"error_status": 200},
        {"retry_after": -1},
        {"response_len": (0, 5)},
        {"response_len": (5, 4)},
        {"seed": 2**63},
        {"models": ()},
        {"api_key": ""},
        {"max_body_bytes": 0},
    ],
)
def test_config_out_of_range_is_named(wrong):
    """A setting that makes no sense raises a ValueError with its name."""
    with pytest.raises(ValueError, match=next(iter(wrong))):
        MockConfig(**wrong)
