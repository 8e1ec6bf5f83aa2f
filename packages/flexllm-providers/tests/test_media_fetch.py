"""Remote media: only from the public internet, only from the address that was checked, never much."""

from __future__ import annotations

import asyncio
import gzip
import socket
import ssl
import zlib

import pytest

from flexllm_core.errors import InputError
from flexllm_providers.media.addresses import parse_networks
from flexllm_providers.media.fetch import MediaFetcher

HERE = parse_networks(["127.0.0.0/8"])


@pytest.fixture
async def make_fetcher():
    """Make fetchers that may use this machine's servers; they are closed at the end."""
    made = []

    def make(**options):
        made.append(MediaFetcher(**{"allowed": HERE, "allow_http": True, "max_bytes": 1000, "timeout": 5.0, **options}))
        return made[-1]

    yield make
    for fetcher in made:
        await fetcher.aclose()


@pytest.fixture
async def names(monkeypatch):
    """Look names up in a dict of the test; returns the dict and the list of look-ups."""
    known, looked_up = {}, []

    async def getaddrinfo(host, port, **_):
        looked_up.append(host)
        found = known.get(host)
        if not found:
            raise socket.gaierror(socket.EAI_NONAME, "unknown")
        addresses = found.pop(0) if isinstance(found[0], list) else found
        family = {True: socket.AF_INET6, False: socket.AF_INET}
        return [(family[":" in each], socket.SOCK_STREAM, 6, "", (each, port)) for each in addresses]

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", getaddrinfo)
    return known, looked_up


@pytest.fixture
async def no_connection(monkeypatch):
    """Remember every attempt to connect anywhere, and let it fail."""
    tried = []

    async def connect(sock, address):
        tried.append(address)
        raise ConnectionRefusedError

    monkeypatch.setattr(asyncio.get_running_loop(), "sock_connect", connect)
    return tried


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1/",
        "http://127.1/",
        "http://0x7f.1/",
        "http://0x7f000001/",
        "http://2130706433/",
        "http://0177.0.0.1/",
        "http://0/",
        "http://[::1]/",
        "http://[::ffff:127.0.0.1]/",
        "http://[::ffff:7f00:1]/",
        "http://[::]/",
        "http://169.254.169.254/latest/meta-data/",
        "http://[fd00:ec2::254]/",
        "http://[fe80::1%25lo]/",
        "http://10.0.0.1:8080/",
        "http://localhost/",
    ],
)
async def test_addresses_of_this_and_private_machines_are_refused(make_fetcher, no_connection, url):
    """However they are spelled; nothing is connected to."""
    with pytest.raises(InputError, match="not on the public internet"):
        await make_fetcher(allowed=()).fetch(url)
    assert no_connection == []


@pytest.mark.parametrize(
    "addresses", [["10.0.0.1"], ["169.254.169.254"], ["1.1.1.1", "127.0.0.1"], ["::1", "2606:4700::1"]]
)
async def test_a_name_that_leads_to_a_private_address_is_refused(make_fetcher, names, no_connection, addresses):
    """After the look-up, and also where only one of several addresses is private."""
    names[0]["images.example"] = addresses
    with pytest.raises(InputError, match=r"'images\.example' is not on the public internet"):
        await make_fetcher(allowed=()).fetch("https://images.example/x.png")
    assert no_connection == []


async def test_the_address_that_was_checked_is_connected_to(make_fetcher, names, no_connection):
    """A name server that changes its mind after the check is not asked again."""
    names[0]["rebind.example"] = [["1.1.1.1"], ["127.0.0.1"]]
    with pytest.raises(InputError, match="could not connect"):
        await make_fetcher(allowed=()).fetch("http://rebind.example/x.png")
    assert names[1] == ["rebind.example"]
    assert no_connection == [("1.1.1.1", 80)]


