"""Waiting, pacing and clients that leave: in virtual time, and over real connections."""

from __future__ import annotations

import asyncio
import json
import time

import pytest

from flexllm_mock import FaultRule, MockApp, MockConfig
from flexllm_mock.app import CONNECTION_STATE

BODY = json.dumps({"model": "mock", "messages": [{"role": "user", "content": "Hello"}]}).encode()
STREAM = json.dumps({"model": "mock", "messages": [{"role": "user", "content": "Hello"}], "stream": True}).encode()


async def exchange(app, body, *, leave_after=None):
    """Send one request to the application; returns (seconds, message) for each message that it sent."""
    loop = asyncio.get_running_loop()
    start, sent, given = loop.time(), [], []

    async def receive():
        if not given:
            given.append(True)
            return {"type": "http.request", "body": body, "more_body": False}
        await (asyncio.Event().wait() if leave_after is None else asyncio.sleep(start + leave_after - loop.time()))
        return {"type": "http.disconnect"}

    async def send(message):
        sent.append((round(loop.time() - start, 6), message))

    scope = {"type": "http", "method": "POST", "path": "/v1/chat/completions", "headers": []}
    await app(scope, receive, send)
    return sent


def tokens_of(sent):
    body = json.loads(sent[-1][1]["body"])
    return body["usage"]["completion_tokens"]


def test_delay_comes_before_the_answer(run_virtual):
    """A single answer comes whole after the delay."""
    sent, elapsed = run_virtual(exchange(MockApp(MockConfig(delay=2.5)), BODY))
    assert [at for at, _ in sent] == [2.5, 2.5]
    assert elapsed == 2.5


def test_single_answer_waits_for_its_tokens(run_virtual):
    """With a token rate an answer takes the delay and the time of its tokens."""
    sent, elapsed = run_virtual(exchange(MockApp(MockConfig(delay=1, token_rate=10)), BODY))
    assert elapsed == pytest.approx(1 + tokens_of(sent) / 10)


def test_stream_is_paced(run_virtual):
    """The first token comes after the delay, each further one a period later, and the stream ends with the last."""
    sent, _ = run_virtual(exchange(MockApp(MockConfig(delay=1, token_rate=4)), STREAM))
    bodies = [(at, message["body"]) for at, message in sent[1:]]
    count = len(bodies)
    assert [at for at, _ in bodies] == pytest.approx([1 + index / 4 for index in range(count)])
    assert all(body.count(b'"content":"') == (2 if index == 0 else 1) for index, (_, body) in enumerate(bodies))
    assert bodies[-1][1].endswith(b"data: [DONE]\n\n")
    assert [message["more_body"] for _, message in sent[1:]] == [True] * (count - 1) + [False]


def test_paced_stream_has_the_bytes_of_an_unpaced_one(run_virtual):
    """Pacing changes when bytes are sent, not which."""
    paced, _ = run_virtual(exchange(MockApp(MockConfig(token_rate=1000)), STREAM))
    whole, elapsed = run_virtual(exchange(MockApp(MockConfig()), STREAM))
    assert b"".join(message.get("body", b"") for _, message in paced) == whole[1][1]["body"]
    assert elapsed == 0


def test_late_tokens_go_out_together(run_virtual):
    """When sending takes longer than a token's period, what is overdue is sent at once and no time is lost."""

    async def slow():
        app = MockApp(MockConfig(token_rate=100, response_len=(40, 40)))
        loop = asyncio.get_running_loop()
        sent = []

        async def receive():
            if not sent and not app.log.stats().by_status and not received:
                received.append(True)
                return {"type": "http.request", "body": STREAM, "more_body": False}
            return await asyncio.Event().wait()

        async def send(message):
            await asyncio.sleep(0.05)
            sent.append(message.get("body", b"").count(b'"content":"'))

        received = []
        start = loop.time()
        await app({"type": "http", "method": "POST", "path": "/chat/completions", "headers": []}, receive, send)
        return sent, loop.time() - start

    (sent, elapsed), _ = run_virtual(slow())
    assert sum(sent) == 41
    assert len(sent) < 15
    assert elapsed < 0.6


def test_fault_delay_adds_up(run_virtual):
    """A rule's delay is waited for errors too, and comes on top of the server's own for answers."""
    app = MockApp(MockConfig(delay=1), [FaultRule(status=500, delay=3, times=1), FaultRule(delay=3)])
    assert run_virtual(exchange(app, BODY))[1] == 3
    assert run_virtual(exchange(app, BODY))[1] == 4


