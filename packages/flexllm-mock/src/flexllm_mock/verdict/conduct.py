"""What a client did with the answers that it got: repeated, retried, waited, gave up. The facts behind the verdict.

Everything is decided from the values of the requests and their times, in the order in which they come; nothing here
looks at a clock. The times are seconds on the server's clock.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

from flexllm_mock.auth import caller_of

if TYPE_CHECKING:
    from flexllm_mock.requestlog import Entry, Outcome

# What is remembered of a content takes about 150 bytes, so there is an end to how many are compared.
MAX_CONTENTS = 2_000_000
EXAMPLES = 5
EARLINESS = 0.02
"""Seconds by which a client's timer may be early."""
IN_TRANSIT = 0.2
"""Seconds for which requests that were sent before the client could know of a pause may still arrive."""

_WINDOW = 1.0
_MAX_PAUSES = 1_000
_PAUSING = (429, 503, 529)

# What is known of a content with no more to it than this; the rest have a _History.
_GOOD, _FAILED = range(2)


@dataclass(frozen=True, slots=True)
class Example:
    """One request that broke a rule: its number in the log, and what was wrong with it."""

    ordinal: int
    note: str


@dataclass(frozen=True, slots=True)
class Facts:
    """What a client did, in numbers; `examples` holds up to 5 requests for a rule, by the rule's name.

    `most_retries` is the largest number of retries of one content; `retry_burst` the most retries of one content within
    a second that no answer had told when to come.
    """

    requests: int
    distinct: int
    duplicates: int
    failed: int
    retries: int
    most_retries: int
    retry_burst: int
    retry_after_ignored: int
    shared_pause_ignored: int
    cut: int
    truncated_accepted: int
    key_in_url: int
    connections: int
    peak_concurrency: int
    rate_peak: int
    examples: dict[str, tuple[Example, ...]]


@dataclass(frozen=True, slots=True)
class Failure:
    """An answer that is no good. `cut`: it begins well and is cut off. `told`: seconds that it says to wait."""

    cut: bool = False
    told: float | None = None


@dataclass(slots=True)
class _History:
    """What became of a content that was asked again, or told to wait."""

    good: bool  # an answer was decided for it
    answered: bool = False  # and it was sent to its end
    in_flight: int = 0
    retries: int = 0
    cut: bool = False
    told: bool = False  # the last failure said when to come again
    not_before: float = 0.0
    burst: list[float] | None = None
    overlapping: list[int] | None = None


