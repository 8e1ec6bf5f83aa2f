"""Misses: questions that were looked up together a moment ago, in vain, and need no look-up each."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator

FRESH = 1.0
"""Seconds for which it is believed that no other process has stored an answer meanwhile."""

_MANY = 10_000  # beyond them, those that were never asked for are thrown out


class Misses:
    """Fingerprints with the time of their look-up; each is good for one call."""

    def __init__(self) -> None:
        self._since: dict[str, float] = {}
        self._looking: list[set[str]] = []

    @contextlib.contextmanager
    def looking(self, fingerprints: Iterable[str]) -> Iterator[set[str]]:
        """While these are looked up: what is stored meanwhile (`forget`) is taken out of the set."""
        unanswered = set(fingerprints)
        self._looking.append(unanswered)
        try:
            yield unanswered
        finally:
            self._looking = [other for other in self._looking if other is not unanswered]

    def note(self, fingerprints: Iterable[str], now: float) -> None:
        """These were looked up in vain."""
        if len(self._since) > _MANY:
            self._since = {key: since for key, since in self._since.items() if now - since < FRESH}
        self._since.update(dict.fromkeys(fingerprints, now))

    def forget(self, fingerprint: str) -> None:
        """There is an answer."""
        self._since.pop(fingerprint, None)
        for unanswered in self._looking:
            unanswered.discard(fingerprint)

    def take(self, fingerprint: str, now: float) -> bool:
        """Whether another look-up can be left out."""
        since = self._since.pop(fingerprint, None)
        return since is not None and now - since < FRESH
