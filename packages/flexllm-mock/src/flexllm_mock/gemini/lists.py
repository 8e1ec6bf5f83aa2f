"""Gemini's lists, page by page."""

from __future__ import annotations

from base64 import urlsafe_b64decode, urlsafe_b64encode
from typing import Any

from flexllm_mock.asgi import ApiRequest, query_fields
from flexllm_mock.gemini.errors import wrong
from flexllm_mock.gemini.fields import camel_case

_TOKEN_PREFIX = b"page:"


def page(request: ApiRequest, name: str, items: list[dict[str, Any]], *, size: int, most: int) -> dict[str, Any]:
    """Return the page of items that a request asks for, under `name`; `size` is the default, `most` the limit.

    Raises ApiError 400.
    """
    query = {camel_case(each): value for each, value in query_fields(request.query)}
    size = _size(query.get("pageSize"), size, most)
    first = _position(query.get("pageToken"), len(items))
    shown: dict[str, Any] = {name: items[first : first + size]} if items else {}
    if first + size < len(items):
        return {**shown, "nextPageToken": _token(first + size)}
    return shown


def _size(text: str | None, default: int, most: int) -> int:
    if not text:
        return default
    if not text.isdecimal() or len(text) > len(str(most)):
        raise wrong("page_size", f"an integer from 0 to {most}", text)
    return min(int(text), most) or default


def _token(position: int) -> str:
    return urlsafe_b64encode(_TOKEN_PREFIX + str(position).encode()).decode().rstrip("=")


def _position(token: str | None, end: int) -> int:
    if not token:
        return 0
    try:
        text = urlsafe_b64decode(token + "=" * (-len(token) % 4))
        position = int(text.removeprefix(_TOKEN_PREFIX)) if text.startswith(_TOKEN_PREFIX) else end
    except ValueError:
        position = end
    if not 0 < position < end:
        raise wrong("page_token", "a token from the page before", token)
    return position
