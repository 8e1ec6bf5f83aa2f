"""Answers of Gemini's generateContent: from candidates and parts to a result, or to a typed error."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from flexllm_core.errors import ContentFilterError, LLMRequestError
from flexllm_core.json_codec import decode_json
from flexllm_core.requests import ChatRequest
from flexllm_core.results import ChatCompletionResult
from flexllm_providers.gemini.errors import error_in_body, has_error
from flexllm_providers.gemini.merge import MergedAnswer
from flexllm_providers.gemini.parts import MODEL_KEY, PARTS_KEY, Turn, must_be_replayed, read_parts
from flexllm_providers.gemini.target import gemini_target
from flexllm_providers.gemini.usage import decode_usage
from flexllm_providers.http import HttpResponse
from flexllm_providers.http_errors import ErrorFacts
from flexllm_providers.target import Target
from flexllm_providers.wire_errors import status_error, unusable

_FILTERED = frozenset(
    {
        "SAFETY",
        "RECITATION",
        "BLOCKLIST",
        "PROHIBITED_CONTENT",
        "SPII",
        "LANGUAGE",
        "MODEL_ARMOR",
        "IMAGE_SAFETY",
        "IMAGE_PROHIBITED_CONTENT",
        "IMAGE_RECITATION",
    }
)
_BROKEN = frozenset(
    {
        "MALFORMED_FUNCTION_CALL",
        "UNEXPECTED_TOOL_CALL",
        "TOO_MANY_TOOL_CALLS",
        "MISSING_THOUGHT_SIGNATURE",
        "MALFORMED_RESPONSE",
    }
)
"""The model got it wrong; asking once more often helps."""
_REASONS = {
    "STOP": "stop",
    "MAX_TOKENS": "length",
    "CONTINUATION": "length",  # to be asked again with the token that stands on the assistant message
    "OTHER": "other",
    "NO_IMAGE": "other",
    "IMAGE_OTHER": "other",
    "ESCALATION": "other",
    "PUP_LIMITED_DISABLED": "other",
    **dict.fromkeys(_FILTERED, "content_filter"),
}
TOKEN_KEY = "gemini_continuation_token"  # noqa: S105 (the name of a key)


def decode(response: HttpResponse, request: ChatRequest, target: Target, now: float) -> ChatCompletionResult:
    """The answer in a 2xx response; also that of a stream which a server sent as one JSON array.

    Raises:
        LLMRequestError: The body holds an error, a refusal of the prompt, or no usable answer.
    """
    try:
        data = decode_json(response.body)
    except ValueError:
        raise unusable(target, request, "the answer is not JSON", response.body) from None
    if has_error(data):
        raise error_in_body(data, response.body, response.headers, request, target, now)
    if isinstance(data, list) and data:
        merged = MergedAnswer(request)
        for item in data:
            merged.add(item)
        if not merged.is_whole:
            what = "the answer was truncated: it ends without a finishReason"
            raise unusable(target, request, what, response.body, kind="transient")
        data = merged.to_dict()
    if not isinstance(data, dict):
        raise unusable(target, request, "the answer is not a JSON object", response.body)
    return read_answer(data, response.body, request, target, now)


def read_answer(
    data: Mapping[str, Any], body: bytes, request: ChatRequest, target: Target, now: float
) -> ChatCompletionResult:
    """The result of a whole GenerateContentResponse.

    Args:
        data: The response.
        body: What the server sent, to be kept with an error.
        request: What was asked.
        target: Who was asked.
        now: Wall-clock seconds since 1970.

    Raises:
        LLMRequestError: The prompt was refused, or there is no usable answer.
    """
    listed = data.get("candidates")
    candidates = [item for item in listed if isinstance(item, dict)] if isinstance(listed, list) else []
    if not candidates:
        raise _without_candidates(data, body, request, target, now)
    result = _read_candidate(candidates[0], body, request, target)
    if len(candidates) > 1:
        result.choices = tuple(read_parts(parts_of(candidate)).content for candidate in candidates)
    result.usage = decode_usage(data.get("usageMetadata"))
    model, response_id = data.get("modelVersion"), data.get("responseId")
    result.model = model if isinstance(model, str) and model else request.model or target.model
    result.response_id = response_id if isinstance(response_id, str) else None
    result.provider = gemini_target(target).provider
    result.endpoint = target.label
    message = result.assistant_message
    if message is not None and PARTS_KEY in message and isinstance(model, str):
        message[MODEL_KEY] = model
    if request.keep_raw:
        result.raw = data
    return result


def parts_of(candidate: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The parts of a candidate, which may lack them, or any content."""
    content = candidate.get("content")
    parts = content.get("parts") if isinstance(content, dict) else None
    return [part for part in parts if isinstance(part, dict)] if isinstance(parts, list) else []


