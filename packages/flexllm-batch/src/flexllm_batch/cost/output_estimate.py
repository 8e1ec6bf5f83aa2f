"""How long answers are that nothing limits: what the longest of those so far say about the next."""

from __future__ import annotations

from math import ceil, log

FIRST_TOKENS = 4096
"""What an answer is taken to have at most before enough are known."""

MARGIN = 1.5
"""By which the 99th percentile is raised."""

_ENOUGH = 50
_GROWTH = 1.2
_SHARE = 0.99
_LOG_GROWTH = log(_GROWTH)


class OutputEstimate:
    """Answers by their length, in classes that grow by a fifth."""

    def __init__(self) -> None:
        self._counts: dict[int, int] = {}
        self._total = 0
        self._longest = 0
        self._estimate = FIRST_TOKENS
        self._due = 1

    def add(self, tokens: int) -> None:
        """Count an answer."""
        bucket = ceil(log(tokens) / _LOG_GROWTH) if tokens > 1 else 0
        self._counts[bucket] = self._counts.get(bucket, 0) + 1
        self._total += 1
        if tokens > self._longest:
            self._longest = tokens
        elif self._total < self._due:
            return
        self._due = self._total + max(1, self._total // 20)  # the percentile moves slowly
        self._estimate = self._worked_out()

    def _worked_out(self) -> int:
        if self._total < _ENOUGH:
            return max(FIRST_TOKENS, 2 * self._longest)
        above = self._total * (1 - _SHARE)
        for bucket in sorted(self._counts, reverse=True):
            above -= self._counts[bucket]
            if above < 0:
                return ceil(min(_GROWTH**bucket, self._longest) * MARGIN)
        return FIRST_TOKENS

    @property
    def tokens(self) -> int:
        """The 99th percentile with a margin; a fixed number, or twice the longest, while few are known."""
        return self._estimate
