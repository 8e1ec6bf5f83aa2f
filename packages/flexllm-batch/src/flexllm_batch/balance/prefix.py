"""What the beginning of a prompt is known by, where it is long enough for a server to keep it. Pure."""

from __future__ import annotations

from hashlib import blake2b
from typing import Any

from flexllm_core.errors import InputError
from flexllm_core.json_codec import encode_json
from flexllm_core.requests import ChatRequest

LONG = 2048
"""Characters from which a common beginning is worth being sent to the same member: some 500 tokens."""


def prefix_key(request: ChatRequest) -> bytes | None:
    """16 bytes by which prompts with the same long beginning are known; None if it is short.

    The beginning is everything but the last message (tools, system prompt, documents, earlier turns) or,
    where that is short, so much of the last message as is long enough.
    """
    *head, last = request.messages
    length = sum(_length(message.get("content")) for message in head)
    start = ""
    if length < LONG:
        start = _text(last.get("content"))[: LONG - length]
        if length + len(start) < LONG:
            return None
    try:
        known_by = encode_json([request.model, request.params.get("tools"), head, start])
    except InputError:  # it cannot be sent either, which is said elsewhere
        return None
    return blake2b(known_by, digest_size=16).digest()


def _length(content: Any) -> int:
    return len(content) if isinstance(content, str) else sum(len(_text(part)) for part in content or ())


def _text(content: Any) -> str:
    """The text that a message or a part of one begins with."""
    if isinstance(content, str):
        return content
    if isinstance(content, list):
        return _text(content[0]) if content else ""
    return content.get("text") or "" if isinstance(content, dict) else ""
