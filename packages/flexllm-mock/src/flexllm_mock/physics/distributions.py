"""Distributions of times: fixed, uniform in a range, normal, lognormal and exponential."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from statistics import NormalDist
from typing import Literal

Kind = Literal["fixed", "range", "normal", "lognormal", "exponential"]

_STANDARD = NormalDist()
_FORMS = "a number, LEAST-MOST, normal:MEAN,DEVIATION, lognormal:MEDIAN,SIGMA or exponential:MEAN"
# What each form takes: the numbers, and which of them must be above 0.
_NUMBERS: Mapping[str, int] = {"normal": 2, "lognormal": 2, "exponential": 1}


@dataclass(frozen=True, slots=True)
class Distribution:
    """How long something takes, in seconds.

    `first` and `second` are: the value (fixed); least and most (range); mean and standard deviation (normal; what would
    be negative is 0); median, and standard deviation of the logarithm (lognormal); mean (exponential).

    Raises ValueError for numbers that make no sense.
    """

    kind: Kind
    first: float
    second: float = 0.0

    def __post_init__(self) -> None:
        if not (0 <= self.first < math.inf and 0 <= self.second < math.inf):
            raise ValueError(f"a time must be 0 or more, not {self.first:g} and {self.second:g}")
        if self.kind == "range" and self.first > self.second:
            raise ValueError(f"a range must go from least to most, not from {self.first:g} to {self.second:g}")
        if self.kind == "lognormal" and self.first == 0:
            raise ValueError("the median of lognormal must be above 0")

    @property
    def random(self) -> bool:
        """Whether draws differ."""
        return self.kind == "exponential" or (self.kind == "range" and self.first < self.second) or self._spreads

    @property
    def _spreads(self) -> bool:
        return self.kind in ("normal", "lognormal") and self.second > 0

    def quantile(self, share: float) -> float:
        """Return the time below which that share of all times lies, 0 < share < 1: a draw, when the share is drawn."""
        return _QUANTILES[self.kind](self, share)


_QUANTILES: Mapping[Kind, Callable[[Distribution, float], float]] = {
    "fixed": lambda each, _: each.first,
    "range": lambda each, share: each.first + (each.second - each.first) * share,
    "normal": lambda each, share: max(0.0, each.first + each.second * _STANDARD.inv_cdf(share)),
    "lognormal": lambda each, share: each.first * math.exp(each.second * _STANDARD.inv_cdf(share)),
    "exponential": lambda each, share: -each.first * math.log1p(-share),
}


def distribution(given: float | str | Distribution) -> Distribution:
    """Read a distribution: seconds, or a text such as `0.2`, `0.1-0.3`, `normal:0.2,0.05` or `lognormal:0.2,0.5`.

    Raises ValueError that says which forms there are.
    """
    if isinstance(given, Distribution):
        return given
    if isinstance(given, int | float):
        return Distribution("fixed", given)
    kind, colon, rest = given.partition(":")
    try:
        if not colon:
            least, dash, most = given.partition("-")
            return Distribution("range", float(least), float(most)) if dash else Distribution("fixed", float(given))
        numbers = [float(number) for number in rest.split(",")]
    except ValueError as error:
        raise ValueError(_problem(given, error)) from None
    if kind not in _NUMBERS or len(numbers) != _NUMBERS[kind]:
        raise ValueError(_problem(given, None))
    return Distribution(kind, *numbers)  # type: ignore[arg-type]  # one of the keys above


def _problem(given: str, error: ValueError | None) -> str:
    reason = "" if error is None or "could not convert" in str(error) else f" ({error})"
    return f"{given!r} is no distribution of times{reason}: give {_FORMS}"
