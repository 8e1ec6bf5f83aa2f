"""Hides keys in what the server shows of a request: its headers, its URL and its body."""

from __future__ import annotations

import re
from collections.abc import Iterable
from urllib.parse import unquote_plus

from flexllm_mock.asgi import Headers, query_fields
from flexllm_mock.auth import KEY_PARAMETERS

MASK = "***"

_SECRET_NAMES = ("authorization", "cookie", "key", "token", "secret")
_SCHEME = re.compile(r"(?:bearer|basic)\s+", re.IGNORECASE)
# Shapes of the vendors' keys, for keys that stand where nobody looks for them.
_KEY_SHAPES = re.compile(
    r"\b(?:sk|rk|pk|gsk|xai|hf|fw|nvapi|ghp|tgp|r8|pplx)[-_][A-Za-z0-9_-]{6,}|\bAIza[A-Za-z0-9_-]{10,}"
    r"|\bya29\.[A-Za-z0-9_.-]{10,}|\bbearer\s+[A-Za-z0-9_.~+/=-]{6,}",
    re.IGNORECASE,
)
_KEY_FIELDS = re.compile(
    r'("(?:api[_-]?key|x-api-key|apikey|access[_-]?token|authorization|secret|password)"\s*:\s*)"(?:[^"\\]|\\.)*"',
    re.IGNORECASE,
)
LEAST_SECRET = 6
"""Characters that a secret has at least; shorter ones would be found in ordinary words."""


def masked(headers: Headers, secrets: Iterable[str] = ()) -> dict[str, str]:
    """Return headers as text, with the values of those that can hold a key, and the secrets, replaced by `***`."""
    shown: dict[str, str] = {}
    for raw_name, raw_value in headers:
        name, value = raw_name.decode("latin-1").lower(), raw_value.decode("latin-1")
        value = MASK if _names_secret(name) else masked_text(value, secrets)
        shown[name] = f"{shown[name]}, {value}" if name in shown else value
    return shown


def masked_url(path: str, query: bytes, secrets: Iterable[str] = ()) -> str:
    """Return a path and its query with the values of keys replaced by `***`."""
    path = masked_text(path, secrets)
    if not query:
        return path
    fields = []
    for field in query.decode("latin-1").split("&"):
        name, equals, value = field.partition("=")
        plain = unquote_plus(name).lower()
        hidden = plain in KEY_PARAMETERS or _names_secret(plain)
        fields.append(f"{name}{equals}{MASK if hidden and value else masked_text(value, secrets)}")
    return f"{path}?{'&'.join(fields)}"


def masked_text(text: str, secrets: Iterable[str] = ()) -> str:
    """Return a text without the given secrets, without what has the shape of a key, and without fields that hold one.

    A secret of fewer than 6 characters is left: it would be found in ordinary words.
    """
    for secret in secrets:
        if len(secret) >= LEAST_SECRET:
            text = text.replace(secret, MASK)
    return _KEY_SHAPES.sub(MASK, _KEY_FIELDS.sub(rf'\1"{MASK}"', text))


def secrets_of(headers: Headers, query: bytes = b"") -> list[str]:
    """Return the values that can be keys: of headers, without the words before them, and of fields of the URL."""
    found: list[str] = []
    for name, raw_value in headers:
        if _names_secret(name.decode("latin-1").lower()):
            found.append(_SCHEME.sub("", raw_value.decode("latin-1"), count=1).strip())
    if query:
        found += [value for name, value in query_fields(query) if name.lower() in KEY_PARAMETERS]
    return found


def _names_secret(name: str) -> bool:
    return any(secret in name for secret in _SECRET_NAMES)
