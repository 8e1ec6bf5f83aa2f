"""Reads a gettext catalogue in its text form, so that nothing has to be compiled."""

from __future__ import annotations

import json


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
