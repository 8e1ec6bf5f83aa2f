"""Claude's messages over HTTP: documents, streams, limits, usage, determinism."""

from __future__ import annotations

import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

KEEP_SERVER = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
ANY_TEXT = st.text(st.characters(exclude_categories=())).filter(lambda text: text.strip() != "")


def text_of(answer):
    [block] = answer.json["content"]
    assert block["type"] == "text"
    return block["text"]


def streamed_text(answer):
    deltas = [event["delta"] for event in answer.claude_events if event["type"] == "content_block_delta"]
    return "".join(delta.get("text", "") for delta in deltas)


def test_document_has_the_fields_of_claude(client):
    """A single answer is a message with every field that Claude sends."""
    answer = client.messages()
    assert answer.status == 200
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["request-id"].startswith("req_")
    assert "x-request-id" not in answer.headers
    body = answer.json
    assert body == {
        "id": body["id"],
        "type": "message",
        "role": "assistant",
        "model": "mock",
        "content": [{"type": "text", "text": text_of(answer)}],
        "stop_reason": "end_turn",
        "stop_sequence": None,
        "usage": {
            "input_tokens": 7,
            "cache_creation_input_tokens": 0,
            "cache_read_input_tokens": 0,
            "cache_creation": {"ephemeral_5m_input_tokens": 0, "ephemeral_1h_input_tokens": 0},
            "output_tokens": len(text_of(answer).split()),
            "output_tokens_details": {"thinking_tokens": 0},
            "service_tier": "standard",
        },
    }
    assert body["id"].startswith("msg_")


def test_stream_has_the_order_of_claude(client):
    """A stream is the message's start, its block with a ping, the deltas, the usage and the end, and no [DONE]."""
    answer = client.messages(stream=True)
    assert answer.headers["content-type"] == "text/event-stream"
    events = answer.claude_events
    kinds = [event["type"] for event in events]
    assert kinds[:3] == ["message_start", "content_block_start", "ping"]
    assert set(kinds[3:-3]) == {"content_block_delta"}
    assert kinds[-3:] == ["content_block_stop", "message_delta", "message_stop"]
    start = events[0]["message"]
    assert (start["content"], start["stop_reason"], start["usage"]["output_tokens"]) == ([], None, 1)
    assert events[1] == {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}}
    assert events[-2]["delta"] == {"stop_reason": "end_turn", "stop_sequence": None}
    assert events[-1] == {"type": "message_stop"}


def test_stream_and_document_say_the_same(client):
    """Streaming changes neither id nor text nor usage."""
    single, streamed = client.messages(), client.messages(stream=True)
    events = streamed.claude_events
    assert streamed_text(streamed) == text_of(single)
    assert events[0]["message"]["id"] == single.json["id"]
    usage = {**events[0]["message"]["usage"], **events[-2]["usage"]}
    assert usage == single.json["usage"]
    assert streamed.headers["request-id"] == single.headers["request-id"]


def test_equal_requests_have_equal_bytes(client, serve):
    """Another server with the same seed gives the same bytes, one with another seed others."""
    same, other = serve(), serve(seed=1)
    for options in ({}, {"stream": True}, {"thinking": {"type": "adaptive"}}):
        assert client.messages(**options).body == same.messages(**options).body != other.messages(**options).body
        assert client.messages(**options).headers == same.messages(**options).headers


@pytest.mark.parametrize(
    "change", [{"system": "s"}, {"temperature": 0.5}, {"model": "other"}, {"metadata": {"user_id": "u"}}]
)
def test_parameters_change_the_answer(client, change):
    """System prompt, model and parameters are part of what an answer is drawn from."""
    assert text_of(client.messages(**change)) != text_of(client.messages())


def test_max_tokens_cuts_and_counts(client):
    """A limit cuts the same text short with stop reason max_tokens, and the usage counts what is left."""
    whole, cut, streamed = client.messages(), client.messages(max_tokens=3), client.messages(max_tokens=3, stream=True)
    assert text_of(whole).startswith(text_of(cut))
    assert cut.json["stop_reason"] == "max_tokens"
    assert cut.json["usage"]["output_tokens"] == len(text_of(cut).split()) == 3
    assert streamed_text(streamed) == text_of(cut)
    assert streamed.claude_events[-2]["delta"]["stop_reason"] == "max_tokens"


def test_no_tokens_at_all(client):
    """max_tokens 0, which only warms a cache, gives a message without content, streamed or not."""
    assert client.messages(max_tokens=0).json["content"] == []
    kinds = [event["type"] for event in client.messages(max_tokens=0, stream=True).claude_events]
    assert kinds == ["message_start", "message_delta", "message_stop"]