async def test_each_new_connection_is_checked(make_fetcher, names, serve):
    """The same name, allowed the first time, is refused when it has become private."""

    async def script(connection):
        await connection.request()
        await connection.answer(b"one", headers="connection: close\r\n")

    server = await serve(script)
    names[0]["images.example"] = [["127.0.0.1"], ["192.168.0.1"]]
    fetcher = make_fetcher()
    assert await fetcher.fetch(f"http://images.example:{server.port}/x") == b"one"
    with pytest.raises(InputError, match="not on the public internet"):
        await fetcher.fetch(f"http://images.example:{server.port}/x")


async def test_a_file_is_fetched_under_its_own_name(make_fetcher, names, serve):
    """The host header has the name, not the address; no credentials are sent."""

    async def script(connection):
        await connection.request()
        await connection.answer(b"bytes")

    server = await serve(script)
    names[0]["images.example"] = ["127.0.0.1"]
    assert await make_fetcher().fetch(f"http://images.example:{server.port}/a%20b.png?t=1#frag") == b"bytes"
    head = server.connections[0].requests[0][0].decode().lower()
    assert head.startswith("get /a%20b.png?t=1 http/1.1\r\n")
    assert f"host: images.example:{server.port}\r\n" in head
    assert "accept-encoding: identity\r\n" in head
    assert "authorization" not in head
    assert "cookie" not in head


async def test_tls_is_checked_against_the_name(make_fetcher, names, serve, authority, server_tls):
    """Although the connection goes to an address that was looked up before."""

    async def script(connection):
        await connection.request()
        await connection.answer(b"bytes")

    server = await serve(script, tls=server_tls)
    context = ssl.create_default_context()
    authority.configure_trust(context)
    names[0].update({"localhost": ["127.0.0.1"], "images.example": ["127.0.0.1"]})
    fetcher = make_fetcher(verify=context, allow_http=False)
    assert await fetcher.fetch(f"https://localhost:{server.port}/x") == b"bytes"
    with pytest.raises(InputError, match="certificate is not trusted"):
        await fetcher.fetch(f"https://images.example:{server.port}/x")


@pytest.mark.parametrize("url", ["http://1.1.1.1/x.png", "HTTP://1.1.1.1/x.png"])
async def test_plain_http_is_refused_by_default(make_fetcher, no_connection, url):
    """Whoever sits between could put anything into the row."""
    with pytest.raises(InputError, match="only https"):
        await make_fetcher(allowed=(), allow_http=False).fetch(url)
    assert no_connection == []


@pytest.mark.parametrize(
    "status", ["301 Moved", "302 Found", "303 See Other", "307 Temporary", "308 Permanent", "300 Many"]
)
async def test_redirects_are_refused(make_fetcher, serve, status):
    """Where they lead does not matter; it is not asked."""

    async def script(connection):
        await connection.request()
        await connection.answer(b"", status, "location: http://169.254.169.254/latest/\r\n")
        await connection.closed()

    server = await serve(script)
    with pytest.raises(InputError, match="redirects, which is not followed"):
        await make_fetcher().fetch(f"{server.url}/x.png")
    assert len(server.connections) == 1
    assert len(server.connections[0].requests) == 1


@pytest.mark.parametrize("status", ["204 No Content", "206 Partial", "403 Forbidden", "404 Not Found", "503 Busy"])
async def test_whatever_is_not_200_is_no_file(make_fetcher, serve, status):
    """An error page is not sent to a model; the URL's query is not shown."""

    async def script(connection):
        await connection.request()
        await connection.send(f"HTTP/1.1 {status}\r\ncontent-length: 0\r\n\r\n".encode())

    server = await serve(script)
    with pytest.raises(InputError, match=f"answered HTTP {status[:3]}") as caught:
        await make_fetcher().fetch(f"{server.url}/x.png?signature=geheim")
    assert "geheim" not in str(caught.value)


