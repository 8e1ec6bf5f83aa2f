"""Any JSON and any bytes from a server: a typed error or a right result, never anything else."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flexllm_core.errors import LLMHTTPError, LLMRequestError
from flexllm_core.json_codec import encode_json
from flexllm_core.messages import normalize_messages
from flexllm_core.requests import ChatRequest

# Any JSON: the documented answer with any part missing, of the wrong type, or deeper than anybody writes.
JUNK = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.sampled_from(["", "Hi", "stop", "\ud83d", "429"]),
    lambda inner: (
        st.lists(inner, max_size=2)
        | st.dictionaries(st.sampled_from(["message", "code", "type", "text"]), inner, max_size=3)
    ),
    max_leaves=4,
)


def maybe(strategy: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """What is documented, or anything."""
    return strategy | JUNK


FUNCTIONS = st.fixed_dictionaries(
    {}, optional={"name": maybe(st.just("f")), "arguments": maybe(st.just("{}")), "x": JUNK}
)
CALLS = st.fixed_dictionaries(
    {},
    optional={
        "id": maybe(st.just("c")),
        "type": JUNK,
        "function": maybe(FUNCTIONS),
        "custom": maybe(FUNCTIONS),
        "x": JUNK,
    },
)
MESSAGES = st.fixed_dictionaries(
    {},
    optional={
        "role": maybe(st.just("assistant")),
        "content": maybe(st.text(max_size=5)),
        "tool_calls": maybe(st.lists(maybe(CALLS), max_size=3)),
        "function_call": maybe(FUNCTIONS),
        "refusal": JUNK,
        "reasoning": JUNK,
        "reasoning_content": JUNK,
        "name": JUNK,
        "tool_call_id": JUNK,
        "x": JUNK,
    },
)
CHOICES = st.fixed_dictionaries(
    {}, optional={"message": maybe(MESSAGES), "finish_reason": maybe(st.just("stop")), "error": JUNK, "index": JUNK}
)
BODIES = st.fixed_dictionaries(
    {},
    optional={
        "choices": maybe(st.lists(maybe(CHOICES), max_size=3)),
        "id": JUNK,
        "model": JUNK,
        "usage": JUNK,
        "error": JUNK,
        "object": st.sampled_from(["error", 5, None]),
    },
)


@given(maybe(BODIES), st.booleans())
def test_any_json_is_a_typed_error_or_a_result_that_can_go_back(wire: Any, data: Any, tags: bool) -> None:
    """Whatever the server sends: no other exception, no empty success, and the message can be sent again."""
    try:
        result = wire.read(encode_json(data), ChatRequest([], "m", keep_raw=True), dialect={"think_tags": tags})
    except LLMRequestError as error:
        assert str(error).startswith("e: ")  # noqa: PT017
        return
    assert result.content or result.tool_calls or result.finish_reason in ("length", "content_filter")
    assert result.content is None or isinstance(result.content, str)
    assert result.assistant_message is not None
    assert normalize_messages([result.assistant_message])
    encode_json(result.assistant_message)


@given(st.integers(300, 599), maybe(BODIES) | st.binary(max_size=30), st.text(max_size=10))
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
    [
        '{{"error":{}}}',
        '{{"choices":[{{"message":{{"tool_calls":[{{"function":{{"name":"f","arguments":{}}}}}]}}}}]}}',
        "{}",
    ],
)
def test_deep_nesting_is_no_way_out(wire: Any, depth: int, where: str) -> None:
    """No RecursionError, wherever the depth is."""
    body = where.format("[" * depth + "]" * depth).encode()
    try:
        wire.read(body)
    except LLMRequestError as error:
        assert len(str(error)) < 1000  # noqa: PT017


PARTS = st.fixed_dictionaries({}, optional={"name": JUNK, "arguments": JUNK, "input": JUNK})
FRAGMENTS = st.fixed_dictionaries(
    {}, optional={"index": JUNK, "id": JUNK, "function": PARTS | JUNK, "custom": PARTS | JUNK, "x": JUNK}
)
DELTAS = st.fixed_dictionaries(
    {},
    optional={
        "role": JUNK,
        "content": JUNK,
        "refusal": JUNK,
        "reasoning": JUNK,
        "reasoning_content": JUNK,
        "reasoning_details": JUNK,
        "tool_calls": st.lists(FRAGMENTS | JUNK, max_size=2) | JUNK,
        "function_call": PARTS | JUNK,
    },
)
CHUNKS = st.fixed_dictionaries(
    {},
    optional={
        "choices": st.lists(
            st.fixed_dictionaries(
                {}, optional={"index": st.just(0) | JUNK, "delta": DELTAS | JUNK, "finish_reason": JUNK, "error": JUNK}
            )
            | JUNK,
            max_size=2,
        )
        | JUNK,
        "id": JUNK,
        "usage": JUNK,
        "error": st.just(None) | JUNK,
    },
)


@given(st.lists((CHUNKS | JUNK).map(json.dumps), max_size=4), st.booleans())
def test_any_stream_is_a_typed_error_or_a_result_that_can_go_back(wire: Any, chunks: list[Any], tags: bool) -> None:
    """No other exception; what was shown is what the result holds."""
    try:
        *events, last = wire.events(*chunks, "[DONE]", dialect={"think_tags": tags})
    except LLMRequestError as error:
        assert str(error).startswith("e: ")  # noqa: PT017
        return
    result = last.result
    assert result is not None
    assert result.content or result.tool_calls or result.finish_reason in ("length", "content_filter")
    assert result.assistant_message is not None
    assert normalize_messages([result.assistant_message])
    shown = "".join(event.text for event in events if event.type == "content")
    if "refusal" not in result.assistant_message:
        assert shown == (result.content or "")
