"""Tools and tool choice, from OpenAI's shapes to Gemini's."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from flexllm_core.errors import InputError
from flexllm_providers.wire_warnings import warn_left_out

_MODES = {"auto": "AUTO", "none": "NONE", "required": "ANY", "any": "ANY", "validated": "VALIDATED"}
_NOT_NATIVE = frozenset({"type", "function", "name"})


def encode_tools(tools: object, label: str) -> list[dict[str, Any]]:
    """Gemini's `tools`: all functions in one declaration, Gemini's own tools (`{"googleSearch": {}}`) as they are.

    A tool of another kind is left out, with one warning behind `label`, the endpoint's.

    Raises:
        InputError: A function has no name.
    """
    if not isinstance(tools, list | tuple):
        raise InputError(f"tools is {type(tools).__name__}; expected a list")
    functions: list[dict[str, Any]] = []
    native: list[dict[str, Any]] = []
    for tool in tools:
        if not isinstance(tool, Mapping):
            raise InputError(f"a tool is {type(tool).__name__}; expected a dict")
        if isinstance(tool.get("function"), Mapping):
            functions.append(_declaration(tool["function"]))
        elif tool and not _NOT_NATIVE & tool.keys():
            native.append(dict(tool))
        else:
            warn_left_out(label, [f"tools of type {str(tool.get('type'))[:40]!r}"])
    return ([{"functionDeclarations": functions}] if functions else []) + native


def _declaration(function: Mapping[str, Any]) -> dict[str, Any]:
    out: dict[str, Any] = {"name": _name(function, "a tool")}
    if function.get("description"):
        out["description"] = function["description"]
    if function.get("parameters"):
        out["parametersJsonSchema"] = function["parameters"]
    return out


def encode_tool_choice(choice: object, label: str) -> dict[str, Any] | None:
    """Gemini's `functionCallingConfig`, None where the choice cannot be said; a warning tells.

    Raises:
        InputError: A function that is chosen has no name.
    """
    if isinstance(choice, str) and choice in _MODES:
        return {"mode": _MODES[choice]}
    if isinstance(choice, Mapping):
        if isinstance(choice.get("function"), Mapping):
            return {"mode": "ANY", "allowedFunctionNames": [_name(choice["function"], "tool_choice")]}
        allowed = choice.get("allowed_tools")
        if isinstance(allowed, Mapping) and isinstance(allowed.get("tools"), list):
            # AUTO refuses a list of names; VALIDATED is AUTO that takes one.
            mode = "ANY" if allowed.get("mode") == "required" else "VALIDATED"
            return {"mode": mode, "allowedFunctionNames": [_allowed_name(tool) for tool in allowed["tools"]]}
    kind = choice.get("type") if isinstance(choice, Mapping) else choice
    warn_left_out(label, [f"tool_choice {str(kind)[:40]!r}"])
    return None


def _allowed_name(tool: object) -> str:
    function = tool.get("function") if isinstance(tool, Mapping) else None
    return _name(function if isinstance(function, Mapping) else {}, "tool_choice")


def _name(function: Mapping[str, Any], what: str) -> str:
    name = function.get("name")
    if not isinstance(name, str) or not name:
        raise InputError(f"{what}: a function has no name")
    return name
