"""Requests through a real forward proxy, and who decides that there is one."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import logging
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from flexllm_core.errors import ConfigError, LLMConnectionError, LLMTimeoutError, MissingExtraError
from flexllm_providers.http import HttpRequest, Timeouts
from flexllm_providers.transport.create import create_transport
from flexllm_providers.transport.h1 import H1Transport
from flexllm_providers.transport.httpx_transport import HttpxTransport
from flexllm_providers.transport.proxies import checked_proxy, proxy_from_environment

SOON = Timeouts(connect=5, first_byte=5, idle=5, total=10)
CREDENTIALS = "user:pw-sentinel"


class ForwardProxy:
    """A small HTTP proxy in a thread of its own: CONNECT and absolute-form, with a password if given."""

    def __init__(self, credentials: str | None = None) -> None:
        self.credentials = credentials
        self.heads: list[bytes] = []
        self.port = 0
        self.mute = False
        self._ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._main()))

    @property
    def url(self) -> str:
        return f"http://{self.credentials + '@' if self.credentials else ''}127.0.0.1:{self.port}"

    def start(self) -> None:
        self._thread.start()
        assert self._ready.wait(5)

    def stop(self) -> None:
        self._loop.call_soon_threadsafe(self._over.set)
        self._thread.join(5)

    async def _main(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._over = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        self._ready.set()
        await self._over.wait()
        server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._tasks.add(asyncio.get_running_loop().create_task(self._serve(reader, writer)))

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError), contextlib.closing(writer):
            head = await reader.readuntil(b"\r\n\r\n")
            self.heads.append(head)
            wanted = base64.b64encode((self.credentials or "").encode())
            if self.mute:
                await reader.read()
            elif self.credentials and b"Basic " + wanted not in head:
                writer.write(b"HTTP/1.1 407 Proxy Authentication Required\r\ncontent-length: 0\r\n\r\n")
                await writer.drain()
            else:
                await self._forward(head, reader, writer)

    async def _forward(self, head: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        method, target, _ = head.split(b" ", 2)
        authority = target if method == b"CONNECT" else httpx.URL(target.decode()).netloc
        host, _, port = authority.decode().rpartition(":")
        try:
            upstream_reader, upstream = await asyncio.open_connection(host, int(port))
        except OSError:
            writer.write(b"HTTP/1.1 502 Bad Gateway\r\ncontent-length: 0\r\n\r\n")
            return
        with contextlib.closing(upstream):
            if method == b"CONNECT":
                writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
            else:
                path = httpx.URL(target.decode()).raw_path
                upstream.write(head.replace(target, path, 1))
            there = asyncio.create_task(self._pump(reader, upstream))
            await self._pump(upstream_reader, writer)
            there.cancel()

    @staticmethod
    async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(65536):
                writer.write(data)
                await writer.drain()


@pytest.fixture(params=[None, CREDENTIALS], ids=["open", "password"])
def proxy(request: pytest.FixtureRequest) -> Iterator[ForwardProxy]:
    """A running proxy, without and with a password."""
    running = ForwardProxy(request.param)
    running.start()
    yield running
    running.stop()


def post(url: str, body: bytes = b"{}") -> HttpRequest:
    return HttpRequest("POST", url + "/v1/x?y=1", {"authorization": "Bearer sk-sentinel"}, body)


async def echo_forever(connection: Any) -> None:
    while True:
        _, body = await connection.request()
        await connection.answer(body)


async def test_plain_http_through_a_proxy(serve: Any, proxy: ForwardProxy) -> None:
    """A proxy that is named explicitly serves loopback addresses too; its connection is kept."""
    server = await serve(echo_forever)
    transport = create_transport(server.url, proxy=proxy.url)
    for body in (b"1", b"2"):
        assert (await transport.send(post(server.url, body), SOON)).body == body
    assert proxy.heads[0].startswith(b"POST " + server.url.encode() + b"/v1/x?y=1 HTTP/1.1\r\n")
    assert b"pw-sentinel" not in server.connections[0].requests[0][0]
    assert len(server.connections) == 1
    await transport.aclose()


async def test_tls_through_a_proxy(serve: Any, proxy: ForwardProxy, server_tls: ssl.SSLContext) -> None:
    """TLS goes through a tunnel: the proxy sees neither key nor path."""
    server = await serve(echo_forever, tls=server_tls)
    transport = create_transport(server.url, proxy=proxy.url, verify=False)
    for body in (b"1", b"2" * 1_000_000):
        assert (await transport.send(post(server.url, body), SOON)).body == body
    assert proxy.heads == [proxy.heads[0]]
    assert proxy.heads[0].startswith(b"CONNECT 127.0.0.1:")
    assert b"sk-sentinel" not in proxy.heads[0]
    await transport.aclose()


async def test_untrusted_certificate_behind_a_proxy(
    serve: Any, proxy: ForwardProxy, server_tls: ssl.SSLContext
) -> None:
    """The server's certificate is checked through the tunnel."""
    server = await serve(echo_forever, tls=server_tls)
    transport = create_transport(server.url, proxy=proxy.url)
    with pytest.raises(LLMConnectionError, match="certificate is not trusted") as caught:
        await transport.send(post(server.url), SOON)
    assert caught.value.kind == "refused"
    await transport.aclose()


