"""What a terminal is shown: results on stdout, everything else on stderr, and no control characters from models."""

from __future__ import annotations

import sys

from flexllm_cli.i18n import translate_message
from flexllm_core.visible import visible


def write_result(text: str) -> None:
    """Write a piece of a result to stdout: harmless on a terminal, exactly as it came elsewhere."""
    if sys.stdout.isatty():
        # Half of a character, which JSON can hold, is no reason to end: it is shown as an escape too.
        sys.stdout.write(visible(text).encode("utf-8", "backslashreplace").decode())
    else:
        sys.stdout.buffer.write(text.encode("utf-8", "surrogatepass"))
    sys.stdout.flush()


def say(text: str) -> None:
    """Tell the user something, on stderr, in the user's language where the text is known."""
    sys.stderr.write(visible(translate_message(text)) + "\n")
    sys.stderr.flush()
