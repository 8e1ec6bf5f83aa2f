"""Claude's errors over HTTP, and Claude on Vertex AI."""

from __future__ import annotations

import json

import pytest

from flexllm_mock import FaultMatch, FaultRule

HELLO = [{"role": "user", "content": "Hello there"}]
VERSION = {"anthropic-version": "2023-06-01"}
VERTEX = "/v1/projects/p/locations/europe-west1/publishers/anthropic/models/claude-x@20260101"
VERTEX_BODY = {"anthropic_version": "vertex-2023-10-16", "max_tokens": 99, "messages": HELLO}


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, "invalid_request_error"),
        (401, "authentication_error"),
        (402, "billing_error"),
        (403, "permission_error"),
        (404, "not_found_error"),
        (413, "request_too_large"),
        (418, "invalid_request_error"),
        (429, "rate_limit_error"),
        (500, "api_error"),
        (503, "api_error"),
        (504, "timeout_error"),
        (529, "overloaded_error"),
    ],
)
def test_error_statuses_have_their_types(serve, status, kind):
    """A fault and a random error with a status are answered with the type that goes with it."""
    fault = serve(faults=[FaultRule(status=status, headers={"retry-after": "3"})]).messages()
    drawn = serve(error_rate=1, error_status=status).messages()
    assert fault.headers["retry-after"] == "3"
    for answer in (fault, drawn):
        assert (answer.status, answer.claude_error["type"]) == (status, kind)
        assert answer.claude_error["message"]
        assert answer.headers["request-id"].startswith("req_")


def test_overload_says_so(serve):
    """529 has the vendor's message."""
    assert serve(error_rate=1, error_status=529).messages().claude_error["message"] == "Overloaded"


def test_either_key_header_is_accepted(serve):
    """With a key, x-api-key and a bearer are accepted, others get 401 in Claude's shape."""
    client = serve(api_key="sk-right")
    body = {"model": "m", "max_tokens": 9, "messages": HELLO}
    for headers in ({"x-api-key": "sk-right"}, {"authorization": "Bearer sk-right"}):
        assert client.post("/v1/messages", body, **VERSION, **headers).status == 200
    for headers in ({}, {"x-api-key": "sk-wrong"}, {"authorization": "Bearer sk-wrong"}):
        refused = client.post("/v1/messages", body, **VERSION, **headers)
        assert refused.status == 401
        assert refused.claude_error == {"type": "authentication_error", "message": "invalid x-api-key"}
    assert client.post("/v1/messages?key=sk-right", body, **VERSION).status == 401


def test_body_over_the_limit_is_refused(serve):
    """A body above the limit gets 413 in Claude's shape."""
    refused = serve(max_body_bytes=100).messages("x" * 200)
    assert (refused.status, refused.claude_error["type"]) == (413, "request_too_large")


def test_wrong_method_and_unknown_path(client):
    """Both are errors in Claude's shape when the client is Claude's."""
    wrong = client.get("/v1/messages", **VERSION)
    assert (wrong.status, wrong.headers["allow"]) == (405, "POST")
    assert wrong.claude_error["message"]
    unknown = client.post("/v1/complete", {}, **VERSION)
    assert (unknown.status, unknown.claude_error["type"]) == (404, "not_found_error")


def test_faults_match_and_prescribe(serve):
    """Rules find Claude's requests by model, path and text, and their answers replace the text."""
    client = serve(
        faults=[
            FaultRule(status=529, times=1, match=FaultMatch(path="/messages", model="mock", contains="Hello")),
            FaultRule(answer="exactly this", times=2),
            FaultRule(raw_body="event: error\ndata: {}\n\n", times=1),
        ]
    )
    assert client.messages().status == 529
    assert client.messages(max_tokens=1).json["content"] == [{"type": "text", "text": "exactly this"}]
    deltas = [event.get("delta", {}) for event in client.messages(stream=True).claude_events]
    assert "".join(delta.get("text", "") for delta in deltas) == "exactly this"
    raw = client.messages(stream=True)
    assert (raw.headers["content-type"], raw.body) == ("text/event-stream", b"event: error\ndata: {}\n\n")


def test_prescribed_request_id(serve):
    """A rule's request-id replaces the mock's own."""
    answer = serve(faults=[FaultRule(status=500, headers={"Request-Id": "mine"})]).messages()
    assert answer.headers["request-id"] == "mine"


def test_stream_is_paced(serve, protocol):
    """A stream with a token rate, with thinking that is not shown, has the bytes of one without."""
    options = {"thinking": {"type": "adaptive", "display": "omitted"}, "stream": True}
    assert serve(token_rate=2000).messages(**options).body == serve().messages(**options).body


def test_disconnect_mid_stream(serve, protocol):
    """A stream that breaks off has no message_stop."""
    client = serve(faults=[FaultRule(disconnect="mid_body")])
    body = json.dumps({"model": "m", "max_tokens": 99, "messages": HELLO, "stream": True}).encode()
    head = f"POST /v1/messages HTTP/1.1\r\nhost: m\r\nanthropic-version: 2023-06-01\r\ncontent-length: {len(body)}\r\n"
    received = client.raw(head.encode() + b"\r\n" + body)
    assert b"message_start" in received
    assert b"message_stop" not in received


def test_vertex_takes_model_and_streaming_from_the_path(client):
    """rawPredict answers with a document and streamRawPredict with events; the body has the version and no model."""
    single = client.post(f"{VERTEX}:rawPredict", VERTEX_BODY)
    assert (single.status, single.json["model"], single.json["type"]) == (200, "claude-x@20260101", "message")
    streamed = client.post(f"{VERTEX}:streamRawPredict", {**VERTEX_BODY, "stream": True})
    assert streamed.claude_events[-1] == {"type": "message_stop"}
    assert streamed.claude_events[0]["message"]["model"] == "claude-x@20260101"
    assert client.server.requests[-1].model == "claude-x@20260101"
    for change in ({"model": "claude-x"}, {"anthropic_version": None}, {"anthropic_version": 5}):
        assert client.post(f"{VERTEX}:rawPredict", {**VERTEX_BODY, **change}).claude_error["message"]


def test_vertex_counts_tokens(client):
    """The count has a path of its own, and the model in the body."""
    path = "/v1/projects/p/locations/global/publishers/anthropic/models/count-tokens:rawPredict"
    body = {"anthropic_version": "2026-10-21", "model": "claude-x", "messages": HELLO}
    assert client.post(path, body).json == {"input_tokens": 7}


def test_vertex_refuses_keys_in_googles_shape(serve):
    """A wrong bearer is Google's 401, a quota Google's 429, and an overload Claude's 529."""
    client = serve(api_key="sk-right", faults=[FaultRule(status=429, times=1), FaultRule(status=529, times=1)])
    refused = client.post(f"{VERTEX}:rawPredict", VERTEX_BODY, authorization="Bearer sk-wrong")
    assert (refused.status, refused.gemini_error["status"]) == (401, "UNAUTHENTICATED")
    right = {"authorization": "Bearer sk-right"}
    assert client.post(f"{VERTEX}:rawPredict", VERTEX_BODY, **right).gemini_error["status"] == "RESOURCE_EXHAUSTED"
    assert client.post(f"{VERTEX}:rawPredict", VERTEX_BODY, **right).claude_error["type"] == "overloaded_error"
    assert client.post(f"{VERTEX}:rawPredict", VERTEX_BODY, **right).status == 200