async def test_a_proxy_that_wants_a_password(serve: Any, server_tls: ssl.SSLContext) -> None:
    """A missing or wrong password is an error that is not retried; no error or repr shows it."""
    proxy = ForwardProxy(CREDENTIALS)
    proxy.start()
    server = await serve(echo_forever, tls=server_tls)
    transport = create_transport(server.url, proxy=proxy.url.replace("pw-", "wrong-"), verify=False)
    with pytest.raises(LLMConnectionError, match=r"proxy http://127.0.0.1:.* refused .* 407") as caught:
        await transport.send(post(server.url), SOON)
    assert (caught.value.kind, caught.value.retryable) == ("refused", False)
    assert "sentinel" not in f"{caught.value} {caught.value!r} {transport!r} {vars(caught.value)}"
    await transport.aclose()
    proxy.stop()


async def test_unreachable_server_and_proxy(proxy: ForwardProxy) -> None:
    """The message tells a dead server from a dead proxy, without credentials."""
    transport = create_transport("https://127.0.0.1:9", proxy=proxy.url)
    with pytest.raises(LLMConnectionError, match=r"the proxy .* refused .* 502") as caught:
        await transport.send(post("https://127.0.0.1:9"), SOON)
    assert caught.value.kind == "transient"
    await transport.aclose()
    transport = create_transport("https://127.0.0.1:9", proxy=f"http://{CREDENTIALS}@127.0.0.1:9")
    with pytest.raises(LLMConnectionError, match=r"through the proxy http://127.0.0.1:9: connection refused") as caught:
        await transport.send(post("https://127.0.0.1:9"), SOON)
    assert "sentinel" not in f"{caught.value} {caught.value!r} {transport!r}"
    await transport.aclose()


async def test_a_proxy_that_says_nothing(serve: Any, proxy: ForwardProxy, server_tls: ssl.SSLContext) -> None:
    """Waiting for the tunnel is part of connecting."""
    proxy.mute = True
    server = await serve(echo_forever, tls=server_tls)
    transport = create_transport(server.url, proxy=proxy.url, verify=False)
    with pytest.raises(LLMTimeoutError) as caught:
        await transport.send(post(server.url), Timeouts(connect=0.1))
    assert caught.value.phase == "connect"
    await transport.aclose()


async def test_proxy_from_the_environment(serve: Any, proxy: ForwardProxy, monkeypatch: pytest.MonkeyPatch) -> None:
    """The environment's proxy is used for other hosts, and never for loopback."""
    monkeypatch.setenv("HTTP_PROXY", proxy.url)
    server = await serve(echo_forever)
    direct = create_transport(server.url)
    assert isinstance(direct, H1Transport)
    assert (await direct.send(post(server.url, b"direct"), SOON)).body == b"direct"
    assert proxy.heads == []
    through = create_transport("http://llm.example")
    assert isinstance(through, HttpxTransport)
    assert (await through.send(post("http://llm.example:9"), SOON)).status == 502
    assert proxy.heads[0].startswith(b"POST http://llm.example:9/v1/x")
    assert isinstance(create_transport("http://llm.example", proxy=""), H1Transport)
    for transport in (direct, through):
        await transport.aclose()


