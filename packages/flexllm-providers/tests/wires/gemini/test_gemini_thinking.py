"""Thinking: one vocabulary, mapped to each family's knob."""

from __future__ import annotations

import logging
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flexllm_core.errors import ConfigError
from flexllm_core.thinking import EFFORTS
from flexllm_providers import wire_warnings
from flexllm_providers.gemini.thinking import FAMILIES, find_family, model_line, thinking_config


@pytest.mark.parametrize(
    ("model", "family"),
    [
        ("gemini-2.5-pro", "2.5-pro"),
        ("gemini-2.5-flash-002", "2.5-flash"),
        ("gemini-2.5-flash-lite", "2.5-flash-lite"),
        ("gemini-2.5-flash-image", "none"),
        ("gemini-2.0-flash", "none"),
        ("models/gemini-3-flash-preview", "3-flash"),
        ("publishers/google/models/Gemini-3.1-Pro", "levels"),
        ("gemini-3.5-flash", "3.5-flash"),
        ("gemini-3.6-flash", "3.5-flash"),
        ("gemini-3.5-flash-lite", "3.5-flash-lite"),
        ("gemini-3.8-flash", "levels"),
        ("gemini-9-ultra", "levels"),
        ("gemini-flash-latest", "levels"),
        ("endpoints/123", "levels"),
    ],
)
def test_the_family_of_a_model(model: str, family: str) -> None:
    """By the longest known beginning of its name; a new model takes what all newer ones take."""
    assert find_family(model).name == family


def test_a_line_is_finer_than_a_family() -> None:
    """Two models of one family are two models."""
    assert model_line("gemini-3.7-flash-001") == "gemini-3.7-flash"
    assert model_line("models/gemini-3.8-flash") == "gemini-3.8-flash"
    assert model_line("gemini-flash-latest") is None


