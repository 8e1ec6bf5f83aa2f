"""Claude's lists, page by page."""

from __future__ import annotations

from typing import Any

from flexllm_mock.asgi import ApiError
from flexllm_mock.claude.errors import invalid

_DEFAULT_LIMIT, _MOST = 20, 1000


def page(items: list[dict[str, Any]], query: dict[str, str]) -> dict[str, Any]:
    """Return the page of items, each with an `id`, that a URL's query asks for. Raises ApiError 400."""
    limit = _limit(query.get("limit"))
    after, before = query.get("after_id"), query.get("before_id")
    if after and before:
        raise ApiError(400, "Only one of `before_id` and `after_id` may be specified.")
    first, last = 0, len(items)
    if after:
        first = _position(items, after, "after_id") + 1
    if before:
        last = _position(items, before, "before_id")
    shown = items[max(first, last - limit) : last] if before else items[first : first + limit]
    return {
        "data": shown,
        "has_more": len(shown) < last - first,
        "first_id": shown[0]["id"] if shown else None,
        "last_id": shown[-1]["id"] if shown else None,
    }


def _limit(text: str | None) -> int:
    if text is None:
        return _DEFAULT_LIMIT
    if not text.isdecimal() or len(text) > len(str(_MOST)) or not 1 <= int(text) <= _MOST:
        raise invalid("limit", f"Input should be an integer from 1 to {_MOST}")
    return int(text)


def _position(items: list[dict[str, Any]], name: str, parameter: str) -> int:
    for at, item in enumerate(items):
        if item["id"] == name:
            return at
    raise invalid(parameter, f"nothing in the list has the id {name!r}")
