"""Edits the configuration file as a person would: one line changes, and the file is never half written."""

from __future__ import annotations

import json
import os
import re
import tempfile
from pathlib import Path

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


def write_atomically(path: Path, text: str) -> None:
    """Replace a file by a whole new one with the same mode; a link stays a link.

    Raises:
        OSError: It cannot be written; the old file is as it was.
    """
    path = path.resolve()
    mode = path.stat().st_mode & 0o777
    fd, name = tempfile.mkstemp(prefix=path.name, suffix=".tmp", dir=path.parent)
    try:
        with os.fdopen(fd, "w", encoding="utf-8", newline="") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        Path(name).chmod(mode)
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
