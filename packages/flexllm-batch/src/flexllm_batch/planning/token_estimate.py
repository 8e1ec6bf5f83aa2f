"""How many tokens a prompt will have, before anybody has counted them.

The rule of thumb: a token for every 4 ASCII characters and for every 1.5 others, 4 for each message,
1,000 for each image or other medium. For ordinary prose it is within a quarter of the truth. Where the
library tiktoken is installed and knows the model, texts are counted by it, but only if TIKTOKEN_CACHE_DIR
names the folder of its vocabularies: it loads those that it does not have from the network.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from flexllm_core.json_codec import encode_json

RULE_OF_THUMB = "rule of thumb"
TIKTOKEN = "tiktoken"
VOCABULARIES = "TIKTOKEN_CACHE_DIR"
"""The variable by which tiktoken finds the vocabularies that it has; without it nothing is counted by tiktoken."""

MARGINS = {RULE_OF_THUMB: 0.25, TIKTOKEN: 0.05}
"""By which share an estimate may be wrong either way."""

_ASCII_CHARS = 4
_OTHER_CHARS = 1.5
_MESSAGE_TOKENS = 4
_MEDIUM_TOKENS = 1000
_LONGEST_COUNTED = 100_000  # characters; tiktoken takes very long for some long texts
_IN_PROMPT = ("tools", "response_format")


def estimate_text_tokens(text: str) -> float:
    """Tokens of a text by the rule of thumb.

    >>> estimate_text_tokens("twelve chars")
    3.0
    """
    if text.isascii():
        return len(text) / _ASCII_CHARS
    ascii_chars = len(text.encode("ascii", "ignore"))
    return ascii_chars / _ASCII_CHARS + (len(text) - ascii_chars) / _OTHER_CHARS


def estimate_prompt_tokens(
    messages: Sequence[Mapping[str, Any]],
    params: Mapping[str, Any] | None = None,
    count: Callable[[str], float] = estimate_text_tokens,
) -> float:
    """Tokens of a request's input: its messages, and the tools and schema in its params.

    Args:
        messages: As `normalize_messages` gives them.
        params: The request's params.
        count: Counts the tokens of a text.
    """
    total = 0.0
    for message in messages:
        total += _MESSAGE_TOKENS
        content = message.get("content")
        if isinstance(content, str):
            total += count(content)
        elif isinstance(content, list):
            total += sum(_part_tokens(part, count) for part in content)
        if calls := message.get("tool_calls"):
            total += count(encode_json(calls).decode())
    for name in _IN_PROMPT:
        if params and (value := params.get(name)):
            total += count(encode_json(value).decode())
    return total


def _part_tokens(part: Any, count: Callable[[str], float]) -> float:
    text = part.get("text") if isinstance(part, Mapping) else None
    return count(text) if isinstance(text, str) else _MEDIUM_TOKENS


def token_counter(model: str | None) -> tuple[Callable[[str], float], str]:
    """What counts the tokens of a text for this model, and its name: TIKTOKEN or RULE_OF_THUMB."""
    if model is not None and os.environ.get(VOCABULARIES):
        with contextlib.suppress(ImportError, KeyError, ValueError, OSError):  # not there, or not for this model
            import tiktoken  # an optional library

            encode = tiktoken.encoding_for_model(model).encode_ordinary

            def count(text: str) -> float:
                return len(encode(text)) if len(text) <= _LONGEST_COUNTED else estimate_text_tokens(text)

            return count, TIKTOKEN
    return estimate_text_tokens, RULE_OF_THUMB
