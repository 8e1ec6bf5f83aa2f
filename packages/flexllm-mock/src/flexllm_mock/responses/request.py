"""Reads a Responses request: what it must hold, what is wrong with it, and what it asks for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from flexllm_mock.answers import ECHO_MODEL, AnswerRequest
from flexllm_mock.asgi import ApiError
from flexllm_mock.openai.logprobs import MAX_TOP_LOGPROBS
from flexllm_mock.openai.parameters import boolean, invalid, last_user_text, mapping, missing, whole_number
from flexllm_mock.responses.items import Item, as_messages, check_calls
from flexllm_mock.scripted import ScriptedAnswer
from flexllm_mock.tokens import cached_tokens, content_tokens, prompt_tokens
from flexllm_mock.tools import NO_PARAMETERS, Tool

_KNOWN = frozenset(
    {"model", "input", "instructions", "stream", "stream_options", "store", "previous_response_id", "background"}
    | {"max_output_tokens", "max_tool_calls", "temperature", "top_p", "top_logprobs", "tools", "tool_choice"}
    | {"parallel_tool_calls", "text", "reasoning", "include", "metadata", "truncation", "user", "service_tier"}
    | {"prompt", "prompt_cache_key", "prompt_cache_retention", "prompt_cache_options", "safety_identifier"}
    | {"conversation", "context_management", "moderation", "access_programs", "image"}
)
_MOVED = {
    "messages": "input",
    "response_format": "text.format",
    "max_tokens": "max_output_tokens",
    "max_completion_tokens": "max_output_tokens",
    "reasoning_effort": "reasoning.effort",
    "verbosity": "text.verbosity",
}
_LEAST_OUTPUT = 16
_EFFORTS = ("none", "minimal", "low", "medium", "high", "xhigh", "max")
_SUMMARIES = ("auto", "concise", "detailed")
_LOGPROBS = "message.output_text.logprobs"
_ENCRYPTED = "reasoning.encrypted_content"


@dataclass(slots=True)
class ResponsesCall:
    """A Responses request that is valid.

    `items` are all that the model sees: those of what the request goes on from, then those of its input. `echoed` are
    the fields that the response repeats. `logprobs` is how many likely tokens to show at each place, None for no log
    probabilities at all.
    """

    model: str
    question: AnswerRequest
    prompt_tokens: int
    cached_tokens: int
    items: list[Item]
    echoed: dict[str, Any] = field(default_factory=dict)
    stream: bool = False
    background: bool = False
    shows_reasoning: bool = False
    encrypts_reasoning: bool = False
    logprobs: int | None = None

    def follow(self, script: ScriptedAnswer | None) -> None:
        """Report the model and the prompt's tokens that a script prescribes."""
        if script is None:
            return
        self.model = script.model or self.model
        if script.usage.prompt_tokens is not None:
            self.prompt_tokens, self.cached_tokens = script.usage.prompt_tokens, script.usage.cached_tokens


def parse_response(
    payload: dict[str, Any], response_len: tuple[int, int], read_all: Callable[[dict[str, Any]], list[Item]]
) -> ResponsesCall:
    """Read the body of a request; `read_all` returns the items of the input and of what it goes on from.

    Raises ApiError that names what is wrong.
    """
    for name in payload:
        if name in _MOVED:
            text = f"Unsupported parameter: '{name}'. In the Responses API, it has moved to '{_MOVED[name]}'."
            raise ApiError(400, text, param=name, code="unsupported_parameter")
        if name not in _KNOWN:
            raise ApiError(400, f"Unknown parameter: '{name}'.", param=name, code="unknown_parameter")
    model = payload.get("model")
    if not isinstance(model, str) or not model:
        raise invalid("model", "a name", model) if "model" in payload else missing("model")
    if payload.get("input") is None:
        raise missing("input")
    instructions = payload.get("instructions")
    if not isinstance(instructions, str | None):
        raise invalid("instructions", "a text", instructions)
    items = read_all(payload)
    check_calls(items)
    messages = as_messages(items)
    if instructions:
        messages.insert(0, {"role": "developer", "content": instructions})
    limit = whole_number(payload, "max_output_tokens", _LEAST_OUTPUT)
    question = AnswerRequest(b"", response_len, max_tokens=limit)
    call = ResponsesCall(model, question, prompt_tokens(messages), cached_tokens(messages), items)
    call.stream, call.background = boolean(payload, "stream"), boolean(payload, "background")
    if call.background and payload.get("store") is False:
        raise ApiError(400, "Background mode requires `store` to be true.", param="background")
    if model == ECHO_MODEL:
        question.literal = last_user_text(messages)
    _read_tools(payload, call, messages)
    _read_text(payload, call)
    _read_reasoning(payload, call)
    _read_include(payload, call)
    _echo_others(payload, call)
    return call


