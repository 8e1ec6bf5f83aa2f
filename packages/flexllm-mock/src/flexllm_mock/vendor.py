"""Tells which vendor's API a request is meant for, where the path alone does not say."""

from __future__ import annotations

import re
from typing import Literal

from flexllm_mock.asgi import ApiRequest, header
from flexllm_mock.auth import has_key

Vendor = Literal["openai", "claude", "gemini"]

_GOOGLE_PATH = re.compile(r".*/v1(alpha|beta|beta1)/(?!openai/)|.*/v1/projects/")


def vendor_of(request: ApiRequest) -> Vendor:
    """Guess from the headers first, then from the path: Claude's version, Google's key, or Google's API versions."""
    if header(request, b"anthropic-version") is not None:
        return "claude"
    if header(request, b"x-goog-api-key") is not None or (request.query and has_key(request.query)):
        return "gemini"
    return "gemini" if _GOOGLE_PATH.match(request.path) else "openai"
