"""What a terminal is shown: results on stdout, everything else on stderr, and no control characters from models."""

from __future__ import annotations

import os
import sys
from typing import IO, Literal

from flexllm_cli.i18n import translate_message
from flexllm_core.visible import visible

_STYLES = {"red": "\x1b[31m", "dim": "\x1b[2m"}
_PLAIN = "\x1b[0m"


def styled(text: str, style: Literal["red", "dim"], stream: IO[str] | None = None) -> str:
    """Text in a colour, or dimmed, where a stream (standard error by default) is a terminal that is to have such.

    `NO_COLOR` with any value, and `TERM=dumb`, ask for none.
    """
    stream = stream or sys.stderr
    if not stream.isatty() or os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb":
        return text
    return f"{_STYLES[style]}{text}{_PLAIN}"


def write_result(text: str) -> None:
    """Write a piece of a result to stdout: harmless on a terminal, exactly as it came elsewhere."""
    if sys.stdout.isatty():
        # Half of a character, or what the terminal's encoding lacks, is no reason to end: it is shown as an escape too.
        encoding = sys.stdout.encoding or "utf-8"  # of the locale: it may have no Chinese
        sys.stdout.write(visible(text).encode(encoding, "backslashreplace").decode(encoding))
    else:
        sys.stdout.buffer.write(text.encode("utf-8", "surrogatepass"))
    sys.stdout.flush()


def say(text: str) -> None:
    """Tell the user something, on stderr, in the user's language where the text is known."""
    sys.stderr.write(visible(translate_message(text)) + "\n")
    sys.stderr.flush()
