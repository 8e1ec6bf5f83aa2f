"""Claude's token counts, normalised: its `input_tokens` are those that no cache had any part in."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from flexllm_core.results import Usage


def decode_usage(usage: object) -> Usage | None:
    """The normal form of a `usage` object, None when there is none or it holds no counts."""
    if not isinstance(usage, dict) or all(type(usage.get(key)) is not int for key in ("input_tokens", "output_tokens")):
        return None  # unknown is not 0
    created = usage.get("cache_creation")
    written = _count(usage, "cache_creation_input_tokens") or _sum(created)
    read = _count(usage, "cache_read_input_tokens")
    prompt, completion = _count(usage, "input_tokens") + written + read, _count(usage, "output_tokens")
    details = usage.get("output_tokens_details")
    return Usage(
        prompt_tokens=prompt,
        completion_tokens=completion,
        total_tokens=prompt + completion,
        cached_tokens=read,
        cache_write_tokens=written,
        reasoning_tokens=_count(details, "thinking_tokens") if isinstance(details, dict) else 0,
        cache_write_1h_tokens=_count(created, "ephemeral_1h_input_tokens") if isinstance(created, dict) else 0,
    )


def merge_usage(usage: dict[str, Any], later: object) -> None:
    """Put the counts of a stream's later event over those of an earlier one: they are cumulative."""
    if isinstance(later, dict):
        usage.update((key, value) for key, value in later.items() if value is not None)


def _count(source: Mapping[str, Any], key: str) -> int:
    value = source.get(key)
    return value if type(value) is int and value > 0 else 0


def _sum(counts: object) -> int:
    return sum(_count(counts, key) for key in counts) if isinstance(counts, dict) else 0
