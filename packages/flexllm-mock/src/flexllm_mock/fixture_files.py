"""Fixture files: YAML, JSON or JSON Lines, with the lines on which things stand."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flexllm_mock.fixture_parser import Path as Place

if TYPE_CHECKING:
    from yaml import Node

SUFFIXES = (".yaml", ".yml", ".json", ".jsonl", ".ndjson")


class FixtureError(ValueError):
    """Fixtures that cannot be used; the message says where and why, a line for each problem."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One rule as it stands in a file. `lines` are those of its places, where they are known."""

    value: Any
    file: str
    line: int | None = None
    lines: Mapping[Place, int] = field(default_factory=dict)

    def where(self, path: Place = ()) -> str:
        """Say where a place of the rule is: file and line of the nearest thing around it that has one."""
        for length in range(len(path), -1, -1):
            line = self.lines.get(path[:length])
            if line is not None:
                return f"{self.file}:{line}"
        return self.file if self.line is None else f"{self.file}:{self.line}"


def fixture_files(path: str | os.PathLike[str]) -> list[Path]:
    """Return the file itself, or the fixture files below a folder, in the order of their names.

    Raises FixtureError when there are none.
    """
    root = Path(path)
    if not root.is_dir():
        if root.suffix.lower() not in SUFFIXES:
            raise FixtureError(f"{root}: fixtures are files that end in {', '.join(SUFFIXES)}")
        return [root]
    found = sorted(each for each in root.rglob("*") if each.suffix.lower() in SUFFIXES and each.is_file())
    if not found:
        raise FixtureError(f"{root}: no file in this folder ends in {', '.join(SUFFIXES)}")
    return found


def read_entries(file: Path) -> list[Entry]:
    """Read the rules of a file. Raises FixtureError, also when PyYAML is needed and not installed."""
    try:
        text = file.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise FixtureError(f"{file}: {error.strerror or error}") from None
    except UnicodeDecodeError as error:
        raise FixtureError(f"{file}: not UTF-8: {error}") from None
    try:
        match file.suffix.lower():
            case ".yaml" | ".yml":
                return list(_read_yaml(text, str(file)))
            case ".json":
                return list(_read_json(text, str(file)))
        return list(_read_lines(text, str(file)))
    except RecursionError:
        raise FixtureError(f"{file}: nests too deeply") from None


def _read_lines(text: str, file: str) -> Iterator[Entry]:
    for number, line in enumerate(text.split("\n"), 1):
        if line.strip():
            yield Entry(_parse(line, file, number), file, number)


def _read_json(text: str, file: str) -> Iterator[Entry]:
    listed = _listed(_parse(text, file))
    if isinstance(listed, str):
        raise FixtureError(f"{file}: {listed}")
    at = max(text.find("["), 0) if len(listed) != 1 or text.lstrip().startswith("[") else -1
    for value in listed:
        begin, end = _extent(text, at + 1)
        lines = dict(_key_lines(text, begin, end, value))
        yield Entry(value, file, text.count("\n", 0, begin) + 1, lines)
        at = end


def _parse(text: str, file: str, line: int | None = None) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise FixtureError(f"{file}:{line or error.lineno}: not JSON: {error.msg} (column {error.colno})") from None
    except ValueError as error:  # a number with too many digits
        raise FixtureError(f"{file}:{line or 1}: {error}") from None


def _extent(text: str, at: int) -> tuple[int, int]:
    """Return begin and end of the next value after a comma or bracket; of valid JSON."""
    begin = at
    while begin < len(text) and text[begin] in " \t\r\n,":
        begin += 1
    try:
        return begin, json.JSONDecoder().raw_decode(text, begin)[1]
    except json.JSONDecodeError:
        return begin, len(text)


def _key_lines(text: str, begin: int, end: int, value: object, path: Place = ()) -> Iterator[tuple[Place, int]]:
    """Yield the lines of the names in a value, found in their order."""
    named: list[tuple[str | int, object]] = []
    if isinstance(value, dict | list):
        named = list(value.items() if isinstance(value, dict) else enumerate(value))
    for name, inner in named:
        if isinstance(name, str):
            found = text.find(json.dumps(name, ensure_ascii=False), begin, end)
            if found < 0:
                continue
            begin = found
        place = (*path, name)
        yield place, text.count("\n", 0, begin) + 1
        yield from _key_lines(text, begin + 1, end, inner, place)


def _listed(value: object) -> list[Any] | str:
    """Return the rules of a document, or what is wrong with it."""
    if isinstance(value, dict):
        if set(value) == {"fixtures"}:
            value = value["fixtures"]
        else:
            return [value]
    return value if isinstance(value, list) else "must be a list of rules"


def _read_yaml(text: str, file: str) -> Iterator[Entry]:
    try:
        import yaml
    except ModuleNotFoundError:
        raise FixtureError(
            f"{file}: reading YAML needs PyYAML: pip install 'flexllm-mock[yaml]', or write the fixtures as JSON"
        ) from None
    loader = yaml.SafeLoader(text)
    try:
        node = loader.get_single_node()
        value = None if node is None else loader.construct_document(node)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f":{mark.line + 1}" if mark is not None else ""
        raise FixtureError(f"{file}{line}: not YAML: {getattr(error, 'problem', None) or error}") from None
    except ValueError as error:  # such as a date that is none
        raise FixtureError(f"{file}: not YAML: {error}") from None
    finally:
        loader.dispose()
    listed = _listed([] if value is None else value)
    if isinstance(listed, str) or node is None:
        if isinstance(listed, str):
            raise FixtureError(f"{file}: {listed}")
        return
    for rule, rule_node in zip(listed, _rule_nodes(node, listed), strict=True):
        yield Entry(rule, file, rule_node.start_mark.line + 1, dict(_node_lines(rule_node, file)))


def _rule_nodes(node: Node, listed: list[Any]) -> list[Any]:
    content: Any = node.value
    if isinstance(content, list) and content and isinstance(content[0], tuple):  # a mapping
        if len(listed) == 1 and content[0][0].value != "fixtures":
            return [node]
        return list(content[0][1].value)
    return list(content)


def _node_lines(node: Any, file: str, path: Place = ()) -> Iterator[tuple[Place, int]]:
    """Yield the lines of the places in a rule. Raises FixtureError for a name that is there twice."""
    if not isinstance(node.value, list):
        return
    for at, child in enumerate(node.value):
        if isinstance(child, tuple):
            key, inner = child
            place = (*path, key.value)
            line = key.start_mark.line + 1
            if any(key.value == other.value for other, _ in node.value[:at]):
                raise FixtureError(f"{file}:{line}: the key {key.value!r} stands here twice")
        else:
            inner, place, line = child, (*path, at), child.start_mark.line + 1
        yield place, line
        yield from _node_lines(inner, file, place)
