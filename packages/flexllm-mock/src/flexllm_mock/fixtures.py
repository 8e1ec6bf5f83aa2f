"""The fixtures of a server: finds the rule for a request, counts, and follows changes of the files."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from heapq import merge
from pathlib import Path
from typing import Any, TypeVar

from flexllm_mock.asgi import ApiError, ApiRequest
from flexllm_mock.faults import FaultRule
from flexllm_mock.fixture_files import Entry, FixtureError, fixture_files, read_entries
from flexllm_mock.fixture_parser import RuleParser, show
from flexllm_mock.fixture_rules import FixtureRule, Question
from flexllm_mock.qa import QuestionBook, read_pairs
from flexllm_mock.scripted import Prescribed

K = TypeVar("K")

Source = str | os.PathLike[str]
Fixtures = Source | Sequence[Source | Mapping[str, Any]]
"""A file, a folder, or a list of those and of rules as they stand in files."""

_LOOK_SECONDS = 1.0
_MAX_COUNTED = 1_000_000
_SHOWN_PROBLEMS = 10

_logger = logging.getLogger("flexllm_mock")


@dataclass(frozen=True, slots=True)
class Played:
    """What the fixtures prescribe for a request: an answer, a fault, or a fault with an error of its own."""

    answer: Prescribed | None = None
    fault: FaultRule | None = None
    problem: ApiError | None = None


class FixtureBook:
    """Rules in their order, found by what they match exactly where they do, so that files may have many of them."""

    def __init__(self, rules: Iterable[FixtureRule], questions: QuestionBook | None = None) -> None:
        self._questions = questions
        self._others: list[tuple[int, FixtureRule]] = []
        self._by_messages: dict[bytes, list[tuple[int, FixtureRule]]] = {}
        self._by_user: dict[str, list[tuple[int, FixtureRule]]] = {}
        for numbered in enumerate(rules):
            match = numbered[1].match
            if match.messages is not None:
                self._by_messages.setdefault(match.messages, []).append(numbered)
            elif match.user is not None:
                self._by_user.setdefault(match.user, []).append(numbered)
            else:
                self._others.append(numbered)
        self.reset()

    def reset(self) -> None:
        """Begin all sequences and counts anew."""
        self._calls: dict[bytes, int] = {}
        self._used: dict[tuple[int, bytes], int] = {}
        self._fitted: dict[int, int] = {}

    def play(self, request: ApiRequest) -> Played | None:
        """Return what is prescribed for a request and count it; None when the mock answers by itself."""
        question = Question(request)
        content = request.digest or blake2b(request.body, digest_size=16).digest()
        call = self._count(self._calls, content)
        for number, rule in self._candidates(question):
            groups = rule.match.groups(question, call)
            if groups is None or not self._is_nth(number, rule):
                continue
            step = rule.steps[0]
            if rule.counts:
                used = self._count(self._used, (number, content if rule.per == "content" else b"")) - 1
                if rule.times is not None and used >= rule.times:
                    continue
                step = rule.step(used)
            answer = None if step.answer is None else step.answer.fill(question, call, groups)
            return Played(answer, step.fault, step.problem())
        if self._questions is not None:
            found = self._questions.answer(question.last_user)
            if found is not None:
                return Played(found)
        return None

    def _candidates(self, question: Question) -> Iterable[tuple[int, FixtureRule]]:
        lists = [self._others]
        if self._by_messages:
            lists.append(self._by_messages.get(question.key, []))
        if self._by_user:
            lists.append(self._by_user.get(question.last_user, []))
        lists = [each for each in lists if each]
        return lists[0] if len(lists) == 1 else merge(*lists, key=lambda numbered: numbered[0])

    def _is_nth(self, number: int, rule: FixtureRule) -> bool:
        return rule.match.nth is None or self._count(self._fitted, number) in rule.match.nth

    @staticmethod
    def _count(counts: dict[K, int], key: K) -> int:
        """Count one more and return how many it are now; contents beyond a million are all new."""
        count = counts.get(key, 0) + 1
        if count > 1 or len(counts) < _MAX_COUNTED:
            counts[key] = count
        return count


class FixtureScript:
    """A server's fixtures and question book, read again when their files change.

    Raises FixtureError when they cannot be read at the start. Later a file that is broken is reported, and what was
    there before stays in force.
    """

    def __init__(self, fixtures: Fixtures = (), qa: Source | Mapping[str, str] | None = None) -> None:
        single = isinstance(fixtures, str | os.PathLike)
        self._fixtures: tuple[Source | Mapping[str, Any], ...] = (fixtures,) if single else tuple(fixtures)  # type: ignore[arg-type,assignment]
        self._qa = qa
        self._seen = self._state()
        self._book = self._read()
        self._next_look: float | None = None

    def reset(self) -> None:
        """Begin all sequences and counts anew."""
        self._book.reset()

    def play(self, request: ApiRequest, now: float) -> Played | None:
        """Return what is prescribed for a request; `now` is in seconds, for looking at the files once in a while."""
        if self._next_look is None or now >= self._next_look:
            if self._next_look is not None:
                self._follow()
            self._next_look = now + _LOOK_SECONDS
        try:
            return self._book.play(request)
        except RecursionError:  # a body that nests too deeply, which its endpoint refuses
            return None

    def _follow(self) -> None:
        state = self._state()
        if state == self._seen:
            return
        self._seen = state
        try:
            self._book = self._read()
        except FixtureError as error:
            _logger.warning("fixtures were changed and cannot be read, the old ones stay in force: %s", error)
        else:
            _logger.warning("fixtures were changed and read again; their sequences begin anew")

    def _paths(self) -> list[Path]:
        """Return all files; a folder that is empty or gone has none."""
        paths: list[Path] = []
        for source in self._fixtures:
            if not isinstance(source, Mapping):
                paths += fixture_files(source)
        return paths

    def _state(self) -> list[tuple[Path, int, int]]:
        """Return what tells that a file has changed."""
        try:
            paths = self._paths()
        except FixtureError:
            paths = []
        if self._qa is not None and not isinstance(self._qa, Mapping):
            paths.append(Path(self._qa))
        found: list[tuple[Path, int, int]] = []
        for path in paths:
            try:
                status = path.stat()
            except OSError:
                continue
            found.append((path, status.st_mtime_ns, status.st_size))
        return found

    def _read(self) -> FixtureBook:
        entries: list[Entry] = []
        for at, source in enumerate(self._fixtures):
            if isinstance(source, Mapping):
                entries.append(Entry(dict(source), f"fixtures[{at}]"))
            else:
                entries += [entry for file in fixture_files(source) for entry in read_entries(file)]
        questions = None
        if self._qa is not None:
            pairs = self._qa.items() if isinstance(self._qa, Mapping) else read_pairs(Path(self._qa))
            questions = QuestionBook(pairs)
        return FixtureBook(parse_entries(entries), questions)


def parse_entries(entries: Iterable[Entry]) -> list[FixtureRule]:
    """Read the rules of entries. Raises FixtureError with a line for each problem."""
    rules: list[FixtureRule] = []
    problems: list[str] = []
    for entry in entries:
        parser = RuleParser()
        rule = parser.parse(entry.value, sys.intern(entry.where()))
        if rule is not None:
            rules.append(rule)
        problems += [problem_line(entry, problem.path, problem.message) for problem in parser.problems]
    if problems:
        more = len(problems) - _SHOWN_PROBLEMS
        shown = problems[:_SHOWN_PROBLEMS] + ([f"... and {more} more"] if more > 0 else [])
        raise FixtureError("\n".join(shown))
    return rules


def problem_line(entry: Entry, path: tuple[str | int, ...], message: str) -> str:
    """Write one problem as `file:line: place: message`."""
    place = show(path)
    return f"{entry.where(path)}: {place}: {message}" if place else f"{entry.where()}: {message}"
