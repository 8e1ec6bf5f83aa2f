"""Looks for what is wrong with fixtures: what cannot be read, and rules that can never be reached."""

from __future__ import annotations

import re
from collections.abc import Sequence
from fnmatch import fnmatchcase

from flexllm_mock.fixture_files import Entry, FixtureError, fixture_files, read_entries
from flexllm_mock.fixture_parser import RuleParser
from flexllm_mock.fixture_rules import FixtureMatch, FixtureRule
from flexllm_mock.fixtures import Source, problem_line

_GLOB = re.compile(r"[*?\[]")


def lint(sources: Sequence[Source]) -> tuple[int, list[str]]:
    """Return how many rules there are and what is wrong, as `file:line: place: message`, in the order of the files."""
    rules: list[FixtureRule] = []
    count, found = 0, list[str]()
    for source in sources:
        try:
            files = fixture_files(source)
        except FixtureError as error:
            found.append(str(error))
            continue
        for file in files:
            try:
                entries = read_entries(file)
            except FixtureError as error:
                found.append(str(error))
                continue
            count += len(entries)
            for entry in entries:
                found += _lint_entry(entry, rules)
    return count, found


def _lint_entry(entry: Entry, before: list[FixtureRule]) -> list[str]:
    """Return the problems of a rule; one without any joins those before."""
    parser = RuleParser()
    rule = parser.parse(entry.value, entry.where())
    if rule is None:
        return [problem_line(entry, problem.path, problem.message) for problem in parser.problems]
    hiding = next((each for each in before if hides(each, rule)), None)
    before.append(rule)
    if hiding is None:
        return []
    return [f"{entry.where()}: never reached: the rule at {hiding.place} answers every request that it matches"]


def hides(first: FixtureRule, second: FixtureRule) -> bool:
    """Tell whether a rule leaves nothing for a later one. When in doubt it does not."""
    if first.times is not None:
        return False
    wide, narrow = first.match, second.match
    return (
        wide.nth is None
        and (wide.call is None or wide.call == narrow.call)
        and _glob_covers(wide.model, narrow.model)
        and _glob_covers(wide.path, narrow.path)
        and all(_glob_covers(glob, narrow.header.get(name)) for name, glob in wide.header.items())
        and all(name in narrow.header for name in wide.header)
        and all(getattr(wide, name) in (None, getattr(narrow, name)) for name in ("vendor", "tool", "messages"))
        and _text_covers(wide, narrow, "user")
        and _text_covers(wide, narrow, "system")
    )


def _glob_covers(wide: str | None, narrow: str | None) -> bool:
    if wide is None or wide == narrow:
        return True
    if narrow is None:
        return False
    return wide == "*" or (_GLOB.search(narrow) is None and fnmatchcase(narrow, wide))


def _text_covers(wide: FixtureMatch, narrow: FixtureMatch, name: str) -> bool:
    """Tell whether the conditions of one rule on a text follow from those of another."""
    whole: str | None = getattr(narrow, name)
    part: str | None = getattr(narrow, f"{name}_contains")
    pattern: re.Pattern[str] | None = getattr(narrow, f"{name}_regex")
    wide_whole: str | None = getattr(wide, name)
    wide_part: str | None = getattr(wide, f"{name}_contains")
    wide_pattern: re.Pattern[str] | None = getattr(wide, f"{name}_regex")
    if wide_whole is not None and wide_whole != whole:
        return False
    if wide_part is not None and not any(wide_part in text for text in (whole, part) if text is not None):
        return False
    if wide_pattern is None or wide_pattern == pattern:
        return True
    return whole is not None and wide_pattern.search(whole) is not None
