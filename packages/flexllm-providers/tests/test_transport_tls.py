"""TLS of both transports: which certificates are trusted, and what is said about those that are not."""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import Any

import pytest
import trustme

from flexllm_core.errors import LLMConnectionError
from flexllm_providers.http import HttpRequest, Timeouts

SOON = Timeouts(connect=5, first_byte=5, idle=5, total=10)


@pytest.fixture
def anyio_backend(both_loops: Any) -> Any:
    """These tests run on asyncio's event loop and on uvloop."""
    return both_loops


@pytest.fixture
def authority_file(authority: trustme.CA, tmp_path: Path) -> str:
    """The authority's certificate as a file."""
    path = tmp_path / "authority.pem"
    authority.cert_pem.write_to_path(path)
    return str(path)


def post(url: str, body: bytes = b"{}") -> HttpRequest:
    return HttpRequest("POST", url + "/v1/x", {"authorization": "Bearer sk-sentinel"}, body)


async def echo_forever(connection: Any) -> None:
    while True:
        _, body = await connection.request()
        await connection.answer(body)


async def test_authority_from_the_environment(
    serve: Any, make_transport: Any, server_tls: ssl.SSLContext, authority_file: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SSL_CERT_FILE adds an authority; the connection is kept and carries large bodies both ways."""
    monkeypatch.setenv("SSL_CERT_FILE", authority_file)
    server = await serve(echo_forever, tls=server_tls)
    transport = make_transport()
    for body in (b"hello", b"x" * 3_000_000, b"again"):
        assert (await transport.send(post(server.url, body), SOON)).body == body
    stream = await transport.stream(post(server.url, b"y" * 2_000_000), SOON)
    assert b"".join([chunk async for chunk in stream]) == b"y" * 2_000_000
    assert len(server.connections) == 1


@pytest.mark.parametrize("form", ["file", "context"])
async def test_authority_as_an_argument(
    serve: Any, make_transport: Any, server_tls: ssl.SSLContext, authority_file: str, form: str
) -> None:
    """`verify` takes a file or a context."""
    server = await serve(echo_forever, tls=server_tls)
    verify = authority_file if form == "file" else ssl.create_default_context(cafile=authority_file)
    assert (await make_transport(verify=verify).send(post(server.url, b"ok"), SOON)).body == b"ok"


async def test_an_unknown_authority_is_refused(serve: Any, make_transport: Any, server_tls: ssl.SSLContext) -> None:
    """An untrusted certificate is an error that is never retried; the key is not sent."""
    server = await serve(echo_forever, tls=server_tls)
    with pytest.raises(LLMConnectionError, match="certificate is not trusted") as caught:
        await make_transport().send(post(server.url), SOON)
    assert (caught.value.kind, caught.value.retryable, caught.value.endpoint) == ("refused", False, server.url)
    assert all(connection.requests == [] for connection in server.connections)


async def test_another_hosts_certificate_is_refused(
    serve: Any, make_transport: Any, authority: trustme.CA, authority_file: str
) -> None:
    """A certificate of a trusted authority for another host is refused as well."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("elsewhere.example").configure_cert(context)
    server = await serve(echo_forever, tls=context)
    with pytest.raises(LLMConnectionError, match="certificate is not trusted") as caught:
        await make_transport(verify=authority_file).send(post(server.url), SOON)
    assert caught.value.kind == "refused"


async def test_verification_off(serve: Any, make_transport: Any, server_tls: ssl.SSLContext) -> None:
    """`verify=False`, written out, trusts anybody."""
    server = await serve(echo_forever, tls=server_tls)
    assert (await make_transport(verify=False).send(post(server.url, b"ok"), SOON)).body == b"ok"


async def test_tls_to_a_plain_port(serve: Any, make_transport: Any) -> None:
    """A server without TLS is told from one with a bad certificate."""

    async def script(connection: Any) -> None:
        await connection.reader.read(1)
        await connection.send(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    server = await serve(script)
    with pytest.raises(LLMConnectionError, match=r"could not connect to https://.*TLS") as caught:
        await make_transport(verify=False).send(post(server.url.replace("http", "https")), SOON)
    assert caught.value.kind == "transient"