def test_stop_sequence_is_named_and_not_in_the_text(client):
    """The text ends before the first of the stop sequences, and the answer says which one it was."""
    whole = text_of(client.messages())
    words = whole.split()
    cut = client.messages(stop_sequences=["nowhere", words[6], words[5]])
    assert text_of(cut) == whole[: whole.index(words[5])]
    assert (cut.json["stop_reason"], cut.json["stop_sequence"]) == ("stop_sequence", words[5])
    streamed = client.messages(stop_sequences=[words[5]], stream=True)
    assert streamed_text(streamed) == text_of(cut)
    assert streamed.claude_events[-2]["delta"] == {"stop_reason": "stop_sequence", "stop_sequence": words[5]}
    assert client.messages(stop_sequences=[whole[0]]).json["content"] == []


@KEEP_SERVER
@given(text=ANY_TEXT)
def test_echo_returns_any_text(client, text):
    """The model `echo` says the last user text verbatim, lone surrogates included, streamed or not."""
    single = client.messages(text, model="echo", max_tokens=100_000)
    streamed = client.messages(text, model="echo", max_tokens=100_000, stream=True)
    expected = json.loads(json.dumps(text))
    assert text_of(single) == expected
    assert json.loads(json.dumps(streamed_text(streamed))) == expected


def test_echo_takes_the_text_blocks_of_the_last_user_turn(client):
    """Text blocks are joined, neighbouring user messages too, and other blocks are left out."""
    image = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "iVBORw0KGgo="}}
    messages = [
        {"role": "user", "content": "earlier"},
        {"role": "assistant", "content": "reply"},
        {"role": "user", "content": [image, {"type": "text", "text": "one "}]},
        {"role": "user", "content": "two"},
    ]
    assert text_of(client.messages(model="echo", messages=messages)) == "one two"


def cached(tokens, **control):
    return {"type": "text", "text": "x" * 4 * tokens, "cache_control": {"type": "ephemeral", **control}}


@pytest.mark.parametrize(
    ("system", "content", "read", "written"),
    [
        ("x" * 8000, "hi", 0, (0, 0)),
        ([cached(1000)], "hi", 0, (0, 0)),
        ([cached(2000)], "hi", 2000, (0, 0)),
        ([cached(2000)], [cached(500)], 2000, (504, 0)),
        ([cached(2000)], [cached(500, ttl="1h")], 2000, (0, 504)),
        ([cached(600), cached(600)], "hi", 0, (1200, 0)),
        ([cached(600), cached(1400), cached(100)], [cached(100)], 0, (2204, 0)),
    ],
)
def test_cache_breakpoints_divide_the_prompt(client, system, content, read, written):
    """What is before the first breakpoint is read, up to the last it is written, the rest is plain input."""
    answer = client.messages(content, system=system)
    usage = answer.json["usage"]
    assert usage["cache_read_input_tokens"] == read
    assert usage["cache_creation"] == dict(
        zip(("ephemeral_5m_input_tokens", "ephemeral_1h_input_tokens"), written, strict=True)
    )
    assert usage["cache_creation_input_tokens"] == sum(written)
    total = usage["input_tokens"] + usage["cache_read_input_tokens"] + usage["cache_creation_input_tokens"]
    counted = client.post(
        "/v1/messages/count_tokens",
        {"model": "mock", "messages": [{"role": "user", "content": content}], "system": system},
        **{"anthropic-version": "2023-06-01"},
    )
    assert counted.json == {"input_tokens": total}
    assert client.messages(content, system=system).json["usage"] == usage


def test_cache_control_of_the_whole_request(client):
    """A breakpoint at the top level lies behind the last message."""
    usage = client.messages("x" * 8000, cache_control={"type": "ephemeral"}).json["usage"]
    assert (usage["input_tokens"], usage["cache_read_input_tokens"]) == (0, 2004)


def test_counting_is_no_duplicate(client):
    """Counting a request before it is sent does not make it a repetition."""
    body = {"model": "mock", "messages": [{"role": "user", "content": "Hello there"}]}
    client.post("/v1/messages/count_tokens", body, **{"anthropic-version": "2023-06-01"})
    client.messages()
    assert client.server.stats().duplicates == 0
    client.messages(temperature=1)
    assert client.server.stats().duplicates == 1


def test_system_prompt_is_part_of_the_content(client):
    """The same messages under another system prompt are no duplicate."""
    client.messages(system="one")
    client.messages(system="two")
    assert client.server.stats().distinct == 2


@pytest.mark.parametrize("prefix", ["/v1", "", "/anthropic/v1"])
def test_any_prefix_serves(client, prefix):
    """The endpoint works under whatever prefix a client was given."""
    body = {"model": "mock", "max_tokens": 4096, "messages": [{"role": "user", "content": "Hello there"}]}
    answer = client.post(f"{prefix}/messages", body, **{"anthropic-version": "2023-06-01"})
    assert answer.json == client.messages().json


def test_strict_models(serve):
    """A model that is not listed is 404 in Claude's shape."""
    client = serve(strict_models=True, models=("a",))
    assert client.messages(model="a").status == 200
    refused = client.messages(model="b")
    assert (refused.status, refused.claude_error) == (404, {"type": "not_found_error", "message": "model: b"})
