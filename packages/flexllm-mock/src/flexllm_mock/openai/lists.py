"""OpenAI's lists, page by page."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from flexllm_mock.asgi import ApiError, ApiRequest, query_fields
from flexllm_mock.openai.parameters import invalid

_DEFAULT_LIMIT = 20


def page(
    request: ApiRequest, items: Sequence[dict[str, Any]], *, limit: int = _DEFAULT_LIMIT, most: int = 100
) -> dict[str, Any]:
    """Return the page that a request asks for with `limit`, `after`, `before` and `order`; the newest comes first.

    `items` are oldest first, each with an `id`; `limit` is the default. Raises ApiError 400.
    """
    query = dict(query_fields(request.query))
    order = query.get("order", "desc")
    if order not in ("asc", "desc"):
        raise invalid("order", "asc or desc", order)
    listed = list(items) if order == "asc" else list(reversed(items))
    size = _limit(query.get("limit"), limit, most)
    first, last = 0, len(listed)
    if after := query.get("after"):
        first = _position(listed, after, "after") + 1
    if before := query.get("before"):
        last = _position(listed, before, "before")
    shown = listed[first:last][:size]
    return {
        "object": "list",
        "data": shown,
        "first_id": shown[0]["id"] if shown else None,
        "last_id": shown[-1]["id"] if shown else None,
        "has_more": last - first > len(shown),
    }


def _limit(text: str | None, default: int, most: int) -> int:
    if text is None:
        return default
    if not text.isdecimal() or len(text) > len(str(most)) or not 1 <= int(text) <= most:
        raise invalid("limit", f"an integer from 1 to {most}", text)
    return int(text)


def _position(listed: list[dict[str, Any]], name: str, parameter: str) -> int:
    for at, item in enumerate(listed):
        if item["id"] == name:
            return at
    raise ApiError(400, f"Invalid value for {parameter!r}: there is no {name!r} in the list.", param=parameter)
