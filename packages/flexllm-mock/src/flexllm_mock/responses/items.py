"""Reads the items that a Responses request brings: messages, calls and their results, thoughts, references."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from flexllm_mock.asgi import ApiError
from flexllm_mock.openai.parameters import invalid, missing

Item = dict[str, Any]
FindItem = Callable[[str], Item | None]
SignatureCheck = Callable[[str], bool]

_ROLES = ("user", "assistant", "system", "developer")
_PARTS = ("input_text", "output_text", "refusal", "input_image", "input_file", "input_audio")
_CALL_KINDS = ("function_call", "custom_tool_call")
_OUTPUT_KINDS = ("function_call_output", "custom_tool_call_output")


def read_items(given: object, find: FindItem, made_here: SignatureCheck) -> list[Item]:
    """Read `input`, a text or a list of items; references are replaced by what they refer to. Raises ApiError."""
    if isinstance(given, str):
        return [{"type": "message", "role": "user", "content": given}]
    if not isinstance(given, list) or not given:
        raise invalid("input", "a text or a list of items", given)
    items: list[Item] = []
    for at, item in enumerate(given):
        place = f"input[{at}]"
        if not isinstance(item, dict):
            raise invalid(place, "an object", item)
        kind = item.get("type") or ("message" if "role" in item else "item_reference" if "id" in item else None)
        if not isinstance(kind, str):
            raise missing(f"{place}.type")
        if kind == "item_reference":
            items.append(_referenced(item, place, find))
            continue
        _check_item(kind, item, place, made_here)
        items.append({**item, "type": kind})
    return items


def check_calls(items: list[Item]) -> None:
    """Check that each call has its result and each result its call. Raises ApiError 400."""
    called = {item["call_id"] for item in items if item["type"] in _CALL_KINDS}
    answered = {item["call_id"] for item in items if item["type"] in _OUTPUT_KINDS}
    for call_id in sorted(answered - called):
        raise ApiError(400, f"No tool call found for function call output with call_id {call_id}.", param="input")
    for call_id in sorted(called - answered):
        raise ApiError(400, f"No tool output found for function call {call_id}.", param="input")


def as_messages(items: list[Item]) -> list[dict[str, Any]]:
    """Return the items as messages of a chat, as far as tokens and texts are concerned."""
    messages: list[dict[str, Any]] = []
    for item in items:
        match item["type"]:
            case "message":
                messages.append({"role": item["role"], "content": item["content"]})
            case "function_call" | "custom_tool_call":
                said = f"{item.get('name', '')}{item.get('arguments', item.get('input', ''))}"
                messages.append({"role": "assistant", "content": said})
            case "function_call_output" | "custom_tool_call_output":
                messages.append({"role": "tool", "content": item["output"]})
            case "reasoning":
                messages.append({"role": "assistant", "content": item.get("summary")})
            case _:
                messages.append({"role": "assistant", "content": json.dumps(item)})
    return messages


def input_item(item: Item, name: str) -> Item:
    """Return an item of the input as a list of them shows it: with an id, and with content in parts."""
    shown = {"id": name, **{key: value for key, value in item.items() if value is not None}}
    if item["type"] == "message":
        content = item["content"]
        if isinstance(content, str):
            kind = "output_text" if item["role"] == "assistant" else "input_text"
            extra: dict[str, Any] = {"annotations": []} if kind == "output_text" else {}
            content = [{"type": kind, "text": content, **extra}]
        return {**shown, "status": "completed", "content": content}
    if item["type"] in (*_CALL_KINDS, *_OUTPUT_KINDS):
        return {"status": "completed", **shown}
    return shown


def _referenced(item: Item, place: str, find: FindItem) -> Item:
    name = item.get("id")
    if not isinstance(name, str):
        raise missing(f"{place}.id")
    found = find(name)
    if found is None:
        text = f"Item with id '{name}' not found. Items are not persisted when `store` is set to false."
        raise ApiError(404, text, param="input")
    return found


def _check_item(kind: str, item: Item, place: str, made_here: SignatureCheck) -> None:
    if kind == "message":
        if item.get("role") not in _ROLES:
            raise invalid(f"{place}.role", ", ".join(_ROLES), item.get("role"))
        _check_content(item.get("content"), f"{place}.content")
    elif kind in _CALL_KINDS:
        _check_texts(item, place, ("call_id", "name", "arguments" if kind == "function_call" else "input"))
    elif kind in _OUTPUT_KINDS:
        _check_texts(item, place, ("call_id",))
        if not isinstance(item.get("output"), str | list):
            raise invalid(f"{place}.output", "a text or a list of parts", item.get("output"))
    elif kind == "reasoning":
        if not isinstance(item.get("summary"), list):
            raise invalid(f"{place}.summary", "a list", item.get("summary"))
        sealed = item.get("encrypted_content")
        if sealed is not None and not (isinstance(sealed, str) and made_here(sealed)):
            text = "The encrypted content could not be verified: it was not made here, or has been changed."
            raise ApiError(400, text, param=f"{place}.encrypted_content", code="invalid_encrypted_content")


def _check_content(content: object, place: str) -> None:
    if isinstance(content, str):
        return
    if not isinstance(content, list):
        raise invalid(place, "a text or a list of parts", content)
    for at, part in enumerate(content):
        kind = part.get("type") if isinstance(part, dict) else None
        if not isinstance(kind, str) or kind not in _PARTS:
            raise invalid(f"{place}[{at}].type", ", ".join(_PARTS), kind)
        if kind in ("input_text", "output_text") and not isinstance(part.get("text"), str):
            raise missing(f"{place}[{at}].text")


def _check_texts(item: Item, place: str, names: tuple[str, ...]) -> None:
    for name in names:
        if not isinstance(item.get(name), str):
            raise invalid(f"{place}.{name}", "a string", item[name]) if name in item else missing(f"{place}.{name}")
