"""Secrets are taken out of every text that leaves the process: servers echo keys in their errors."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from urllib.parse import quote

MASK = "***"
_MIN_SECRET = 6  # shorter fillers such as EMPTY stand in ordinary text too

_SHORTEST_SHOWN = 20  # characters of a key of which any may be shown
_LONG = 48  # as OpenRouter's, Anthropic's and OpenAI's own

_SHAPES = re.compile(
    r"\b(?:sk|pk|rk|xai|gsk|hf|r8)[-_][A-Za-z0-9_-]{12,}"  # OpenAI-like, Anthropic, xAI, Groq, Hugging Face
    r"|\bAIza[A-Za-z0-9_-]{20,}"  # Google
    r"|(?<=://)[^/?#\s\"'<>]+(?=@)"  # user and password, or a token alone, in a URL
    r"|(?<=[?&]key=)[^&\s\"']+"
    r"|(?i:(?<=bearer )[A-Za-z0-9._~+/=-]{8,})"
)


def redact(text: str, secrets: Iterable[str] = ()) -> str:
    """Replace the known `secrets`, and whatever looks like a key, by `***`.

    >>> redact("wrong key sk-abcdefghijklmnop")
    'wrong key ***'
    """
    # The longest first: a secret may be the beginning of another one.
    for form in sorted(secret_forms(secrets), key=len, reverse=True):
        text = text.replace(form, MASK)
    return _SHAPES.sub(MASK, text)


def secret_forms(secrets: Iterable[str]) -> set[str]:
    """The spellings under which each secret may stand in a text: as it is, inside JSON, inside a URL.

    Of a header's `Bearer ...` also the credentials alone. Secrets of less than 6 characters are left out.
    """
    forms: set[str] = set()
    for secret in secrets:
        scheme, _, credentials = secret.strip().partition(" ")
        whole = credentials.strip() if scheme.lower() in ("basic", "bearer", "token") else ""
        for part in (secret.strip(), whole):
            if len(part) >= _MIN_SECRET:
                escaped = json.dumps(part)[1:-1]
                forms |= {part, escaped, escaped.replace("/", "\\/"), quote(part, safe="")}
    return forms


def mask_key(key: str) -> str:
    """A key as a person may see it: a short prefix and the last four characters.

    >>> mask_key("sk-or-v1-abcdefghijklmnop")
    'sk-or-...mnop'

    Of a long one so much more that two keys of one vendor, which begin alike, can be told apart.
    """
    if len(key) < _SHORTEST_SHOWN:
        return MASK
    return f"{key[: 15 if len(key) >= _LONG else 6]}...{key[-4:]}"
