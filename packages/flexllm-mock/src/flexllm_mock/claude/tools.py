"""Reads the tools of a Claude request, and which of them may be called."""

from __future__ import annotations

import re
from typing import Any

from flexllm_mock.answers import AnswerRequest
from flexllm_mock.asgi import ApiError
from flexllm_mock.claude.errors import invalid, missing, wrong
from flexllm_mock.tools import Tool

_NAME = re.compile(r"[a-zA-Z0-9_-]{1,128}")
_CHOICES = ("auto", "any", "tool", "none")


def offer_tools(payload: dict[str, Any], question: AnswerRequest, text: str, *, after_result: bool) -> None:
    """Let the question be answered with a tool when the request has one and the user waits for no text.

    Raises ApiError 400 for tools, or a choice among them, that are not valid.
    """
    tools = _read_tools(payload.get("tools"))
    choice = payload.get("tool_choice")
    if choice is None:
        choice = {"type": "auto"}
    elif not payload.get("tools"):
        raise ApiError(400, "tool_choice may only be specified while providing tools.")
    if not isinstance(choice, dict) or choice.get("type") not in _CHOICES:
        raise wrong("tool_choice.type", "'auto', 'any', 'tool' or 'none'", choice)
    serial = choice.get("disable_parallel_tool_use")
    if not isinstance(serial, bool | None):
        raise wrong("tool_choice.disable_parallel_tool_use", "a valid boolean", serial)
    if choice["type"] == "tool":
        tools = _named(tools, choice.get("name"))
    if choice["type"] == "none" or (after_result and choice["type"] == "auto"):
        return
    question.offer(tools, text, parallel=serial is not True)


def _read_tools(listed: object) -> tuple[Tool, ...]:
    """Return the tools that the client runs; those of the vendor's side are never called."""
    if listed is None:
        return ()
    if not isinstance(listed, list):
        raise wrong("tools", "a valid list", listed)
    tools: list[Tool] = []
    names: list[object] = []
    for at, tool in enumerate(listed):
        if not isinstance(tool, dict):
            raise wrong(f"tools.{at}", "an object", tool)
        names.append(tool.get("name"))
        if tool.get("type") not in (None, "custom"):
            continue
        name, schema = tool.get("name"), tool.get("input_schema")
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            raise invalid(f"tools.{at}.custom.name", f"String should match pattern '^{_NAME.pattern}$'")
        if schema is None:
            raise missing(f"tools.{at}.custom.input_schema")
        if not isinstance(schema, dict) or schema.get("type") != "object":
            raise wrong(f"tools.{at}.custom.input_schema.type", "'object'", schema)
        tools.append(Tool(name, schema))
    given = [name for name in names if name is not None]
    if any(name in given[:at] for at, name in enumerate(given)):
        raise invalid("tools", "Tool names must be unique.")
    return tuple(tools)


def _named(tools: tuple[Tool, ...], name: object) -> tuple[Tool, ...]:
    if name is None:
        raise missing("tool_choice.tool.name")
    found = tuple(tool for tool in tools if tool.name == name)
    if not found:
        raise ApiError(400, f"Tool '{name}' not found in provided tools")
    return found
