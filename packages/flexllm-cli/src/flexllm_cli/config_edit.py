"""Edits the configuration file as a person would: one line changes, and the file is never half written."""

from __future__ import annotations

import json
import re

_DEFAULT = re.compile(
    r"""^default[ \t]*:[ \t]*
    (?:"(?:[^"\\\n]|\\.)*"|'(?:[^'\n]|'')*'|[^\s#'"][^#\n]*?)?   # a value in either quotes, a plain one, or none
    (?P<rest>[ \t]*(?:\#[^\n]*)?\r?)$""",
    re.MULTILINE | re.VERBOSE,
)


def with_default(text: str, name: str) -> str:
    """The text of a configuration whose `default` is `name`; the rest stays as it is, byte for byte."""
    value = json.dumps(name, ensure_ascii=False)  # a double-quoted scalar of YAML
    edited, count = _DEFAULT.subn(lambda match: f"default: {value}{match['rest']}", text, count=1)
    if count:
        return edited
    newline = "\r\n" if "\r\n" in text else "\n"
    return f"default: {value}{newline}{text}"
