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
from flexllm_core.results import ChatCompletionResult
from flexllm_providers.gemini.model_list import decode_models
from flexllm_providers.http import HttpResponse

# Any JSON: the documented answer with any part missing, of the wrong type, or deeper than anybody writes.
JUNK = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.sampled_from(["", "Hi", "STOP", "\ud83d", "7s", "429"]),
    lambda inner: (
        st.lists(inner, max_size=2)
        | st.dictionaries(st.sampled_from(["parts", "code", "text", "name", "error"]), inner, max_size=3)
    ),
    max_leaves=4,
)


def maybe(strategy: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """What is documented, or anything."""
    return strategy | JUNK


def some(**fields: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    """A dict with any of these keys."""
    return st.fixed_dictionaries({}, optional=fields)


CALLS = some(name=maybe(st.just("f")), args=maybe(st.just({"x": 1})), id=maybe(st.just("k")), willContinue=JUNK)
BLOBS = some(mimeType=maybe(st.just("image/png")), data=maybe(st.just("AAAA")))
PARTS = some(
    text=maybe(st.text(max_size=4)),
    thought=maybe(st.just(True)),
    thoughtSignature=JUNK,
    functionCall=maybe(CALLS),
    inlineData=maybe(BLOBS),
    x=JUNK,
)
REASONS = st.sampled_from(["STOP", "MAX_TOKENS", "SAFETY", "MALFORMED_FUNCTION_CALL", "CONTINUATION", "OTHER", "NEW"])
CANDIDATES = some(
    content=maybe(some(parts=maybe(st.lists(maybe(PARTS), max_size=3)), role=JUNK)),
    finishReason=maybe(REASONS),
    finishMessage=JUNK,
    index=maybe(st.integers(0, 2)),
    continuationToken=JUNK,
)
DETAILS = some(
    **{
        "@type": maybe(st.sampled_from([f"x/google.rpc.{kind}" for kind in ("RetryInfo", "QuotaFailure", "ErrorInfo")]))
    },
    retryDelay=maybe(st.just("7s")),
    reason=maybe(st.just("API_KEY_INVALID")),
    violations=maybe(st.lists(maybe(some(quotaId=maybe(st.just("PerDay")), quotaValue=JUNK)), max_size=2)),
)
ERRORS = some(
    code=maybe(st.integers(300, 650)),
    status=maybe(st.sampled_from(["UNAVAILABLE", "RESOURCE_EXHAUSTED", "FAILED_PRECONDITION"])),
    message=maybe(st.just("API key not valid")),
    details=maybe(st.lists(maybe(DETAILS), max_size=3)),
)
BODIES = some(
    candidates=maybe(st.lists(maybe(CANDIDATES), max_size=3)),
    promptFeedback=maybe(some(blockReason=maybe(st.just("SAFETY")), blockReasonMessage=JUNK)),
    usageMetadata=maybe(some(promptTokenCount=maybe(st.integers()), thoughtsTokenCount=JUNK, totalTokenCount=JUNK)),
    modelVersion=JUNK,
    responseId=JUNK,
    error=st.none() | maybe(ERRORS),
)
REQUEST = ChatRequest([], "m", keep_raw=True)


def check(wire: Any, result: ChatCompletionResult) -> None:
    """A result says something, and its message can be kept and be sent again."""
    assert result.content or result.tool_calls or result.finish_reason in ("length", "content_filter")
    assert result.content is None or isinstance(result.content, str)
    assert all(json.loads(call.arguments).__class__ is dict for call in result.tool_calls)
    assert result.assistant_message is not None
    assert normalize_messages([result.assistant_message])
    encode_json(result.assistant_message)
    answers = [{"role": "tool", "tool_call_id": call.id, "content": "r"} for call in result.tool_calls]
    wire.body([{"role": "user", "content": "q"}, result.assistant_message, *answers], "gemini-3.7-flash")


@given(maybe(BODIES) | st.lists(maybe(BODIES), max_size=3))
def test_any_json_is_a_typed_error_or_a_result_that_can_go_back(gemini_wire: Any, data: Any) -> None:
    """Whatever the server sends: no other exception, and no empty success."""
    try:
        result = gemini_wire.read(encode_json(data), REQUEST)
    except LLMRequestError as error:
        assert str(error).startswith("e: ")  # noqa: PT017
        error.to_dict()
        return
    check(gemini_wire, result)


@given(st.lists(maybe(BODIES).map(json.dumps), max_size=4))
def test_any_stream_is_a_typed_error_or_a_result_that_can_go_back(gemini_wire: Any, chunks: list[str]) -> None:
    """However many chunks, of whatever."""
    try:
        last = gemini_wire.events(*chunks, request=REQUEST)[-1]
    except LLMRequestError as error:
        assert str(error).startswith("e: ")  # noqa: PT017
        return
    assert last.result is not None
    check(gemini_wire, last.result)


@given(st.lists(maybe(PARTS), max_size=4))
def test_what_is_shown_is_what_the_result_holds(gemini_wire: Any, parts: list[Any]) -> None:
    """Text as content, thoughts as reasoning, for any parts in chunks of their own."""
    chunks = [gemini_wire.candidate(part, reason=None, index=0) for part in parts]
    try:
        events, result = gemini_wire.answer(
            *[encode_json(chunk).decode() for chunk in chunks], gemini_wire.candidate("end", index=0)
        )
    except LLMRequestError:
        return
    shown = {kind: "".join(each.text for each in events if each.type == kind) for kind in ("content", "reasoning")}
    assert shown == {"content": result.content or "", "reasoning": result.reasoning_content or ""}


@given(st.integers(300, 599), maybe(BODIES) | st.binary(max_size=30), st.text(max_size=10))
def test_any_error_body_is_a_typed_error(gemini_wire: Any, status: int, data: Any, header: str) -> None:
    """Any status, any JSON or bytes, any header."""
    body = data if isinstance(data, bytes) else encode_json(data)
    error = gemini_wire.fail(status, body, retry_after=header)
    assert isinstance(error, LLMHTTPError)
    assert (error.status_code, error.endpoint) == (status, "e")
    error.to_dict()


@given(maybe(some(models=maybe(st.lists(maybe(some(name=JUNK, thinking=JUNK)))), nextPageToken=JUNK, error=JUNK)))
def test_any_list_of_models(gemini_wire: Any, data: Any) -> None:
    """A page or a typed error."""
    try:
        page = decode_models(HttpResponse(200, {}, encode_json(data)), gemini_wire.target(), 0.0)
    except LLMRequestError:
        return
    assert all(isinstance(model.id, str) for model in page.models)


@pytest.mark.parametrize("depth", [150, 199, 250, 990, 5000])
@pytest.mark.parametrize(
    "where",
    [
        '{{"error":{}}}',
        '{{"candidates":[{{"content":{{"parts":[{{"functionCall":{{"name":"f","args":{{"x":{}}}}}}}]}}}}]}}',
        '{{"candidates":[{{"content":{{"parts":[{{"text":"a","x":{}}}]}}}}]}}',
        "{}",
    ],
)
def test_deep_nesting_is_no_way_out(gemini_wire: Any, depth: int, where: str) -> None:
    """No RecursionError, wherever the depth is."""
    body = where.format("[" * depth + "]" * depth).encode()
    try:
        result = gemini_wire.read(body)
    except LLMRequestError as error:
        assert len(str(error)) < 1000  # noqa: PT017
    else:
        encode_json(result.assistant_message)
