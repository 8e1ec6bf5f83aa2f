"""How many input tokens a request may have at most, without the model's tokenizer.

A token stands for at least one byte of text: the vocabularies in use are made of byte sequences, or
fall back to single bytes. So a text has at most as many tokens as bytes, usually a quarter of them.
What the server puts around the texts, by its chat template, is not in the request; room is left for it.

Of pictures, sound and files no such thing is true: for those there are amounts per part (below), which
are above what the vendors document, but which nobody warrants.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from flexllm_core.errors import InputError
from flexllm_core.json_codec import encode_json
from flexllm_core.messages import Messages
from flexllm_core.requests import ChatRequest

TEMPLATE_TOKENS = 512
"""For the template of a conversation: its marks, and the system prompt that some models get unasked."""

MESSAGE_TOKENS = 32
"""For the marks around each message."""

TOOLS_TOKENS = 2048
"""For the prompt that explains tools to the model, beside the bytes of their definitions."""

IMAGE_TOKENS = 50_000
"""For a picture: the dearest model documented, gpt-4o-mini, counts 48,169 for its largest one."""

FILE_TOKENS = 200_000
"""For a file, a video or sound whose length the request does not tell; one that is in it counts its bytes, if more."""

_CONTENT_PARAMS = ("tools", "functions", "response_format", "extra_body", "tool_choice")
_PLAIN_KEYS = frozenset({"role", "content"})
_TEXT_PARTS = frozenset({"text", "input_text", "refusal", "thinking", "tool_use", "tool_result"})
_IMAGE_PARTS = frozenset({"image_url", "image", "input_image"})


@dataclass(slots=True)
class InputBound:
    """What the input of a request is at most.

    Attributes:
        tokens: Their number.
        any_kind: They may be of other kinds than text, such as sound, or be written to a cache for an hour.
    """

    tokens: int = 0
    any_kind: bool = False


def input_bound(request: ChatRequest) -> InputBound:
    """The bound of a request."""
    return InputBound(*messages_bound(request.messages, params_bound(request.params)))


def params_bound(params: Mapping[str, Any]) -> InputBound:
    """What the params of a request put into its input, and the template around it."""
    bound = InputBound(TEMPLATE_TOKENS)
    for name in _CONTENT_PARAMS:
        if value := params.get(name):
            bound.tokens += TOOLS_TOKENS if name in ("tools", "functions") else 0
            _add_json(bound, value)
    return bound


def messages_bound(messages: Messages, params: InputBound) -> tuple[int, bool]:
    """The bound's tokens and `any_kind`, of messages beside what the params of their request put into the input."""
    bound, tokens = params, params.tokens
    for message in messages:
        content = message.get("content")
        if type(content) is str and len(message) == len(_PLAIN_KEYS):
            tokens += MESSAGE_TOKENS + (len(content) if content.isascii() else _bytes(content))
            continue
        if bound is params:
            bound = InputBound(0, params.any_kind)
        bound.tokens += MESSAGE_TOKENS
        _add_message(bound, message)
    return (tokens, params.any_kind) if bound is params else (tokens + bound.tokens, bound.any_kind)


def _add_message(bound: InputBound, message: Mapping[str, Any]) -> None:
    content = message.get("content")
    if isinstance(content, list):
        for part in content:
            _add_part(bound, part)
        rest = {key: value for key, value in message.items() if key != "content"}
        _add_json(bound, rest)
    else:
        _add_json(bound, message)


def _add_part(bound: InputBound, part: object) -> None:
    """One part of a content."""
    kind = part.get("type") if isinstance(part, Mapping) else None
    if not isinstance(part, Mapping) or kind in _TEXT_PARTS:
        nested = part.get("content") if isinstance(part, Mapping) else None
        if isinstance(part, Mapping) and isinstance(nested, list):
            for each in nested:
                _add_part(bound, each)
            part = {key: value for key, value in part.items() if key != "content"}
        _add_json(bound, part)
    elif kind in _IMAGE_PARTS:
        bound.tokens += IMAGE_TOKENS
        bound.any_kind = True
    else:
        bound.tokens += max(FILE_TOKENS, _json_bytes(part))
        bound.any_kind = True


def _add_json(bound: InputBound, value: object) -> None:
    if value is None:
        return
    try:
        data = encode_json(value)
    except InputError:
        return  # it cannot be sent either
    bound.tokens += len(data)
    bound.any_kind |= b"cache_control" in data


def _json_bytes(value: object) -> int:
    try:
        return len(encode_json(value))
    except InputError:
        return 0


def _bytes(text: str) -> int:
    return len(text.encode("utf-8", "surrogatepass"))
