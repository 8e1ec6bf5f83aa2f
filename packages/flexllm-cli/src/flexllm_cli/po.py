"""Reads a gettext catalogue in its text form, so that nothing has to be compiled."""

from __future__ import annotations

import json
from itertools import pairwise

TEMPLATE = "#, python-brace-format"
"""The line before a message that other texts are held against: `{names}` in it stand for what is there in them."""


def read_po(text: str) -> dict[str, str]:
    """The messages of a `.po` file and their translations; those without one are left out.

    Comments, and the header with the empty message, are passed over. Plurals and contexts are not used.

    Raises:
        ValueError: A line is none of a catalogue's.

    >>> read_po('msgid "one"\\nmsgstr "eins"')
    {'one': 'eins'}
    """
    entries: list[dict[str, str]] = []
    field = ""
    for number, line in enumerate(text.splitlines(), 1):
        stripped = line.strip()
        if not stripped or stripped.startswith("#"):
            continue
        keyword, _, quoted = stripped.partition(" ")
        if keyword in ("msgid", "msgstr"):
            field = keyword
            if field == "msgid":
                entries.append({"msgid": "", "msgstr": ""})
        else:
            quoted = stripped  # a text goes on over several lines
        try:
            entries[-1][field] += json.loads(quoted)  # the escapes of both are the same
        except (ValueError, LookupError, TypeError):
            raise ValueError(f"line {number} is none of a catalogue: {line[:80]!r}") from None
    return {entry["msgid"]: entry["msgstr"] for entry in entries if entry["msgid"] and entry["msgstr"]}


def templates_of(text: str) -> frozenset[str]:
    """The messages of a `.po` file that are marked as templates.

    >>> sorted(templates_of('#, python-brace-format\\nmsgid "no {name}"\\nmsgstr ""\\n\\nmsgid "{count} rows"'))
    ['no {name}']
    """
    lines = text.splitlines()
    marked = (after for before, after in pairwise(lines) if before == TEMPLATE)
    return frozenset(json.loads(line.removeprefix("msgid ")) for line in marked)
