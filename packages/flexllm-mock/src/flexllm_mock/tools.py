"""Functions that a model may call, and which of them the user's text asks for."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

NO_PARAMETERS: dict[str, Any] = {"type": "object", "properties": {}}
"""The schema of a function whose declaration has none."""


@dataclass(frozen=True, slots=True)
class Tool:
    """A function that the model may call, with the JSON schema of its arguments."""

    name: str
    parameters: Any


def named_in(text: str, tools: Sequence[Tool]) -> tuple[Tool, ...]:
    """Return the tools whose names stand in the text as whole words, in the order in which they first do."""
    found: dict[str, tuple[int, Tool]] = {}
    for tool in tools:
        match = re.search(rf"(?<![\w-]){re.escape(tool.name)}(?![\w-])", text)
        if match is not None:
            found.setdefault(tool.name, (match.start(), tool))
    return tuple(tool for _, tool in sorted(found.values(), key=lambda each: each[0]))
