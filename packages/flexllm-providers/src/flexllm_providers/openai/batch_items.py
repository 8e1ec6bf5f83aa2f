"""Items of OpenAI's batches, whose files DashScope, Groq and vLLM's `run-batch` take too: one line for each.

Sources: the types of the openai SDK, vLLM's `run_batch.py`, and the help pages of the vendors.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from flexllm_core.errors import InputError
from flexllm_core.json_codec import encode_json
from flexllm_core.requests import ChatRequest
from flexllm_core.results import ChatCompletionResult
from flexllm_providers.http import HttpResponse
from flexllm_providers.openai.wire import chat_body, decode, decode_error, error_in_body
from flexllm_providers.target import Target
from flexllm_providers.wire_errors import left_undone, unusable
from flexllm_providers.wire_warnings import warn_extra_headers

URL = "/v1/chat/completions"
"""What the items of a batch ask, whatever the base URL: the endpoint that the batch is made for."""

_UNDONE = {
    "batch_expired": "the batch expired before it was asked",
    "batch_cancelled": "the batch was canceled before it was asked",
    "batch_canceled": "the batch was canceled before it was asked",
}


def encode_item(request: ChatRequest, custom_id: str, target: Target) -> dict[str, Any]:
    """The line that asks a request.

    Raises:
        ConfigError: The endpoint cannot do what the params ask for.
        InputError: The custom id is empty.
    """
    if not custom_id:
        raise InputError("custom_id: expected a text that is not empty")
    warn_extra_headers(request, target)
    return {"custom_id": custom_id, "method": "POST", "url": URL, "body": chat_body(request, target, stream=False)}


def custom_id_of(item: Mapping[str, Any]) -> str | None:
    """The custom id of an outcome; None where it has none."""
    found = item.get("custom_id")
    return found if isinstance(found, str) and found else None


def decode_item(item: Mapping[str, Any], request: ChatRequest, target: Target, now: float) -> ChatCompletionResult:
    """The answer in a line of the output file; the error in one of the error file.

    Args:
        item: The line.
        request: What was asked.
        target: Who was asked.
        now: Wall-clock seconds since 1970.

    Raises:
        LLMRequestError: The request failed, expired or was canceled, or its answer is of no use.
    """
    response, error = item.get("response"), item.get("error")
    status = response.get("status_code") if isinstance(response, dict) else None
    if isinstance(response, dict) and type(status) is int and 100 <= status < 600:
        request_id, body = response.get("request_id"), response.get("body")
        headers = {"x-request-id": request_id} if isinstance(request_id, str) else {}
        # vLLM puts what went wrong beside the response instead of into it.
        answer = HttpResponse(status, headers, encode_json(error if body is None else body))
        if 200 <= status < 300:
            return decode(answer, request, target, now)
        raise decode_error(answer, request, target, now)
    if not error:
        raise unusable(target, request, "the line has neither a response nor an error", encode_json(item))
    code = error.get("code") if isinstance(error, dict) else None
    if isinstance(code, str) and code in _UNDONE:
        raise left_undone(target, request, _UNDONE[code], code)
    raise error_in_body({"error": error}, encode_json(error), {}, request, target, now)
