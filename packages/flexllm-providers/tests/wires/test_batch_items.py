"""Items of the providers' own batches: requests as items, outcomes as results or typed errors.

The examples are as the vendors document them; `tests/conformance` checks them with the vendors' own types.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flexllm_core.endpoint import endpoint_from
from flexllm_core.errors import (
    AuthenticationError,
    BadRequestError,
    ConfigError,
    ContentFilterError,
    InputError,
    LLMHTTPError,
    LLMRequestError,
    LLMResponseError,
    QuotaExceededError,
    RateLimitError,
    ServerError,
)
from flexllm_core.requests import ChatRequest
from flexllm_core.results import Usage
from flexllm_providers import wire_warnings
from flexllm_providers.batch_codecs import BatchCodec, decode_line, encode_line, find_batch_codec
from flexllm_providers.gemini.batch_items import encode_inlined
from flexllm_providers.target import Target
from flexllm_providers.wires import find_wire

KEY = "s3cret-key-000000"
PROVIDERS = ("openai", "claude", "gemini")
EXAMPLES: dict[str, dict[str, Any]] = json.loads((Path(__file__).parent / "batches.json").read_bytes())
OPENAI, CLAUDE, GEMINI = (EXAMPLES[provider] for provider in PROVIDERS)
ANSWERS = GEMINI["operation"]["metadata"]["output"]["inlinedResponses"]["inlinedResponses"]


def ask(text: str, model: str | None = None, **params: Any) -> ChatRequest:
    """A request of one question."""
    return ChatRequest([{"role": "user", "content": text}], model, params)


def target(provider: str, **more: Any) -> Target:
    """An endpoint called `e` of a provider's own host."""
    hosts = {"openai": "https://api.openai.com/v1", "claude": None, "gemini": None}
    given = {"name": "e", "provider": provider, "base_url": hosts[provider], "api_key": KEY, "model": "m", **more}
    return find_wire(provider).target(endpoint_from(given))


def decode(provider: str, item: Any, request: ChatRequest | None = None) -> Any:
    """The answer in an outcome."""
    return find_batch_codec(provider).decode_item(item, request or ask("?"), target(provider), 0.0)


def refuse(provider: str, item: Any, request: ChatRequest | None = None) -> LLMRequestError:
    """The error in an outcome."""
    with pytest.raises(LLMRequestError) as caught:
        decode(provider, item, request)
    error = caught.value
    assert (error.endpoint, error.model) == ("e", "m")
    assert str(error).startswith("e: ")
    return error


def test_requests_become_the_documented_items() -> None:
    """A line of OpenAI's file, one of Claude's requests, a line and an inlined request of Gemini's."""
    openai = ask("Name a river.", "gpt-4.1-mini", max_tokens=20)
    assert find_batch_codec("openai").encode_item(openai, "row-17", target("openai")) == OPENAI["item"]
    claude = ask("Name a lake.", "claude-haiku-5-5", max_tokens=77)
    assert find_batch_codec("claude").encode_item(claude, "row-4", target("claude")) == CLAUDE["create"]["requests"][0]
    gemini = ask("Name a hill.", "gemini-3.8-flash", max_tokens=33)
    assert find_batch_codec("gemini").encode_item(gemini, "row-3", target("gemini")) == GEMINI["line"]
    inlined = encode_inlined(ask("Name a mountain.", "gemini-3.8-flash"), "row-2", target("gemini"))
    assert inlined == GEMINI["create"]["batch"]["inputConfig"]["requests"]["requests"][0]


@pytest.mark.parametrize("provider", PROVIDERS)
def test_an_item_is_what_a_call_sends(provider: str) -> None:
    """The same body as a single call's, tools and thinking included, and never a stream's."""
    tool = {"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": {}}}}
    models = {"openai": "gpt-5.4", "claude": "claude-opus-5-5", "gemini": "gemini-3.8-flash"}
    request = ask("Go", models[provider], thinking="low", tools=[tool], temperature=1.0, stop="END")
    item = find_batch_codec(provider).encode_item(request, "a", target(provider))
    sent = json.loads(find_wire(provider).encode(request, target(provider), stream=False).body)
    keys = {"openai": "body", "claude": "params", "gemini": "request"}
    assert json.loads(encode_line(item))[keys[provider]] == sent
    assert "stream" not in sent


