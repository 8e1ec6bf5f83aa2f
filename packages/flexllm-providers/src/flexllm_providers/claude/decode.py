"""Claude's answers, whole: from an HTTP response, or from the message that a stream put together."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from flexllm_core.errors import LLMResponseError
from flexllm_core.json_codec import decode_json
from flexllm_core.requests import ChatRequest
from flexllm_core.results import ChatCompletionResult
from flexllm_providers.claude.blocks import assistant_message, reasoning_of, text_of, tool_calls_of, usable_blocks
from flexllm_providers.claude.errors import error_in_body, is_error
from flexllm_providers.claude.usage import decode_usage
from flexllm_providers.http import HttpResponse
from flexllm_providers.target import Target
from flexllm_providers.wire_errors import unusable

_PAUSED = "pause_turn"
FINISH_REASONS = {
    "end_turn": "stop",
    _PAUSED: "stop",  # half of a longer turn: to go on, its assistant message is sent back
    "stop_sequence": "stop",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "tool_use": "tool_calls",
    "refusal": "content_filter",
}
"""Claude's stop_reason in OpenAI's words; others are kept."""


def decode(response: HttpResponse, request: ChatRequest, target: Target, now: float) -> ChatCompletionResult:
    """The answer in a 2xx response. `now` is wall-clock seconds since 1970.

    Raises:
        LLMRequestError: The body holds an error or no usable answer.
    """
    try:
        data = decode_json(response.body)
    except ValueError:
        raise unusable(target, request, "the answer is not JSON", response.body) from None
    if not isinstance(data, dict):
        raise unusable(target, request, "the answer is not a JSON object", response.body)
    if is_error(data):
        raise error_in_body(data, response.body, response.headers, request, target, now)
    if not isinstance(data.get("content"), list):
        raise unusable(target, request, "the answer has no content", response.body)
    return result_from_message(data, request, target)


def result_from_message(data: Mapping[str, Any], request: ChatRequest, target: Target) -> ChatCompletionResult:
    """The result of a message with a list of content blocks.

    Raises:
        LLMResponseError: It says nothing, or holds a tool call without a name.
    """
    content: list[Any] = data["content"]
    blocks = usable_blocks(content)
    if any(_is_nameless_call(block) for block in content):
        raise unusable(target, request, "the answer holds a tool call without a name")
    stop_reason = data.get("stop_reason")
    calls, text = tool_calls_of(blocks), text_of(blocks)
    model, response_id = data.get("model"), data.get("id")
    model = model if isinstance(model, str) and model else request.model or target.model
    if text is None and not calls and stop_reason == "refusal":
        text, blocks = _explanation(data), []
    result = ChatCompletionResult(
        content=text,
        reasoning_content=reasoning_of(blocks),
        tool_calls=calls,
        finish_reason=FINISH_REASONS.get(stop_reason, stop_reason)
        if stop_reason and isinstance(stop_reason, str)
        else None,
        usage=decode_usage(data.get("usage")),
        model=model,
        provider="claude",
        endpoint=target.label,
        response_id=response_id if isinstance(response_id, str) else None,
        assistant_message=assistant_message(blocks, calls, text, model),
        raw=data if request.keep_raw else None,
    )
    if not (stop_reason == _PAUSED and blocks):
        _refuse_empty(result, request, target)
    return result


def _refuse_empty(result: ChatCompletionResult, request: ChatRequest, target: Target) -> None:
    """Refuse an answer that says nothing, unless its finish_reason says why."""
    reason = result.finish_reason
    if result.content or result.tool_calls or reason in ("length", "content_filter"):
        return
    what = "the answer holds only reasoning" if result.reasoning_content else "the answer is empty"
    raise unusable(target, request, f"{what} (finish_reason {reason!r:.80})")


def _is_nameless_call(block: object) -> bool:
    if not isinstance(block, dict) or block.get("type") != "tool_use":
        return False
    return not isinstance(block.get("name"), str) or not block["name"]


def _explanation(data: Mapping[str, Any]) -> str | None:
    """Why the answer was refused, as the server explains it, where the model itself said nothing."""
    details = data.get("stop_details")
    explanation = details.get("explanation") if isinstance(details, dict) else None
    return explanation if isinstance(explanation, str) and explanation else None


def truncated(target: Target, request: ChatRequest, what: str, body: bytes = b"") -> LLMResponseError:
    """The error for a stream that was cut or is out of order."""
    return unusable(target, request, what, body, kind="transient")
