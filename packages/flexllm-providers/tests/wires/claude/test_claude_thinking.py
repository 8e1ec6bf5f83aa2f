"""Thinking by model family, the default of max_tokens that goes with it, and the ids of models."""

from __future__ import annotations

from typing import Any

import pytest

from flexllm_core.errors import ConfigError
from flexllm_core.thinking import EFFORTS
from flexllm_providers.claude.capabilities import CLAUDE_MODELS, find_model
from flexllm_providers.claude.thinking import EFFORT_BUDGETS, MIN_BUDGET, plan_thinking

ADAPTIVE = {"type": "adaptive", "display": "summarized"}
ROOM = 4096 + 16_384


@pytest.mark.parametrize(
    ("model", "thinking", "max_tokens", "sent"),
    [
        # Without a mode nothing is sent, and there is room where the model thinks by itself.
        ("claude-haiku-4-5", None, 4096, {}),
        ("claude-opus-4-7", None, 4096, {}),
        ("claude-opus-5", None, ROOM, {}),
        ("claude-opus-5-5", None, ROOM, {}),
        ("claude-3-haiku-20240307", None, 4096, {}),
        # Off.
        ("claude-haiku-4-5", False, 4096, {"thinking": {"type": "disabled"}}),
        ("claude-opus-5", False, 4096, {"thinking": {"type": "disabled"}}),
        ("claude-haiku-5-5", False, 4096, {"thinking": {"type": "disabled"}}),
        ("claude-sonnet-5-5", False, 4096, {"thinking": {"type": "between_tools"}}),
        ("claude-3-5-haiku-latest", False, 4096, {}),
        # On.
        ("claude-haiku-4-5", True, 4096 + 8192, {"thinking": {"type": "enabled", "budget_tokens": 8192}}),
        ("claude-opus-4-6", True, ROOM, {"thinking": ADAPTIVE}),
        ("claude-opus-5-5", True, ROOM, {"thinking": ADAPTIVE}),
        # By effort.
        ("claude-opus-5-5", "minimal", ROOM, {"thinking": ADAPTIVE, "output_config": {"effort": "low"}}),
        ("claude-opus-5-5", "xhigh", ROOM, {"thinking": ADAPTIVE, "output_config": {"effort": "xhigh"}}),
        ("claude-sonnet-4-6", "max", ROOM, {"thinking": ADAPTIVE, "output_config": {"effort": "max"}}),
        ("claude-sonnet-4-5", "low", 8192, {"thinking": {"type": "enabled", "budget_tokens": 4096}}),
        ("claude-opus-4-1", "max", 32_000, {"thinking": {"type": "enabled", "budget_tokens": 32_000 - 4096}}),
        (
            "claude-opus-4-5",
            "high",
            ROOM,
            {"thinking": {"type": "enabled", "budget_tokens": 16_384}, "output_config": {"effort": "high"}},
        ),
        # By tokens.
        ("claude-haiku-4-5", 2048, 6144, {"thinking": {"type": "enabled", "budget_tokens": 2048}}),
        ("claude-sonnet-4-6", 1024, 5120, {"thinking": {"type": "enabled", "budget_tokens": 1024}}),
        ("claude-haiku-4-5", 63_999, 64_000, {"thinking": {"type": "enabled", "budget_tokens": 63_999}}),
        # An id that nobody knows: the server judges.
        ("my-own-claude", True, ROOM, {"thinking": ADAPTIVE}),
        ("my-own-claude", 2048, 6144, {"thinking": {"type": "enabled", "budget_tokens": 2048}}),
        ("claude-opus-9", False, 4096, {"thinking": {"type": "disabled"}}),
    ],
)
def test_modes(wire: Any, model: str, thinking: Any, max_tokens: int, sent: dict[str, Any]) -> None:
    """Each family in its own way."""
    body = wire.body("hi", model, **({} if thinking is None else {"thinking": thinking}))
    assert body.pop("max_tokens") == max_tokens
    assert {key: body[key] for key in ("thinking", "output_config") if key in body} == sent


@pytest.mark.parametrize(
    ("model", "thinking", "can"),
    [
        ("claude-opus-5-5", False, "on, minimal, low, medium, high, xhigh, max"),
        ("claude-fable-5-1", False, "on, minimal"),
        ("claude-mythos-preview", "xhigh", "on, minimal, low, medium, high, max"),
        ("claude-opus-5-5", 2048, "on, minimal"),
        ("claude-opus-4-7", 2048, "off, on"),
        ("claude-sonnet-4-6", "xhigh", "off, on, minimal, low, medium, high, max, a number of tokens"),
        ("claude-3-opus-20240229", True, "off"),
        ("claude-3-opus-20240229", "low", "off"),
        ("claude-haiku-4-5", 1023, "at least 1024"),
        ("claude-haiku-4-5", 64_000, "less than max_tokens, which is 64000"),
    ],
)
def test_what_a_model_cannot_do_is_said(wire: Any, model: str, thinking: Any, can: str) -> None:
    """Endpoint, model, what was asked and what it takes."""
    with pytest.raises(ConfigError) as caught:
        wire.encode("hi", model, thinking=thinking)
    assert str(caught.value).startswith(f"e ({model}) cannot do thinking={thinking!r}; ")
    assert can in str(caught.value)