def test_an_item_is_one_line() -> None:
    """Whatever the text holds; and the same text comes back."""
    codec = find_batch_codec("openai")
    line = encode_line(codec.encode_item(ask("a\nb\u2028c \U0001f600"), "r\n1", target("openai")))
    assert (line.count(b"\n"), line[-1:]) == (1, b"\n")
    item = decode_line(line, target("openai"))
    assert (codec.custom_id_of(item), item["body"]["messages"][0]["content"]) == ("r\n1", "a\nb\u2028c \U0001f600")


@pytest.mark.parametrize("line", [b"", b"\n", b'{"custom_id": "a", "resp', b"[]", b"null", b"\xff"])
def test_a_line_that_cannot_be_read_is_a_typed_error(line: bytes) -> None:
    """As after a download that broke off: to fetch it again may help."""
    with pytest.raises(LLMResponseError, match="e: a line of the batch's outcomes is no JSON object") as caught:
        decode_line(line, target("openai"))
    assert (caught.value.kind, caught.value.retryable) == ("transient", True)


@pytest.mark.parametrize(
    ("provider", "custom_id"),
    [("openai", ""), ("gemini", ""), ("claude", ""), ("claude", "a b"), ("claude", "x" * 65), ("claude", "é")],
)
def test_custom_ids_that_a_provider_does_not_take_are_refused(provider: str, custom_id: str) -> None:
    """Before a whole batch is refused for one of them."""
    with pytest.raises(InputError, match="custom_id"):
        find_batch_codec(provider).encode_item(ask("?"), custom_id, target(provider))


