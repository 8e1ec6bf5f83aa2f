"""Rate limits in headers: every spelling, every form of a duration, and nonsense."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flexllm_providers.rate_headers import RateLimit, rate_limits

NOW = 1_800_000_000.0


def openai(reset: str) -> dict[str, str]:
    return {
        "x-ratelimit-limit-requests": "500",
        "x-ratelimit-remaining-requests": "499",
        "x-ratelimit-reset-requests": reset,
    }


@pytest.mark.parametrize(
    ("reset", "seconds"),
    [("120ms", 0.12), ("1s", 1), ("6m0s", 360), ("1h2m3.5s", 3723.5), ("2", 2), ("0.5", 0.5), ("1d", 86400)],
)
def test_durations_of_openai_and_its_like(reset: str, seconds: float) -> None:
    """With units, several of them, or none."""
    assert rate_limits(openai(reset), NOW) == (RateLimit("requests", 500, 499, pytest.approx(seconds)),)


def test_dates_of_anthropic() -> None:
    """RFC 3339, and all four kinds."""
    headers = {}
    for kind in ("requests", "tokens", "input-tokens", "output-tokens"):
        headers[f"anthropic-ratelimit-{kind}-limit"] = "1000"
        headers[f"anthropic-ratelimit-{kind}-remaining"] = "250"
        headers[f"anthropic-ratelimit-{kind}-reset"] = "2027-01-15T08:00:30Z"
    found = rate_limits(headers, NOW)
    assert [limit.kind for limit in found] == ["requests", "tokens", "input-tokens", "output-tokens"]
    assert {(limit.limit, limit.remaining, limit.reset) for limit in found} == {(1000, 250, 30.0)}


@pytest.mark.parametrize("reset", ["1800000045", "1800000045000"])
def test_instants_since_1970(reset: str) -> None:
    """In seconds and in milliseconds, under the plain names."""
    headers = {"x-ratelimit-limit": "20", "x-ratelimit-remaining": "0", "x-ratelimit-reset": reset}
    assert rate_limits(headers, NOW) == (RateLimit("requests", 20, 0, pytest.approx(45.0)),)


@pytest.mark.parametrize("value", ["", "-1", "nan", "inf", "soon", "1e999", "9" * 5000 + "s", "\u0661s"])
def test_nonsense_is_left_out(value: str) -> None:
    """In any of the three."""
    for name in openai("1s"):
        assert rate_limits({**openai("1s"), name: value}, NOW) == ()


@given(st.dictionaries(st.sampled_from(sorted(openai("1s"))), st.text(max_size=30), max_size=3))
def test_no_header_breaks_it(headers: dict[str, str]) -> None:
    """Whatever a server sends, there is an answer with sane numbers."""
    for limit in rate_limits(headers, NOW):
        assert 0 <= limit.remaining <= limit.limit
        assert limit.reset >= 0
