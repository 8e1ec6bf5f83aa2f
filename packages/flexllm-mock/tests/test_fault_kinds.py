"""Each kind of fault, seen over a raw socket."""

from __future__ import annotations

import gzip
import json
import re
import socket
import time
from itertools import pairwise
from pathlib import Path

import pytest

from flexllm_mock import FaultRule
from flexllm_mock.faults.kinds import KINDS

SILENCE = 0.15
VENDORS = ("openai", "claude", "gemini")
WEATHER = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}


def request_bytes(vendor, *, stream=False, tools=False):
    """A request to one of the vendors' APIs as it goes over the wire, on a connection of its own."""
    asked = {"messages": [{"role": "user", "content": "Hello"}], "model": "mock", "stream": stream}
    path, extra = "/v1/chat/completions", ""
    if vendor == "openai" and tools:
        asked["tools"] = [{"type": "function", "function": {"name": "weather", "parameters": WEATHER}}]
    if vendor == "openai" and stream:
        asked["stream_options"] = {"include_usage": True}
    if vendor == "claude":
        path, extra = "/v1/messages", "anthropic-version: 2023-06-01\r\n"
        asked["max_tokens"] = 500
        if tools:
            asked["tools"] = [{"name": "weather", "input_schema": WEATHER}]
    if vendor == "gemini":
        path = "/v1beta/models/mock:" + ("streamGenerateContent?alt=sse" if stream else "generateContent")
        asked = {"contents": [{"role": "user", "parts": [{"text": "Hello"}]}]}
        if tools:
            asked["tools"] = [{"functionDeclarations": [{"name": "weather", "parametersJsonSchema": WEATHER}]}]
    body = json.dumps(asked).encode()
    head = f"POST {path} HTTP/1.1\r\nhost: mock\r\n{extra}connection: close\r\ncontent-length: {len(body)}\r\n\r\n"
    return head.encode() + body


class Seen:
    """What came over the socket: the bytes, and whether they ended with a reset, an end, or not at all."""

    def __init__(self, received, end):
        self.received, self.end = received, end
        self.head, _, self.rest = received.partition(b"\r\n\r\n")

    @property
    def status(self):
        return int(self.head.split()[1])

    @property
    def headers(self):
        lines = self.head.decode().split("\r\n")[1:]
        return {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}

    @property
    def chunked(self):
        return self.headers.get("transfer-encoding") == "chunked"

    @property
    def body(self):
        """The body without its framing, which must be whole."""
        if not self.chunked:
            assert len(self.rest) == int(self.headers["content-length"])
            return self.rest
        body, rest = b"", self.rest
        while True:
            size, _, rest = rest.partition(b"\r\n")
            if size == b"0":
                assert rest == b"\r\n"
                return body
            body += rest[: int(size, 16)]
            rest = rest[int(size, 16) + 2 :]

    @property
    def json(self):
        return json.loads(self.body)

    @property
    def data(self):
        """What follows `data: ` on each line of an event stream."""
        return [line[6:] for line in self.body.decode().splitlines() if line.startswith("data: ")]


def stalled(fault, received):
    """Whether all has come that a stall lets through."""
    _, separator, body = received.partition(b"\r\n\r\n")
    come = {"before": True, "mid_headers": received, "after_headers": separator, "mid_body": body}
    return isinstance(fault, str) and fault.startswith("stall_") and bool(come[fault.removeprefix("stall_")])


@pytest.fixture
def see(serve, protocol):
    """Starts a server on which one fault strikes, and tells what a raw socket sees of it."""

    def look(fault, vendor="openai", *, stream=False, tools=False):
        client = serve(faults=[FaultRule.from_json({"kind": fault} if isinstance(fault, str) else fault)])
        with client.connect() as connection:
            connection.sendall(request_bytes(vendor, stream=stream, tools=tools))
            received = b""
            while True:
                connection.settimeout(SILENCE if stalled(fault, received) else 20)
                try:
                    part = connection.recv(65536)
                except ConnectionResetError:
                    return Seen(received, "reset")
                except TimeoutError:
                    return Seen(received, "silence")
                if not part:
                    return Seen(received, "end")
                received += part

    return look


