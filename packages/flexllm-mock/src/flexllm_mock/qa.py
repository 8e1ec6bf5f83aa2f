"""Question and answer pairs: the answer to the last user text, or to the longest question that stands in it."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from flexllm_mock.fixture_files import FixtureError

_QUESTIONS = ("question", "q", "prompt", "instruction", "input", "user")
_ANSWERS = ("answer", "a", "completion", "output", "response")
_PREFIX = 8


class QuestionBook:
    """Answers by question. Of equal questions the first one counts; spaces around a question do not."""

    def __init__(self, pairs: Iterable[tuple[str, str]]) -> None:
        self._answers: dict[str, str] = {}
        for question, answer in pairs:
            self._answers.setdefault(question.strip(), answer)
        self._answers.pop("", None)
        # Questions by how they begin, so that finding them in a text takes a look-up for each of its characters.
        self._by_prefix: dict[str, list[str]] = {}
        for question in sorted(self._answers, key=len, reverse=True):
            self._by_prefix.setdefault(question[:_PREFIX], []).append(question)
        self._lengths = sorted({len(prefix) for prefix in self._by_prefix})

    def __len__(self) -> int:
        return len(self._answers)

    def answer(self, text: str) -> str | None:
        """Return the answer to a text: exact first, else that of the longest question in it; None without one."""
        text = text.strip()
        found = self._answers.get(text)
        if found is not None:
            return found
        best = ""
        for at in range(len(text)):
            for length in self._lengths:
                for question in self._by_prefix.get(text[at : at + length], ()):
                    if len(question) <= len(best):
                        break
                    if text.startswith(question, at):
                        best = question
                        break
        return self._answers.get(best)


def read_pairs(file: Path) -> list[tuple[str, str]]:
    """Read pairs from JSON Lines, JSON or CSV. Raises FixtureError that names the line or the place.

    A row is an object with a question and an answer, or a list of the two; JSON may be one object of answers by
    question. CSV may have names in its first line.
    """
    try:
        text = file.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise FixtureError(f"{file}: {error.strerror or error}") from None
    except UnicodeDecodeError as error:
        raise FixtureError(f"{file}: not UTF-8: {error}") from None
    try:
        match file.suffix.lower():
            case ".csv" | ".tsv":
                rows = _table(text, "\t" if file.suffix.lower() == ".tsv" else ",")
            case ".json":
                rows = _document(json.loads(text))
            case _:
                lines = [(f"line {number}", line) for number, line in enumerate(text.split("\n"), 1)]
                rows = [(place, json.loads(line)) for place, line in lines if line.strip()]
        return [_pair(row, f"{file}: {place}") for place, row in rows]
    except csv.Error as error:
        raise FixtureError(f"{file}: not CSV: {error}") from None
    except FixtureError:
        raise
    except ValueError as error:
        raise FixtureError(f"{file}: not JSON: {error}") from None


def _table(text: str, delimiter: str) -> list[tuple[str, Any]]:
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    rows = [(f"line {reader.line_num}", row) for row in reader if any(row)]
    if not rows:
        return []
    names = [name.strip().lower() for name in rows[0][1]]
    if set(names) & set(_QUESTIONS) and set(names) & set(_ANSWERS):
        return [(place, dict(zip(names, row, strict=False))) for place, row in rows[1:]]
    return list(rows)


def _document(value: Any) -> list[tuple[str, Any]]:
    if isinstance(value, dict):
        return [(repr(question), [question, answer]) for question, answer in value.items()]
    if not isinstance(value, list):
        raise ValueError("expected a list of pairs, or an object of answers by question")  # noqa: TRY004 wrong data
    return [(f"item {at}", each) for at, each in enumerate(value)]


def _pair(row: Any, place: str) -> tuple[str, str]:
    pair: list[Any]
    if isinstance(row, Mapping):
        pair = [*_named(row, _QUESTIONS), *_named(row, _ANSWERS)]
    else:
        pair = list(row) if isinstance(row, list) else []
    if len(pair) != 2 or not all(isinstance(each, str) for each in pair):
        raise FixtureError(
            f"{place}: expected a question and an answer, as texts named {'/'.join(_QUESTIONS[:2])} and "
            f"{'/'.join(_ANSWERS[:2])} or as a list of two"
        )
    return pair[0], pair[1]


def _named(row: Mapping[str, Any], names: tuple[str, ...]) -> Iterator[Any]:
    for name in names:
        if name in row:
            yield row[name]
            return
