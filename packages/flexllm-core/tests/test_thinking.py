"""The vocabulary of thinking: every word, every type, and what is refused."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flexllm_core.errors import ConfigError
from flexllm_core.thinking import EFFORTS, check_thinking, parse_thinking


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("off", False),
        ("False", False),
        ("none", False),
        (" no ", False),
        ("on", True),
        ("TRUE", True),
        ("yes", True),
        ("1", 1),
        ("2048", 2048),
        *[(effort, effort) for effort in EFFORTS],
        ("High", "high"),
    ],
)
def test_each_word_is_read(text: str, value: object) -> None:
    """As the command line and files write it, in any case."""
    read = parse_thinking(text)
    assert read == value
    assert type(read) is type(value)


@pytest.mark.parametrize("text", ["", "0", "-5", "1.5", "ultra", "٣", pytest.param("9" * 5000, id="huge"), "high low"])
def test_other_texts_are_refused_with_the_list(text: str) -> None:
    """The error says what there is, and is short whatever was given."""
    with pytest.raises(ConfigError, match="expected off, on, one of minimal, low, medium, high, xhigh, max") as caught:
        parse_thinking(text)
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize("value", [None, True, False, 1, 100_000, *EFFORTS])
def test_each_mode_is_a_mode(value: Any) -> None:
    """None is the endpoint's default."""
    assert check_thinking(value) is value or check_thinking(value) == value


@pytest.mark.parametrize(
    "value", [0, -1, 1.0, "on", "off", "ultra", [], {}, ["high"], b"high", pytest.param(-(10**5000), id="huge")]
)
def test_other_values_are_config_errors(value: Any) -> None:
    """Whatever the type, and without printing megabytes."""
    with pytest.raises(ConfigError) as caught:
        check_thinking(value)
    assert len(str(caught.value)) < 300


@given(st.text(max_size=30))
def test_any_text_is_a_mode_or_a_config_error(text: str) -> None:
    """Nothing else can come out."""
    try:
        value = parse_thinking(text)
    except ConfigError:
        return
    assert check_thinking(value) == value
