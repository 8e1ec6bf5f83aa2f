"""Token counts of every vendor in one normal form, and costs that providers report."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flexllm_core.results import Usage
from flexllm_providers.openai.usage import decode_usage, reported_cost


@pytest.mark.parametrize(
    ("usage", "expected"),
    [
        ({"prompt_tokens": 20, "completion_tokens": 12, "total_tokens": 32}, Usage(20, 12, 32)),
        (
            {
                "prompt_tokens": 20,
                "completion_tokens": 12,
                "total_tokens": 32,
                "prompt_tokens_details": {"cached_tokens": 8, "audio_tokens": 0, "cache_write_tokens": 3},
                "completion_tokens_details": {"reasoning_tokens": 10, "audio_tokens": 0},
            },
            Usage(20, 12, 32, cached_tokens=8, cache_write_tokens=3, reasoning_tokens=10),
        ),
        (  # DeepSeek
            {
                "prompt_tokens": 100,
                "completion_tokens": 20,
                "total_tokens": 120,
                "prompt_cache_hit_tokens": 64,
                "prompt_cache_miss_tokens": 36,
                "completion_tokens_details": {"reasoning_tokens": 12},
            },
            Usage(100, 20, 120, cached_tokens=64, reasoning_tokens=12),
        ),
        (  # xAI counts reasoning outside of completion_tokens
            {
                "prompt_tokens": 10,
                "completion_tokens": 5,
                "total_tokens": 115,
                "completion_tokens_details": {"reasoning_tokens": 100},
            },
            Usage(10, 105, 115, reasoning_tokens=100),
        ),
        ({"prompt_tokens": 3, "completion_tokens": 4}, Usage(3, 4, 7)),
        ({"prompt_tokens": 3, "completion_tokens": None, "total_tokens": None}, Usage(3, 0, 3)),
        ({"prompt_tokens": 3, "prompt_tokens_details": None, "completion_tokens_details": []}, Usage(3, 0, 3)),
        ({"prompt_tokens": -3, "completion_tokens": "4", "total_tokens": 5.0}, Usage(0, 0, 0)),
    ],
)
def test_each_vendors_counts(usage: Any, expected: Usage) -> None:
    """Prompt with cache, completion with reasoning; what is of the wrong type counts as absent."""
    assert decode_usage(usage) == expected


@pytest.mark.parametrize("usage", [None, {}, [], 5, "x", {"cost": 1}, {"prompt_tokens": None}, {"prompt_tokens": "3"}])
def test_no_counts_are_unknown_and_not_zero(usage: Any) -> None:
    """A budget must see that it does not know."""
    assert decode_usage(usage) is None


@pytest.mark.parametrize(
    ("cost", "expected"),
    [(0.00012, "0.00012"), (1, "1"), ("0.5", "0.5"), (0, "0"), (1e-7, "1E-7")],
)
def test_a_reported_cost_is_exact(cost: Any, expected: str) -> None:
    """Decimal money, no rounding of floats."""
    assert reported_cost({"cost": cost}) == Decimal(expected)


@pytest.mark.parametrize(
    "cost", [None, True, -1, "free", float("nan"), float("inf"), "NaN", "Infinity", [], {}, "-0.1"]
)
def test_a_cost_that_is_none_is_unknown(cost: Any) -> None:
    """Never 0 and never negative."""
    assert reported_cost({"cost": cost}) is None
    assert reported_cost(None) is None


KEYS = ["prompt_tokens", "completion_tokens", "total_tokens", "prompt_tokens_details", "cost"]
DETAILS = st.dictionaries(st.just("cached_tokens"), st.integers() | st.text())


@given(
    st.dictionaries(
        st.sampled_from(KEYS), st.none() | st.integers() | st.floats() | st.text(max_size=3) | DETAILS, max_size=5
    )
)
def test_any_usage_is_read_without_an_exception(usage: dict[str, Any]) -> None:
    """Counts are never negative."""
    decoded = decode_usage(usage)
    assert decoded is None or min(decoded.prompt_tokens, decoded.completion_tokens, decoded.cached_tokens) >= 0
    reported_cost(usage)
