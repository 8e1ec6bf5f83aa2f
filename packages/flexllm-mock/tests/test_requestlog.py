"""The request log: totals, duplicates, masking, the log file, and the control endpoints."""

from __future__ import annotations

import hashlib
import json
import tracemalloc
from concurrent.futures import ThreadPoolExecutor

import pytest

from flexllm_mock import FaultRule
from flexllm_mock.asgi import ApiRequest, Reply
from flexllm_mock.masking import masked
from flexllm_mock.requestlog import RequestLog


def full_disk(log, entry):
    raise OSError(28, "No space left on device")


def digest_of(model, messages):
    canonical = json.dumps({"messages": messages, "model": model}, sort_keys=True, separators=(",", ":"))
    return hashlib.blake2b(canonical.encode(), digest_size=16).hexdigest()


def test_stats_count_what_happened(serve):
    """Requests by path and status, and the connections that carried them."""
    client = serve(faults=[FaultRule(status=429, times=1)])
    for content in ("a", "b", "c"):
        client.chat(content)
    client.get("/v1/models")
    client.get("/nowhere")
    stats = client.server.stats()
    assert stats.requests == 5
    assert stats.by_path == {"/v1/chat/completions": 3, "/v1/models": 1, "/nowhere": 1}
    assert stats.by_status == {429: 1, 200: 3, 404: 1}
    assert (stats.in_flight, stats.cancelled, stats.dropped) == (0, 0, 0)
    assert stats.total_connections == 5


def test_health_and_control_are_not_counted(client):
    """Looking at the server does not change what is seen."""
    client.get("/health")
    client.get("/__mock__/stats")
    assert client.server.stats().requests == 0


def test_peak_in_flight_is_reached_together(serve):
    """The peak is the number of requests that were open at once."""
    client = serve(delay=0.3)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(client.chat, "abcdefgh"))
    client.chat("alone")
    stats = client.server.stats()
    assert 2 <= stats.peak_in_flight <= 8
    assert stats.in_flight == 0


def test_duplicates_are_told_by_content(serve):
    """The same model and messages are a duplicate whatever else differs; a repeated 200 is a duplicate answer."""
    client = serve(faults=[FaultRule(status=500, times=1)])
    client.chat("a")
    client.chat("a")
    client.chat("a", temperature=1, stream=True)
    client.chat("a", model="other")
    client.chat("b")
    stats = client.server.stats()
    assert (stats.distinct, stats.duplicates, stats.duplicate_answers) == (3, 2, 1)


def test_recent_requests_show_what_was_sent(client):
    """Each logged request has its path, model, status, digest and body; keys in headers are masked."""
    client.post(
        "/v1/chat/completions",
        {"model": "m", "messages": [{"role": "user", "content": "hi"}]},
        **{"Authorization": "Bearer sk-secret", "X-Api-Key": "sk-secret", "X-Trace": "t1"},
    )
    [logged] = client.server.requests
    assert (logged.ordinal, logged.method, logged.path) == (1, "POST", "/v1/chat/completions")
    assert (logged.model, logged.status, logged.outcome) == ("m", 200, "answered")
    assert 0 <= logged.received_at < 60
    assert logged.headers["authorization"] == logged.headers["x-api-key"] == "***"
    assert logged.headers["x-trace"] == "t1"
    assert logged.digest == digest_of("m", [{"role": "user", "content": "hi"}])
    assert json.loads(logged.body)["model"] == "m"
    assert logged.body_size == len(logged.body)
    assert "sk-secret" not in repr(logged)


def test_repeated_headers_are_joined():
    """A header that comes twice shows both values, masked or not."""
    assert masked([(b"A", b"1"), (b"a", b"2"), (b"Cookie", b"x")]) == {"a": "1, 2", "cookie": "***"}


def test_only_the_last_thousand_are_kept():
    """The log remembers 1,000 requests and counts all; paths beyond 1,000 are counted together."""
    log = RequestLog()
    for number in range(2500):
        entry = log.begin(ApiRequest("GET", f"/{number}", []), 0.0)
        log.decided(entry, 404)
        log.end(entry, "answered")
    assert [logged.ordinal for logged in log.recent()] == list(range(1501, 2501))
    stats = log.stats()
    assert (stats.requests, stats.by_status) == (2500, {404: 2500})
    assert (len(stats.by_path), stats.by_path["(other)"]) == (1001, 1500)


