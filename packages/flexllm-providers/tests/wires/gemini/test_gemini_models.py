"""The list of models, page by page."""

from __future__ import annotations

import json
from typing import Any

import pytest

from flexllm_core.errors import LLMRequestError, LLMResponseError, RateLimitError
from flexllm_providers.gemini.model_list import GeminiModel, ModelPage, decode_models, encode_models
from flexllm_providers.http import HttpResponse


def page(wire: Any, data: Any) -> ModelPage:
    """The page in a 200 with this JSON."""
    body = data if isinstance(data, bytes) else json.dumps(data).encode()
    return decode_models(HttpResponse(200, {}, body), wire.target(), 0.0)


def test_the_requests(gemini_wire: Any) -> None:
    """The key in its header; a token goes into the query, quoted."""
    first = encode_models(gemini_wire.target())
    assert (first.method, first.body) == ("GET", b"")
    assert first.url == "https://generativelanguage.googleapis.com/v1beta/models?pageSize=1000"
    assert first.headers["x-goog-api-key"] == gemini_wire.KEY
    assert encode_models(gemini_wire.target(), "a&b=c").url.endswith("/models?pageSize=1000&pageToken=a%26b%3Dc")


def test_vertex_lists_its_publishers_models(gemini_wire: Any) -> None:
    """With the bearer token, in pages of its own size."""
    target = gemini_wire.target(provider="vertex", dialect={"project_id": "p"})
    request = encode_models(target)
    assert request.url == "https://aiplatform.googleapis.com/v1beta1/publishers/google/models?pageSize=100"
    assert request.headers["authorization"] == f"Bearer {gemini_wire.KEY}"
    found = page(gemini_wire, {"publisherModels": [{"name": "publishers/google/models/gemini-3.7-flash"}]})
    assert [model.id for model in found.models] == ["gemini-3.7-flash"]


def test_the_documented_list(gemini_wire: Any, examples: Any) -> None:
    """Names without their prefix, and the token of the next page."""
    assert page(gemini_wire, examples["models"]) == ModelPage(
        (
            GeminiModel(
                "gemini-3.7-flash", "Gemini 3.7 Flash", 524288, 32768, ("generateContent", "countTokens"), True
            ),
            GeminiModel("text-embedding-9", "Embedding 9", methods=("embedContent",)),
        ),
        "page-2",
    )


@pytest.mark.parametrize("data", [{}, {"models": [], "nextPageToken": ""}, {"models": [5, {}, {"name": None}]}])
def test_the_last_page(gemini_wire: Any, data: Any) -> None:
    """May be empty."""
    assert page(gemini_wire, data) == ModelPage()


@pytest.mark.parametrize("data", [b"<html>", [], 5, {"models": {"a": 1}}])
def test_what_is_no_list(gemini_wire: Any, data: Any) -> None:
    """An LLMResponseError."""
    with pytest.raises(LLMResponseError):
        page(gemini_wire, data)


def test_an_error_instead_of_a_list(gemini_wire: Any, examples: Any) -> None:
    """Typed as everywhere."""
    with pytest.raises(LLMRequestError) as caught:
        page(gemini_wire, examples["error"])
    assert isinstance(caught.value, RateLimitError)