@pytest.mark.parametrize(
    ("model", "thinking", "config"),
    [
        ("gemini-2.5-pro", None, {}),
        ("gemini-2.5-pro", True, {"includeThoughts": True}),
        ("gemini-2.5-pro", 2048, {"includeThoughts": True, "thinkingBudget": 2048}),
        ("gemini-2.5-pro", "low", {"includeThoughts": True, "thinkingBudget": 1024}),
        ("gemini-2.5-pro", "max", {"includeThoughts": True, "thinkingBudget": 32768}),
        ("gemini-2.5-flash", False, {"thinkingBudget": 0}),
        ("gemini-2.5-flash", "max", {"includeThoughts": True, "thinkingBudget": 24576}),
        ("gemini-2.5-flash-lite", False, {"thinkingBudget": 0}),
        ("gemini-2.5-flash-lite", True, {"includeThoughts": True, "thinkingBudget": -1}),
        ("gemini-3-flash", "minimal", {"includeThoughts": True, "thinkingLevel": "MINIMAL"}),
        ("gemini-3.5-flash-lite", True, {"includeThoughts": True, "thinkingLevel": "MEDIUM"}),
        ("gemini-3.8-flash", True, {"includeThoughts": True}),
        ("gemini-3.8-flash", "low", {"includeThoughts": True, "thinkingLevel": "LOW"}),
        ("gemini-3.8-flash", "max", {"includeThoughts": True, "thinkingLevel": "HIGH"}),
        ("gemini-2.0-flash", False, {}),
    ],
)
def test_what_can_be_done_is_asked_for(
    model: str, thinking: Any, config: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    """With the one knob of the family, and without a warning."""
    with caplog.at_level(logging.WARNING, "flexllm"):
        assert thinking_config(thinking, find_family(model), f"quiet-{model}") == config
    assert not caplog.records


@pytest.mark.parametrize(
    ("model", "thinking", "knob", "words"),
    [
        ("gemini-2.5-pro", False, {"thinkingBudget": 128}, "cannot turn thinking off"),
        ("gemini-2.5-flash-lite", 5, {"thinkingBudget": 512}, "cannot think for 5 tokens"),
        ("gemini-2.5-flash", 99999, {"thinkingBudget": 24576}, "it is asked for 24576"),
        ("gemini-3.5-flash", False, {"thinkingLevel": "MINIMAL"}, "it is asked for thinkingLevel MINIMAL"),
        ("gemini-3.8-flash", False, {"thinkingLevel": "LOW"}, "cannot turn thinking off"),
        ("gemini-3.8-flash", "minimal", {"thinkingLevel": "LOW"}, "cannot think at 'minimal'"),
        ("gemini-3.8-flash", "xhigh", {"thinkingLevel": "HIGH"}, "asked for level HIGH"),
        ("gemini-3-pro", "medium", {"thinkingLevel": "HIGH"}, "asked for level HIGH"),
    ],
)
def test_what_can_nearly_be_done_is_warned_of_once(
    model: str, thinking: Any, knob: dict[str, Any], words: str, caplog: pytest.LogCaptureFixture
) -> None:
    """The warning names the endpoint, and what is asked for instead."""
    with caplog.at_level(logging.WARNING, "flexllm"):
        for _ in range(3):
            config = thinking_config(thinking, find_family(model), f"near-{model}-{thinking}")
            config.pop("includeThoughts", None)
            assert config == knob
    (record,) = caplog.records
    assert f"near-{model}-{thinking}" in record.getMessage()
    assert words in record.getMessage()


@pytest.mark.parametrize(
    ("model", "thinking", "takes"),
    [
        ("gemini-3.8-flash", 2048, r"it takes off, on, or an effort \(LOW, MEDIUM, HIGH\)"),
        ("gemini-2.0-flash", True, "it takes off"),
        ("gemini-2.0-flash", "low", "it takes off"),
        ("gemini-2.0-flash", 100, "it takes off"),
    ],
)
def test_what_cannot_be_done_is_a_config_error(gemini_wire: Any, model: str, thinking: Any, takes: str) -> None:
    """That names the endpoint and what can be done."""
    with pytest.raises(ConfigError, match=rf"e \(Gemini family .*\) cannot do thinking=.*; {takes}"):
        gemini_wire.params(model, thinking=thinking)


def test_the_family_can_be_set(gemini_wire: Any) -> None:
    """For models whose name says nothing, or the wrong thing."""
    endpoint = {"dialect": {"family": "2.5-flash"}}
    sent = gemini_wire.params("endpoints/77", endpoint=endpoint, thinking=100)
    assert sent["generationConfig"]["thinkingConfig"]["thinkingBudget"] == 100


@given(st.sampled_from(FAMILIES), st.booleans() | st.sampled_from(EFFORTS) | st.integers(1, 10**9), st.text(max_size=3))
def test_never_both_knobs_and_never_out_of_range(family: Any, thinking: Any, label: str) -> None:
    """For every family and every mode: a ConfigError, or what the family takes."""
    try:
        config = thinking_config(thinking, family, label)
    except ConfigError:
        return
    budget, level = config.get("thinkingBudget"), config.get("thinkingLevel")
    assert budget is None or level is None
    if level is not None:
        assert level in family.levels
    if budget is not None:
        least, most = family.budgets
        assert least <= budget <= most or (budget == 0 and family.off) or (budget == -1 and thinking is True)


@pytest.mark.parametrize(("model", "is_known"), [("gemini-9-ultra", False), ("gemini-3.8-flash", True)])
def test_a_guess_about_an_unknown_model_is_said_once(
    gemini_wire: Any, model: str, is_known: bool, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only when thinking is asked for, and not where the endpoint names the family."""
    monkeypatch.setattr(wire_warnings, "_said", set())
    with caplog.at_level(logging.WARNING, "flexllm"):
        gemini_wire.body("hi", model)
        gemini_wire.body("hi", model, thinking="low", endpoint={"dialect": {"family": "3-pro"}})
        assert not caplog.records
        for _ in range(2):
            gemini_wire.body("hi", model, thinking="low")
    said = [record.getMessage() for record in caplog.records]
    assert len(said) == (0 if is_known else 1)
    assert all("'gemini-9-ultra' is of no known family" in text and "dialect.family" in text for text in said)
