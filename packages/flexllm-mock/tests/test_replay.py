"""Recording from a real server and replaying: bytes, timings, keys, and what is not recorded."""

from __future__ import annotations

import asyncio
import http.client
import json
import os
import socket
import threading
from contextlib import closing, contextmanager

import pytest

from flexllm_mock.asgi import ApiRequest
from flexllm_mock.httpserver import HttpServer, listen, url_of
from flexllm_mock.recording.record_app import RecordApp
from flexllm_mock.recording.recording import (
    RecordedResponse,
    RecordingError,
    read_recording,
    recorded_request,
    recorded_response,
)
from flexllm_mock.recording.replay import Replay, differences, play
from flexllm_mock.recording.upstream import Upstream

KEY = "sk-verysecretkey123"


@contextmanager
def recording(upstream, out):
    """Runs a recorder in a thread and gives its URL."""
    listener, app = listen("127.0.0.1", 0), RecordApp(Upstream.parse(upstream), out)
    ready, box = threading.Event(), []

    async def serve():
        server = HttpServer(app, listener, grace=0.1, ready=ready.set)
        box.extend((asyncio.get_running_loop(), server))
        await server.run_until_stopped()

    thread = threading.Thread(target=lambda: asyncio.run(serve()))
    thread.start()
    ready.wait(10)
    try:
        yield url_of(listener)
    finally:
        box[0].call_soon_threadsafe(box[1].stop)
        thread.join()
        app.close()


@pytest.fixture
def record(client_for, tmp_path):
    """Starts a recorder before a URL; gives a client for it, and the file."""

    @contextmanager
    def start(url, name="rec.jsonl"):
        with recording(url, tmp_path / name) as recorder:
            client = client_for(recorder)
            client.file = tmp_path / name
            yield client

    return start


@contextmanager
def raw_server(*answers):
    """A server that sends the given bytes, one answer for each connection; gives its URL and what it received."""
    listener = socket.create_server(("127.0.0.1", 0))
    received = []

    def run():
        for answer in answers:
            connection, _ = listener.accept()
            with closing(connection):
                data = b""
                while b"\r\n\r\n" not in data:
                    data += connection.recv(65536)
                received.append(data)
                connection.sendall(answer)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}", received
    finally:
        thread.join(10)
        listener.close()


def ask_all(client):
    """One request of each vendor, single and streamed, and one that fails."""
    return [
        client.chat("one"),
        client.chat("one", stream=True),
        client.messages("two", stream=True),
        client.generate("three"),
        client.generate("three", verb="streamGenerateContent?alt=sse"),
        client.get("/v1/models"),
        client.chat("bad", max_tokens=-1),
    ]


def test_every_vendor_is_replayed_byte_for_byte(serve, record):
    """Whole answers and streams, errors, and requests without a body."""
    origin = serve()
    with record(origin.server.url) as recorder:
        recorded = ask_all(recorder)
    real = ask_all(origin)
    assert [answer.body for answer in recorded] == [answer.body for answer in real]
    replayed = ask_all(serve(replay=recorder.file, replay_speed=0, seed=99))
    assert [(answer.status, answer.body) for answer in replayed] == [(answer.status, answer.body) for answer in real]
    for name in ("content-type", "x-request-id"):
        assert replayed[0].headers[name] == real[0].headers[name]


def test_spaces_and_the_order_of_keys_do_not_matter(serve, record):
    """Bodies are compared as JSON."""
    with record(serve().server.url) as recorder:
        answer = recorder.post("/v1/completions", b'{"model": "m", "prompt": "Hi"}')
    client = serve(replay=recorder.file)
    assert client.post("/v1/completions", b'{"prompt":"Hi",\n"model":"m"}').body == answer.body


def test_the_same_request_again_gets_the_next_answer(serve, record):
    """In the order of the recording; the last one stays; a reset begins anew."""
    origin = serve(fixtures=[{"sequence": [{"status": 429}, {"answer": "ok"}]}])
    with record(origin.server.url) as recorder:
        assert [recorder.chat().status for _ in range(2)] == [429, 200]
    client = serve(replay=recorder.file)
    assert [client.chat().status for _ in range(3)] == [429, 200, 200]
    client.post("/__mock__/reset", b"")
    assert client.chat().status == 429
    assert client.server.stats().by_status == {429: 1}