@pytest.mark.parametrize("vendor", VENDORS)
@pytest.mark.parametrize(
    ("kind", "status"),
    [
        ("bad_request", 400),
        ("unauthorized", 401),
        ("payment_required", 402),
        ("insufficient_quota", 429),
        ("rate_limit", 429),
        ("rate_limit_ms", 429),
        ("rate_limit_bare", 429),
        ("server_error", 500),
        ("unavailable", 503),
        ("overloaded", 529),
    ],
)
def test_errors_have_the_vendors_shape(see, vendor, kind, status):
    """Each status comes with a body that the vendor's client can read."""
    seen = see(kind, vendor)
    assert (seen.status, seen.end) == (status, "end")
    error = seen.json["error"]
    assert error["message"]
    if vendor == "openai":
        assert set(error) == {"message", "type", "param", "code"}
    elif vendor == "claude":
        assert seen.json["type"] == "error"
        kinds = {400: "invalid_request_error", 401: "authentication_error", 402: "billing_error"}
        kinds |= {429: "rate_limit_error", 500: "api_error", 503: "api_error", 529: "overloaded_error"}
        assert error["type"] == kinds[status]
    else:
        assert error["code"] == status
        assert error["status"].isupper()


def test_rate_limits_tell_when_to_come_back(see):
    """The header with seconds, the one with milliseconds, or neither; Gemini tells it in the body."""
    assert see("rate_limit").headers["retry-after"] == "1"
    assert see("rate_limit_ms").headers["retry-after-ms"] == "500"
    bare = see("rate_limit_bare").headers
    assert not {"retry-after", "retry-after-ms"} & set(bare)
    assert see("rate_limit", "claude").headers["retry-after"] == "1"
    gemini = see("rate_limit", "gemini")
    assert "retry-after" not in gemini.headers
    quota, retry = gemini.json["error"]["details"]
    assert quota["violations"][0]["quotaId"] == "GenerateRequestsPerMinutePerProjectPerModel"
    assert retry == {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "1s"}
    both = see({"status": 429, "retry_after": 1.5}).headers
    assert (both["retry-after"], both["retry-after-ms"]) == ("2", "1500")


def test_quota_that_is_used_up_says_so(see):
    """The 429 that no waiting helps against differs from the one for speed."""
    assert see("insufficient_quota").json["error"]["type"] == "insufficient_quota"
    claude = see("insufficient_quota", "claude").json["error"]
    assert claude["details"] == {"error_code": "enforced_spend_limit_reached"}
    [quota] = see("insufficient_quota", "gemini").json["error"]["details"]
    assert "PerDay" in quota["violations"][0]["quotaId"]


def test_bad_gateway_is_html(see):
    """A gateway's own error is no JSON."""
    seen = see("bad_gateway")
    assert (seen.status, seen.body[:6]) == (502, b"<html>")


@pytest.mark.parametrize("vendor", VENDORS)
@pytest.mark.parametrize("stream", [False, True])
def test_error_with_status_200(see, vendor, stream):
    """An error can come with the status of success."""
    seen = see("error_body", vendor, stream=stream)
    assert seen.status == 200
    value = seen.json[0] if isinstance(seen.json, list) else seen.json
    assert value["error"]["message"]


def test_refused_connections(serve, protocol):
    """The request is reset, then connecting fails, then it works again at the same address."""
    client = serve(faults=[FaultRule.of("connection_refused", refuse=0.3, times=1)])
    with client.connect() as connection:
        connection.sendall(request_bytes("openai"))
        with pytest.raises(ConnectionResetError):
            connection.recv(1)
    with pytest.raises(ConnectionRefusedError):
        client.connect()
    end = time.monotonic() + 20
    while True:
        try:
            client.connect().close()
            break
        except ConnectionRefusedError:
            assert time.monotonic() < end
            time.sleep(0.01)
    assert client.chat().status == 200


