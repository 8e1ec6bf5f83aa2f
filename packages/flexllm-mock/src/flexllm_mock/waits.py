"""How long an error answer tells its client to wait."""

from __future__ import annotations

import re
import time
from collections.abc import Iterable
from email.utils import parsedate_to_datetime

_LONGEST = 7 * 24 * 3600.0
_RETRY_DELAY = re.compile(rb'"retryDelay"\s*:\s*"(\d+(?:\.\d+)?)s"')


def told_wait(headers: Iterable[tuple[bytes, bytes]], body: bytes) -> float | None:
    """Return the seconds that an answer tells to wait, None when it tells nothing.

    Read are `retry-after-ms`, `retry-after` in seconds or as a date, and the `retryDelay` of Google's errors, in this
    order. A date of the past is 0; more than a week is a week.
    """
    plain = None
    for raw_name, raw_value in headers:
        name = raw_name.lower()
        if name == b"retry-after-ms":
            milliseconds = _number(raw_value)
            if milliseconds is not None:
                return min(milliseconds / 1000, _LONGEST)
        elif name == b"retry-after":
            plain = _number(raw_value)
            if plain is None:
                plain = _until(raw_value)
    if plain is None:
        found = _RETRY_DELAY.search(body)
        plain = float(found[1]) if found else None
    return None if plain is None else min(plain, _LONGEST)


def _number(value: bytes) -> float | None:
    text = value.strip()
    return float(text) if re.fullmatch(rb"\d{1,15}(?:\.\d+)?", text) else None


def _until(value: bytes) -> float | None:
    try:
        moment = parsedate_to_datetime(value.decode("latin-1"))
        # A date has no fractions of a second, and neither clock is exact: a second less is obeyed as well.
        return max(0.0, moment.timestamp() - time.time() - 1)
    except (ValueError, OverflowError, OSError):
        return None
