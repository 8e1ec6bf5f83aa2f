"""The HTTP/1.1 reader against any bytes: the right answer or a typed error, never anything else."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from itertools import pairwise
from math import inf
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from flexllm_core.errors import LLMConnectionError, LLMRequestError
from flexllm_providers.http import HttpResponse, Timeouts
from flexllm_providers.transport.connection_pool import OriginPool
from flexllm_providers.transport.h1_connection import H1Connection
from flexllm_providers.transport.h1_response import ResponseReader

FUZZ = settings(max_examples=150, derandomize=True, deadline=None, suppress_health_check=[HealthCheck.too_slow])
PLAIN = Timeouts(connect=None, first_byte=None, idle=None, total=None)

FRAMING = {"content-length", "transfer-encoding", "content-encoding", "connection", "upgrade"}
INTERIM = [b"", b"", b"\r\n", b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 103 E\r\nA: b\r\n\r\n"]
CHUNKED = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"

names = st.from_regex(r"[A-Za-z][A-Za-z0-9-]{0,15}", fullmatch=True).filter(lambda name: name.lower() not in FRAMING)
values = st.from_regex(r"([!-~][ -~\xa1-\xff]{0,20}[!-~])?", fullmatch=True)
fields = st.lists(st.tuples(names, values), max_size=5)
bodies = st.binary(max_size=200)


@st.composite
def answers(draw: Any) -> tuple[bytes, int, dict[str, str], bytes, bool]:
    """A valid answer: its bytes, status, headers, body, and whether it lasts until the connection closes."""
    status = draw(st.sampled_from([200, 200, 200, 201, 204, 304, 400, 429, 500, 999]))
    body = b"" if status in {204, 304} else draw(bodies)
    framing = draw(st.sampled_from(["length", "chunked", "close"]))
    headers = draw(fields)
    expected: dict[str, str] = {}
    for name, value in headers:
        key = name.lower()
        expected[key] = f"{expected[key]}, {value}" if key in expected else value
    if status in {204, 304}:
        content = b""
    elif framing == "length":
        headers = [*headers, ("Content-Length", str(len(body)))]
        content = body
    elif framing == "chunked":
        headers = [*headers, ("Transfer-Encoding", "chunked")]
        content = chunked(draw, body)
    else:
        content = body
    interim = draw(
        st.sampled_from([b"", b"", b"\r\n", b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 103 E\r\nA: b\r\n\r\n"])
    )
    head = f"HTTP/1.1 {status} R\r\n" + "".join(f"{name}: {value}\r\n" for name, value in headers) + "\r\n"
    return (
        interim + head.encode("latin-1") + content,
        status,
        expected,
        body,
        framing == "close" and status not in {204, 304},
    )


def chunked(draw: Any, body: bytes) -> bytes:
    out = b""
    while body:
        size = draw(st.integers(1, len(body)))
        out += b"%x%b\r\n%b\r\n" % (size, draw(st.sampled_from([b"", b";a=b"])), body[:size])
        body = body[size:]
    return out + b"0\r\n" + draw(st.sampled_from([b"", b"X-Trailer: t\r\n"])) + b"\r\n"


def pieces(data: bytes, cuts: list[int]) -> Iterator[bytes]:
    places = sorted({0, len(data), *(cut % (len(data) + 1) for cut in cuts)})
    for start, end in pairwise(places):
        yield data[start:end]


cut_lists = st.lists(st.integers(0, 2000), max_size=12)
edits = st.tuples(st.integers(0, 2000), st.sampled_from(["set", "drop", "add"]), st.binary(min_size=1, max_size=3))
surpluses = st.sampled_from([b"H", b"\r\n\r\nHTTP/1.1 2", CHUNKED, b"{"]) | st.binary(min_size=1, max_size=40)
starts = st.sampled_from([b"", b"HTTP/1.1 ", b"HTTP/1.1 200 OK\r\n", CHUNKED])


class Bench:
    """A connection without a network, on a loop that does not run."""

    def __init__(self, transport_class: Any, loop: asyncio.AbstractEventLoop, **limits: int) -> None:
        self.loop = loop
        self.pool: OriginPool[H1Connection] = OriginPool(loop, inf, 10)
        self.connection = H1Connection("http://x", self.pool, loop, ResponseReader("http://x", **limits))
        self.transport = transport_class(self.connection, loop)
        self.connection.connection_made(self.transport)

    def start(self, streaming: bool = False) -> asyncio.Future[Any]:
        answer: asyncio.Future[Any] = self.loop.create_future()
        self.connection.start(answer, streaming, b"GET / HTTP/1.1\r\n\r\n", PLAIN, 0.0, inf)
        return answer

    def receive(self, chunks: Iterator[bytes]) -> None:
        for chunk in chunks:
            if self.transport.aborted:
                return
            self.connection.data_received(chunk)

    def eof(self) -> None:
        if not self.transport.aborted:
            self.connection.eof_received()


@pytest.fixture(scope="module")
def loop() -> Iterator[asyncio.AbstractEventLoop]:
    made = asyncio.new_event_loop()
    yield made
    made.close()


@pytest.fixture
def bench(loop_transport: Any, loop: asyncio.AbstractEventLoop) -> Callable[..., Bench]:
    """Make connections without a network."""
    return lambda **limits: Bench(loop_transport, loop, **limits)


once = settings(FUZZ, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture])


def drained(stream: Any) -> tuple[bytes, BaseException | None]:
    """What a stream that is over gives, read without a running loop."""
    received = b""
    while True:
        try:
            stream.__anext__().send(None)
        except StopIteration as result:
            received += result.value
        except StopAsyncIteration:
            return received, None
        except LLMRequestError as error:
            return received, error


@once
@given(first=answers(), second=answers(), cuts=cut_lists, more=cut_lists, streaming=st.booleans())
def test_any_split_gives_the_answer(
    bench: Callable[..., Bench], first: Any, second: Any, cuts: list[int], more: list[int], streaming: bool
) -> None:
    """However the bytes arrive, the answers are right, one after the other on the same connection."""
    made = bench()
    for (data, status, headers, body, until_close), splits in ((first, cuts), (second, more)):
        answer = made.start(streaming)
        made.receive(pieces(data, splits))
        assert not until_close or streaming or not answer.done()
        if until_close:
            made.eof()
        result = answer.result()
        content = drained(result) if streaming else (result.body, None)
        assert (result.status, content) == (status, (body, None))
        for name, value in headers.items():
            assert result.headers[name] == value
        assert "x-trailer" not in result.headers
        assert (made.pool.take(0.0) is made.connection) is not until_close
        if until_close:
            return


@once
@given(answer=answers(), cuts=cut_lists, surplus=surpluses, apart=st.booleans())
def test_surplus_bytes_end_the_connection(
    bench: Callable[..., Bench], answer: Any, cuts: list[int], surplus: bytes, apart: bool
) -> None:
    """Bytes after the end leave the answer as it is, and the connection is not used again."""
    data, status, _, body, until_close = answer
    if until_close:
        return
    made = bench()
    future = made.start()
    chunks = list(pieces(data, cuts))
    if apart:
        chunks.append(surplus)
    else:
        chunks[-1] += surplus
    made.receive(iter(chunks))
    assert (future.result().status, future.result().body) == (status, body)
    blank = not apart and not surplus.strip(b"\r\n")  # blank lines before an answer are allowed
    assert blank or made.pool.take(0.0) is None
    assert blank or made.transport.aborted


@once
@given(answer=answers(), cut=st.integers(0, 2000), streaming=st.booleans())
def test_a_cut_is_an_error(bench: Callable[..., Bench], answer: Any, cut: int, streaming: bool) -> None:
    """An answer that ends too early is a transient error, unless only closing could end it."""
    data, _, _, body, until_close = answer
    cut %= len(data)
    made = bench()
    future = made.start(streaming)
    made.receive(iter([data[:cut]] if cut else []))
    made.eof()
    error = future.exception()
    if error is None and streaming:
        received, error = drained(future.result())
        assert body.startswith(received)
    if error is None:
        assert until_close
    else:
        assert isinstance(error, LLMConnectionError)
        assert error.kind == "transient"
    assert made.transport.aborted


@once
@given(answer=answers(), changes=st.lists(edits, max_size=6), cuts=cut_lists, streaming=st.booleans())
def test_mutations_end_well(
    bench: Callable[..., Bench], answer: Any, changes: list[tuple[int, str, bytes]], cuts: list[int], streaming: bool
) -> None:
    """A damaged answer is an answer or a typed error, and in any case over when the connection is."""
    damaged = bytearray(answer[0])
    for where, kind, data in changes:
        start = where % (len(damaged) or 1)
        damaged[start : start + (0 if kind == "add" else len(data))] = b"" if kind == "drop" else data
    outcome(bench(max_head=500, max_body=150), bytes(damaged), cuts, streaming)


@once
@given(garbage=st.binary(max_size=300), start=starts, cuts=cut_lists, streaming=st.booleans())
def test_garbage_ends_well(
    bench: Callable[..., Bench], garbage: bytes, start: bytes, cuts: list[int], streaming: bool
) -> None:
    """Any bytes at all are an answer or a typed error."""
    outcome(bench(max_head=200, max_body=100), start + garbage, cuts, streaming)


def outcome(made: Bench, data: bytes, cuts: list[int], streaming: bool) -> None:
    future = made.start(streaming)
    made.receive(pieces(data, cuts))
    made.eof()
    assert future.done()
    error = future.exception()
    assert error is None or isinstance(error, LLMRequestError)
    if error is None:
        result = future.result()
        assert 200 <= result.status <= 999
        if streaming:
            received, _ = drained(result)
        else:
            assert isinstance(result, HttpResponse)
            received = result.body
        assert len(received) <= 150
        assert all(isinstance(value, str) for value in result.headers.values())


@pytest.mark.parametrize(
    "flood",
    [
        b"HTTP/1.1 200 " + b"a" * 10_000,
        b"HTTP/1.1 200 OK\r\n" + b"x: y\r\n" * 2_000,
        b"HTTP/1.1 100 Continue\r\n\r\n" * 500,
        CHUNKED + b"1;" + b"a" * 10_000,
        CHUNKED + b"0\r\n" + b"x: y\r\n" * 2_000,
    ],
    ids=["reason", "fields", "interims", "extension", "trailers"],
)
@pytest.mark.parametrize("size", [1, 100, 1_000])
def test_floods_end(bench: Callable[..., Bench], flood: bytes, size: int) -> None:
    """Whatever a server sends without end, the exchange ends at the limit of the head."""
    made = bench(max_head=1_000)
    future = made.start()
    sent = 0
    for start in range(0, len(flood), size):
        if made.transport.aborted:
            break
        made.connection.data_received(flood[start : start + size])
        sent = start
    assert isinstance(future.exception(), LLMConnectionError)
    assert sent <= 3_000


@pytest.mark.parametrize("value", ["gzip, chunked", "gzip", "chunked, identity", "deflate"])
def test_encoded_transfers_are_refused(bench: Callable[..., Bench], value: str) -> None:
    """A transfer encoding other than chunked is an error too."""
    made = bench()
    future = made.start()
    made.connection.data_received(f"HTTP/1.1 200 OK\r\ntransfer-encoding: {value}\r\n\r\n".encode())
    made.eof()
    assert isinstance(future.exception(), LLMRequestError)
    assert made.transport.aborted