class Conduct:
    """Follows the requests of a client.

    For each request call `arrived`, then `asked` when its content and the fate of its answer are known, then `ended`.
    """

    def __init__(self) -> None:
        self.duplicates = 0
        self.duplicate_answers = 0
        self._repeated = self._overlapping = 0
        self._failed = self._retries = self._most_retries = self._burst = 0
        self._ignored = self._shared = self._cut = 0
        self._rate_peak = 0
        self._arrivals: deque[float] = deque()
        self._contents: dict[bytes, _History | int] = {}
        self._waiting: set[bytes] = set()  # good ones whose only answer is still on its way
        self._open_cuts: dict[bytes, int] = {}
        self._pauses: dict[tuple[object, str | None], tuple[float, float]] = {}
        self._examples: dict[str, list[Example]] = {}

    @property
    def distinct(self) -> int:
        """How many contents came."""
        return len(self._contents)

    def arrived(self, at: float) -> None:
        """Note that a request has arrived."""
        arrivals = self._arrivals
        arrivals.append(at)
        oldest = at - _WINDOW
        while arrivals[0] <= oldest:
            arrivals.popleft()
        if len(arrivals) > self._rate_peak:
            self._rate_peak = len(arrivals)

    def key_in_url(self, ordinal: int) -> None:
        """Note that a request had a key in its URL."""
        self._show("key_in_url", ordinal, "a key in the URL, where logs and proxies see it")

    def asked(self, entry: Entry, digest: bytes) -> None:
        """Note what a request asks; its entry knows what answer it will get."""
        contents = self._contents
        before = contents.get(digest)
        hurried = False
        if before is None:
            if len(contents) >= MAX_CONTENTS:
                return
            if entry.failure is None:
                contents[digest] = _GOOD
                self._waiting.add(digest)
            else:
                contents[digest] = _FAILED
        else:
            hurried = self._asked_again(entry, digest, self._history(digest, before))
        if entry.failure is not None:
            self._failed += 1
            if entry.failure.cut:
                self._note_cut(entry, digest)
        if self._pauses and not hurried:
            self._check_pause(entry)

    def fetched(self, digest: bytes) -> None:
        """Note that a client has fetched an answer that is stored, so that it has not taken a cut one for whole."""
        self._open_cuts.pop(digest, None)

    def ended(self, entry: Entry, digest: bytes, at: float, outcome: Outcome) -> None:
        """Note how and when a request ended."""
        if digest in self._waiting and outcome == "answered":
            self._waiting.remove(digest)
            return
        state = self._contents.get(digest)
        if state is None:
            return
        if entry.failure is not None:
            if entry.failure.told is not None and outcome == "answered":
                self._told(entry, entry.failure.told, self._history(digest, state), at)
        elif outcome == "answered":
            if isinstance(state, _History):
                self._settle(state)
                if not state.in_flight:
                    self._contents[digest] = _GOOD
        else:
            history = self._history(digest, state)
            history.in_flight -= 1
            history.told = False
            self._failed += 1
            if history.overlapping:  # its client had given up already when it asked again
                self._overlapping -= 1
                self._retried(history, history.overlapping.pop(0))

    def facts(self, *, requests: int, key_in_url: int, connections: int, peak_concurrency: int) -> Facts:
        """Return what was seen so far, with the totals that the log counts."""
        examples = {rule: tuple(found) for rule, found in self._examples.items()}
        cuts = list(self._open_cuts.values())
        if cuts:
            note = "its answer was cut off, and it was never asked again"
            examples["truncated_accepted"] = tuple(Example(ordinal, note) for ordinal in cuts[:EXAMPLES])
        return Facts(
            requests=requests,
            distinct=self.distinct,
            duplicates=self._repeated + self._overlapping,
            failed=self._failed,
            retries=self._retries,
            most_retries=self._most_retries,
            retry_burst=self._burst,
            retry_after_ignored=self._ignored,
            shared_pause_ignored=self._shared,
            cut=self._cut,
            truncated_accepted=len(cuts),
            key_in_url=key_in_url,
            connections=connections,
            peak_concurrency=peak_concurrency,
            rate_peak=self._rate_peak,
            examples=examples,
        )

    def _history(self, digest: bytes, state: _History | int) -> _History:
        if not isinstance(state, _History):
            good, waiting = state == _GOOD, digest in self._waiting
            self._waiting.discard(digest)
            state = self._contents[digest] = _History(good, good and not waiting, int(waiting))
        return state

    def _asked_again(self, entry: Entry, digest: bytes, history: _History) -> bool:
        """Tell a retry from a duplicate; return True when it is a retry that did not wait as told."""
        self.duplicates += 1
        self._open_cuts.pop(digest, None)
        hurried = False
        if history.answered:
            self._repeated += 1
            self._show("duplicates", entry.ordinal, "its content had been answered already")
        elif history.in_flight:  # a duplicate, unless it turns out that its client had given the first one up
            self._overlapping += 1
            history.overlapping = history.overlapping or []
            history.overlapping.append(entry.ordinal)
        else:
            hurried = self._check_wait(entry, history)
            self._retried(history, entry.ordinal)
        if entry.failure is not None:
            history.told = False
        else:
            self.duplicate_answers += history.good
            history.good = True
            history.in_flight += 1
        return hurried

    def _check_wait(self, entry: Entry, history: _History) -> bool:
        at = entry.received_at
        early = history.not_before - at
        if early > EARLINESS:
            self._ignored += 1
            self._show("retry_after_ignored", entry.ordinal, f"came {early:.3f} s before the time it had been told")
            return True
        if not history.told:
            self._count_burst(entry, history, at)
        return False

    def _retried(self, history: _History, ordinal: int) -> None:
        self._retries += 1
        history.retries += 1
        if history.retries > self._most_retries:
            self._most_retries = history.retries
            self._examples["retries_per_failure"] = [Example(ordinal, f"retry number {history.retries} of its content")]

    def _count_burst(self, entry: Entry, history: _History, at: float) -> None:
        burst = [*(each for each in history.burst or () if each > at - _WINDOW), at]
        history.burst = burst
        if len(burst) > self._burst:
            self._burst = len(burst)
            note = f"retry {len(burst)} of its content within {at - burst[0]:.3f} s"
            self._examples["retry_storm"] = [Example(entry.ordinal, note)]

    def _note_cut(self, entry: Entry, digest: bytes) -> None:
        self._cut += 1
        history = self._history(digest, self._contents[digest])
        if not history.cut:  # who has asked again once after a cut has seen that it was one
            history.cut = True
            self._open_cuts[digest] = entry.ordinal

    def _settle(self, history: _History) -> None:
        """Note that an answer came in full: what was asked while it was on its way were duplicates."""
        history.answered = True
        history.in_flight -= 1
        if history.overlapping:
            for ordinal in history.overlapping:
                self._show("duplicates", ordinal, "its content was being answered already")
            self._repeated += len(history.overlapping)
            self._overlapping -= len(history.overlapping)
            history.overlapping = None

    def _told(self, entry: Entry, wait: float, history: _History, at: float) -> None:
        history.told = True
        history.not_before = at + wait
        if entry.status not in _PAUSING or not wait:
            return
        request = entry.request
        scope = (caller_of(request.headers, request.query), request.model)
        since, until = self._pauses.get(scope, (at, at))
        if at > until - EARLINESS:  # the wait before is over, so this is a new one
            since = at
        if scope in self._pauses or len(self._pauses) < _MAX_PAUSES:
            self._pauses[scope] = (since, max(until, at + wait))

    def _check_pause(self, entry: Entry) -> None:
        request = entry.request
        scope = (caller_of(request.headers, request.query), request.model)
        pause = self._pauses.get(scope)
        if pause is None:
            return
        since, until = pause
        at = entry.received_at
        if at > until - EARLINESS:
            del self._pauses[scope]
        elif at > since + IN_TRANSIT:
            self._shared += 1
            note = f"came {until - at:.3f} s before the end of a pause that its key had been told"
            self._show("shared_pause_ignored", entry.ordinal, note)

    def _show(self, rule: str, ordinal: int, note: str) -> None:
        examples = self._examples.setdefault(rule, [])
        if len(examples) < EXAMPLES:
            examples.append(Example(ordinal, note))
