"""Scripted faults and random errors, over HTTP."""

from __future__ import annotations

import http.client
import json

import pytest

from flexllm_mock import FaultMatch, FaultRule


def statuses(client, count, **options):
    return [client.chat(f"Question {number}", **options).status for number in range(count)]


def test_rules_apply_in_order_and_run_out(serve):
    """Each rule serves its number of requests, then the next one; after the last the answers are ordinary."""
    client = serve(faults=[FaultRule(status=429, times=2), FaultRule(status=503, times=1)])
    assert statuses(client, 5) == [429, 429, 503, 200, 200]


def test_rule_without_times_lasts(serve):
    """A rule without a number applies to every request."""
    assert statuses(serve(faults=[FaultRule(status=500)]), 4) == [500] * 4


def test_every_nth_request(serve):
    """`every` counts matching requests, and `times` counts uses."""
    assert statuses(serve(faults=[FaultRule(status=500, every=3)]), 7) == [200, 200, 500, 200, 200, 500, 200]
    assert statuses(serve(faults=[FaultRule(status=500, every=2, times=1)]), 5) == [200, 500, 200, 200, 200]


def test_request_that_one_rule_skips_can_meet_the_next(serve):
    """A rule that does not apply leaves the request to the rules behind it."""
    client = serve(faults=[FaultRule(status=500, every=2), FaultRule(status=429, times=1)])
    assert statuses(client, 3) == [429, 500, 200]


def test_error_status_has_the_vendors_body_and_given_headers(serve):
    """An error status alone is answered in OpenAI's shape, with the rule's headers."""
    client = serve(faults=[FaultRule(status=429, headers={"Retry-After": "3", "X-Request-Id": "mine"})])
    answer = client.chat()
    assert answer.error["code"] == "rate_limit_exceeded"
    assert (answer.headers["retry-after"], answer.headers["x-request-id"]) == ("3", "mine")


@pytest.mark.parametrize("status", [400, 401, 402, 403, 404, 408, 418, 422, 500, 502, 529])
def test_any_error_status(serve, status):
    """Every error status gives a body that can be read."""
    answer = serve(faults=[FaultRule(status=status)]).chat()
    assert answer.status == status
    assert answer.error["message"]


@pytest.mark.parametrize(
    ("match", "hits"),
    [
        (FaultMatch(contains="poison"), [True, False, True]),
        (FaultMatch(model="echo"), [False, True, False]),
        (FaultMatch(path="/chat/completions"), [True, True, True]),
        (FaultMatch(path="/embeddings"), [False, False, False]),
        (FaultMatch(contains="poison", model="echo"), [False, False, False]),
        (FaultMatch(), [True, True, True]),
    ],
)
def test_match_selects_requests(serve, match, hits):
    """A rule concerns the requests that fit everything in its match."""
    client = serve(faults=[FaultRule(status=400, match=match)])
    answers = [client.chat("the poison prompt"), client.chat("hello", model="echo"), client.chat("poison")]
    assert [answer.status == 400 for answer in answers] == hits


@pytest.mark.parametrize("text", ['say "hi"', "\u4f60\u597d", "two\nlines", "back\\slash"])
def test_match_finds_text_however_json_spells_it(serve, text):
    """`contains` finds text that is written with JSON escapes, and as UTF-8."""
    client = serve(faults=[FaultRule(status=400, match=FaultMatch(contains=text))])
    body = {"model": "mock", "messages": [{"role": "user", "content": f"<{text}>"}]}
    for ascii_only in (True, False):
        spelled = json.dumps(body, ensure_ascii=ascii_only).encode()
        assert client.post("/v1/chat/completions", spelled).status == 400
    assert client.chat("other").status == 200


def test_status_without_an_error_keeps_the_answer(serve):
    """A status below 400 alone goes with the ordinary answer."""
    client = serve(faults=[FaultRule(status=201, times=1)])
    odd, plain = client.chat(), client.chat()
    assert (odd.status, plain.status) == (201, 200)
    assert odd.body == plain.body