def test_server_stops_while_it_refuses(serve):
    """A server that refuses connections can be stopped at once, and the port is free then."""
    client = serve(faults=[FaultRule.of("connection_refused", refuse=600)])
    with client.connect() as connection:
        connection.sendall(request_bytes("openai"))
        with pytest.raises(ConnectionResetError):
            connection.recv(1)
    client.server.stop()
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind(client.address)


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("stage", ["before", "mid_headers", "after_headers", "mid_body"])
@pytest.mark.parametrize("end", ["reset", "silence"])
def test_resets_and_stalls_at_each_stage(see, stage, end, stream):
    """What was due before the stage arrives whole; then there is a reset, or nothing for as long as one waits."""
    seen = see(("reset_" if end == "reset" else "stall_") + stage, stream=stream)
    assert seen.end == end
    if stage == "before":
        assert seen.received == b""
    elif stage == "mid_headers":
        assert seen.received.startswith(b"HTTP/1.1 200 OK\r\ncontent-type")
        assert b"\r\n\r\n" not in seen.received
    elif stage == "after_headers":
        assert seen.received.endswith(b"\r\n\r\n")
        assert seen.rest == b""
    elif stream:
        assert b'"role":"assistant"' in seen.rest
        assert b"[DONE]" not in seen.rest
    else:
        assert 0 < len(seen.rest) < int(seen.headers["content-length"])


@pytest.mark.parametrize("stage", ["before", "mid_headers", "after_headers", "mid_body"])
def test_stall_can_end(see, stage):
    """With `stall_seconds` the answer goes on afterwards, and is whole."""
    seen = see({"stall": stage, "stall_seconds": 0.001})
    assert (seen.status, seen.end) == (200, "end")
    assert seen.json["choices"]


def test_stall_ends_when_the_client_leaves(serve, protocol):
    """A stalled request holds nothing once its client is gone, and counts as cancelled."""
    client = serve(faults=[FaultRule.of("stall_after_headers")])
    with client.connect() as connection:
        connection.sendall(request_bytes("openai"))
        assert connection.recv(65536)
    end = time.monotonic() + 20
    while client.server.stats().cancelled == 0:
        assert time.monotonic() < end
        time.sleep(0.005)
    assert client.server.stats().in_flight == 0


@pytest.mark.parametrize("stage", ["", "_mid_body"])
def test_orderly_disconnects(see, stage):
    """A connection that closes is no reset."""
    seen = see("disconnect" + stage)
    assert seen.end == "end"
    assert bool(seen.received) == bool(stage)


@pytest.mark.parametrize("vendor", VENDORS)
def test_cut_stream_ends_as_if_whole(see, vendor):
    """The HTTP framing is complete; the events stop before the finish."""
    seen, whole = see("cut_stream", vendor, stream=True), see({}, vendor, stream=True)
    assert whole.body.startswith(seen.body)
    assert 1 <= len(seen.data) < len(whole.data)
    for event in seen.data:
        json.loads(event)


def test_cut_answer_has_its_own_length(see):
    """A single answer that is cut has a content-length that fits and JSON that does not end."""
    seen, whole = see("cut_stream"), see({})
    assert whole.body.startswith(seen.body)
    with pytest.raises(json.JSONDecodeError):
        json.loads(seen.body)


@pytest.mark.parametrize("vendor", VENDORS)
def test_error_event_ends_a_stream(see, vendor):
    """Some tokens come, then the vendor's error event, and no regular end."""
    seen = see("error_event", vendor, stream=True)
    assert seen.status == 200
    *before, last = seen.data
    assert before
    error = json.loads(last)
    assert "[DONE]" not in seen.data
    if vendor == "claude":
        assert seen.body.decode().split("\n\n")[-2].startswith("event: error\n")
        assert (error["type"], error["error"]["type"]) == ("error", "overloaded_error")
    elif vendor == "gemini":
        assert error["error"]["status"] == "UNAVAILABLE"
        assert seen.body.endswith(b"\r\n\r\n")
    else:
        assert set(error["error"]) == {"message", "type", "param", "code"}


def test_error_in_a_json_array(serve):
    """Gemini's stream without events ends with the error as the last item of its list."""
    client = serve(faults=[FaultRule.of("error_event")])
    *chunks, last = client.generate(verb="streamGenerateContent").json
    assert chunks
    assert last["error"]["code"] == 503


