"""Items of Gemini's batches: inlined requests and responses, or lines of files; all of one model, which the URL names.

Sources: the types and converters of the google-genai SDK, and Google's documentation.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from flexllm_core.errors import InputError
from flexllm_core.json_codec import encode_json
from flexllm_core.requests import ChatRequest
from flexllm_core.results import ChatCompletionResult
from flexllm_providers.gemini.decode import decode
from flexllm_providers.gemini.encode import generate_body
from flexllm_providers.gemini.errors import error_in_body
from flexllm_providers.http import HttpResponse
from flexllm_providers.target import Target
from flexllm_providers.wire_errors import unusable
from flexllm_providers.wire_warnings import warn_extra_headers

_CODES = (
    "OK",
    "CANCELLED",
    "UNKNOWN",
    "INVALID_ARGUMENT",
    "DEADLINE_EXCEEDED",
    "NOT_FOUND",
    "ALREADY_EXISTS",
    "PERMISSION_DENIED",
    "RESOURCE_EXHAUSTED",
    "FAILED_PRECONDITION",
    "ABORTED",
    "OUT_OF_RANGE",
    "UNIMPLEMENTED",
    "INTERNAL",
    "UNAVAILABLE",
    "DATA_LOSS",
    "UNAUTHENTICATED",
)
"""Google's canonical codes by their numbers, which stand in an item's error where calls have an HTTP status."""


def encode_item(request: ChatRequest, custom_id: str, target: Target) -> dict[str, Any]:
    """The line of a file that asks a request.

    Raises:
        ConfigError: There is no model, or it cannot do the thinking mode.
        InputError: The request cannot be said in Gemini's terms, or the custom id is empty.
    """
    if not custom_id:
        raise InputError("custom_id: expected a text that is not empty")
    warn_extra_headers(request, target)
    return {"key": custom_id, "request": generate_body(request, target)}


def encode_inlined(request: ChatRequest, custom_id: str, target: Target) -> dict[str, Any]:
    """The inlined request that asks a request, for batches below 20 MB; raises as `encode_item`."""
    item = encode_item(request, custom_id, target)
    return {"request": item["request"], "metadata": {"key": custom_id}}


def custom_id_of(item: Mapping[str, Any]) -> str | None:
    """The custom id of an outcome, of a file or inlined; None where it has none."""
    metadata = item.get("metadata")
    found = item.get("key") or (metadata.get("key") if isinstance(metadata, dict) else None)
    return found if isinstance(found, str) and found else None


def decode_item(item: Mapping[str, Any], request: ChatRequest, target: Target, now: float) -> ChatCompletionResult:
    """The answer in an inlined response or in a line of the responses' file.

    Args:
        item: The response with its key.
        request: What was asked.
        target: Who was asked.
        now: Wall-clock seconds since 1970.

    Raises:
        LLMRequestError: The request failed or was refused, or its answer is of no use.
    """
    response, error = item.get("response"), item.get("error")
    if response is not None:
        return decode(HttpResponse(200, {}, encode_json(response)), request, target, now)
    if error:
        raise error_in_body({"error": _with_status(error)}, encode_json(error), {}, request, target, now)
    raise unusable(target, request, "the item has neither a response nor an error", encode_json(item))


def _with_status(error: object) -> object:
    """An error with its code by name, where it has only the number."""
    code = error.get("code") if isinstance(error, dict) else None
    if not isinstance(error, dict) or "status" in error or type(code) is not int or not 0 < code < len(_CODES):
        return error
    return {**error, "status": _CODES[code]}