@pytest.mark.parametrize(
    ("thinking", "max_tokens", "budget"),
    [(2048, 2049, 2048), ("high", 3000, 1500), ("high", 1100, 1024), (True, 100_000, 8192), ("max", 64_000, 32_000)],
)
def test_a_budget_leaves_room_for_the_answer(wire: Any, thinking: Any, max_tokens: int, budget: int) -> None:
    """Where max_tokens is the request's own, words stand for half of it at most."""
    target = wire.target(dialect={"max_tokens": 64_000})
    body = wire.body("hi", "claude-haiku-4-5", thinking=thinking, max_tokens=max_tokens, target=target)
    assert (body["max_tokens"], body["thinking"]["budget_tokens"]) == (max_tokens, budget)


@pytest.mark.parametrize(("thinking", "max_tokens"), [(2048, 2048), ("low", 1024), (True, 1)])
def test_a_budget_that_does_not_fit_is_refused(wire: Any, thinking: Any, max_tokens: int) -> None:
    """The API demands at least 1024 tokens of thinking and more for the whole."""
    with pytest.raises(ConfigError, match=f"{max_tokens}"):
        wire.encode("hi", "claude-haiku-4-5", thinking=thinking, max_tokens=max_tokens)


def test_a_row_can_be_overridden(wire: Any) -> None:
    """Key by key, or by the name of another row."""
    target = wire.target(dialect={"disabled": True, "efforts": ["low"], "forced_tools": True})
    assert wire.body(thinking=False, target=target)["thinking"] == {"type": "disabled"}
    with pytest.raises(ConfigError):
        wire.encode(thinking="high", target=target)
    never_off = wire.target(dialect={"disabled": False})
    with pytest.raises(ConfigError, match="it takes on, minimal, low, medium, high, xhigh, max, a number of tokens"):
        wire.encode("hi", "claude-haiku-4-5", thinking=False, target=never_off)
    other = wire.target(dialect={"kind": "claude-4-5"})
    assert wire.body("hi", "house-model", thinking="low", target=other)["thinking"]["budget_tokens"] == 4096


@pytest.mark.parametrize("model", CLAUDE_MODELS, ids=lambda model: model.name)
def test_every_row_keeps_the_rules_of_the_api(model: Any) -> None:
    """Whatever the mode and max_tokens: a budget in its bounds, or a ConfigError; a known effort only."""
    for thinking in (None, True, False, *EFFORTS, 1024, 5000, 200_000):
        for max_tokens in (None, 1, 1025, 5000, model.max_tokens):
            try:
                plan = plan_thinking(thinking, max_tokens, model, "e")
            except ConfigError:
                continue
            assert plan.max_tokens == max_tokens or (max_tokens is None and 4096 <= plan.max_tokens <= model.max_tokens)
            budget = plan.body.get("thinking", {}).get("budget_tokens")
            assert budget is None or MIN_BUDGET <= budget < plan.max_tokens
            effort = plan.body.get("output_config", {}).get("effort")
            assert effort is None or effort in model.efforts


def test_budgets_grow_with_the_effort() -> None:
    """Every word of ours has one."""
    assert tuple(EFFORT_BUDGETS) == EFFORTS
    assert sorted(EFFORT_BUDGETS.values()) == list(EFFORT_BUDGETS.values())


@pytest.mark.parametrize(
    ("model_id", "row"),
    [
        ("claude-opus-4-20250514", "claude-opus-4"),
        ("claude-opus-4@20250514", "claude-opus-4"),
        ("claude-opus-4-1-20250805", "claude-opus-4"),
        ("claude-sonnet-4-20250514", "claude-sonnet-4"),
        ("us.anthropic.claude-sonnet-4-5-20250929-v1:0", "claude-4-5"),
        ("anthropic/claude-haiku-4.5", "claude-4-5"),
        ("Claude-Opus-4-5", "claude-opus-4-5"),
        ("claude-3-7-sonnet-latest", "claude-3-7"),
        ("claude-opus-4-8", "claude-opus-4-7"),
        ("claude-opus-5", "claude-5"),
        ("claude-opus-5-5", "claude-opus-5-5"),
        ("claude-opus-5-6", "unknown"),
        ("claude-opus-4-9", "unknown"),
        ("claude-opus-55", "unknown"),
        ("claude-sonnet-4x", "unknown"),
        ("gpt-6", "unknown"),
        ("", "unknown"),
    ],
)
def test_model_ids_in_every_spelling(model_id: str, row: str) -> None:
    """Dates and the clouds' versions may follow; another minor version is another model."""
    assert find_model(model_id).name == row