def test_keys_are_written_nowhere(serve, record):
    """Not those of headers and URLs, nor where a body or an answer repeats them."""
    body = {"model": "echo", "messages": [{"role": "user", "content": f"My key is {KEY}, yes"}]}
    gemini = {"contents": [{"parts": [{"text": "Hi"}]}]}
    with record(serve().server.url) as recorder:
        answer = recorder.post("/v1/chat/completions", body, authorization=f"Bearer {KEY}", **{"openai-beta": KEY})
        recorder.post(f"/v1beta/models/echo:generateContent?key={KEY}", gemini)
    assert answer.text == f"My key is {KEY}, yes"
    text = recorder.file.read_text()
    assert len(text.splitlines()) == 2
    assert KEY not in text
    client = serve(replay=recorder.file)
    other = "sk-anotherkey9876"
    body = json.loads(json.dumps(body).replace(KEY, other))
    assert client.post("/v1/chat/completions", body, authorization=f"Bearer {other}").text == "My key is ***, yes"
    assert client.post(f"/v1beta/models/echo:generateContent?key={other}", gemini).status == 200


@pytest.mark.parametrize("verb", ["", ":streamGenerateContent", ":streamGenerateContent?alt=sse"])
def test_an_answer_that_spells_the_key_is_not_recorded(serve, record, verb):
    """In a stream it comes token by token, where no search finds it whole."""
    path = f"/v1beta/models/echo{verb}" if verb else "/v1/chat/completions"
    text = f"My key is {KEY}, yes"
    body = {"contents": [{"role": "user", "parts": [{"text": text}]}]}
    if not verb:
        body = {"model": "echo", "stream": True, "messages": [{"role": "user", "content": text}]}
    headers = {"authorization": f"Bearer {KEY}"}
    with record(serve().server.url) as recorder:
        answer = recorder.request("POST", path, body, headers)
        assert answer.status == 200
        assert KEY.encode() not in answer.body
    assert recorder.file.read_text() == ""


def test_a_key_across_two_pieces_of_an_answer_is_masked():
    """The pieces become one, and no part of the key is left."""
    response = recorded_response(
        200, [], 0.1, [(0.1, b"say super-se"), (0.2, b"cret-value now")], ["super-secret-value"]
    )
    assert response.chunks == ((0.2, b"say *** now"),)


def test_an_answer_that_is_cut_is_cut_again(serve, record):
    """The client of the recorder, and that of the replay, see the connection close."""
    head = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
    with raw_server(head + b"6\r\ndata: \r\n") as (url, _), record(url) as recorder:
        request = b"POST /v1/x HTTP/1.1\r\nhost: a\r\ncontent-length: 2\r\n\r\n{}"
        first = recorder.raw(request)
        assert first.endswith(b"6\r\ndata: \r\n")
    client = serve(replay=recorder.file)
    second = client.raw(request)
    assert second.endswith(b"6\r\ndata: \r\n")
    assert b"0\r\n\r\n" not in second
    assert client.server.stats().dropped == 1


def test_what_is_sent_on(record):
    """The key and the vendor's headers, the path once, no header of the connection, nothing compressed."""
    answer = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nx-secret-token: abc\r\nset-cookie: a=b\r\n\r\n{}"
    with raw_server(answer) as (url, received), record(f"{url}/openai/v1") as recorder:
        headers = {"authorization": f"Bearer {KEY}", "connection": "x-hop", "x-hop": "1", "accept-encoding": "gzip"}
        reply = recorder.request("GET", "/v1/models?limit=2", headers={**headers, "openai-beta": "b"})
    sent = received[0].decode().lower()
    assert sent.startswith("get /openai/v1/models?limit=2 http/1.1\r\n")
    assert f"authorization: bearer {KEY}".lower() in sent
    assert "x-hop" not in sent
    assert "accept-encoding: identity" in sent
    assert reply.body == b"{}"
    [exchange] = read_recording(recorder.file)
    assert exchange.request.headers == {"openai-beta": "b"}
    assert dict(exchange.response.headers) == {}
    assert recorder.file.stat().st_mode & 0o077 == 0


@pytest.mark.parametrize(
    ("upstream", "path", "target"),
    [
        ("http://h", "/v1/x", b"/v1/x"),
        ("http://h/", "/v1/x", b"/v1/x"),
        ("http://h/v1", "/v1/x", b"/v1/x"),
        ("http://h/v1", "/x", b"/v1/x"),
        ("http://h/v1", "/v10/x", b"/v1/v10/x"),
        ("http://h/api/v1/", "/v1/x", b"/api/v1/x"),
        ("http://h/api/v1/", "/api/v1/x", b"/api/v1/x"),
        ("http://h/v1", "/v1", b"/v1"),
    ],
)
def test_how_paths_are_joined(upstream, path, target):
    """What both have in common is there once."""
    assert Upstream.parse(upstream).target(path, b"") == target
    assert Upstream.parse(upstream).target(path, b"a=b") == target + b"?a=b"


