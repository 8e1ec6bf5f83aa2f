"""Token counts of OpenAI-compatible servers, normalised: the vendors count caches and reasoning differently."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from typing import Any

from flexllm_core.results import Usage

_COUNTS = ("prompt_tokens", "completion_tokens", "total_tokens")


def _count(source: Mapping[str, Any], key: str) -> int:
    value = source.get(key)
    return value if type(value) is int and value > 0 else 0


def _details(source: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    value = source.get(key)
    return value if isinstance(value, dict) else {}


def decode_usage(usage: object) -> Usage | None:
    """The normal form of a `usage` object, None when there is none or it holds no counts.

    DeepSeek says `prompt_cache_hit_tokens`. xAI counts reasoning outside `completion_tokens` while
    the total includes it: that is recognised by the sum.
    """
    if not isinstance(usage, dict):
        return None
    prompt, completion, total = map(usage.get, _COUNTS)
    if not (type(prompt) is type(completion) is type(total) is int and prompt >= 0 and completion >= 0 and total >= 0):
        prompt, completion, total = (_count(usage, name) for name in _COUNTS)
    if not (prompt or completion or total) and not any(type(usage.get(key)) is int for key in _COUNTS):
        return None  # unknown is not 0
    if len(usage) == len(_COUNTS) and total:
        return Usage(prompt, completion, total)  # nothing else is said: what most local servers send
    prompt_details = _details(usage, "prompt_tokens_details")
    completion_details = _details(usage, "completion_tokens_details")
    reasoning = _count(completion_details, "reasoning_tokens")
    if reasoning and total == prompt + completion + reasoning:
        completion += reasoning
    return Usage(
        prompt_tokens=prompt,
        completion_tokens=completion,
        total_tokens=total or prompt + completion,
        cached_tokens=_count(prompt_details, "cached_tokens") or _count(usage, "prompt_cache_hit_tokens"),
        cache_write_tokens=_count(prompt_details, "cache_write_tokens"),
        reasoning_tokens=reasoning,
        audio_tokens=_count(prompt_details, "audio_tokens"),
        output_audio_tokens=_count(completion_details, "audio_tokens"),
    )


def reported_cost(usage: object) -> Decimal | None:
    """US dollars that the provider says the call cost (OpenRouter's `usage.cost`), or None."""
    cost = usage.get("cost") if isinstance(usage, dict) else None
    if isinstance(cost, bool) or not isinstance(cost, int | float | str):
        return None
    try:
        value = Decimal(str(cost))
    except InvalidOperation:
        return None
    return value if value.is_finite() and value >= 0 else None
