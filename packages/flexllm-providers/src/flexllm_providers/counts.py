"""Counts in JSON that others wrote."""

from __future__ import annotations

from collections.abc import Mapping


def count(source: Mapping[str, object], key: str) -> int:
    """A number of things, 0 where there is none or something else.

    >>> count({"n": 2, "m": -1}, "n"), count({"n": 2, "m": -1}, "m"), count({}, "n")
    (2, 0, 0)
    """
    value = source.get(key)
    return value if type(value) is int and value > 0 else 0
