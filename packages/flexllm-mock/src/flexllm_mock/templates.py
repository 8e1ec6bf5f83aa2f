"""Templates of scripted answers: `{{last_user}}` and the like are replaced, nothing is ever run."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

NAMES = ("last_user", "system", "model", "path", "vendor", "call")
"""Placeholders without a dot; `header.NAME` and `group.NAME` are the others."""

FAMILIES = ("header", "group")

_PLACEHOLDER = re.compile(r"\{\{\s*([A-Za-z_]\w*(?:\.[\w-]+)?)\s*\}\}")

Look = Callable[[str], str]
"""Gives the text for a placeholder's name."""


def placeholders(value: Any) -> Iterator[str]:
    """Yield the names of the placeholders in the texts of a JSON value."""
    if isinstance(value, str):
        yield from _PLACEHOLDER.findall(value)
    elif isinstance(value, list):
        for each in value:
            yield from placeholders(each)
    elif isinstance(value, dict):
        for each in value.values():
            yield from placeholders(each)


def fill(value: Any, look: Look) -> Any:
    """Return a JSON value with the placeholders in its texts replaced. What is put in is not read again."""
    if isinstance(value, str):
        return _PLACEHOLDER.sub(lambda match: look(match[1]), value)
    if isinstance(value, list):
        return [fill(each, look) for each in value]
    if isinstance(value, dict):
        return {name: fill(each, look) for name, each in value.items()}
    return value


def is_known(name: str) -> bool:
    """Tell whether a placeholder can be replaced; whether a group is there depends on the pattern."""
    family, dot, rest = name.partition(".")
    return (family in FAMILIES and rest != "") if dot else name in NAMES
