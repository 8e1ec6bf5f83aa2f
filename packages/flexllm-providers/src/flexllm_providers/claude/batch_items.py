"""Items of Claude's message batches: one of the `requests` of a batch, and one line of its results.

Sources: the types of the anthropic SDK and the pages of platform.claude.com.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from flexllm_core.errors import InputError
from flexllm_core.json_codec import encode_json
from flexllm_core.requests import ChatRequest
from flexllm_core.results import ChatCompletionResult
from flexllm_providers.claude.decode import decode
from flexllm_providers.claude.encode import message_body
from flexllm_providers.claude.errors import error_in_body
from flexllm_providers.http import HttpResponse
from flexllm_providers.target import Target
from flexllm_providers.wire_errors import left_undone, unusable
from flexllm_providers.wire_warnings import warn_extra_headers

_CUSTOM_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")
_UNDONE = {
    "expired": ("batch_expired", "the batch expired before it was asked"),
    "canceled": ("batch_canceled", "the batch was canceled before it was asked"),
}


def encode_item(request: ChatRequest, custom_id: str, target: Target) -> dict[str, Any]:
    """The item of `requests` that asks a request.

    Raises:
        ConfigError: The model cannot do what the params ask for.
        InputError: The messages cannot be given to Claude, or the custom id is not of 1 to 64 letters, digits,
            `_` and `-`.
    """
    if not _CUSTOM_ID.fullmatch(custom_id):
        raise InputError(f"custom_id: expected 1 to 64 letters, digits, _ and -, found {custom_id!r:.80}")
    warn_extra_headers(request, target)
    return {"custom_id": custom_id, "params": message_body(request, target)}


def custom_id_of(item: Mapping[str, Any]) -> str | None:
    """The custom id of an outcome; None where it has none."""
    found = item.get("custom_id")
    return found if isinstance(found, str) and found else None


def decode_item(item: Mapping[str, Any], request: ChatRequest, target: Target, now: float) -> ChatCompletionResult:
    """The answer in a line of the results.

    Args:
        item: The line.
        request: What was asked.
        target: Who was asked.
        now: Wall-clock seconds since 1970.

    Raises:
        LLMRequestError: The request failed, expired or was canceled, or its answer is of no use.
    """
    result = item.get("result")
    kind = result.get("type") if isinstance(result, dict) else None
    if isinstance(result, dict) and kind == "succeeded":
        return decode(HttpResponse(200, {}, encode_json(result.get("message"))), request, target, now)
    if isinstance(result, dict) and kind == "errored":
        error = result.get("error")
        holder = error if isinstance(error, dict) else {"error": error}
        raise error_in_body(holder, encode_json(error), {}, request, target, now)
    if isinstance(kind, str) and kind in _UNDONE:
        code, what = _UNDONE[kind]
        raise left_undone(target, request, what, code)
    raise unusable(target, request, f"the line has no result of a known type, but {kind!r:.80}", encode_json(item))