def test_headers_of_a_request_are_left_out_with_a_warning(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The requests of a batch have none of their own."""
    monkeypatch.setattr(wire_warnings, "_said", set())
    request = ChatRequest([{"role": "user", "content": "?"}], "m", extra_headers={"x-tenant": "very-secret-1"})
    item = find_batch_codec("openai").encode_item(request, "a", target("openai"))
    assert "very-secret-1" not in str(item)
    (record,) = caplog.records
    assert "e does not take extra_headers" in record.getMessage()


def test_vertex_has_no_codec() -> None:
    """Its batches go by way of buckets; the error says what there is."""
    with pytest.raises(ConfigError, match="'vertex' has no batches here; available: openai, claude, gemini"):
        find_batch_codec("vertex")


@pytest.mark.parametrize(
    ("provider", "item", "custom_id", "text", "usage"),
    [
        ("openai", OPENAI["succeeded"], "row-17", "The Elbe", Usage(11, 4, 15)),
        ("claude", CLAUDE["succeeded"], "row-4", "Ladoga", Usage(18, 3, 21, cached_tokens=6)),
        ("gemini", ANSWERS[0], "row-2", "Elbrus", Usage(5, 2, 7)),
        ("gemini", {"key": "k", "response": ANSWERS[0]["response"]}, "k", "Elbrus", Usage(5, 2, 7)),
    ],
)
def test_a_documented_answer(provider: str, item: Any, custom_id: str, text: str, usage: Usage) -> None:
    """The result of a call, found again by its custom id."""
    codec = find_batch_codec(provider)
    assert codec.custom_id_of(item) == custom_id
    result = decode(provider, item)
    assert (result.content, result.usage, result.finish_reason) == (text, usage, "stop")
    assert (result.provider, result.endpoint) == (provider, "e")
    assert result.assistant_message["content"] == text


NO_TIME = (LLMRequestError, "transient", True)


@pytest.mark.parametrize(
    ("provider", "item", "cls", "kind", "retryable", "code"),
    [
        ("openai", OPENAI["refused"], BadRequestError, "refused", False, "invalid_request_error"),
        ("openai", OPENAI["expired"], *NO_TIME, "batch_expired"),
        ("openai", {"error": {"code": "batch_cancelled", "message": "x"}}, *NO_TIME, "batch_cancelled"),
        ("openai", {"response": {"status_code": 429, "body": {}}}, RateLimitError, "overload", True, None),
        ("openai", {"response": {"status_code": 401, "body": None}}, AuthenticationError, "refused", False, None),
        (
            "openai",  # as vLLM writes it
            {"response": {"status_code": 400, "body": None}, "error": {"error": {"message": "long", "code": 400}}},
            BadRequestError,
            "refused",
            False,
            "400",
        ),
        (
            "openai",
            {"error": {"code": "insufficient_quota"}},
            QuotaExceededError,
            "refused",
            False,
            "insufficient_quota",
        ),
        ("openai", {"error": "oops"}, LLMResponseError, "transient", True, None),
        ("openai", {"response": {"status_code": 200, "body": {}}}, LLMResponseError, "suspicious", True, None),
        ("openai", {"response": {"status_code": "200"}}, LLMResponseError, "suspicious", True, None),
        ("openai", {"custom_id": "a"}, LLMResponseError, "suspicious", True, None),
        ("claude", CLAUDE["errored"], BadRequestError, "refused", False, "invalid_request_error"),
        ("claude", CLAUDE["expired"], *NO_TIME, "batch_expired"),
        ("claude", CLAUDE["canceled"], *NO_TIME, "batch_canceled"),
        (
            "claude",
            {"result": {"type": "errored", "error": {"type": "overloaded_error", "message": "busy"}}},
            ServerError,
            "overload",
            True,
            "overloaded_error",
        ),
        ("claude", {"result": {"type": "errored", "error": "no"}}, LLMResponseError, "transient", True, None),
        ("claude", {"result": {"type": "postponed"}}, LLMResponseError, "suspicious", True, None),
        ("claude", {"result": {"type": "succeeded"}}, LLMResponseError, "suspicious", True, None),
        ("claude", {}, LLMResponseError, "suspicious", True, None),
        ("gemini", ANSWERS[1], BadRequestError, "refused", False, "INVALID_ARGUMENT"),
        ("gemini", {"error": {"code": 8, "message": "x"}}, RateLimitError, "overload", True, "RESOURCE_EXHAUSTED"),
        ("gemini", {"error": {"code": 503, "message": "x"}}, ServerError, "overload", True, "503"),
        ("gemini", {"error": {"code": 1, "message": "x"}}, LLMHTTPError, "transient", True, "CANCELLED"),
        ("gemini", {"error": {"code": 4, "message": "late"}}, ServerError, "transient", True, "DEADLINE_EXCEEDED"),
        ("gemini", {"error": {"code": 99, "message": "x"}}, LLMResponseError, "transient", True, "99"),
        (
            "gemini",
            {"response": {"promptFeedback": {"blockReason": "SAFETY"}}},
            ContentFilterError,
            "refused",
            False,
            "SAFETY",
        ),
        ("gemini", {"key": "a"}, LLMResponseError, "suspicious", True, None),
    ],
)
def test_each_outcome_without_an_answer(
    provider: str, item: Any, cls: type, kind: str, retryable: bool, code: str | None
) -> None:
    """Refused, overloaded, expired, canceled or unreadable: typed as for a call, and known whether to ask again."""
    error = refuse(provider, item)
    assert type(error) is cls
    assert (error.kind, error.retryable, error.code) == (kind, retryable, code)


def test_ids_for_the_vendors_support_are_kept() -> None:
    """As of a call; Claude writes them into the error."""
    assert refuse("openai", OPENAI["refused"]).request_id == "req_a2"
    assert refuse("claude", CLAUDE["errored"]).request_id == "req_b5"


@pytest.mark.parametrize("provider", PROVIDERS)
def test_no_secret_is_in_an_error(provider: str) -> None:
    """Should a server repeat the key, in whatever place."""
    places = {
        "openai": {"response": {"status_code": 500, "body": {"error": {"message": KEY, "code": KEY}}}},
        "claude": {"result": {"type": KEY}},
        "gemini": {"error": {"code": 13, "message": f"key {KEY}", "status": KEY}},
    }
    error = refuse(provider, places[provider])
    assert KEY not in f"{error} {error!r} {error.body} {error.code} {error.to_dict()}"


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["type", "error", "code", "message", "body", "status_code", "content", "choices", "key"]),
            inner,
            max_size=4,
        )
    ),
    max_leaves=8,
)


@given(
    provider=st.sampled_from(PROVIDERS),
    item=st.dictionaries(
        st.sampled_from(["custom_id", "key", "metadata", "response", "error", "result"]),
        JSON
        | st.fixed_dictionaries({"type": st.sampled_from(["succeeded", "errored"]), "error": JSON, "message": JSON})
        | st.fixed_dictionaries({"status_code": st.integers(99, 601) | st.just(200), "body": JSON}),
    ),
)
def test_any_outcome_is_a_result_or_a_typed_error(provider: str, item: Any) -> None:
    """Whatever a provider writes: no other exception, and no id that is no text."""
    codec: BatchCodec = find_batch_codec(provider)
    custom_id = codec.custom_id_of(item)
    assert custom_id is None or (isinstance(custom_id, str) and custom_id)
    try:
        result = decode(provider, item)
    except LLMRequestError as error:
        assert str(error).startswith("e: ")  # noqa: PT017
        return
    assert result.content is None or isinstance(result.content, str)
