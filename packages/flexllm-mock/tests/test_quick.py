"""Plain requests that are answered at once, and what takes the usual way: the same on both protocols."""

from __future__ import annotations

import contextlib
import json
import time

import pytest

from flexllm_mock import FaultRule
from flexllm_mock.openai.wire import ChatEndpoint

END = b"\r\n\r\n"


def wait_until(condition):
    end = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < end, "waited too long"
        time.sleep(0.005)


def read_answers(connection, count):
    """Read so many whole answers with a content-length from a connection."""
    received, answers = b"", []
    while len(answers) < count:
        head, found, rest = received.partition(END)
        size = int(dict(line.split(b": ") for line in head.split(b"\r\n")[1:])[b"content-length"]) if found else 0
        if found and len(rest) >= size:
            answers.append((head, rest[:size]))
            received = rest[size:]
            continue
        part = connection.recv(65536)
        assert part, "the connection has ended"
        received += part
    assert received == b""
    return answers


def test_one_connection_carries_many_requests(serve, protocol, chat_bytes):
    """Quick answers and others alternate on a connection that stays open."""
    client = serve()
    listing = b"GET /v1/models HTTP/1.1\r\nhost: mock" + END
    with client.connect() as connection:
        for _ in range(3):
            for asked in (chat_bytes(), listing, chat_bytes(model="other")):
                connection.sendall(asked)
                [(head, body)] = read_answers(connection, 1)
                assert head.startswith(b"HTTP/1.1 200 OK\r\n")
                json.loads(body)
    stats = client.server.stats()
    assert (stats.requests, stats.total_connections, stats.by_status) == (9, 1, {200: 9})


def test_pipelined_requests_are_answered_in_order(serve, protocol, chat_bytes):
    """Requests that come in one packet, quick ones and others, are answered in the order in which they were sent."""
    client = serve()
    listing = b"GET /v1/models HTTP/1.1\r\nhost: mock" + END
    asked = [
        chat_bytes(model="a"),
        listing,
        chat_bytes(model="b"),
        chat_bytes(model="c"),
        listing,
        chat_bytes(model="d"),
    ]
    with client.connect() as connection:
        connection.sendall(b"".join(asked))
        answers = [json.loads(body) for _, body in read_answers(connection, len(asked))]
    assert [answer.get("model", answer["object"]) for answer in answers] == ["a", "list", "b", "c", "list", "d"]


def test_request_in_small_pieces(serve, protocol, chat_bytes):
    """A request that arrives byte by byte is the same request."""
    client = serve()
    with client.connect() as connection:
        for at in range(len(asked := chat_bytes())):
            connection.sendall(asked[at : at + 1])
        [(_, slow)] = read_answers(connection, 1)
        connection.sendall(asked)
        [(_, fast)] = read_answers(connection, 1)
    assert slow == fast


@pytest.mark.parametrize("size", [100, 59_000, 61_000, 3_000_000])
def test_bodies_of_any_size(serve, protocol, size):
    """Large bodies go the usual way, with nothing lost."""
    answer = serve().chat("x" * size)
    assert answer.json["usage"]["prompt_tokens"] == 4 + size // 4


def test_chunked_request(serve, protocol):
    """A body without a length is read to its end."""
    body = json.dumps({"model": "mock", "messages": [{"role": "user", "content": "Hello"}]}).encode()
    client = serve()
    parts = [body[at : at + 20] for at in range(0, len(body), 20)]
    asked = b"POST /v1/chat/completions HTTP/1.1\r\nhost: mock\r\nconnection: close\r\ntransfer-encoding: chunked" + END
    asked += b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in parts) + b"0" + END
    assert client.raw(asked).partition(END)[2] == client.post("/v1/chat/completions", body).body


def test_old_version_and_close_end_the_connection(serve, protocol, chat_bytes):
    """HTTP/1.0 and `connection: close` get an answer, the word, and the end."""
    client = serve()
    for asked in (
        chat_bytes().replace(b"HTTP/1.1", b"HTTP/1.0"),
        chat_bytes().replace(b"host: mock", b"host: mock\r\nconnection: close"),
    ):
        head, _, body = client.raw(asked).partition(END)
        assert b"connection: close" in head.lower()
        assert json.loads(body)["object"] == "chat.completion"


