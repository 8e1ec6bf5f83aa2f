"""Misses: questions that were looked up in vain a moment ago, together, and need no look-up each."""

from __future__ import annotations

from collections.abc import Iterable

FRESH = 1.0
"""Seconds for which it is believed that no other process has stored an answer meanwhile."""

_MANY = 10_000  # beyond them, those that were never asked for are thrown out


class Misses:
    """Fingerprints with the time of their look-up; each is good for one call.

    They are noted before the look-up begins, so that an answer that is stored while it goes on, or later, wipes
    them out.
    """

    def __init__(self) -> None:
        self._since: dict[str, float] = {}

    def note(self, fingerprints: Iterable[str], now: float) -> None:
        """Expect that these will be looked up in vain."""
        if len(self._since) > _MANY:
            self._since = {key: since for key, since in self._since.items() if now - since < FRESH}
        self._since.update(dict.fromkeys(fingerprints, now))

    def forget(self, fingerprint: str) -> None:
        """There is an answer."""
        self._since.pop(fingerprint, None)

    def take(self, fingerprint: str, now: float) -> bool:
        """Whether another look-up can be left out."""
        since = self._since.pop(fingerprint, None)
        return since is not None and now - since < FRESH