def test_an_upstream_that_does_not_answer(record):
    """A 502 that says why; nothing is recorded."""
    with closing(socket.create_server(("127.0.0.1", 0))) as free:
        port = free.getsockname()[1]
    with record(f"http://127.0.0.1:{port}") as recorder:
        reply = recorder.chat()
        assert reply.status == 502
        assert reply.error["message"].startswith(f"cannot connect to http://127.0.0.1:{port}")
    with raw_server(b"SSH-2.0\r\n\r\n") as (url, _), record(url, "b") as recorder:
        assert recorder.chat().error["code"] == "upstream_error"
    assert recorder.file.read_text() == ""


def test_a_compressed_answer_is_passed_on_but_not_recorded(record):
    """It could not be searched for keys."""
    answer = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncontent-encoding: br\r\n\r\nxx"
    with raw_server(answer) as (url, _), record(url) as recorder:
        assert recorder.chat().body == b"xx"
    assert recorder.file.read_text() == ""


def test_https(serve, record, tmp_path, monkeypatch):
    """The upstream's certificate is checked against the system's, or those of SSL_CERT_FILE."""
    trustme = pytest.importorskip("trustme")
    import ssl

    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(context)
    listener = socket.create_server(("127.0.0.1", 0))

    def run():
        for _ in range(2):
            connection, _ = listener.accept()
            try:
                with context.wrap_socket(connection, server_side=True) as secured:
                    secured.recv(65536)
                    secured.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nsafe")
            except ssl.SSLError:
                connection.close()

    thread = threading.Thread(target=run)
    thread.start()
    with record(f"https://localhost:{listener.getsockname()[1]}") as recorder:
        refused = recorder.get("/v1/models")
        assert refused.status == 502
        assert "certificate" in refused.json["error"]["message"].lower()
        monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
        assert recorder.get("/v1/models").body == b"safe"
    thread.join()
    listener.close()


def test_what_is_not_recorded_names_the_nearest_difference(serve, record):
    """404 in the vendor's shape: the field that differs, or the paths that there are."""
    with record(serve().server.url) as recorder:
        recorder.chat("How are you today?", temperature=0.5)
        recorder.chat("Something else", temperature=0.7, n=2)
    client = serve(replay=recorder.file)
    error = client.chat("How are you tomorrow?", temperature=0.5).error
    assert error["code"] == "not_recorded"
    assert error["message"] == (
        'Not in the recording. The nearest recorded request differs at messages[0].content: "How are you today?" was '
        'recorded, "How are you tomorrow?" sent.'
    )
    message = client.chat("Something else", temperature=0.7, top_p=1, seed=3).error["message"]
    assert "differs at n: 2 was recorded, nothing sent, and at 2 more places" in message
    claude = client.messages()
    assert claude.status == 404
    assert "No POST /v1/messages is in it, but POST /v1/chat/completions." in claude.claude_error["message"]


def test_the_mock_answers_what_is_not_recorded_when_told_to(serve, record, client):
    """The fallback is the mock with all its options."""
    with record(serve(seed=5).server.url) as recorder:
        recorded = recorder.chat("one")
    both = serve(replay=recorder.file, replay_fallback=True)
    assert both.chat("one").body == recorded.body
    assert both.chat("two").body == client.chat("two").body
    assert both.get("/v1/chat/completions").status == 405


def test_faults_come_before_the_recording(serve, record):
    """A replay can be made to fail."""
    with record(serve().server.url) as recorder:
        recorded = recorder.chat()
    client = serve(replay=recorder.file)
    rules = [{"status": 503, "times": 1}, {"disconnect": "mid_body", "times": 1}, {"delay": 0.01, "times": 1}]
    client.post("/__mock__/faults", rules)
    assert client.chat().status == 503
    with pytest.raises(http.client.IncompleteRead):
        client.chat()
    assert [client.chat().body for _ in range(2)] == [recorded.body] * 2


@pytest.mark.parametrize(("speed", "times"), [(1, [1.0, 1.5, 4.0]), (10, [0.1, 0.15, 0.4]), (0, [0, 0])])
def test_timings(run_virtual, speed, times):
    """Headers and pieces come when they came, divided by the speed; at 0 all at once."""
    response = RecordedResponse(200, (("content-type", "a/b"),), 1.0, ((1.5, b"one"), (4.0, b"two")))
    seen = []

    async def receive():
        await asyncio.Event().wait()

    async def main():
        begun = asyncio.get_running_loop().time()

        async def send(message):
            seen.append((round(asyncio.get_running_loop().time() - begun, 3), message))

        return await play(response, speed, receive, send, None)

    assert run_virtual(main())[0] == "answered"
    assert [at for at, message in seen if message.get("body") != b""] == times
    assert b"".join(message.get("body", b"") for _, message in seen) == b"onetwo"