def _read_tools(payload: dict[str, Any], call: ResponsesCall, messages: list[dict[str, Any]]) -> None:
    listed = payload.get("tools") or []
    if not isinstance(listed, list):
        raise invalid("tools", "a list of tools", listed)
    tools, shown = list[Tool](), list[dict[str, Any]]()
    for at, tool in enumerate(listed):
        if not isinstance(tool, dict) or not isinstance(tool.get("type"), str):
            raise missing(f"tools[{at}].type")
        if tool["type"] != "function":  # what the vendor or another server would run is never called
            shown.append(tool)
            continue
        if not isinstance(tool.get("name"), str) or not tool["name"]:
            raise missing(f"tools[{at}].name")
        parameters = tool.get("parameters")
        tools.append(Tool(tool["name"], NO_PARAMETERS if parameters is None else parameters))
        shown.append({"description": None, "strict": True, "parameters": None, **tool})
    choice = payload.get("tool_choice")
    parallel = payload.get("parallel_tool_calls") is not False
    call.echoed |= {
        "tools": shown,
        "tool_choice": "auto" if choice is None else choice,
        "parallel_tool_calls": parallel,
    }
    call.prompt_tokens += sum([content_tokens(str(tool.parameters)) for tool in tools])
    callable_tools = _callable_tools(choice, tools)
    if messages[-1]["role"] != "tool" and callable_tools:
        call.question.offer(callable_tools, last_user_text(messages), parallel=parallel)


def _callable_tools(choice: object, tools: list[Tool]) -> tuple[Tool, ...]:
    """Return the functions one of which must be called; with no choice given, one is called too."""
    if choice == "none":
        return ()
    if choice is None or choice in ("auto", "required"):
        return tuple(tools)
    kind = choice.get("type") if isinstance(choice, dict) else None
    if not isinstance(choice, dict) or not isinstance(kind, str):
        raise invalid("tool_choice", "none, auto, required or an object", choice)
    if kind == "allowed_tools":
        allowed = choice.get("tools")
        names = [each.get("name") for each in allowed if isinstance(each, dict)] if isinstance(allowed, list) else []
        return tuple(tool for tool in tools if tool.name in names)
    if kind != "function":
        return ()
    named = tuple(tool for tool in tools if tool.name == choice.get("name"))
    if not named:
        text = f"Tool choice 'function' not found in 'tools' parameter: {choice.get('name')!r}."
        raise ApiError(400, text, param="tool_choice")
    return named[:1]


def _read_text(payload: dict[str, Any], call: ResponsesCall) -> None:
    text = mapping(payload, "text")
    wanted = mapping(text, "format")
    kind = wanted.get("type", "text")
    call.echoed["text"] = {"format": wanted or {"type": "text"}, "verbosity": text.get("verbosity") or "medium"}
    if kind not in ("text", "json_object", "json_schema"):
        raise invalid("text.format.type", "text, json_object or json_schema", kind)
    if kind == "text" or call.question.tools:
        return
    call.question.wants_json = True
    if kind == "json_schema":
        for name in ("name", "schema"):
            if name not in wanted:
                raise missing(f"text.format.{name}")
        call.question.schema = wanted["schema"]


def _read_reasoning(payload: dict[str, Any], call: ResponsesCall) -> None:
    reasoning = mapping(payload, "reasoning")
    effort, summary = reasoning.get("effort"), reasoning.get("summary") or reasoning.get("generate_summary")
    if effort is not None and effort not in _EFFORTS:
        raise invalid("reasoning.effort", ", ".join(_EFFORTS), effort)
    if summary is not None and summary not in _SUMMARIES:
        raise invalid("reasoning.summary", ", ".join(_SUMMARIES), summary)
    call.question.reasoning = effort not in (None, "none") or (effort is None and summary is not None)
    call.shows_reasoning = summary is not None
    call.echoed["reasoning"] = {"effort": effort, "summary": summary}


def _read_include(payload: dict[str, Any], call: ResponsesCall) -> None:
    include = payload.get("include") or []
    if not isinstance(include, list) or not all(isinstance(name, str) for name in include):
        raise invalid("include", "a list of names", include)
    call.encrypts_reasoning = _ENCRYPTED in include
    top = whole_number(payload, "top_logprobs", 0, MAX_TOP_LOGPROBS)
    if _LOGPROBS in include or top:
        call.logprobs = top or 0
    call.echoed["top_logprobs"] = top or 0


def _echo_others(payload: dict[str, Any], call: ResponsesCall) -> None:
    for name, most in (("temperature", 2), ("top_p", 1)):
        value = payload.get(name)
        value = 1.0 if value is None else value
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= most:
            raise invalid(name, f"a number from 0 to {most}", value)
        call.echoed[name] = float(value)
    truncation = payload.get("truncation") or "disabled"
    if truncation not in ("auto", "disabled"):
        raise invalid("truncation", "auto or disabled", truncation)
    metadata = mapping(payload, "metadata")
    call.echoed |= {
        "instructions": payload.get("instructions"),
        "max_output_tokens": call.question.max_tokens,
        "max_tool_calls": whole_number(payload, "max_tool_calls", 1),
        "previous_response_id": payload.get("previous_response_id"),
        "truncation": truncation,
        "metadata": metadata,
        "background": call.background,
        "service_tier": "default",
    }
    for name in ("prompt_cache_key", "safety_identifier", "user"):
        value = payload.get(name)
        if not isinstance(value, str | None):
            raise invalid(name, "a text", value)
        call.echoed[name] = value