async def test_own_transports() -> None:
    """A transport of the user's is used as it is, and an httpx one through its interface."""

    def handler(request: httpx.Request) -> httpx.Response:
        if request.url.path == "/loop":
            raise httpx.ConnectError("no", request=request)
        return httpx.Response(200, json={"got": request.read().decode()})

    ours = H1Transport()
    assert create_transport("http://x", transport=ours) is ours
    transport = create_transport("https://x.example/v1", transport=httpx.MockTransport(handler))
    assert (await transport.send(post("https://x.example", b"hi"), SOON)).body == b'{"got":"hi"}'
    with pytest.raises(LLMConnectionError):
        await transport.send(HttpRequest("GET", "https://x.example/loop", {}), SOON)
    with pytest.raises(ConfigError):
        create_transport("http://x", transport=httpx.MockTransport(handler), proxy="http://p:1")


async def test_time_limits_of_own_transports() -> None:
    """A transport that knows no time limits obeys ours."""

    class Slow(httpx.AsyncBaseTransport):
        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            if request.url.path == "/head":
                await asyncio.sleep(5)
            return httpx.Response(200, stream=Trickle())

    class Trickle(httpx.AsyncByteStream):
        async def __aiter__(self) -> Any:
            yield b"a"
            await asyncio.sleep(5)

    transport = HttpxTransport(Slow())
    for path, timeouts, phase in (
        ("/head", Timeouts(first_byte=0.05), "first_byte"),
        ("/head", Timeouts(total=0.05), "total"),
        ("/body", Timeouts(idle=0.05), "idle"),
        ("/body", Timeouts(total=0.05), "total"),
    ):
        with pytest.raises(LLMTimeoutError) as caught:
            await transport.send(HttpRequest("GET", "http://x" + path, {}), timeouts)
        assert caught.value.phase == phase


@pytest.mark.parametrize(
    ("environ", "url", "expected"),
    [
        ({}, "http://a.example", None),
        ({"HTTP_PROXY": "p:1"}, "http://a.example", "p:1"),
        ({"HTTP_PROXY": "p:1"}, "https://a.example", None),
        ({"HTTP_PROXY": "p:1", "http_proxy": "q:1"}, "http://a.example", "q:1"),
        ({"ALL_PROXY": "socks5://p:1"}, "https://a.example", "socks5://p:1"),
        ({"ALL_PROXY": "p:1", "https_proxy": "q:1"}, "https://a.example", "q:1"),
        ({"HTTP_PROXY": "p:1", "REQUEST_METHOD": "GET"}, "http://a.example", None),
        ({"https_proxy": "p:1", "NO_PROXY": "*"}, "https://a.example", None),
        ({"https_proxy": "p:1", "NO_PROXY": "b.example, a.example"}, "https://a.example", None),
        ({"https_proxy": "p:1", "no_proxy": ".example"}, "https://a.example", None),
        ({"https_proxy": "p:1", "no_proxy": "*.a.example"}, "https://x.A.example", None),
        ({"https_proxy": "p:1", "no_proxy": "a.example"}, "https://nota.example", "p:1"),
        ({"https_proxy": "p:1", "no_proxy": "a.example:8443"}, "https://a.example", "p:1"),
        ({"https_proxy": "p:1", "no_proxy": "a.example:8443"}, "https://a.example:8443", None),
        ({"https_proxy": "p:1", "no_proxy": "[fd00::1]:443,10.0.0.1"}, "https://[fd00::1]/", None),
        ({"https_proxy": "p:1", "no_proxy": "fd00::1"}, "https://[fd00::1]:1/", None),
        ({"https_proxy": "p:1", "no_proxy": "10.0.0.1"}, "https://10.0.0.1", None),
        ({"https_proxy": "p:1", "no_proxy": "10.0.0.1"}, "https://10.0.0.11", "p:1"),
        ({"https_proxy": "p:1", "no_proxy": ",, ."}, "https://a.example", "p:1"),
        ({"ALL_PROXY": "p:1"}, "http://localhost:8000", None),
        ({"ALL_PROXY": "p:1"}, "http://127.8.8.8:8000", None),
        ({"ALL_PROXY": "p:1"}, "http://[::1]:8000", None),
        ({"ALL_PROXY": "p:1"}, "http://vllm.localhost", None),
        ({"ALL_PROXY": "p:1"}, "http://localhost.example", "p:1"),
    ],
)
def test_environment_rules(environ: dict[str, str], url: str, expected: str | None) -> None:
    """The variables mean what they mean to curl; loopback addresses have no proxy."""
    assert proxy_from_environment(url, environ) == expected


