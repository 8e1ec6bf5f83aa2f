"""The list of models: its pages, and what it says that a model can do."""

from __future__ import annotations

from typing import Any

import pytest

from flexllm_core.errors import AuthenticationError, LLMRequestError, LLMResponseError
from flexllm_core.json_codec import encode_json
from flexllm_providers.claude.model_list import ClaudeModelInfo, ClaudeModelPage, decode_models, encode_models
from flexllm_providers.http import HttpResponse


def read(wire: Any, data: Any, status: int = 200) -> ClaudeModelPage:
    """The page in this JSON."""
    return decode_models(
        HttpResponse(status, {}, data if isinstance(data, bytes) else encode_json(data)), wire.target(), 0.0
    )


def test_the_request_for_a_page(wire: Any) -> None:
    """The first one and a later one."""
    request = encode_models(wire.target())
    assert (request.method, request.url, request.body) == ("GET", "http://h/v1/models?limit=1000", b"")
    assert request.headers["x-api-key"] == wire.KEY
    assert encode_models(wire.target(), "a&b", 5).url == "http://h/v1/models?limit=5&after_id=a%26b"


def test_the_documented_page(wire: Any) -> None:
    """Names, limits and capabilities; what is missing is None."""
    page = read(wire, wire.data("models.json"))
    first, second = page.models
    assert (first.id, first.display_name, first.lifecycle) == ("claude-sonnet-5-5", "Claude Sonnet 5.5", "active")
    assert (first.max_input_tokens, first.max_tokens, first.created_at) == (1_000_000, 128_000, "2026-10-01T00:00:00Z")
    assert second.capabilities == {}
    assert page.after_id == "claude-haiku-4-5-20251001"
    assert read(wire, {"data": [{"id": "x"}]}) == ClaudeModelPage((ClaudeModelInfo("x"),))


def test_what_the_server_says_overrides_the_row(wire: Any) -> None:
    """As the `dialect` of a configuration."""
    first, second = read(wire, wire.data("models.json")).models
    assert first.overrides() == {
        "adaptive": True,
        "budget": False,
        "disabled": False,
        "between_tools": True,
        "efforts": frozenset({"low", "medium", "high", "xhigh"}),
        "structured": True,
        "max_tokens": 128_000,
    }
    assert second.overrides() == {"max_tokens": 64_000}
    body = wire.body("hi", "house-model", thinking=False, target=wire.target(dialect=first.overrides()))
    assert body["thinking"] == {"type": "between_tools"}
    none = ClaudeModelInfo("x", capabilities={"effort": {"supported": False, "low": {"supported": True}}})
    assert none.overrides() == {"efforts": frozenset()}


@pytest.mark.parametrize(
    "end",
    [
        {"has_more": True, "last_id": None},
        {"has_more": False, "last_id": "x"},
        {"has_more": "yes", "last_id": "x"},
        {"data": [], "has_more": True, "last_id": "x"},
    ],
)
def test_a_last_page_has_no_next(wire: Any, end: dict[str, Any]) -> None:
    """And one that promises more without saying where is the last one too."""
    assert read(wire, {"data": [{"id": "x"}], **end}).after_id is None


@pytest.mark.parametrize(
    ("data", "status", "cls"),
    [
        ({"type": "error", "error": {"type": "authentication_error", "message": "x"}}, 401, AuthenticationError),
        ({"type": "error", "error": {"type": "authentication_error", "message": "x"}}, 200, AuthenticationError),
        ({"models": []}, 200, LLMResponseError),
        ([], 200, LLMResponseError),
        (b"<html>", 200, LLMResponseError),
    ],
)
def test_no_list_is_an_error(wire: Any, data: Any, status: int, cls: type[LLMRequestError]) -> None:
    """Of the kind that it is."""
    with pytest.raises(LLMRequestError) as caught:
        read(wire, data, status)
    assert type(caught.value) is cls
