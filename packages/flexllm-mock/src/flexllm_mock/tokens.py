"""How the mock counts tokens: by a fixed rule of its own, not by any vendor's tokenizer."""

from __future__ import annotations

import re
from typing import Any

# One token is a run of up to 8 characters with the space before it; ideographs and emoji are one token each.
_TOKEN = re.compile(r"\s*[\u2e80-\U0010ffff]|\s*[^\s\u2e80-\U0010ffff]{1,8}|\s+")

MESSAGE_OVERHEAD = 4
"""Tokens that a message costs besides its content."""

_MEDIA_TOKENS = 85
_CACHE_STEP = 128
_CACHE_LEAST = 1024


def split_tokens(text: str) -> list[str]:
    """Split text into tokens; their concatenation is the text."""
    return _TOKEN.findall(text)


def _text_tokens(text: str) -> int:
    return (len(text) + 3) >> 2


def content_tokens(content: object) -> int:
    """Estimate the tokens of a message's content: a string, a list of parts, or nothing."""
    if isinstance(content, str):
        return _text_tokens(content)
    if not isinstance(content, list):
        return 0
    return sum(
        _text_tokens(part["text"]) if isinstance(part, dict) and isinstance(part.get("text"), str) else _MEDIA_TOKENS
        for part in content
    )


def prompt_tokens(messages: list[dict[str, Any]]) -> int:
    """Estimate the tokens of a prompt: four characters each, four per message, 85 per image or other medium."""
    total = 0
    for message in messages:
        content = message.get("content")
        total += MESSAGE_OVERHEAD + ((len(content) + 3) >> 2 if content.__class__ is str else content_tokens(content))
    return total


def cached_tokens(messages: list[dict[str, Any]]) -> int:
    """Return the part of the prompt that counts as cached: instructions of 1,024 tokens or more, in steps of 128.

    It depends on the request alone, so that the same request always reports the same usage.
    """
    total = 0
    for message in messages:
        if message["role"] not in ("system", "developer"):
            break
        total += MESSAGE_OVERHEAD + content_tokens(message.get("content"))
    return cached_part(total)


def cached_part(instructions: int) -> int:
    """Return how many tokens of the instructions at the beginning of a prompt count as cached."""
    return instructions // _CACHE_STEP * _CACHE_STEP if instructions >= _CACHE_LEAST else 0