@pytest.mark.parametrize(
    "proxy", ["ftp://u:pw-sentinel@h:1", "http://", "http://u:pw-sentinel@h:abc", "://x", "http://[::1"]
)
def test_unusable_proxies(proxy: str) -> None:
    """A proxy that cannot be one is refused at once, without showing its credentials."""
    with pytest.raises(ConfigError) as caught:
        create_transport("https://a.example", proxy=proxy)
    assert "sentinel" not in str(caught.value)


def test_proxy_scheme_may_be_left_out() -> None:
    """As for curl, a bare host and port is an http proxy."""
    assert checked_proxy(" h:3128 ") == "http://h:3128"


def test_httpx_is_loaded_when_it_is_needed() -> None:
    """Without a proxy, the slow import of httpx is not paid for."""
    code = (
        "import sys; from flexllm_providers.transport.create import create_transport as t;"
        "t('https://a.example', proxy='');"
        "assert 'httpx' not in sys.modules; t('https://a.example', proxy='p:1'); assert 'httpx' in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_socks_needs_its_package(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without socksio a socks proxy is refused with the command that installs it."""
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=r"httpx\[socks\]"):
        create_transport("https://a.example", proxy="socks5://u:p@h:1080")


async def test_socks_proxy(serve: Any, server_tls: ssl.SSLContext, caplog: pytest.LogCaptureFixture) -> None:
    """A socks5 proxy carries requests; its password reaches no log, even at DEBUG."""
    pytest.importorskip("socksio")
    caplog.set_level(logging.DEBUG)
    server = await serve(echo_forever, tls=server_tls)

    async def socks(connection: Any) -> None:
        _, count = await connection.reader.readexactly(2)
        await connection.reader.readexactly(count)
        await connection.send(b"\x05\x02")
        _, length = await connection.reader.readexactly(2)
        user = await connection.reader.readexactly(length)
        password = await connection.reader.readexactly((await connection.reader.readexactly(1))[0])
        assert (user, password) == (b"user", b"pw-sentinel")
        await connection.send(b"\x01\x00")
        _, _, _, kind = await connection.reader.readexactly(4)
        await connection.reader.readexactly((4 if kind == 1 else (await connection.reader.readexactly(1))[0]) + 2)
        await connection.send(b"\x05\x00\x00\x01\x00\x00\x00\x00\x00\x00")
        upstream_reader, upstream = await asyncio.open_connection("127.0.0.1", server.port)
        there = asyncio.create_task(ForwardProxy._pump(connection.reader, upstream))
        await ForwardProxy._pump(upstream_reader, connection.writer)
        there.cancel()
        upstream.close()

    proxy = await serve(socks)
    transport = create_transport(server.url, proxy=f"socks5://{CREDENTIALS}@127.0.0.1:{proxy.port}", verify=False)
    assert (await transport.send(post(server.url, b"socks"), SOON)).body == b"socks"
    assert "sentinel" not in f"{caplog.text} {transport!r}"
    await transport.aclose()
