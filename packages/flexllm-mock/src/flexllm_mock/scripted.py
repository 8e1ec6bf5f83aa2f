"""Answers that are prescribed instead of drawn: what the model says, thinks, calls, and what it is said to cost."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class ScriptedUsage:
    """Token counts to report; those that are None are counted by the mock's own rule.

    prompt_tokens: all of the input, what the cache gave or took included. completion_tokens: all of the output,
    reasoning included. cached_tokens, cache_write_tokens, reasoning_tokens: the parts of them.
    """

    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    cached_tokens: int = 0
    cache_write_tokens: int = 0
    reasoning_tokens: int | None = None


@dataclass(frozen=True, slots=True)
class ScriptedCall:
    """A call of a tool. `arguments` is JSON text, sent as it is; `id` is empty for one of the mock's own."""

    name: str
    arguments: str = "{}"
    id: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ScriptedAnswer:
    """What the model answers, whatever it is asked; each vendor's wire gives it that vendor's shape.

    text: the content; with `refusal` that of a refusal. thinking: what it thinks first. tool_calls: what it calls.
    finish_reason: `stop`, `length`, `tool_calls` or `content_filter`, which every vendor words in its own way; another
    one is sent as it is. None is `tool_calls` where there are any, else `stop`. usage: the tokens to report.
    model: the name that the answer reports; None for the one that was asked.

    It is not cut by the request's limits.
    """

    text: str = ""
    thinking: str = ""
    tool_calls: tuple[ScriptedCall, ...] = ()
    refusal: bool = False
    finish_reason: str | None = None
    usage: ScriptedUsage = ScriptedUsage()
    model: str | None = None


Prescribed = str | ScriptedAnswer
"""What an answer can be prescribed as: a text alone, or all that an answer has."""
