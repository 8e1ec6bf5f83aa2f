"""Both transports against servers that people run: nginx, uvicorn with each of its parsers, aiohttp."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import aiohttp.web
import pytest
import uvicorn

from flexllm_providers.http import HttpRequest, Timeouts, Transport
from flexllm_providers.transport.h1 import H1Transport
from flexllm_providers.transport.httpx_transport import HttpxTransport

SOON = Timeouts(connect=10, first_byte=20, idle=20, total=30)
MEGABYTE = bytes(range(256)) * 4096
EVENTS = [b"data: %d\n\n" % number for number in range(20)]

NGINX = """
daemon off; master_process off; pid {folder}/pid; error_log {folder}/error.log;
events {{ worker_connections 2048; }}
http {{
  access_log off; client_max_body_size 8m; keepalive_timeout 60; gzip on; gzip_types application/json;
  client_body_temp_path {folder}/b; proxy_temp_path {folder}/p; fastcgi_temp_path {folder}/f;
  uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;
  server {{
    listen 127.0.0.1:{port} backlog=1024;
    location /answer {{ default_type application/json; return 200 '{{"answer":"{answer}"}}'; }}
    location /files/ {{ alias {folder}/files/; }}
    location /moved {{ return 308 http://127.0.0.1:{port}/answer; }}
  }}
}}
"""


@pytest.fixture(params=["asyncio", "uvloop"])
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, bool]]:
    """Both event loops, where uvloop is installed."""
    if request.param == "uvloop":
        pytest.importorskip("uvloop")
    return "asyncio", {"use_uvloop": request.param == "uvloop"}


@pytest.fixture(params=[H1Transport, HttpxTransport], ids=["h1", "httpx"])
async def transport(request: pytest.FixtureRequest) -> AsyncIterator[Transport]:
    """Both transports."""
    made: Transport = request.param()
    yield made
    await made.aclose()


async def application(scope: Any, receive: Any, send: Any) -> None:
    """An ASGI app: `/digest` answers with the SHA-256 of the body, `/events` with a stream."""
    body = b""
    while True:
        message = await receive()
        body += message.get("body", b"")
        if not message.get("more_body"):
            break
    stream = scope["path"] == "/events"
    kind = b"text/event-stream" if stream else b"text/plain"
    headers = [(b"content-type", kind)]
    answer = hashlib.sha256(body).hexdigest().encode()
    if not stream:
        headers.append((b"content-length", b"%d" % len(answer)))
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    for event in EVENTS if stream else []:
        await send({"type": "http.response.body", "body": event, "more_body": True})
        await asyncio.sleep(0)
    await send({"type": "http.response.body", "body": b"" if stream else answer})


@contextlib.contextmanager
def run_uvicorn(parser: str) -> Iterator[str]:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(1024)
        config = uvicorn.Config(application, http=parser, lifespan="off", log_level="error", ws="none")  # type: ignore[arg-type]
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        server.should_exit = True
        thread.join(10)


@contextlib.contextmanager
def run_aiohttp() -> Iterator[str]:
    async def digest(request: aiohttp.web.Request) -> aiohttp.web.Response:
        return aiohttp.web.Response(text=hashlib.sha256(await request.read()).hexdigest())

    async def events(request: aiohttp.web.Request) -> aiohttp.web.StreamResponse:
        await request.read()
        response = aiohttp.web.StreamResponse(headers={"content-type": "text/event-stream"})
        await response.prepare(request)
        for event in EVENTS:
            await response.write(event)
        return response

    async def main() -> None:
        app = aiohttp.web.Application(client_max_size=8 << 20)
        app.router.add_post("/digest", digest)
        app.router.add_post("/events", events)
        runner = aiohttp.web.AppRunner(app, shutdown_timeout=0.1)
        await runner.setup()
        await aiohttp.web.SockSite(runner, listener, backlog=1024).start()
        stops.append((asyncio.get_running_loop(), over := asyncio.Event()))
        ready.set()
        await over.wait()
        await runner.cleanup()

    stops: list[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = []
    ready = threading.Event()
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        thread = threading.Thread(target=lambda: asyncio.run(main()), daemon=True)
        thread.start()
        assert ready.wait(10)
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        loop, over = stops[0]
        loop.call_soon_threadsafe(over.set)
        thread.join(10)


@pytest.fixture(scope="module", params=["uvicorn-httptools", "uvicorn-h11", "aiohttp"])
def server(request: pytest.FixtureRequest) -> Iterator[str]:
    """A running application server; gives its URL."""
    running = run_aiohttp() if request.param == "aiohttp" else run_uvicorn(request.param.removeprefix("uvicorn-"))
    with running as url:
        yield url


@pytest.fixture(scope="module")
def nginx(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A running nginx; gives its URL."""
    program = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin:/usr/local/sbin")
    if program is None:
        pytest.skip("nginx is not installed")
    folder = tmp_path_factory.mktemp("nginx")
    (folder / "files").mkdir()
    (folder / "files" / "megabyte").write_bytes(MEGABYTE)
    folder.chmod(0o755)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    config = folder / "nginx.conf"
    config.write_text(NGINX.format(folder=folder, port=port, answer="x" * 2000))
    with subprocess.Popen([program, "-c", str(config), "-p", str(folder)], stderr=subprocess.DEVNULL) as process:
        wait_for_port(port, process, folder)
        yield f"http://127.0.0.1:{port}"
        process.terminate()


def wait_for_port(port: int, process: subprocess.Popen[bytes], folder: Path) -> None:
    for _ in range(200):
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return
        if process.poll() is not None:
            pytest.fail(f"nginx did not start: {(folder / 'error.log').read_text()}")
        time.sleep(0.05)
    pytest.fail("nginx did not start")


async def read(transport: Transport, request: HttpRequest) -> bytes:
    stream = await transport.stream(request, SOON)
    assert stream.status == 200
    return b"".join([chunk async for chunk in stream])


async def at_once(count: int, call: Callable[[int], Any]) -> list[Any]:
    return list(await asyncio.gather(*[call(number) for number in range(count)]))


async def test_many_requests(server: str, transport: Transport) -> None:
    """Two hundred requests at once, twice, each get their own answer."""
    bodies = [b'{"n": %d}' % number * 50 for number in range(200)]
    for _ in range(2):
        answers = await at_once(
            200, lambda n: transport.send(HttpRequest("POST", server + "/digest", {}, bodies[n]), SOON)
        )
        assert {answer.status for answer in answers} == {200}
        assert [answer.body.decode() for answer in answers] == [hashlib.sha256(body).hexdigest() for body in bodies]


async def test_many_streams(server: str, transport: Transport) -> None:
    """Two hundred streams at once arrive whole."""
    request = HttpRequest("POST", server + "/events", {"content-type": "application/json"}, b"{}")
    assert set(await at_once(200, lambda n: read(transport, request))) == {b"".join(EVENTS)}


async def test_large_requests(server: str, transport: Transport) -> None:
    """Bodies of a megabyte arrive unharmed, many at a time."""
    request = HttpRequest("POST", server + "/digest", {}, MEGABYTE)
    answers = await at_once(20, lambda n: transport.send(request, SOON))
    assert {answer.body.decode() for answer in answers} == {hashlib.sha256(MEGABYTE).hexdigest()}


async def test_nginx(nginx: str, transport: Transport) -> None:
    """nginx, told to compress, answers plainly; streams and large bodies pass; redirects stay with the caller."""
    request = HttpRequest("POST", nginx + "/answer", {"content-type": "application/json"}, b"{}")
    answers = await at_once(200, lambda n: transport.send(request, SOON))
    assert {(answer.status, len(answer.body)) for answer in answers} == {(200, 2013)}
    large = HttpRequest("POST", nginx + "/answer", {}, MEGABYTE)
    assert {answer.status for answer in await at_once(50, lambda n: transport.send(large, SOON))} == {200}
    file = HttpRequest("GET", nginx + "/files/megabyte", {})
    assert set(await at_once(50, lambda n: read(transport, file))) == {MEGABYTE}
    assert (await transport.send(HttpRequest("POST", nginx + "/moved", {}, b"{}"), SOON)).status == 308


async def test_nginx_refuses_a_body_that_is_too_large(nginx: str, transport: Transport) -> None:
    """nginx answers 413 before the body has been sent: that answer is the result."""
    request = HttpRequest("POST", nginx + "/answer", {}, b"x" * 20_000_000)
    for _ in range(5):
        assert (await transport.send(request, SOON)).status == 413
