"""How thinking is asked for on Claude, and how many tokens an answer may have when nobody says.

A model takes one of two ways: `adaptive`, whose depth is the effort, or `enabled` with a budget of
tokens. On models that only know budgets, our words for an effort stand for budgets (`EFFORT_BUDGETS`).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from flexllm_core.errors import ConfigError
from flexllm_core.thinking import Thinking
from flexllm_providers.claude.capabilities import ClaudeModel

ANSWER_TOKENS = 4096
"""`max_tokens`, which Claude demands, for the answer itself when the request does not say."""

THINKING_ROOM = 16_384
"""Tokens on top of that when the model may think: with the answer, few enough for a call without streaming."""

MIN_BUDGET = 1024
EFFORT_BUDGETS = {
    "minimal": MIN_BUDGET,
    "low": 4096,
    "medium": 8192,
    "high": 16_384,
    "xhigh": 32_768,
    "max": 60_000,
}
"""Tokens of thinking by effort, on models that take only budgets."""

_ADAPTIVE = {"type": "adaptive", "display": "summarized"}
"""The newest models leave the text of their thinking out unless they are asked for a summary."""


@dataclass(frozen=True, slots=True)
class ThinkingPlan:
    """What a request gets for its thinking mode.

    Attributes:
        max_tokens: The request's own, or the default that goes with the mode.
        body: Keys of the body.
        is_on: The request asks the model to think.
    """

    max_tokens: int
    body: dict[str, Any] = field(default_factory=dict)
    is_on: bool = False


def plan_thinking(thinking: Thinking, max_tokens: int | None, model: ClaudeModel, who: str) -> ThinkingPlan:
    """Work out the keys for a thinking mode.

    Args:
        thinking: As in `flexllm_core.thinking`.
        max_tokens: The request's own; None for the default.
        model: The model's row.
        who: Endpoint and model, for messages.

    Raises:
        ConfigError: The model cannot do it; the message names the endpoint, the model and what it can do.
    """
    if thinking is None:
        return ThinkingPlan(_default(max_tokens, THINKING_ROOM if model.thinks else 0, model))
    if thinking is False:
        return _off(max_tokens, model, who)
    if model.adaptive and not _is_budget(thinking):
        return _adaptive(thinking, max_tokens, model, who)
    if model.budget:
        return _budget(thinking, max_tokens, model, who)
    raise _cannot(thinking, model, who)


def _off(max_tokens: int | None, model: ClaudeModel, who: str) -> ThinkingPlan:
    if not model.adaptive and not model.budget:
        return ThinkingPlan(_default(max_tokens, 0, model))  # it never thinks, and may not know the key
    if not model.disabled and not model.between_tools:
        raise _cannot(False, model, who)
    kind = "disabled" if model.disabled else "between_tools"
    return ThinkingPlan(_default(max_tokens, 0, model), {"thinking": {"type": kind}})


def _adaptive(thinking: Thinking, max_tokens: int | None, model: ClaudeModel, who: str) -> ThinkingPlan:
    body: dict[str, Any] = {"thinking": dict(_ADAPTIVE)}
    if isinstance(thinking, str):
        body["output_config"] = {"effort": _effort(thinking)}
        if _effort(thinking) not in model.efforts:
            raise _cannot(thinking, model, who)
    return ThinkingPlan(_default(max_tokens, THINKING_ROOM, model), body, is_on=True)


def _budget(thinking: Thinking, max_tokens: int | None, model: ClaudeModel, who: str) -> ThinkingPlan:
    if _is_budget(thinking):
        assert isinstance(thinking, int)
        budget = thinking
        limit = model.max_tokens if max_tokens is None else max_tokens
        if not MIN_BUDGET <= budget < limit:
            raise ConfigError(
                f"{who} cannot do thinking={budget}; expected at least {MIN_BUDGET} tokens, "
                f"and less than max_tokens, which is {limit}"
            )
    else:
        word = thinking if isinstance(thinking, str) else "medium"
        budget = min(EFFORT_BUDGETS[word], model.max_tokens - ANSWER_TOKENS)
        if max_tokens is not None:
            budget = max(MIN_BUDGET, min(budget, max_tokens // 2))
            if max_tokens <= MIN_BUDGET:
                raise ConfigError(f"{who} cannot think within max_tokens={max_tokens}; expected more than {MIN_BUDGET}")
    body: dict[str, Any] = {"thinking": {"type": "enabled", "budget_tokens": budget}}
    if isinstance(thinking, str) and _effort(thinking) in model.efforts:
        body["output_config"] = {"effort": _effort(thinking)}
    return ThinkingPlan(_default(max_tokens, budget, model), body, is_on=True)


def _is_budget(thinking: Thinking) -> bool:
    return isinstance(thinking, int) and not isinstance(thinking, bool)


def _effort(word: str) -> str:
    """Claude's word: it has none below `low`."""
    return "low" if word == "minimal" else word


def _default(max_tokens: int | None, thinking: int, model: ClaudeModel) -> int:
    return min(ANSWER_TOKENS + thinking, model.max_tokens) if max_tokens is None else max_tokens


def _cannot(thinking: Thinking, model: ClaudeModel, who: str) -> ConfigError:
    can = ["off"] if model.disabled or model.between_tools else []
    if model.adaptive or model.budget:
        can.append("on")
    if model.adaptive:
        can += [word for word in EFFORT_BUDGETS if _effort(word) in model.efforts]
    elif model.budget:
        can += EFFORT_BUDGETS
    if model.budget:
        can.append("a number of tokens")
    return ConfigError(f"{who} cannot do thinking={thinking!r}; it takes {', '.join(can)}")