def test_errors_are_not_delayed(run_virtual):
    """Refusals and random errors come at once."""
    app = MockApp(MockConfig(delay=5, error_rate=1))
    assert run_virtual(exchange(app, BODY))[1] == 0
    assert run_virtual(exchange(app, b"{"))[1] == 0


@pytest.mark.parametrize("body", [BODY, STREAM])
def test_client_that_leaves_during_the_delay_is_cancelled(run_virtual, body):
    """The server stops waiting as soon as the client has gone, sends nothing, and counts it."""
    app = MockApp(MockConfig(delay=60))
    sent, elapsed = run_virtual(exchange(app, body, leave_after=2))
    assert (sent, elapsed) == ([], 2)
    stats = app.log.stats()
    assert (stats.cancelled, stats.in_flight, stats.by_status) == (1, 0, {})
    assert app.log.recent()[0].outcome == "cancelled"


def test_stream_ends_when_the_client_leaves(run_virtual):
    """No tokens are generated for a client that has gone."""
    app = MockApp(MockConfig(token_rate=1, response_len=(30, 30)))
    sent, elapsed = run_virtual(exchange(app, STREAM, leave_after=4.5))
    assert (len(sent), elapsed) == (6, 4.5)
    assert app.log.stats().cancelled == 1


def test_client_that_leaves_while_sending_is_cancelled(run_virtual):
    """A body that never ends is no request to answer."""

    async def half():
        app = MockApp()
        messages = [{"type": "http.request", "body": BODY[:9], "more_body": True}, {"type": "http.disconnect"}]
        sent = []

        async def receive():
            return messages.pop(0)

        await app({"type": "http", "method": "POST", "path": "/chat/completions", "headers": []}, receive, sent.append)
        return app.log.stats(), sent

    (stats, sent), _ = run_virtual(half())
    assert (stats.cancelled, stats.in_flight, sent) == (1, 0, [])


def test_disconnect_fault_needs_the_server(run_virtual):
    """Under another ASGI server a disconnect fault says that it cannot work, instead of answering."""
    with pytest.raises(RuntimeError, match="MockServer"):
        run_virtual(exchange(MockApp(faults=[FaultRule(disconnect="before")]), BODY))


def test_connection_that_does_not_close_is_aborted(run_virtual):
    """A client that takes nothing more cannot keep a dropped connection open."""
    done = []

    class Stuck:
        def close(self):
            done.append("close")

        def abort(self):
            done.append("abort")

    async def drop():
        given = []

        async def receive():
            if not given:
                given.append(True)
                return {"type": "http.request", "body": BODY, "more_body": False}
            return await asyncio.Event().wait()

        async def send(message):
            done.append(message["type"])

        app = MockApp(faults=[FaultRule(disconnect="after_headers")])
        state = {CONNECTION_STATE: Stuck()}
        scope = {"type": "http", "method": "POST", "path": "/chat/completions", "headers": [], "state": state}
        await app(scope, receive, send)
        return app.log.stats().dropped

    dropped, _ = run_virtual(drop())
    assert dropped == 1
    assert done == ["http.response.start", "close", "abort"]


def test_only_http_is_served(run_virtual):
    """Lifespan and websockets are refused with a clear error."""
    with pytest.raises(RuntimeError, match="lifespan"):
        run_virtual(MockApp()({"type": "lifespan"}, None, None))


def wait_until(condition):
    end = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < end, "waited too long"
        time.sleep(0.005)


@pytest.mark.parametrize("stream", [False, True])
def test_client_that_hangs_up_is_noticed(serve, protocol, chat_bytes, stream):
    """Over a real connection too, a client that closes it ends the request at once."""
    client = serve(delay=0 if stream else 300, token_rate=0.01)
    with client.connect() as connection:
        connection.sendall(chat_bytes(stream=stream))
        wait_until(lambda: client.server.stats().in_flight == 1)
        if stream:
            assert connection.recv(65536).startswith(b"HTTP/1.1 200")
    wait_until(lambda: client.server.stats().cancelled == 1)
    assert client.server.stats().in_flight == 0


def test_first_token_is_sent_before_the_last(serve, protocol, chat_bytes):
    """A paced stream reaches the client piece by piece."""
    client = serve(token_rate=20, response_len=(6, 6))
    with client.connect() as connection:
        connection.sendall(chat_bytes(stream=True))
        pieces = []
        while not pieces or not pieces[-1].endswith(b"0\r\n\r\n"):
            pieces.append(connection.recv(65536))
    assert len(pieces) >= 5
    assert b"[DONE]" not in b"".join(pieces[:-1]) or pieces[-1] == b"0\r\n\r\n"