@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
async def test_compressed_bodies_are_refused(make_fetcher, serve, encoding):
    """A bomb is not unpacked: nothing compressed was asked for."""
    bomb = gzip.compress(bytes(1 << 20)) if encoding == "gzip" else zlib.compress(bytes(1 << 20))

    async def script(connection):
        await connection.request()
        await connection.answer(bomb, headers=f"content-encoding: {encoding}\r\n")

    server = await serve(script)
    with pytest.raises(InputError, match="compressed"):
        await make_fetcher(max_bytes=1 << 22).fetch(server.url)


async def test_a_body_that_says_that_it_is_too_large_is_not_read(make_fetcher, serve):
    """The head is enough."""

    async def script(connection):
        await connection.request()
        await connection.send(b"HTTP/1.1 200 OK\r\ncontent-length: 99999999999\r\n\r\n")
        await connection.closed()

    server = await serve(script)
    with pytest.raises(InputError, match="larger than the limit of 1,000 bytes"):
        await make_fetcher().fetch(server.url)


async def test_a_body_without_end_is_cut_at_the_limit(make_fetcher, serve):
    """Bytes are counted while they arrive."""

    async def script(connection):
        await connection.request()
        await connection.send(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
        while True:
            await connection.send(b"400\r\n" + bytes(1024) + b"\r\n")

    server = await serve(script)
    with pytest.raises(InputError, match="larger than the limit"):
        await make_fetcher(max_bytes=100_000).fetch(server.url)
    await server.connections[0].over.wait()


async def test_a_slow_body_ends_at_the_timeout(make_fetcher, serve):
    """A byte now and then does not keep a row waiting for ever."""

    async def script(connection):
        await connection.request()
        await connection.send(b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n")
        while True:
            await connection.send(b"x")
            await asyncio.sleep(0.01)

    server = await serve(script)
    with pytest.raises(InputError, match=r"no whole answer .* within 0\.2 s"):
        await make_fetcher(timeout=0.2).fetch(server.url)


async def test_a_silent_server_ends_at_the_timeout(make_fetcher, serve):
    """Also before the first byte."""
    server = await serve(lambda connection: connection.closed())
    with pytest.raises(InputError, match="within"):
        await make_fetcher(timeout=0.1).fetch(server.url)


async def test_a_name_that_is_not_known_is_told(make_fetcher, names):
    """As a row's error, not the endpoint's."""
    with pytest.raises(InputError, match="cannot be resolved"):
        await make_fetcher().fetch("https://nowhere.example/x.png")
    assert names[1] == ["nowhere.example"]


@pytest.mark.parametrize(
    "url",
    [
        "https://user:geheim@images.example/x.png",
        "https://good.example\\@127.0.0.1/",
        "https://good.example@127.0.0.1/",
        "https:///x.png",
        "https://",
        "https:x.png",
        "https://a b/x",
        "https://h/x y",
        "https://h/\r\nhost: evil",
        "https://h:99999/",
        "https://[::1",
        "http:\t//127.0.0.1/",
    ],
)
async def test_urls_that_cannot_be_read_are_refused(make_fetcher, no_connection, url):
    """Without showing a password in them."""
    with pytest.raises(InputError) as caught:
        await make_fetcher(allowed=()).fetch(url)
    assert "geheim" not in str(caught.value)
    assert no_connection == []


async def test_a_proxy_of_the_environment_is_not_used(make_fetcher, serve, monkeypatch):
    """It would look the name up itself, where it cannot be checked."""

    async def script(connection):
        await connection.request()
        await connection.answer(b"straight")

    server = await serve(script)
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    assert await make_fetcher().fetch(server.url) == b"straight"


async def test_connections_are_used_again(make_fetcher, serve):
    """Several files of one server need one handshake."""

    async def script(connection):
        while True:
            await connection.request()
            await connection.answer(b"x")

    server = await serve(script)
    fetcher = make_fetcher()
    for _ in range(3):
        await fetcher.fetch(server.url)
    assert len(server.connections) == 1