def test_prescribed_body(serve):
    """`body` is any JSON, with status 200 unless another is given; `raw_body` goes out as it is."""
    client = serve(
        faults=[
            FaultRule(body={"choices": []}, times=1),
            FaultRule(status=503, body={"detail": "busy"}, times=1),
            FaultRule(raw_body="\n\n<html>", headers={"content-type": "text/html"}, times=1),
            FaultRule(raw_body=b"\xff\x00", times=1),
            FaultRule(raw_body="", times=1),
            FaultRule(status=502, raw_body="bad gateway", times=1),
        ]
    )
    assert client.chat().json == {"choices": []}
    answer = client.chat()
    assert (answer.status, answer.json) == (503, {"detail": "busy"})
    answer = client.chat()
    assert (answer.status, answer.headers["content-type"], answer.body) == (200, "text/html", b"\n\n<html>")
    assert [client.chat().body for _ in range(2)] == [b"\xff\x00", b""]
    answer = client.chat()
    assert (answer.status, answer.body) == (502, b"bad gateway")


def test_raw_body_of_a_stream_is_an_event_stream(serve):
    """A raw body for a streaming request has the type of a stream, unless it is an error."""
    client = serve(faults=[FaultRule(raw_body="data: {}\r\n\r\n", times=1), FaultRule(status=500, raw_body="x")])
    answer = client.chat(stream=True)
    assert (answer.headers["content-type"], answer.body) == ("text/event-stream", b"data: {}\r\n\r\n")
    assert client.chat(stream=True).headers["content-type"] == "application/json"


def test_prescribed_answer(serve):
    """`answer` replaces the text, whole or streamed, uncut by limits; what follows it is ordinary."""
    client = serve(faults=[FaultRule(answer="exactly this text", times=3)])
    assert client.chat(max_tokens=1, stop="this").text == "exactly this text"
    assert client.chat(stream=True).joined("content") == "exactly this text"
    answer = client.chat(n=2)
    assert [choice["message"]["content"] for choice in answer.json["choices"]] == ["exactly this text"] * 2
    assert answer.json["usage"]["completion_tokens"] == 6
    assert client.chat().text != "exactly this text"


def test_lone_surrogate_is_escaped(serve):
    """An answer with half a surrogate pair is valid UTF-8 and JSON, with the half as an escape."""
    client = serve(faults=[FaultRule(answer="broken \ud83d emoji")])
    single, streamed = client.chat(), client.chat(stream=True)
    assert b"\\ud83d" in single.body
    assert b"\\ud83d" in streamed.body
    assert single.text == streamed.joined("content") == "broken \ud83d emoji"


def test_fault_comes_before_validation(serve):
    """A rule applies to requests that are wrong themselves, and one that only delays leaves their error."""
    client = serve(faults=[FaultRule(status=503, times=1), FaultRule(delay=0.001)])
    assert client.post("/v1/chat/completions", b"{").status == 503
    assert client.post("/v1/chat/completions", b"{").status == 400
    assert client.chat().status == 200


@pytest.mark.parametrize("stream", [False, True])
def test_disconnect_before_any_byte(serve, protocol, chat_bytes, stream):
    """The connection closes without a single byte."""
    client = serve(faults=[FaultRule(disconnect="before", times=1)])
    assert client.raw(chat_bytes(stream=stream)) == b""
    assert client.chat().status == 200
    stats = client.server.stats()
    assert (stats.dropped, stats.by_status) == (1, {200: 1})
    first = client.server.requests[0]
    assert (first.status, first.outcome) == (None, "dropped")


def test_disconnect_after_headers(serve, protocol, chat_bytes):
    """The head promises a body that never comes."""
    client = serve(faults=[FaultRule(disconnect="after_headers")])
    head, _, body = client.raw(chat_bytes()).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200")
    assert b"content-length: " in head.lower()
    assert body == b""
    with pytest.raises(http.client.IncompleteRead):
        client.chat()


def test_disconnect_mid_body(serve, protocol, chat_bytes):
    """A part of the promised body comes, then the end."""
    client = serve(faults=[FaultRule(disconnect="mid_body")])
    head, _, body = client.raw(chat_bytes()).partition(b"\r\n\r\n")
    promised = int(dict(line.split(b": ") for line in head.lower().split(b"\r\n")[1:])[b"content-length"])
    assert 0 < len(body) < promised
    assert body.startswith(b'{"id":')
    with pytest.raises(http.client.IncompleteRead):
        client.chat()


