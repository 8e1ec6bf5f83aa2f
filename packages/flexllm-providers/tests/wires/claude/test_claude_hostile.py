"""Any JSON and any bytes from a server: a typed error or a right result, never anything else."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flexllm_core.errors import FlexLLMError, LLMHTTPError, LLMRequestError
from flexllm_core.json_codec import encode_json
from flexllm_core.messages import normalize_messages
from flexllm_core.requests import ChatRequest
from flexllm_providers.claude.model_list import decode_models
from flexllm_providers.http import HttpResponse

# Any JSON: the documented answer with any part missing, of the wrong type, or deeper than anybody writes.
JUNK = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.sampled_from(["", "Hi", "text", "\ud83d", "{}"]),
    lambda inner: (
        st.lists(inner, max_size=2)
        | st.dictionaries(st.sampled_from(["type", "text", "id", "name", "input"]), inner, max_size=3)
    ),
    max_leaves=4,
)
KINDS = st.sampled_from(["text", "thinking", "redacted_thinking", "tool_use", "server_tool_use", "new"])
BLOCKS = st.fixed_dictionaries(
    {},
    optional={
        "type": KINDS | JUNK,
        "text": st.just("Hi") | JUNK,
        "thinking": st.just("so") | JUNK,
        "signature": JUNK,
        "data": st.just("d") | JUNK,
        "id": st.just("toolu_1") | JUNK,
        "name": st.just("f") | JUNK,
        "input": st.just({}) | JUNK,
        "citations": JUNK,
    },
)
REASONS = st.sampled_from(["end_turn", "max_tokens", "tool_use", "refusal", "pause_turn"]) | JUNK
BODIES = st.fixed_dictionaries(
    {},
    optional={
        "content": st.lists(BLOCKS | JUNK, max_size=3) | JUNK,
        "stop_reason": REASONS,
        "stop_details": st.fixed_dictionaries({"explanation": JUNK}) | JUNK,
        "usage": st.fixed_dictionaries(
            {}, optional={"input_tokens": JUNK, "cache_creation": JUNK, "output_tokens_details": JUNK}
        )
        | JUNK,
        "id": JUNK,
        "model": JUNK,
        "type": st.sampled_from(["message", "error", 5]),
        "error": st.fixed_dictionaries({}, optional={"type": JUNK, "details": JUNK, "message": JUNK}) | JUNK,
        "request_id": JUNK,
    },
)
ASK = {"role": "user", "content": "?"}


def check(wire: Any, result: Any) -> None:
    """What every result keeps to: it says something, and can be sent again, to Claude and to others."""
    is_pause = isinstance(result.raw, dict) and result.raw.get("stop_reason") == "pause_turn"
    assert result.content or result.tool_calls or result.finish_reason in ("length", "content_filter") or is_pause
    assert result.content is None or isinstance(result.content, str)
    message = result.assistant_message
    assert normalize_messages([message])
    turns = wire.body([ASK, message, ASK], "house-model")["messages"]
    if "claude_message" in message:
        assert turns[1]["content"] in (
            json.loads(encode_json(message["claude_message"]["content"])),
            result.content,  # one plain text is sent as a text
        )


@given(BODIES | JUNK)
def test_any_json_is_a_typed_error_or_a_result_that_can_go_back(wire: Any, data: Any) -> None:
    """Whatever the server sends: no other exception, no empty success, and the message can be sent again."""
    try:
        result = wire.read(encode_json(data), ChatRequest([], "m", keep_raw=True))
    except LLMRequestError as error:
        assert str(error).startswith("e: ")  # noqa: PT017
        return
    check(wire, result)


@given(st.integers(300, 599), BODIES | JUNK | st.binary(max_size=30), st.text(max_size=10))
def test_any_error_body_is_a_typed_error(wire: Any, status: int, data: Any, header: str) -> None:
    """Any status, any JSON or bytes, any header."""
    body = data if isinstance(data, bytes) else encode_json(data)
    error = wire.fail(status, body, retry_after=header)
    assert isinstance(error, LLMHTTPError)
    assert (error.status_code, error.endpoint) == (status, "e")
    error.to_dict()


@pytest.mark.parametrize("depth", [150, 199, 250, 990, 5000])
@pytest.mark.parametrize(
    "where",
    ['{{"error":{}}}', '{{"content":[{{"type":"tool_use","id":"a","name":"f","input":{{"a":{}}}}}]}}', "{}"],
)
def test_deep_nesting_is_no_way_out(wire: Any, depth: int, where: str) -> None:
    """No RecursionError, wherever the depth is."""
    try:
        wire.read(where.format("[" * depth + "]" * depth).encode())
    except LLMRequestError as error:
        assert len(str(error)) < 1000  # noqa: PT017


DELTAS = st.fixed_dictionaries(
    {},
    optional={
        "type": st.sampled_from(
            ["text_delta", "thinking_delta", "signature_delta", "input_json_delta", "citations_delta"]
        )
        | JUNK,
        "text": st.just("Hi") | JUNK,
        "thinking": JUNK,
        "signature": JUNK,
        "partial_json": st.just('{"a":') | JUNK,
        "citation": JUNK,
        "stop_reason": REASONS,
        "stop_details": JUNK,
    },
)
EVENTS = st.fixed_dictionaries(
    {
        "type": st.sampled_from(
            ["content_block_start", "content_block_delta", "content_block_stop", "message_delta", "ping"]
        )
        | JUNK
    },
    optional={
        "index": st.just(0) | JUNK,
        "content_block": BLOCKS | JUNK,
        "delta": DELTAS | JUNK,
        "usage": JUNK,
        "message": JUNK,
        "error": st.just(None) | JUNK,
    },
)
START = {"type": "message_start", "message": {"content": []}}
END = {"type": "message_delta", "delta": {"stop_reason": "end_turn"}}


@given(st.lists((EVENTS | JUNK).map(json.dumps), max_size=6), st.booleans())
def test_any_stream_is_a_typed_error_or_a_result_that_can_go_back(wire: Any, chunks: list[str], started: bool) -> None:
    """No other exception, whatever the order."""
    bodies = [b"data: " + chunk.encode() + b"\n\n" for chunk in chunks]
    try:
        *_, last = wire.events(*([START] if started else []), *bodies, END, {"type": "message_stop"})
    except LLMRequestError as error:
        assert str(error).startswith("e: ")  # noqa: PT017
        return
    check(wire, last.result)


@given(st.integers(200, 599), JUNK | st.fixed_dictionaries({"data": st.lists(JUNK), "has_more": JUNK, "last_id": JUNK}))
def test_any_list_of_models_is_a_typed_error_or_a_page(wire: Any, status: int, data: Any) -> None:
    """A page that says that there is more says where."""
    try:
        page = decode_models(HttpResponse(status, {}, encode_json(data)), wire.target(), 0.0)
    except LLMRequestError:
        return
    assert page.after_id is None or (page.after_id and page.models)
    for model in page.models:
        wire.target(dialect=model.overrides())


@given(st.lists(BLOCKS | JUNK, max_size=3) | JUNK, JUNK)
def test_any_replayed_blocks_are_sent_or_refused(wire: Any, blocks: Any, model: Any) -> None:
    """An assistant message may come out of a file that somebody wrote."""
    message = {"role": "assistant", "content": "Hi", "claude_message": {"model": model, "content": blocks}}
    try:
        turns = wire.body([ASK, message, ASK])["messages"]
    except FlexLLMError:
        return
    assert len(turns) == 3
