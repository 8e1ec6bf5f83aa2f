"""The histogram: percentiles within the error that it states, in bounded memory."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flexllm_batch.histogram import RELATIVE_ERROR, Histogram


def histogram_of(values: list[float]) -> Histogram:
    histogram = Histogram()
    for value in values:
        histogram.add(value)
    return histogram


@given(st.lists(st.floats(0, 1e6), min_size=1, max_size=200), st.floats(0, 1))
def test_a_percentile_is_within_the_stated_error(values: list[float], share: float) -> None:
    """Of the value of that rank, or half a microsecond."""
    true = sorted(values)[max(0, math.ceil(share * len(values)) - 1)]
    found = histogram_of(values).percentile(share)
    assert found is not None
    assert abs(found - true) <= max(true * RELATIVE_ERROR * 1.001, 1e-6)


@given(st.lists(st.floats(0, 1e6), max_size=200))
def test_the_ranges_hold_every_value_once(values: list[float]) -> None:
    """In order, without overlap."""
    ranges = list(histogram_of(values).ranges())
    assert sum(count for _, _, count in ranges) == len(values)
    edges = [edge for low, high, _ in ranges for edge in (low, high)]
    assert edges == sorted(edges)


def test_memory_is_bounded() -> None:
    """However many different values come."""
    histogram = Histogram()
    value = 1e-7
    while value < 1e12:
        histogram.add(value)
        value *= 1.0005
    assert histogram.count > 80_000
    assert len(list(histogram.ranges())) < 6000


@pytest.mark.parametrize("odd", [-1.0, math.inf, 1e300, math.nan])
def test_odd_values_are_counted_somewhere(odd: float) -> None:
    """A clock that goes wrong ends no run."""
    histogram = histogram_of([odd, 1.0])
    assert sum(count for _, _, count in histogram.ranges()) == histogram.count == 2


def test_an_empty_histogram_has_no_percentiles() -> None:
    """None, and not 0."""
    assert Histogram().percentile(0.5) is None
    assert Histogram().summary() is None


def test_the_summary_names_what_people_ask_for() -> None:
    """In seconds."""
    summary = histogram_of([0.1] * 98 + [1.0, 5.0]).summary()
    assert summary == {
        "p50": pytest.approx(0.1, rel=0.01),
        "p95": pytest.approx(0.1, rel=0.01),
        "p99": pytest.approx(1.0, rel=0.01),
        "mean": pytest.approx(0.158),
        "longest": 5.0,
    }
