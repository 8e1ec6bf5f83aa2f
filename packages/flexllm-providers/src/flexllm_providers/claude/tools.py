"""Tools and the choice of them, from OpenAI's shape to Claude's."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from flexllm_core.errors import ConfigError
from flexllm_providers.claude.capabilities import ClaudeModel

_CHOICES = {"auto": "auto", "required": "any", "any": "any", "none": "none"}


def encode_tools(tools: object, who: str) -> list[dict[str, Any]]:
    """The tools; Claude's own, such as its web search, are passed on as they are.

    Raises:
        ConfigError: A tool is neither a function nor an object of Claude's.
    """
    if not isinstance(tools, list | tuple):
        raise ConfigError(f"{who}: tools: expected a list, found {type(tools).__name__}")
    return [_tool(tool, index, who) for index, tool in enumerate(tools)]


def _tool(tool: object, index: int, who: str) -> dict[str, Any]:
    if not isinstance(tool, Mapping):
        raise ConfigError(f"{who}: tools[{index}]: expected an object, found {type(tool).__name__}")
    if tool.get("type") != "function":
        if tool.get("type") == "custom" and "input_schema" not in tool:
            raise ConfigError(f"{who}: tools[{index}]: Claude takes no tools of free text; expected a function")
        return dict(tool)
    function = tool.get("function")
    if not isinstance(function, Mapping) or not isinstance(function.get("name"), str):
        raise ConfigError(f"{who}: tools[{index}].function: expected an object with a name")
    out: dict[str, Any] = {"name": function["name"]}
    if function.get("description"):
        out["description"] = function["description"]
    out["input_schema"] = function.get("parameters") or {"type": "object", "properties": {}}
    if function.get("strict"):
        out["strict"] = True
    if tool.get("cache_control") is not None:
        out["cache_control"] = tool["cache_control"]
    return out


def encode_tool_choice(choice: object, parallel: bool | None, model: ClaudeModel, who: str) -> dict[str, Any] | None:
    """The choice: none, auto, any, or one tool; None when there is nothing to say.

    Args:
        choice: OpenAI's `tool_choice`; None where there is none.
        parallel: OpenAI's `parallel_tool_calls`.
        model: The model's row.
        who: Endpoint and model, for messages.

    Raises:
        ConfigError: The choice is unknown, or the model cannot be forced to call.
    """
    if choice is None and parallel is not False:
        return None
    out = _choice("auto" if choice is None else choice, who)
    if out["type"] in ("any", "tool") and not model.forced_tools:
        raise ConfigError(
            f"{who} cannot be forced to call a tool; expected tool_choice auto or none, found {choice!r:.80}"
        )
    if parallel is False and out["type"] != "none":
        out["disable_parallel_tool_use"] = True
    return out


def _choice(choice: object, who: str) -> dict[str, Any]:
    if isinstance(choice, str) and choice in _CHOICES:
        return {"type": _CHOICES[choice]}
    if isinstance(choice, Mapping):
        function = choice.get("function")
        if choice.get("type") == "function" and isinstance(function, Mapping) and isinstance(function.get("name"), str):
            return {"type": "tool", "name": function["name"]}
        if choice.get("type") in ("auto", "any", "tool", "none"):
            return dict(choice)
    raise ConfigError(
        f"{who}: tool_choice is {choice!r:.80}; "
        "expected auto, none, required or {'type': 'function', 'function': {'name': ...}}"
    )
