"""Finds the API key of a request: in the headers that vendors use, or in its URL."""

from __future__ import annotations

from hmac import compare_digest

from flexllm_mock.asgi import Headers, query_fields

_KEY_HEADERS = (b"x-api-key", b"api-key", b"x-goog-api-key")
KEY_PARAMETERS = ("key", "api_key", "api-key", "apikey", "access_token")


def authorised(headers: Headers, key: bytes) -> bool:
    """Tell whether a request carries the key, as a bearer or in one of the headers that vendors use instead."""
    for name, value in headers:
        given = b""
        if name == b"authorization":
            scheme, _, given = value.partition(b" ")
            if scheme.lower() != b"bearer":
                continue
        elif name in _KEY_HEADERS:
            given = value
        if given and compare_digest(given.strip(), key):
            return True
    return False


def authorised_by_url(query: bytes, key: bytes) -> bool:
    """Tell whether a request carries the key in its URL, as `?key=`."""
    return any(name == "key" and compare_digest(value.encode(), key) for name, value in query_fields(query))


def has_key(query: bytes) -> bool:
    """Tell whether a URL's query holds a key, right or wrong."""
    return any(name.lower() in KEY_PARAMETERS for name, _ in query_fields(query))


def caller_of(headers: Headers, query: bytes) -> int | None:
    """Return a number that stands for the key of a request, None when it has none: whose requests are one client's."""
    for name, value in headers:
        if name == b"authorization" or name in _KEY_HEADERS:
            return hash(value)
    for field, given in query_fields(query) if query else ():
        if field.lower() in KEY_PARAMETERS:
            return hash(given.encode())
    return None