@pytest.mark.parametrize("vendor", VENDORS)
@pytest.mark.parametrize("stream", [False, True])
def test_malformed_json(see, vendor, stream):
    """The answer, or one event of it, is no JSON; the rest is."""
    seen = see("malformed_json", vendor, stream=stream)
    pieces = [piece for piece in seen.data if piece != "[DONE]"] if stream else [seen.body]
    wrong = 0
    for piece in pieces:
        try:
            json.loads(piece)
        except json.JSONDecodeError:
            wrong += 1
    assert (seen.status, wrong) == (200, 1)


@pytest.mark.parametrize("vendor", VENDORS)
@pytest.mark.parametrize("stream", [False, True])
def test_missing_usage(see, vendor, stream):
    """Nothing tells the tokens; text and end are there."""
    seen, whole = see("missing_usage", vendor, stream=stream), see({}, vendor, stream=stream)
    assert b"usage" in whole.body.lower()
    assert b"usage" not in seen.body.lower()
    assert seen.body.decode().count('"text"') == whole.body.decode().count('"text"')
    if stream and vendor == "openai":
        assert seen.data[-1] == "[DONE]"
        assert json.loads(seen.data[-2])["choices"][0]["finish_reason"] == "stop"


@pytest.mark.parametrize("vendor", VENDORS)
@pytest.mark.parametrize("stream", [False, True])
def test_empty_choices(see, vendor, stream):
    """The answer is well formed and holds no choice."""
    seen = see("empty_choices", vendor, stream=stream)
    values = [json.loads(piece) for piece in seen.data if piece != "[DONE]"] if stream else [seen.json]
    assert values
    for value in values:
        assert not any(value.get(name) for name in ("choices", "candidates", "content"))
    assert not any(str(value.get("type", "")).startswith("content_block") for value in values)


@pytest.mark.parametrize("vendor", VENDORS)
@pytest.mark.parametrize("stream", [False, True])
def test_broken_arguments(see, vendor, stream):
    """A tool is called with arguments that cannot be parsed, each vendor in its way."""
    seen, whole = (see(fault, vendor, stream=stream, tools=True) for fault in ("broken_arguments", {}))
    if vendor == "gemini":
        assert b"functionCall" in whole.body
        assert b"functionCall" not in seen.body
        assert b"MALFORMED_FUNCTION_CALL" in seen.body
        return
    if vendor == "claude" and not stream:
        assert (seen.json["content"][0]["input"], whole.json["content"][0]["input"].keys()) == ({}, {"city"})
        return
    name = "partial_json" if vendor == "claude" else "arguments"
    joined = [
        "".join(json.loads(f'"{part}"') for part in re.findall(rf'"{name}":"((?:[^"\\]|\\.)*)"', each.body.decode()))
        for each in (seen, whole)
    ]
    assert json.loads(joined[1]).keys() == {"city"}
    assert joined[0].startswith("{")
    with pytest.raises(json.JSONDecodeError):
        json.loads(joined[0])


@pytest.mark.parametrize("stream", [False, True])
def test_split_utf8(serve, protocol, stream):
    """Every character of several bytes is torn between packets, and the whole is valid."""
    client = serve(faults=[FaultRule.of("split_utf8")])
    pieces = []
    with client.connect() as connection:
        connection.sendall(request_bytes("openai", stream=stream))
        while part := connection.recv(65536):
            pieces.append(part)
    wide = re.compile(rb"[\xc0-\xff](?:\r\n)?$")
    assert sum(bool(wide.search(piece)) for piece in pieces) >= 6
    text = Seen(b"".join(pieces), "end").body.decode()
    for word in ("\u4f60", "\U0001f642"):
        assert word in text


@pytest.mark.parametrize("vendor", VENDORS)
def test_crlf(see, vendor):
    """Every line of the stream ends with CR and LF."""
    seen = see("crlf", vendor, stream=True)
    assert seen.body.count(b"\n") == seen.body.count(b"\r\n") > 4
    assert len(seen.data) == len(see({}, vendor, stream=True).data)


@pytest.mark.parametrize("vendor", VENDORS)
def test_keep_alive_comments(see, vendor):
    """Comments stand between the events, which are all there."""
    seen, whole = see("keep_alive", vendor, stream=True), see({}, vendor, stream=True)
    assert seen.body.startswith(b": keep-alive\n\n")
    assert seen.body.count(b": keep-alive\n\n") > 3
    assert seen.body.replace(b": keep-alive\n\n", b"") == whole.body


