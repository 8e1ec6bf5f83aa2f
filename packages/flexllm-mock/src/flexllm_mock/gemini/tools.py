"""Reads the functions of a Gemini request, and which of them may be called."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from flexllm_mock.asgi import ApiError
from flexllm_mock.gemini.errors import invalid, wrong
from flexllm_mock.gemini.fields import Fields
from flexllm_mock.gemini.schema import json_schema
from flexllm_mock.scalars import SchemaError
from flexllm_mock.tools import NO_PARAMETERS, Tool

_NAME = re.compile(r"[a-zA-Z_][a-zA-Z0-9_.:-]{0,127}")
_MODES = ("MODE_UNSPECIFIED", "AUTO", "ANY", "NONE", "VALIDATED")


@dataclass(frozen=True, slots=True)
class Declarations:
    """The functions of a request: those `declared`, the `tools` that may be called, and whether one must be."""

    declared: tuple[Any, ...]
    tools: tuple[Tool, ...]
    forced: bool


def read_tools(payload: Fields) -> Declarations:
    """Read `tools` and `toolConfig`. Raises ApiError 400 that names the place."""
    declared: list[Fields] = []
    tools: list[Tool] = []
    for at, entry in enumerate(payload.get("tools", [])):
        for index, declaration in enumerate(entry.get("functionDeclarations", [])):
            declared.append(declaration)
            tools.append(_tool(declaration, f"tools[{at}].function_declarations[{index}]"))
    names = [tool.name for tool in tools]
    for name in names:
        if names.count(name) > 1:
            raise ApiError(400, f"Duplicate function declaration found: {name}", param="tools")
    mode, allowed = _calling(payload.get("toolConfig", {}).get("functionCallingConfig", {}))
    if allowed is not None:
        for name in allowed:
            if name not in names:
                raise invalid("tool_config.function_calling_config.allowed_function_names", f"{name!r} is not declared")
        tools = [tool for tool in tools if tool.name in allowed]
    return Declarations(tuple(declared), () if mode == "NONE" else tuple(tools), forced=mode == "ANY")


def _calling(config: Fields) -> tuple[str, list[Any] | None]:
    place = "tool_config.function_calling_config"
    mode, allowed = config.get("mode", "AUTO"), config.get("allowedFunctionNames")
    if not isinstance(mode, str) or mode.upper() not in _MODES:
        raise wrong(f"{place}.mode", ", ".join(_MODES[1:]), mode)
    mode = mode.upper()
    if allowed is not None and not isinstance(allowed, list):
        raise wrong(f"{place}.allowed_function_names", "a list of names", allowed)
    if allowed and mode not in ("ANY", "VALIDATED"):
        raise invalid(f"{place}.allowed_function_names", "only allowed with the mode ANY or VALIDATED")
    return mode, allowed or None


def _tool(declaration: Fields, place: str) -> Tool:
    name = declaration.get("name")
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise wrong(f"{place}.name", "a name of letters, digits, `_`, `.`, `:` and `-`", name)
    if "parameters" in declaration and "parametersJsonSchema" in declaration:
        raise invalid(place, "only one of parameters and parameters_json_schema can be set")
    parameters = declaration.get("parametersJsonSchema", NO_PARAMETERS)
    if "parameters" in declaration:
        try:
            parameters = json_schema(declaration["parameters"])
        except SchemaError as error:
            raise invalid(f"{place}.parameters", str(error)) from error
    return Tool(name, parameters)
