"""Misses: questions that were looked up together a moment ago, in vain, and need no look-up each."""

from __future__ import annotations

import math
from collections.abc import Iterable

FRESH = 1.0
"""Seconds for which it is believed that no other process has stored an answer meanwhile."""

_MANY = 10_000  # beyond them, those that were never asked for are thrown out


class Misses:
    """Fingerprints with the time of their look-up; each is good for one call."""

    def __init__(self) -> None:
        self._since: dict[str, float] = {}  # long ago while the look-up goes on: no call counts on it

    def look(self, fingerprints: Iterable[str]) -> None:
        """These are looked up from now on; `note` says when that was in vain."""
        self._since.update(dict.fromkeys(fingerprints, -math.inf))

    def note(self, fingerprints: Iterable[str], now: float) -> None:
        """Of these, those that were not forgotten since `look` were looked up in vain."""
        since = self._since
        since.update({fingerprint: now for fingerprint in fingerprints if fingerprint in since})
        if len(since) > _MANY:
            self._since = {key: at for key, at in since.items() if now - at < FRESH}

    def forget(self, fingerprint: str) -> None:
        """There is an answer."""
        self._since.pop(fingerprint, None)

    def take(self, fingerprint: str, now: float) -> bool:
        """Whether another look-up can be left out."""
        since = self._since.pop(fingerprint, None)
        return since is not None and now - since < FRESH
