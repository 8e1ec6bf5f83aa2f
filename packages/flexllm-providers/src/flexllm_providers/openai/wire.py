"""The wire of OpenAI's chat completions, which most servers speak: pure functions over HTTP values.

Sources: the types of the openai SDK, OpenAI's openapi.yaml, and the documentation and sources of the
servers named in `dialects.py`. Whatever a server leaves out, adds or gets wrong is either read as far
as it goes or becomes a typed error.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from flexllm_core.errors import LLMHTTPError, LLMRequestError
from flexllm_core.json_codec import decode_json, encode_json
from flexllm_core.messages import Messages
from flexllm_core.requests import ChatRequest
from flexllm_core.results import ChatCompletionResult, ToolCall
from flexllm_providers.dialects import merge_body, thinking_patch
from flexllm_providers.http import HttpRequest, HttpResponse
from flexllm_providers.http_errors import error_facts
from flexllm_providers.openai.usage import decode_usage, reported_cost
from flexllm_providers.target import Target
from flexllm_providers.think_tags import split_think_tags
from flexllm_providers.wire_errors import inside_200, read_refusal, refusal_message, status_error, unusable
from flexllm_providers.wire_warnings import warn_left_out

DEFAULT_BASE_URL = "https://api.openai.com/v1"
_TRANSLATED = frozenset({"max_tokens", "thinking", "extra_body"})
FOREIGN_KEYS = frozenset({"claude_message", "gemini_parts", "gemini_model", "gemini_continuation_token"})
"""Keys under which the other wires keep opaque blocks on assistant messages."""
_PLAIN_KEYS = {"role", "content"}
_BROKEN_OFF = frozenset({"error", "abort", "insufficient_system_resource"})
"""Reasons by which OpenRouter, vLLM or SGLang, and DeepSeek say that the server itself ended the answer."""


def encode(request: ChatRequest, target: Target, *, stream: bool) -> HttpRequest:
    """The HTTP request that asks for a chat completion.

    Raises:
        ConfigError: The endpoint cannot do the thinking mode.
        InputError: The request cannot be written as JSON.
    """
    headers = target.bearer_headers
    if request.extra_headers:
        headers = {**headers, **{name.lower(): value for name, value in request.extra_headers.items()}}
    body = encode_json(chat_body(request, target, stream=stream))
    return HttpRequest("POST", target.base_url + "/chat/completions", headers, body)


def chat_body(request: ChatRequest, target: Target, *, stream: bool) -> dict[str, Any]:
    """The JSON of a chat completion's request, as calls and batch files have it.

    Raises:
        ConfigError: The endpoint cannot do the thinking mode.
    """
    model = request.model or target.model
    messages = _without_foreign_keys(request.messages)
    body: dict[str, Any] = {"model": model, "messages": messages} if model else {"messages": messages}
    if request.params or target.dialect.extra_body:
        _add_params(body, request.params, target)
    if stream:
        body["stream"] = True
        if target.dialect.stream_options:
            body["stream_options"] = {"include_usage": True}
    return body


def _without_foreign_keys(messages: Messages) -> Messages:
    """The messages without what another provider wants back: servers refuse keys that they do not know."""
    for message in messages:
        if len(message) > len(_PLAIN_KEYS) and not FOREIGN_KEYS.isdisjoint(message):
            return [{key: value for key, value in each.items() if key not in FOREIGN_KEYS} for each in messages]
    return messages


def _add_params(body: dict[str, Any], params: Mapping[str, Any], target: Target) -> None:
    dialect = target.dialect
    refused = dialect.refused
    if refused and (left_out := refused & params.keys()):
        warn_left_out(target.label, sorted(left_out))
    body |= {name: value for name, value in params.items() if name not in _TRANSLATED and name not in refused}
    if "max_tokens" in params:
        body[dialect.max_tokens] = params["max_tokens"]
    if dialect.extra_body:
        merge_body(body, dialect.extra_body)
    if "thinking" in params:
        merge_body(body, thinking_patch(params["thinking"], dialect, target.label))
    if extra_body := params.get("extra_body"):
        merge_body(body, extra_body)


def decode(response: HttpResponse, request: ChatRequest, target: Target, now: float) -> ChatCompletionResult:
    """The answer in a 2xx response.

    Raises:
        LLMRequestError: The body holds an error or no usable answer.
    """
    try:
        data = decode_json(response.body)
    except ValueError:
        raise unusable(target, request, "the answer is not JSON", response.body) from None
    if not isinstance(data, dict):
        raise unusable(target, request, "the answer is not a JSON object", response.body)
    listed = data.get("choices")
    choices: list[Any] = listed if isinstance(listed, list) else []
    first = choices[0] if choices and isinstance(choices[0], dict) else {}
    if "error" in data or "error" in first or data.get("object") == "error" or first.get("object") == "error":
        for holder in (data, first):
            if is_error(holder):
                raise error_in_body(holder, response.body, response.headers, request, target, now)
    message = first.get("message")
    if not isinstance(message, dict):
        raise unusable(target, request, "the answer has no choices", response.body)
    result = result_from_message(message, first.get("finish_reason"), target)
    result.usage = decode_usage(data.get("usage"))
    if len(choices) > 1:
        result.choices = tuple(_choice_text(choice, target) for choice in choices)
    finish_result(result, data, request, target)
    return result


def is_error(data: Mapping[str, Any]) -> bool:
    """Whether a body, a chunk or a choice is an error; older servers only say so in `object`."""
    return bool(data.get("error")) or data.get("object") == "error"


def result_from_message(message: Mapping[str, Any], finish_reason: object, target: Target) -> ChatCompletionResult:
    """Content, reasoning, tool calls and the message to replay, from an assistant message."""
    content = message.get("content")
    if type(content) is not str:
        content = content_text(content)
    reasoning = message.get("reasoning_content") or message.get("reasoning")
    if target.dialect.think_tags and content and not reasoning:
        reasoning, content = split_think_tags(content)
    reason = known_reason(finish_reason)
    if not content and isinstance(refusal := message.get("refusal"), str) and refusal:
        content, reason = refusal, "content_filter"
    calls: tuple[ToolCall, ...] = ()
    call_dicts: list[dict[str, Any]] = []
    if message.get("tool_calls") or "function_call" in message:
        calls, call_dicts = _tool_calls(message)
    return ChatCompletionResult(
        content=content,
        reasoning_content=reasoning if isinstance(reasoning, str) and reasoning else None,
        tool_calls=calls,
        finish_reason="tool_calls" if reason == "function_call" else reason,
        assistant_message=_assistant_message(message, call_dicts),
    )


def known_reason(finish_reason: object) -> str | None:
    """A finish_reason, None where there is none yet: some servers write that as an empty text or as `null`."""
    return finish_reason if isinstance(finish_reason, str) and finish_reason not in ("", "null") else None


def _assistant_message(message: Mapping[str, Any], calls: list[dict[str, Any]]) -> dict[str, Any]:
    """The message as it can be sent back: the server's own keys, with what it left out or got wrong put right.

    The tool calls are those of the result, so that the ids in the answers to them are found.
    """
    plain = len(message) == len(_PLAIN_KEYS) and type(message.get("content")) is str
    if plain and message.get("role") == "assistant":
        return message  # type: ignore[return-value] # just parsed, so it is a dict that nobody else has
    out = {key: value for key, value in message.items() if value is not None}
    out["role"] = "assistant"
    content = out.pop("content", None)
    if isinstance(content, str) or (isinstance(content, list) and all(map(_is_part, content))):
        out["content"] = content
    elif (text := content_text(content)) is not None:
        out["content"] = text
    for key in ("tool_calls", "function_call"):
        out.pop(key, None)
    if calls:
        out["tool_calls"] = calls
        out.setdefault("content", None)  # some servers refuse a message without the key
    for key in ("name", "tool_call_id"):
        if not isinstance(out.get(key, ""), str):
            del out[key]
    return out


def _is_part(part: object) -> bool:
    return isinstance(part, dict) and isinstance(part.get("type"), str)


def finish_result(result: ChatCompletionResult, data: Mapping[str, Any], request: ChatRequest, target: Target) -> None:
    """Fill in where the answer came from, and refuse an answer that says nothing.

    Raises:
        LLMResponseError: There is neither text nor a tool call, and no reason for it.
    """
    reason = result.finish_reason
    if reason in _BROKEN_OFF:
        what = f"the server broke the answer off (finish_reason {reason!r:.80})"
        raise unusable(target, request, what, kind="transient")
    if not result.content and not result.tool_calls and reason not in ("length", "content_filter"):
        what = "the answer holds only reasoning" if result.reasoning_content else "the answer is empty"
        raise unusable(target, request, f"{what} (finish_reason {reason!r:.80})")
    model, response_id = data.get("model"), data.get("id")
    result.model = model if isinstance(model, str) else request.model or target.model
    result.response_id = response_id if isinstance(response_id, str) else None
    result.provider = "openai"
    result.endpoint = target.label
    usage = data.get("usage")
    if isinstance(usage, dict) and "cost" in usage and (cost := reported_cost(usage)) is not None:
        result.cost, result.cost_source = cost, "provider"
    if request.keep_raw:
        result.raw = data


def content_text(content: object) -> str | None:
    """The text of a content: a text itself, or the texts of its parts; None for anything else."""
    if content is None or isinstance(content, str):
        return content
    if isinstance(content, list):
        texts = [part.get("text") for part in content if isinstance(part, dict)]
        return "".join(text for text in texts if isinstance(text, str))
    return None


def _choice_text(choice: object, target: Target) -> str | None:
    message = choice.get("message") if isinstance(choice, dict) else None
    return result_from_message(message, None, target).content if isinstance(message, dict) else None


def _tool_calls(message: Mapping[str, Any]) -> tuple[tuple[ToolCall, ...], list[dict[str, Any]]]:
    """The tool calls, and the same as they stand on the message to send back, unknown keys kept."""
    listed = message.get("tool_calls")
    if not isinstance(listed, list) or not listed:
        legacy = message.get("function_call")
        if not isinstance(legacy, dict):
            return (), []
        listed = [{"function": legacy}]
    calls: list[ToolCall] = []
    dicts: list[dict[str, Any]] = []
    for number, item in enumerate(listed):
        function, custom = (item.get("function"), item.get("custom")) if isinstance(item, dict) else (None, None)
        if isinstance(function, dict) and isinstance(function.get("name"), str) and function["name"]:
            call = tool_call(item.get("id"), function["name"], function.get("arguments"), number)
            own = call.to_dict()
            dicts.append({**item, **own, "function": {**function, **own["function"]}})
        elif isinstance(custom, dict) and isinstance(custom.get("name"), str) and custom["name"]:
            call = tool_call(item.get("id"), custom["name"], custom.get("input"), number)
            own = {"id": call.id, "type": "custom"}
            dicts.append({**{key: value for key, value in item.items() if key != "function"}, **own})
        else:
            continue
        calls.append(call)
    return tuple(calls), dicts


def tool_call(call_id: object, name: str, arguments: object, number: int) -> ToolCall:
    """A tool call; absent ids are made up by position, absent or empty arguments are `{}`."""
    text = arguments if isinstance(arguments, str) else encode_json(arguments).decode() if arguments else ""
    return ToolCall(call_id if isinstance(call_id, str) and call_id else f"call_{number}", name, text or "{}")


def decode_error(response: HttpResponse, request: ChatRequest, target: Target, now: float) -> LLMHTTPError:
    """The typed error in a response with an error status. `now` is wall-clock seconds since 1970."""
    data, text = read_refusal(response, request, target)
    facts = error_facts(data, text)
    what = refusal_message(response.status, facts)
    return status_error(response.status, what, facts, text, response.headers, request, target, now)


def error_in_body(
    data: Mapping[str, Any],
    body: bytes,
    headers: Mapping[str, str],
    request: ChatRequest,
    target: Target,
    now: float,
) -> LLMRequestError:
    """The typed error for an error that came with status 200, in a body or in a stream.

    Args:
        data: The object that holds the error.
        body: What the server sent, to be kept with the error.
        headers: Of the response.
        request: What was asked.
        target: Who was asked.
        now: Wall-clock seconds since 1970.
    """
    facts = error_facts(data, target.excerpt(body, request.extra_headers.values()))
    error = data.get("error")
    status = _status_in(error if isinstance(error, dict) else data)
    return inside_200(status, facts, body, headers, request, target, now)


def _status_in(error: object) -> int | None:
    """The HTTP status that an error body names itself, as OpenRouter and vLLM do in `code`."""
    code = error.get("code") if isinstance(error, dict) else None
    if isinstance(code, str) and code.isascii() and code.isdigit():
        code = int(code)
    return code if type(code) is int and 400 <= code < 600 else None