def test_disconnect_mid_stream(serve, protocol, chat_bytes):
    """A stream breaks off after some events, without [DONE] and without the last chunk of the encoding."""
    client = serve(faults=[FaultRule(disconnect="mid_body")])
    received = client.raw(chat_bytes(stream=True))
    assert b'"role":"assistant"' in received
    assert b"[DONE]" not in received
    assert not received.endswith(b"0\r\n\r\n")


def test_disconnect_with_an_error_status(serve, chat_bytes):
    """Status and disconnect combine: the head of a 503, and no more."""
    client = serve(faults=[FaultRule(status=503, disconnect="after_headers")])
    assert client.raw(chat_bytes()).startswith(b"HTTP/1.1 503")


def test_server_goes_on_after_many_drops(serve, capfd, protocol, chat_bytes):
    """Dropped connections leave nothing behind, and nothing on stderr."""
    client = serve(faults=[FaultRule(disconnect="mid_body", every=2)])
    for number in range(20):
        client.raw(chat_bytes().replace(b"host: mock", b"host: mock\r\nconnection: close"))
        assert client.server.stats().requests == number + 1
    assert client.server.stats().dropped == 10
    assert client.server.stats().in_flight == 0
    assert capfd.readouterr().err == ""


def test_random_errors_follow_from_seed_and_order(serve):
    """The same seed fails the same requests in order; another seed fails others; the share is about right."""
    options = {"error_rate": 0.3, "error_status": 503, "retry_after": 0.5}
    first, again, other = (serve(seed=seed, **options) for seed in (1, 1, 2))
    drawn = statuses(first, 100)
    assert statuses(again, 100) == drawn
    assert statuses(other, 100) != drawn
    assert 15 <= drawn.count(503) <= 45
    assert set(drawn) == {200, 503}
    first.server.reset()
    assert statuses(first, 100) == drawn


@pytest.mark.parametrize(("status", "header"), [(429, "2"), (503, "2"), (500, None)])
def test_retry_after_goes_with_429_and_503(serve, status, header):
    """retry_after is sent with the statuses that carry it."""
    answer = serve(error_rate=1, error_status=status, retry_after=2.0).chat()
    assert (answer.status, answer.headers.get("retry-after")) == (status, header)
    assert answer.error["message"]


def test_random_errors_spare_models_and_bad_requests(serve):
    """Only requests that would generate something are drawn."""
    client = serve(error_rate=1)
    assert client.get("/v1/models").status == 200
    assert client.post("/v1/chat/completions", b"{").status == 400


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        ({"status": 99}, "status"),
        ({"status": "429"}, "status"),
        ({"status": 600}, "status"),
        ({"times": 0}, "times"),
        ({"times": True}, "times"),
        ({"every": 0}, "every"),
        ({"delay": -1}, "delay"),
        ({"delay": "1"}, "delay"),
        ({"disconnect": "later"}, "disconnect"),
        ({"answer": 5}, "answer"),
        ({"as_list": 1}, "as_list"),
        ({"raw_body": 5}, "raw_body"),
        ({"answer": "a", "raw_body": "b"}, "only one"),
        ({"headers": ["a"]}, "headers"),
        ({"headers": {"a b": "c"}}, "headers"),
        ({"headers": {"content-length": "5"}}, "content-length"),
        ({"headers": {"a": "b\r\nc: d"}}, "Latin-1"),
        ({"headers": {"a": 5}}, "Latin-1"),
        ({"match": 5}, "match"),
        ({"match": {"contains": 5}}, "contains"),
        ({"match": {"body": "x"}}, "body"),
        ({"statuss": 429}, "statuss"),
        ([], "an object"),
    ],
)
def test_wrong_rule_says_what_is_wrong(value, problem):
    """A rule that cannot work is refused with the name of the field."""
    with pytest.raises(ValueError, match=problem):
        FaultRule.from_json(value)


def test_rule_from_json_is_the_rule():
    """JSON and keywords give equal rules; null fields are absent ones."""
    given = {"status": 429, "times": 2, "match": {"contains": "x", "model": None}, "headers": {"a": "b"}, "body": None}
    assert FaultRule.from_json(given) == FaultRule(
        status=429, times=2, match=FaultMatch(contains="x"), headers={"a": "b"}
    )
    assert FaultRule.from_json({"match": None}) == FaultRule()
