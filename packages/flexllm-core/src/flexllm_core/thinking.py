"""One vocabulary for how much a model thinks before it answers; dialects map it to each endpoint."""

from __future__ import annotations

from typing import Literal, get_args

from flexllm_core.errors import ConfigError

Effort = Literal["minimal", "low", "medium", "high", "xhigh", "max"]
Thinking = bool | Effort | int | None
"""None: the endpoint's default. False or True: off or on. A word: the effort. An int: a token budget."""

EFFORTS: tuple[Effort, ...] = get_args(Effort)
_MAX_DIGITS = 18  # int() refuses texts of thousands of digits with an error of its own


def parse_thinking(text: str) -> Thinking:
    """Read a thinking mode from text, as the command line and configuration files write it.

    >>> parse_thinking("off"), parse_thinking("high"), parse_thinking("2048")
    (False, 'high', 2048)

    Raises:
        ConfigError: The text is none of off, on, an effort or a whole number of tokens above 0.
    """
    word = text.strip().lower()
    if word in ("off", "false", "none", "no"):
        return False
    if word in ("on", "true", "yes"):
        return True
    number = word.isascii() and word.isdigit() and len(word) <= _MAX_DIGITS
    return check_thinking(int(word) if number else word)


def check_thinking(value: object) -> Thinking:
    """Return `value` if it is a thinking mode.

    Raises:
        ConfigError: It is not.
    """
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int) and value > 0:
        return value
    for effort in EFFORTS:
        if value == effort:
            return effort
    raise ConfigError(
        f"thinking is {_short(value)}; expected off, on, one of {', '.join(EFFORTS)}, or a number of tokens above 0"
    )


def _short(value: object) -> str:
    """The value for a message; values from files may be of any type and size."""
    small = isinstance(value, str | float) or (isinstance(value, int) and abs(value) < 10**_MAX_DIGITS)
    return repr(value)[:80] if small else type(value).__name__
