"""The list of models at `GET /v1/models`, page by page, and what it says that each model can do."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode

from flexllm_core.json_codec import decode_json
from flexllm_core.requests import ChatRequest
from flexllm_providers.claude.errors import decode_error, error_in_body, is_error
from flexllm_providers.claude.target import api_url, claude_target
from flexllm_providers.http import HttpRequest, HttpResponse
from flexllm_providers.target import Target
from flexllm_providers.wire_errors import unusable

PAGE_SIZE = 1000
"""The most that one page may hold."""

_NO_CHAT = ChatRequest([])
_THINKING = {
    "adaptive": "adaptive",
    "budget": "enabled",
    "disabled": "disabled",
    "between_tools": "between_tools",
}
"""The keys of our rows, and the types of thinking that they stand for."""


@dataclass(frozen=True, slots=True)
class ClaudeModelInfo:
    """One model of the list; what the server left out is None.

    Attributes:
        id: The model's id on the wire.
        display_name: For a person.
        created_at: When it was released, in RFC 3339.
        lifecycle: `active`, `deprecated` or `retired`.
        max_input_tokens: Size of the context.
        max_tokens: The most that `max_tokens` may be.
        capabilities: As the server gave them.
    """

    id: str
    display_name: str | None = None
    created_at: str | None = None
    lifecycle: str | None = None
    max_input_tokens: int | None = None
    max_tokens: int | None = None
    capabilities: Mapping[str, Any] = field(default_factory=dict)

    def overrides(self) -> dict[str, Any]:
        """What the server says of the model, as overrides of its row (`capabilities.py`)."""
        types = _at(self.capabilities, "thinking", "types")
        out: dict[str, Any] = {
            key: types[name]["supported"] for key, name in _THINKING.items() if _is_told(types.get(name))
        }
        effort = _at(self.capabilities, "effort")
        if isinstance(effort.get("supported"), bool):
            words = [word for word in ("low", "medium", "high", "xhigh", "max") if _is_told(effort.get(word))]
            out["efforts"] = frozenset(word for word in words if effort[word]["supported"] and effort["supported"])
        structured = self.capabilities.get("structured_outputs")
        if _is_told(structured):
            out["structured"] = structured["supported"]  # type: ignore[index]  # a mapping, as _is_told says
        if self.max_tokens:
            out["max_tokens"] = self.max_tokens
        return out


@dataclass(frozen=True, slots=True)
class ClaudeModelPage:
    """One page; `after_id` asks for the next one and is None on the last."""

    models: tuple[ClaudeModelInfo, ...]
    after_id: str | None = None


def encode_models(target: Target, after_id: str | None = None, limit: int = PAGE_SIZE) -> HttpRequest:
    """The request for a page of at most `limit` models."""
    claude = claude_target(target)
    query = urlencode({"limit": limit} | ({"after_id": after_id} if after_id else {}))
    return HttpRequest("GET", f"{api_url(claude.base_url, 'models')}?{query}", claude.api_headers)


def decode_models(response: HttpResponse, target: Target, now: float) -> ClaudeModelPage:
    """The page in a response. `now` is wall-clock seconds since 1970.

    Raises:
        LLMRequestError: An error status, or a body that is no such list.
    """
    if not 200 <= response.status < 300:
        raise decode_error(response, _NO_CHAT, target, now)
    try:
        data = decode_json(response.body)
    except ValueError:
        data = None
    if isinstance(data, dict) and is_error(data):
        raise error_in_body(data, response.body, response.headers, _NO_CHAT, target, now)
    if not isinstance(data, dict) or not isinstance(data.get("data"), list):
        raise unusable(target, _NO_CHAT, "the answer is no list of models", response.body)
    models = tuple(_info(item) for item in data["data"] if isinstance(item, dict) and isinstance(item.get("id"), str))
    last = data.get("last_id")
    more = data.get("has_more") is True and models and isinstance(last, str) and last
    return ClaudeModelPage(models, last if more else None)


def _info(item: Mapping[str, Any]) -> ClaudeModelInfo:
    capabilities = item.get("capabilities")
    return ClaudeModelInfo(
        id=item["id"],
        display_name=_text(item.get("display_name")),
        created_at=_text(item.get("created_at")),
        lifecycle=_text(item.get("lifecycle")),
        max_input_tokens=_number(item.get("max_input_tokens")),
        max_tokens=_number(item.get("max_tokens")),
        capabilities=capabilities if isinstance(capabilities, dict) else {},
    )


def _at(source: Mapping[str, Any], *path: str) -> Mapping[str, Any]:
    """The mapping at a path, an empty one where there is none."""
    for key in path:
        value = source.get(key)
        source = value if isinstance(value, dict) else {}
    return source


def _is_told(capability: object) -> bool:
    return isinstance(capability, dict) and isinstance(capability.get("supported"), bool)


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None


def _number(value: object) -> int | None:
    return value if type(value) is int and value > 0 else None
