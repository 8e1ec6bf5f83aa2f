"""Which of the members that could take a call takes it. Pure but for the dice."""

from __future__ import annotations

import random
from collections.abc import Callable, Hashable, Sequence
from typing import Literal, Protocol, TypeVar, get_args

from flexllm_core.errors import ConfigError

LoadBalance = Literal["least_loaded", "round_robin", "weighted", "random", "fallback"]

DEFAULT_LOAD_BALANCE: LoadBalance = "least_loaded"

_TWO_CHOICES_ABOVE = 16
"""With more members than this, the less loaded of two random ones is nearly as good as the least loaded, and cheap."""


class Candidate(Protocol):
    """A member of which a strategy has to know: values at this moment."""

    @property
    def index(self) -> int:
        """Its number in the pool."""
        ...

    @property
    def weight(self) -> float:
        """How many times more calls than a member of weight 1 it is to get."""
        ...

    @property
    def load(self) -> float:
        """Its load with one call more: (calls in flight + 1) / capacity, by its latency."""
        ...

    @property
    def site(self) -> Hashable | None:
        """What it has in common with others that are the same server with other keys; None if there are none."""
        ...

    @property
    def quota_left(self) -> float | None:
        """The share that is left of its key's quota; None where the server does not tell."""
        ...


C = TypeVar("C", bound=Candidate)
Strategy = Callable[[Sequence[C]], C]
"""Picks one of at least two candidates, which come in the order of the pool."""


def least_loaded(candidates: Sequence[C]) -> C:
    """The one that will have answered first, as far as is known: faster members get more.

    Keys of one server answer equally fast: of these the one that has most left of its quota.
    """
    if len(candidates) > _TWO_CHOICES_ABOVE:
        candidates = random.sample(candidates, 2)
    chosen = min(candidates, key=_load)
    return chosen if chosen.site is None else _with_most_left(chosen, candidates)


def _with_most_left(chosen: C, candidates: Sequence[C]) -> C:
    """The key of the same server of whose quota most is left, if the server tells of all of them."""
    best, most = chosen, chosen.quota_left
    for candidate in candidates:
        if candidate.site == chosen.site:
            left = candidate.quota_left
            if left is None or most is None:
                return chosen
            if left > most:
                best, most = candidate, left
    return best


def _load(candidate: Candidate) -> float:
    return candidate.load


def first(candidates: Sequence[C]) -> C:
    """The first: the others are for when it cannot."""
    return candidates[0]


def at_random(candidates: Sequence[C]) -> C:
    """Any, by weight."""
    return random.choices(candidates, [candidate.weight for candidate in candidates])[0]


class RoundRobin:
    """One after the other."""

    def __init__(self) -> None:
        self._last = -1

    def __call__(self, candidates: Sequence[C]) -> C:
        """The next one after the last."""
        chosen = next((candidate for candidate in candidates if candidate.index > self._last), candidates[0])
        self._last = chosen.index
        return chosen


class Weighted:
    """In turns by weight, spread evenly: weights 3 and 1 give a, a, b, a."""

    def __init__(self) -> None:
        self._credit: dict[int, float] = {}

    def __call__(self, candidates: Sequence[C]) -> C:
        """The one with the most credit; each turn gives credit by weight, and being chosen costs all of it."""
        credit = self._credit
        total = 0.0
        chosen = candidates[0]
        for candidate in candidates:
            total += candidate.weight
            credit[candidate.index] = credit.get(candidate.index, 0.0) + candidate.weight
            if credit[candidate.index] > credit[chosen.index]:
                chosen = candidate
        credit[chosen.index] -= total
        return chosen


def strategy_of(name: str) -> Strategy[Candidate]:
    """The strategy of a name, with a state of its own.

    Raises:
        ConfigError: There is none of that name.
    """
    if name not in get_args(LoadBalance):
        raise ConfigError(f"load_balance is {name!r}; expected one of {', '.join(map(repr, get_args(LoadBalance)))}")
    if name == "round_robin":
        return RoundRobin()
    if name == "weighted":
        return Weighted()
    return {"least_loaded": least_loaded, "random": at_random, "fallback": first}[name]
