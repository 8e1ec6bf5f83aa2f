"""Counts the prompt of a Claude request, and what of it the cache breakpoints put into the cache."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from flexllm_mock.asgi import ApiError
from flexllm_mock.claude.content import Block, Turn
from flexllm_mock.claude.errors import wrong
from flexllm_mock.tokens import MESSAGE_OVERHEAD, content_tokens

_MAX_BREAKPOINTS = 4
_LEAST_CACHED = 1024
_LIFETIMES = ("5m", "1h")


@dataclass(frozen=True, slots=True)
class PromptUsage:
    """Tokens of a prompt: those that no cache holds, those read from it, and those written, by their lifetime."""

    uncached: int
    cache_read: int = 0
    written_5m: int = 0
    written_1h: int = 0

    @property
    def total(self) -> int:
        """All tokens of the prompt."""
        return self.uncached + self.cache_read + self.written_5m + self.written_1h

    def with_cache(self, known: int) -> PromptUsage:
        """Return the usage where the cache knows so many tokens of the prompt: what it does not know is written."""
        kept = self.cache_read + self.written_5m + self.written_1h
        read = min(known, kept)
        if self.written_1h:
            return PromptUsage(self.uncached, cache_read=read, written_1h=kept - read)
        return PromptUsage(self.uncached, cache_read=read, written_5m=kept - read)


def prompt_usage(payload: dict[str, Any], system: list[Block], turns: list[Turn]) -> PromptUsage:
    """Count a prompt.

    The mock keeps no cache: the same request always reports the same. What lies before the first `cache_control` counts
    as read, what lies between it and the last one as written, each from 1,024 tokens of prompt on.

    Raises ApiError 400 for a breakpoint that is not valid, or a fifth one.
    """
    total, marks = 0, list[tuple[int, str]]()
    for place, tokens, control in _parts(payload, system, turns):
        total += tokens
        if control is not None:
            marks.append((total, _lifetime(control, place)))
    if payload.get("cache_control") is not None:
        marks.append((total, _lifetime(payload["cache_control"], "cache_control")))
    if len(marks) > _MAX_BREAKPOINTS:
        raise ApiError(
            400, f"A maximum of {_MAX_BREAKPOINTS} blocks with cache_control may be provided. Found {len(marks)}."
        )
    if not marks or marks[-1][0] < _LEAST_CACHED:
        return PromptUsage(total)
    read = marks[0][0] if marks[0][0] >= _LEAST_CACHED else 0
    end, lifetime = marks[-1]
    written = end - read
    return PromptUsage(
        uncached=total - end,
        cache_read=read,
        written_5m=written if lifetime == "5m" else 0,
        written_1h=written if lifetime == "1h" else 0,
    )


def _parts(payload: dict[str, Any], system: list[Block], turns: list[Turn]) -> Iterable[tuple[str, int, object]]:
    """Yield place, tokens and cache control of everything in the prompt, in the order in which the cache sees it."""
    for at, tool in enumerate(payload.get("tools") or ()):
        yield f"tools.{at}", content_tokens(json.dumps(tool)), tool.get("cache_control")
    for at, block in enumerate(system):
        yield f"system.{at}", content_tokens(block["text"]), block.get("cache_control")
    for turn in turns:
        yield turn.place, MESSAGE_OVERHEAD, None
        for block in turn.blocks:
            yield turn.place, _block_tokens(block), block.get("cache_control")


def _block_tokens(block: Block) -> int:
    match block["type"]:
        case "text":
            return content_tokens(block["text"])
        case "tool_use":
            return content_tokens(block["name"] + json.dumps(block["input"]))
        case "tool_result":
            return content_tokens(block.get("content"))
        case "thinking":
            return content_tokens(block["thinking"])
    return content_tokens([block])


def _lifetime(control: object, place: str) -> str:
    if not isinstance(control, dict) or control.get("type") != "ephemeral":
        raise wrong(f"{place}.cache_control.type", "'ephemeral'", control)
    lifetime = control.get("ttl") or "5m"
    if not isinstance(lifetime, str) or lifetime not in _LIFETIMES:
        raise wrong(f"{place}.cache_control.ttl", "'5m' or '1h'", lifetime)
    return lifetime