def _read_candidate(
    candidate: Mapping[str, Any], body: bytes, request: ChatRequest, target: Target
) -> ChatCompletionResult:
    given = candidate.get("finishReason")
    given = given if isinstance(given, str) and given not in ("", "FINISH_REASON_UNSPECIFIED") else None
    said = f"finishReason {given!r:.80}"
    if isinstance(candidate.get("finishMessage"), str):
        said += f": {candidate['finishMessage']}"
    if given in _BROKEN:
        raise unusable(target, request, f"the model's answer is broken ({said})", body, code=given, excerpt=False)
    parts = parts_of(candidate)
    turn = read_parts(parts)
    if turn.partial:
        what = "function calls came with arguments in pieces, which are not read; turn streamFunctionCallArguments off"
        raise unusable(target, request, what, body, kind="refused", excerpt=False)
    reason = None if given is None else _REASONS.get(given, given)
    if turn.calls and reason in (None, "stop"):
        reason = "tool_calls"
    if not turn.content and not turn.calls and reason not in ("length", "content_filter"):
        what = "the answer holds only reasoning" if turn.reasoning else "the answer is empty"
        raise unusable(target, request, f"{what} ({said})", body, code=given, excerpt=False)
    return ChatCompletionResult(
        content=turn.content,
        reasoning_content=turn.reasoning,
        tool_calls=turn.calls,
        finish_reason=reason,
        assistant_message=_assistant_message(turn, parts, candidate),
    )


def _assistant_message(turn: Turn, parts: list[dict[str, Any]], candidate: Mapping[str, Any]) -> dict[str, Any]:
    """The message in OpenAI's shape, with Gemini's own parts where they say more than that."""
    out: dict[str, Any] = {"role": "assistant", "content": turn.content}
    if turn.reasoning:
        out["reasoning_content"] = turn.reasoning
    if turn.calls:
        out["tool_calls"] = [call.to_dict() for call in turn.calls]
    if must_be_replayed(parts):
        out[PARTS_KEY] = parts
    if isinstance(candidate.get("continuationToken"), str):
        out[TOKEN_KEY] = candidate["continuationToken"]
    return out


def _without_candidates(
    data: Mapping[str, Any], body: bytes, request: ChatRequest, target: Target, now: float
) -> LLMRequestError:
    """The error for an answer without candidates: mostly the prompt was refused."""
    feedback = data.get("promptFeedback")
    reason = feedback.get("blockReason") if isinstance(feedback, dict) else None
    if not isinstance(reason, str) or not reason:
        return unusable(target, request, "the answer has no candidates", body)
    more = feedback.get("blockReasonMessage") if isinstance(feedback, dict) else None
    what = f"the prompt was refused ({reason})" + (f": {more}" if isinstance(more, str) else "")
    facts = ErrorFacts(what, reason, frozenset({"content_filter"}))
    text = target.excerpt(body, request.extra_headers.values())
    error = status_error(400, what, facts, text, {}, request, target, now)
    assert isinstance(error, ContentFilterError)
    error.status_code, error.may_be_billed = 200, True
    return error