def test_log_file_gets_a_line_per_request(serve, tmp_path):
    """The file has ordinal, path, model, digest and status of every request, also of those that were refused."""
    file = tmp_path / "log.jsonl"
    file.write_text('{"from": "an earlier run"}\n')
    client = serve(log_file=file, faults=[FaultRule(status=503, times=1), FaultRule(disconnect="before", times=1)])
    messages = [{"role": "user", "content": "\u4f60\u597d \ud83d"}]
    client.chat(messages=messages)
    with pytest.raises(ConnectionError):
        client.chat(messages=messages)
    client.chat(messages=messages)
    client.post("/v1/chat/completions", b"{")
    client.get("/v1/models")
    first, *lines = [json.loads(line) for line in file.read_text().splitlines()]
    assert first == {"from": "an earlier run"}
    assert [(line["ordinal"], line["status"], line["model"]) for line in lines] == [
        (1, 503, "mock"),
        (2, None, "mock"),
        (3, 200, "mock"),
        (4, 400, None),
        (5, 200, None),
    ]
    assert [line["digest"] for line in lines] == [digest_of("mock", messages)] * 3 + [None] * 2
    assert {line["path"] for line in lines} == {"/v1/chat/completions", "/v1/models"}


def test_log_line_is_written_on_receipt(serve, tmp_path, chat_bytes):
    """A request that waits for its answer is in the file already."""
    file = tmp_path / "log.jsonl"
    client = serve(log_file=file, delay=300)
    with client.connect() as connection:
        connection.sendall(chat_bytes())
        while not file.read_bytes():
            pass
        assert client.server.requests[0].outcome == "in_flight"
    assert json.loads(file.read_text())["status"] == 200


def test_log_that_cannot_be_written_is_an_error(tmp_path, monkeypatch):
    """A disk that takes only a part of a line is not passed over."""
    log = RequestLog(tmp_path / "log.jsonl")
    monkeypatch.setattr("flexllm_mock.requestlog.os.write", lambda descriptor, data: len(data) - 1)
    entry = log.begin(ApiRequest("GET", "/", []), 0.0)
    with pytest.raises(OSError, match="a part of a line"):
        log.decided(entry, 200)
    log.close()


def test_log_that_failed_answers_500(serve, tmp_path, monkeypatch):
    """A request that cannot be logged is not answered as if it were, and the server goes on."""
    client = serve(log_file=tmp_path / "log.jsonl")
    with monkeypatch.context() as patched:
        patched.setattr("flexllm_mock.requestlog.RequestLog._write", full_disk)
        assert client.chat().status == 500
    assert client.chat().status == 200
    assert client.server.stats().in_flight == 0


def test_concurrent_requests_never_mix_lines(serve, tmp_path):
    """Every line of the file is whole, and the ordinals are all there."""
    file = tmp_path / "log.jsonl"
    client = serve(log_file=file)
    with ThreadPoolExecutor(16) as pool:
        list(pool.map(client.chat, [f"Q{number}" for number in range(300)]))
    ordinals = [json.loads(line)["ordinal"] for line in file.read_text().splitlines()]
    assert sorted(ordinals) == list(range(1, 301))


def test_control_shows_requests_and_stats(client):
    """The endpoints give what the server object gives."""
    client.chat("hello", model="m\ud83d")
    client.chat("more " * 1000)
    seen = client.get("/__mock__/requests").json
    logged, long = seen["requests"]
    assert (logged["model"], logged["status"], logged["outcome"]) == ("m\ud83d", 200, "answered")
    assert json.loads(logged["body"])["messages"] == [{"role": "user", "content": "hello"}]
    assert 0 <= logged["seconds"] < 60
    assert (len(long["body"]), long["body_size"] > 5000) == (2000, True)
    stats = client.get("/__mock__/stats").json
    assert stats["requests"] == seen["stats"]["requests"] == 2
    assert stats["by_status"] == {"200": 2}
    [last] = client.get("/__mock__/requests?limit=1").json["requests"]
    assert last["ordinal"] == 2
    assert client.get("/__mock__/requests?limit=0").json["requests"] == []
    assert client.get("/__mock__/requests?limit=x").error["message"].startswith("limit must be a whole number")


def test_control_shows_no_key(client):
    """Keys are masked wherever they were sent: in headers, in the URL, in the body, known or of the shape of one."""
    note = "a-private-key-2 sk-proj-abcdef123"
    body = {"model": "the a-private-key-1", "messages": [], "api_key": "plain", "note": note}
    headers = {"Authorization": "Bearer a-private-key-1", "X-Debug": "used a-private-key-1", "X-Goog-Api-Key": "other"}
    client.post("/v1/chat/completions?key=a-private-key-2&x=AIzaSyA1234567890&y=1", body, **headers)
    shown = client.get("/__mock__/requests").body.decode()
    for secret in ("private-key", "plain", "sk-proj", "AIzaSy", "other"):
        assert secret not in shown
    [logged] = json.loads(shown)["requests"]
    assert logged["url"] == "/v1/chat/completions?key=***&x=***&y=1"
    assert json.loads(logged["body"]) == {"model": "the ***", "messages": [], "api_key": "***", "note": "*** ***"}
    assert logged["headers"]["x-debug"] == "used ***"
    assert client.server.requests[0].url == logged["url"]
    assert logged["model"] == "the ***"


