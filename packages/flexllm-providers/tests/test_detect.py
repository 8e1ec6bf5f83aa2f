"""Which wire a base URL speaks."""

from __future__ import annotations

import pytest

from flexllm_providers.detect import detect_provider


@pytest.mark.parametrize(
    ("base_url", "provider"),
    [
        (None, "openai"),
        ("", "openai"),
        ("https://api.openai.com/v1", "openai"),
        ("http://localhost:8000/v1", "openai"),
        ("https://generativelanguage.googleapis.com/v1beta", "gemini"),
        ("https://generativelanguage.googleapis.com/v1beta/openai", "openai"),
        ("https://generativelanguage.googleapis.com/v1beta/openai/", "openai"),
        ("https://GenerativeLanguage.GoogleApis.com/v1beta", "gemini"),
        ("https://my-proxy.com/googleapis/v1beta", "gemini"),
        ("https://us-central1-aiplatform.googleapis.com/v1", "vertex"),
        ("https://aiplatform.googleapis.com/v1", "vertex"),
        ("https://aiplatform.googleapis.com.evil.com/v1", "gemini"),
        ("https://notaiplatform.googleapis.com/v1", "gemini"),
        ("https://api.anthropic.com", "claude"),
        ("https://my-proxy.com/anthropic", "claude"),
    ],
)
def test_the_provider_of_a_base_url(base_url: str | None, provider: str) -> None:
    """As the user's documents say: the words count wherever they stand; Vertex by its exact host."""
    assert detect_provider(base_url) == provider
