"""Reads an OpenAI chat request: what it must hold, what is wrong with it, and what it asks for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from flexllm_mock.answers import ECHO_MODEL, AnswerRequest
from flexllm_mock.asgi import ApiError
from flexllm_mock.openai.logprobs import MAX_TOP_LOGPROBS
from flexllm_mock.openai.parameters import (
    MAX_CHOICES,
    boolean,
    invalid,
    last_user_text,
    mapping,
    missing,
    read_stops,
    whole_number,
)
from flexllm_mock.scripted import ScriptedAnswer
from flexllm_mock.tokens import cached_tokens, content_tokens, prompt_tokens
from flexllm_mock.tools import NO_PARAMETERS, Tool

# Keys that no plain request has: a request without them is read without looking at each.
_UNUSUAL = frozenset(
    {"n", "stop", "tools", "response_format", "logprobs", "top_logprobs"}
    | {"reasoning_effort", "reasoning", "thinking", "enable_thinking", "chat_template_kwargs"}
)


@dataclass(slots=True)
class ChatCall:
    """A chat request that is valid.

    `schema_place` names the parameter that a schema came from. `logprobs` is how many likely tokens to show at each
    place, None for no log probabilities at all.
    """

    model: str
    prompt_tokens: int
    cached_tokens: int
    question: AnswerRequest
    stream: bool = False
    include_usage: bool = False
    schema_place: str = "response_format"
    logprobs: int | None = None

    def follow(self, script: ScriptedAnswer | None) -> None:
        """Report the model and the prompt's tokens that a script prescribes."""
        if script is None:
            return
        self.model = script.model or self.model
        if script.usage.prompt_tokens is not None:
            self.prompt_tokens, self.cached_tokens = script.usage.prompt_tokens, script.usage.cached_tokens


def parse_chat(payload: dict[str, Any], response_len: tuple[int, int]) -> ChatCall:
    """Read the body of a chat request. Raises ApiError 400 that names what is wrong."""
    model, messages = payload.get("model"), payload.get("messages")
    if not isinstance(model, str) or not model:
        raise invalid("model", "a name", model) if "model" in payload else missing("model")
    if not isinstance(messages, list) or not messages:
        raise invalid("messages", "a list of messages", messages) if "messages" in payload else missing("messages")
    for at, message in enumerate(messages):
        if not isinstance(message, dict) or not isinstance(message.get("role"), str):
            raise ApiError(400, f"Invalid message: messages[{at}] must be an object with a role.", param="messages")
    limit = payload.get("max_completion_tokens")
    if limit is None:
        limit = payload.get("max_tokens")
    if limit is not None and (limit.__class__ is not int or limit < 1):
        name = "max_tokens" if payload.get("max_completion_tokens") is None else "max_completion_tokens"
        raise invalid(name, "an integer of 1 or more", limit)
    question = AnswerRequest(b"", response_len, max_tokens=limit)
    if model == ECHO_MODEL:
        question.literal = last_user_text(messages)
    call = ChatCall(model, prompt_tokens(messages), cached_tokens(messages), question)
    if payload.get("stream", False) is not False:
        call.stream = boolean(payload, "stream")
        if call.stream:
            call.include_usage = bool(mapping(payload, "stream_options").get("include_usage"))
    if not _UNUSUAL.isdisjoint(payload):
        _read_unusual(payload, messages, call)
    return call


def _read_unusual(payload: dict[str, Any], messages: list[dict[str, Any]], call: ChatCall) -> None:
    question = call.question
    question.n = whole_number(payload, "n", 1, most=MAX_CHOICES) or 1
    question.stop = read_stops(payload.get("stop"))
    question.reasoning = _asks_reasoning(payload)
    top = whole_number(payload, "top_logprobs", 0, MAX_TOP_LOGPROBS)
    if boolean(payload, "logprobs"):
        call.logprobs = top or 0
    elif top is not None:
        text = "The 'top_logprobs' parameter is only allowed when 'logprobs' is enabled."
        raise ApiError(400, text, param="top_logprobs")
    if payload.get("tools"):
        tools = _tools(payload)
        call.prompt_tokens += sum([content_tokens(str(tool.parameters)) for tool in tools])
        if messages[-1]["role"] not in ("tool", "function"):
            callable_tools = _callable_tools(payload.get("tool_choice"), tools)
            parallel = payload.get("parallel_tool_calls") is not False
            question.offer(callable_tools, last_user_text(messages), parallel=parallel)
            call.schema_place = "tools"
    if not question.tools:
        _read_format(payload, call)


def _asks_reasoning(payload: dict[str, Any]) -> bool:
    """Look for any of the keys by which servers are asked to think."""
    if payload.get("enable_thinking") is True or _is_effort(payload.get("reasoning_effort")):
        return True
    if mapping(payload, "thinking").get("type") in ("enabled", "adaptive"):
        return True
    template = mapping(payload, "chat_template_kwargs")
    if template.get("enable_thinking") is True or template.get("thinking") is True:
        return True
    reasoning = mapping(payload, "reasoning")
    return reasoning.get("enabled") is True or _is_effort(reasoning.get("effort"))


def _is_effort(value: object) -> bool:
    return isinstance(value, str) and value != "none"


def _tools(payload: dict[str, Any]) -> list[Tool]:
    """Read the functions among the tools; other kinds of tools are never called."""
    listed, tools = payload["tools"], list[Tool]()
    if not isinstance(listed, list):
        raise invalid("tools", "a list of tools", listed)
    for at, tool in enumerate(listed):
        if not isinstance(tool, dict):
            raise invalid(f"tools[{at}]", "an object", tool)
        if tool.get("type", "function") != "function":
            continue
        function = tool.get("function")
        if not isinstance(function, dict) or not isinstance(function.get("name"), str) or not function["name"]:
            raise invalid(f"tools[{at}].function", "an object with a name", function)
        parameters = function.get("parameters")
        tools.append(Tool(function["name"], NO_PARAMETERS if parameters is None else parameters))
    return tools


def _callable_tools(choice: object, tools: list[Tool]) -> tuple[Tool, ...]:
    """Return the tools one of which must be called; with no choice given, one is called too."""
    if choice == "none":
        return ()
    if choice is None or choice in ("auto", "required"):
        return tuple(tools)
    function = choice.get("function") if isinstance(choice, dict) else None
    name = function.get("name") if isinstance(function, dict) else None
    if not isinstance(name, str):
        raise invalid("tool_choice", "none, auto, required or a function with a name", choice)
    named = tuple(tool for tool in tools if tool.name == name)
    if not named:
        raise ApiError(400, f"Invalid value for 'tool_choice': {name!r} is not one of the tools.", param="tool_choice")
    return named[:1]


def _read_format(payload: dict[str, Any], call: ChatCall) -> None:
    wanted = mapping(payload, "response_format")
    kind = wanted.get("type", "text")
    if kind == "text":
        return
    if kind not in ("json_object", "json_schema"):
        raise invalid("response_format.type", "text, json_object or json_schema", kind)
    call.question.wants_json = True
    if kind == "json_schema":
        described = mapping(wanted, "json_schema")
        if "schema" not in described:
            raise missing("response_format.json_schema.schema")
        call.question.schema = described["schema"]