def test_body_that_is_no_text_is_shown(client):
    """Bytes that are no UTF-8 do not break the list."""
    client.post("/v1/chat/completions", b"\xff\xfe{")
    [logged] = client.get("/__mock__/requests").json["requests"]
    assert logged["body"] == "\ufffd\ufffd{"
    assert client.server.requests[0].body == b"\xff\xfe{"


def test_bodies_are_kept_up_to_a_size_in_all():
    """Of the last requests only so many bodies are kept as fit into 8 MiB."""
    log = RequestLog()
    for _ in range(300):
        entry = log.begin(ApiRequest("POST", "/", [], body=b"x" * 60_000), 0.0)
        log.decided(entry, 200)
        log.end(entry, "answered", 1.0)
        kept = [logged.body is not None for logged in log.recent()]
        assert kept == [False] * (len(kept) - sum(kept)) + [True] * sum(kept)
        assert sum(kept) * 60_000 <= 8 * 1024 * 1024
    assert sum(kept) * 60_000 > 6 * 1024 * 1024 - 60_000


def test_bodies_of_requests_that_leave_the_log_make_room():
    """Small bodies are kept for as long as their requests are."""
    log = RequestLog()
    for _ in range(5000):
        entry = log.begin(ApiRequest("POST", "/", [], body=b"x" * 8000), 0.0)
        log.decided(entry, 200)
        log.end(entry, "answered", 1.0)
    assert all(logged.body for logged in log.recent())


@pytest.mark.parametrize("status", [200, 500])
def test_memory_of_the_log_is_bounded(status):
    """A request takes less than 200 bytes of memory once the last thousand are full, so 100,000 less than 20 MB."""
    log = RequestLog()

    def pass_by(numbers):
        for number in numbers:
            request = ApiRequest("POST", "/v1/chat/completions", [(b"a", b"b" * 500)], body=b"c" * 500 + b"%d" % number)
            request.digest = hashlib.blake2b(request.body, digest_size=16).digest()
            entry = log.begin(request, number / 10_000)
            log.decided(entry, status, Reply(status, b""))
            log.end(entry, "answered", number / 10_000)

    pass_by(range(10_000))
    tracemalloc.start()
    try:
        pass_by(range(10_000, 30_000))
        grown, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert grown / 20_000 < 200


def test_control_adds_faults_and_resets(serve):
    """Rules that come by HTTP apply after those of the start; a reset restores the start."""
    client = serve(faults=[FaultRule(status=500, times=1)])
    added = client.post("/__mock__/faults", [{"status": 429, "times": 1, "headers": {"retry-after": "1"}}])
    assert added.json == {"status": "ok", "added": 1}
    assert client.post("/__mock__/faults", {"answer": "one rule"}).json["added"] == 1
    assert [client.chat().status for _ in range(3)] == [500, 429, 200]
    assert client.chat().text == "one rule"
    assert client.request("DELETE", "/__mock__/faults").json == {"status": "ok", "removed": 3}
    assert client.chat().text != "one rule"
    assert client.post("/__mock__/reset", None).json == {"status": "ok"}
    assert client.server.stats().requests == 0
    assert client.server.requests == []
    assert [client.chat().status for _ in range(2)] == [500, 200]
    assert client.chat().text != "one rule"


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        (b"{", "Expecting"),
        (b"\xff", "codec"),
        (b"[" * 100_000, "recursion"),
        (b"5", "rule 0"),
        (b'[{"status": 429}, {"status": 1}]', "rule 1: status"),
    ],
)
def test_control_refuses_wrong_rules(client, body, problem):
    """A list that holds a wrong rule adds none, and the answer says which is wrong."""
    answer = client.post("/__mock__/faults", body)
    assert answer.status == 400
    assert problem in answer.error["message"]
    assert client.chat().status == 200


def test_control_knows_its_paths_and_methods(client):
    """Other paths and methods under the prefix are JSON errors."""
    assert client.get("/__mock__/other").error["message"] == "Not Found"
    wrong = client.get("/__mock__/reset")
    assert (wrong.status, wrong.headers["allow"]) == (405, "POST")
    assert wrong.error


def test_reset_keeps_open_requests_in_count(serve, chat_bytes):
    """A reset while a request is open does not lose it."""
    client = serve(delay=300)
    with client.connect() as connection:
        connection.sendall(chat_bytes())
        while not client.server.stats().in_flight:
            pass
        client.server.reset()
        stats = client.server.stats()
        assert (stats.in_flight, stats.peak_in_flight, stats.requests) == (1, 1, 0)
    while not client.server.stats().cancelled:
        pass
    assert client.server.stats().in_flight == 0