def test_expectation_is_met(serve, protocol, chat_bytes):
    """A client that waits for 100 Continue gets it before it sends its body."""
    head, _, body = chat_bytes().partition(END)
    with serve().connect() as connection:
        connection.sendall(head + b"\r\nexpect: 100-continue" + END)
        assert connection.recv(65536).startswith(b"HTTP/1.1 100 ")
        connection.sendall(body)
        [(answer, _)] = read_answers(connection, 1)
    assert answer.startswith(b"HTTP/1.1 200 ")


def test_client_that_leaves_while_sending_is_logged(serve, protocol, chat_bytes):
    """Half a request counts as cancelled."""
    client = serve()
    with client.connect() as connection:
        connection.sendall(chat_bytes()[:-5])
    wait_until(lambda: client.server.stats().cancelled == 1)
    stats = client.server.stats()
    assert (stats.requests, stats.in_flight, stats.by_status) == (1, 0, {})


def test_client_that_does_not_read_is_waited_for(serve, protocol, chat_bytes):
    """Answers that nobody takes do not pile up: the server stops reading, and goes on when they are taken."""
    client = serve(response_len=(3000, 3000))
    count = 3000  # about 50 MB of answers, which no socket's buffer holds
    with client.connect() as connection:
        connection.setblocking(False)
        asked = memoryview(chat_bytes() * count)
        sent, seen = 0, -1
        while seen < (seen := client.server.stats().requests) or seen == 0:
            with contextlib.suppress(BlockingIOError):
                while sent < len(asked):
                    sent += connection.send(asked[sent:])
            time.sleep(0.1)
        assert 0 < seen < count
        connection.settimeout(20)
        while client.server.stats().requests == seen:
            assert connection.recv(1 << 20)


def test_faults_that_are_added_strike_the_next_request(serve, protocol, chat_bytes):
    """A connection whose requests were answered quickly is not spared."""
    client = serve()
    with client.connect() as connection:
        connection.sendall(chat_bytes())
        read_answers(connection, 1)
        client.server.add_fault(FaultRule(status=503, times=1))
        connection.sendall(chat_bytes() * 2)
        statuses = [head.split()[1] for head, _ in read_answers(connection, 2)]
    assert statuses == [b"503", b"200"]


def test_requests_are_checked(serve, protocol, chat_bytes):
    """A wrong key, a body that is too large and JSON that is none are refused as ever."""
    client = serve(api_key="right", max_body_bytes=1000)
    assert client.raw(chat_bytes().replace(b"host", b"connection: close\r\nhost")).startswith(b"HTTP/1.1 401 ")
    right = {"authorization": "Bearer right"}
    assert client.post("/v1/chat/completions", b"x" * 2000, **right).status == 413
    assert client.post("/v1/chat/completions", b"{", **right).status == 400
    assert client.post("/v1/chat/completions?key=k", b"{", **right).status == 400
    assert client.server.stats().key_in_url == 1


def test_a_bug_ends_one_connection_and_not_the_server(serve, protocol, monkeypatch, caplog):
    """An exception that nobody expected is a 500, is logged, and is the end of its connection."""
    client = serve()
    monkeypatch.setattr(ChatEndpoint, "reply", lambda *_: 1 / 0)
    answer = client.chat()
    assert (answer.status, answer.headers["connection"]) == (500, "close")
    assert "ZeroDivisionError" in caplog.text
    monkeypatch.undo()
    assert client.chat().status == 200
    assert client.server.stats().in_flight == 0


def test_stop_does_not_wait_for_a_request_that_never_ends(serve, protocol, chat_bytes):
    """A client in the middle of its request cannot keep the server from stopping."""
    client = serve()
    with client.connect() as connection:
        connection.sendall(chat_bytes()[:-5])
        wait_until(lambda: client.server.stats().open_connections == 1)
        client.server.stop()
        assert connection.recv(65536) == b""
