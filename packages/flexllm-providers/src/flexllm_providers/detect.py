"""Which wire a base URL speaks."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

from flexllm_core.credentials import host_matches

_VERTEX_HOST = re.compile(r"(^|[-.])aiplatform\.")


def detect_provider(base_url: str | None) -> str:
    """`openai`, `gemini`, `vertex` or `claude`.

    A Gemini base that ends in `/openai` is OpenAI-compatible. As the URL of a proxy may name the
    vendor anywhere, the words `googleapis` and `anthropic` count wherever they stand; where a key may
    be sent is never decided here.
    """
    if not base_url:
        return "openai"
    url = base_url.lower()
    host = urlsplit(url).hostname or ""
    if "googleapis" in url:
        if url.rstrip("/").endswith("/openai"):
            return "openai"
        return "vertex" if host_matches(host, "googleapis.com") and _VERTEX_HOST.search(host) else "gemini"
    if "anthropic" in url:
        return "claude"
    return "openai"