@pytest.mark.parametrize("kind", ["blank_lines", "keep_alive"])
def test_blank_lines_before_json(see, kind):
    """A single answer follows some blank lines."""
    seen = see(kind)
    assert seen.body.startswith(b"\n")
    assert seen.json == see({}).json


def test_blank_lines_in_a_stream(see):
    """A stream has more blank lines than it needs."""
    seen = see("blank_lines", stream=True)
    assert seen.body.startswith(b"\n\n")
    assert seen.data == see({}, stream=True).data


@pytest.mark.parametrize("stream", [False, True])
def test_gzip(see, stream):
    """The body is compressed, and says so."""
    seen = see("gzip", stream=stream)
    assert seen.headers["content-encoding"] == "gzip"
    assert gzip.decompress(seen.body) == see({}, stream=stream).body


@pytest.mark.parametrize("stream", [False, True])
def test_oversized(see, stream):
    """The answer is as large as was asked, and still valid."""
    seen = see({"kind": "oversized", "size": 3_000_000}, stream=stream)
    assert len(seen.body) > 3_000_000
    value = json.loads(seen.data[0]) if stream else seen.json
    assert len(value["padding"]) == 3_000_000
    assert value["choices"]


def test_every_kind_is_in_the_readme():
    """The README describes every kind."""
    readme = (Path(__file__).parents[1] / "README.md").read_text()
    assert [kind for kind in KINDS if f"`{kind}`" not in readme] == []


def test_kind_and_fields_combine():
    """A kind's fields are replaced by those given; an unknown kind is refused with the list of those that exist."""
    rule = FaultRule.of("rate_limit", status=503, times=2)
    assert rule == FaultRule(status=503, retry_after=1.0, times=2)
    assert FaultRule.from_json({"kind": "gzip"}) == FaultRule(alter="gzip")
    with pytest.raises(ValueError, match="rate_limit"):
        FaultRule.of("rate-limit")


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        ({"reset": True}, "reset needs disconnect"),
        ({"stall_seconds": 1}, "stall_seconds needs stall"),
        ({"stall": "later"}, "stall"),
        ({"alter": "worse"}, "alter"),
        ({"size": 0}, "size"),
        ({"refuse": -1}, "refuse"),
        ({"retry_after": "1"}, "retry_after"),
        ({"code": 5}, "code"),
    ],
)
def test_wrong_fields_are_named(value, problem):
    """A field that cannot work is refused by its name."""
    with pytest.raises(ValueError, match=problem):
        FaultRule.from_json(value)


RATES = {"rate_limit": 0.2, "server_error": 0.1, "payment_required": 0.1}


def test_fault_rates_do_not_depend_on_order(serve):
    """The same requests meet the same faults whatever the order, and a repeated request is drawn anew."""
    first, again = serve(fault_rates=RATES, seed=3), serve(fault_rates=RATES, seed=3)
    asked = [f"Question {number}" for number in range(150)]
    drawn = {text: first.chat(text).status for text in asked}
    assert {text: again.chat(text).status for text in reversed(asked)} == drawn
    counts = {status: list(drawn.values()).count(status) for status in (200, 429, 500, 402)}
    assert sum(counts.values()) == 150
    assert 15 <= counts[429] <= 45
    assert all(5 <= counts[status] <= 30 for status in (500, 402))
    repeated = [first.chat("The same").status for _ in range(60)]
    assert len(set(repeated)) == 4
    assert any(one != other for one, other in pairwise(repeated))
    first.server.reset()
    assert [first.chat("The same").status for _ in range(60)] == repeated


@pytest.mark.parametrize(
    ("rates", "problem"),
    [({"rate-limit": 0.1}, "no kind"), ({"gzip": 1.5}, "gzip"), ({"gzip": 0.6, "crlf": 0.6}, "together")],
)
def test_wrong_rates_are_named(serve, rates, problem):
    """Rates that cannot work are refused when the server is made."""
    with pytest.raises(ValueError, match=problem):
        serve(fault_rates=rates)