def test_recorded_timings_are_those_of_the_answer(serve, record):
    """The pieces of a paced stream have different times, and come in order."""
    with record(serve(delay=0.02, token_rate=200).server.url) as recorder:
        recorder.chat(stream=True)
    [exchange] = read_recording(recorder.file)
    times = [at for at, _ in exchange.response.chunks]
    assert 0.02 <= exchange.response.after <= times[0]
    assert times == sorted(times)
    assert times[-1] - times[0] > 0.03


def test_a_client_that_leaves_is_not_recorded(serve, record, chat_bytes):
    """What it did not hear to the end is not an answer."""
    origin = serve(delay=20)
    with record(origin.server.url) as recorder:
        connection = recorder.connect()
        connection.sendall(chat_bytes())
        while not origin.server.stats().in_flight:
            pass
        connection.close()
        while origin.server.stats().in_flight:
            pass
    assert recorder.file.read_text() == ""


def test_bytes_that_are_no_text(tmp_path, serve):
    """A piece that ends inside a character is kept as it is."""
    text = "héllo".encode()
    answer = b"HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\n" + text
    with raw_server(answer) as (url, _), recording(url, tmp_path / "r") as recorder:
        connection = http.client.HTTPConnection(recorder.removeprefix("http://"))
        connection.request("GET", "/v1/x")
        assert connection.getresponse().read() == text
        connection.close()
    lines = (tmp_path / "r").read_text()
    (tmp_path / "r").write_text(lines.replace('"h\\u00e9llo"', '{"base64": "aMM="}'))
    assert serve(replay=tmp_path / "r").get("/v1/x").body == text[:2]


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full")
def test_a_full_disk_costs_the_recording_only(serve, client_for, caplog):
    """The client gets its answer, and the log says that it was not recorded."""
    with recording(serve().server.url, "/dev/full") as url:
        assert client_for(url).chat().status == 200
    assert "an answer could not be recorded: No space left on device" in caplog.text


def test_a_torn_last_line_is_left_out(serve, record):
    """What a killed recorder leaves can be replayed."""
    with record(serve().server.url) as recorder:
        recorder.chat("one")
    with recorder.file.open("a") as file:
        file.write('{"format": 1, "requ')
    assert len(read_recording(recorder.file)) == 1
    with recorder.file.open("a") as file:
        file.write('\n{"format": 1}\n')
    with pytest.raises(RecordingError, match=r"rec\.jsonl:2: not a line of a recording"):
        read_recording(recorder.file)


def line_with(**response):
    """A line of a recording with some of its answer replaced."""
    whole = {"status": 200, "headers": [], "after": 0, "chunks": [], **response}
    return json.dumps({"format": 1, "request": {"method": "GET", "target": "/", "body": ""}, "response": whole})


@pytest.mark.parametrize(
    "line",
    [
        '{"format": 2}',
        "[]",
        line_with(status=999),
        line_with(headers=[["a\r\nb", "c"]]),
        line_with(headers=[["a", "b\r\nc: d"]]),
        line_with(after=-1),
        line_with(chunks=[[0, {"base64": "?"}]]),
        "",
    ],
)
def test_what_is_no_recording_is_refused(tmp_path, line):
    """With file and line."""
    (tmp_path / "r.jsonl").write_text(line + "\n\n")
    with pytest.raises(RecordingError, match=r"r\.jsonl"):
        Replay(tmp_path / "r.jsonl")


def test_bodies_that_are_no_json_are_compared_as_text():
    """The digest needs no JSON."""
    one, other = (recorded_request(ApiRequest("POST", "/x", [], body=body)) for body in (b"a=1", b"\xff"))
    assert one.digest != other.digest
    assert one.body == "a=1"


@pytest.mark.parametrize("depth", [300, 900, 20_000])
def test_a_body_that_nests_deeply_is_not_recorded(serve, record, depth):
    """It gets the 404 of any other."""
    with record(serve().server.url) as recorder:
        recorder.chat(content=[[]])
    body = b'{"model":"m","messages":[{"role":"user","content":' + b"[" * depth + b"]" * depth + b"}]}"
    assert serve(replay=recorder.file).post("/v1/chat/completions", body).error["code"] == "not_recorded"


def test_differences():
    """Every place, with missing ones, and types that are not the same."""
    found = list(differences({"a": [1, {"b": 2}], "c": 1}, {"a": [1, {"b": 3}, 4], "c": True}))
    assert [place for place, _, _ in found] == ["a[1].b", "a[2]", "c"]
