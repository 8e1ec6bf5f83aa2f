"""What our clients really send, captured by the mock server, against the request types of the vendors' own SDKs."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import cache
from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

pytest.importorskip("openai", reason="the openai SDK is not installed")
pytest.importorskip("anthropic", reason="the anthropic SDK is not installed")
pytest.importorskip("google.genai", reason="google-genai is not installed")

PIXEL = "data:image/png;base64,iVBORw0KGgo="
TOOL = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "d",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}
SCHEMA = {"type": "object", "properties": {"t": {"type": "string"}}, "required": ["t"], "additionalProperties": False}
JSON_SCHEMA = {"type": "json_schema", "json_schema": {"name": "out", "schema": SCHEMA, "strict": True}}
PARTS = [{"type": "text", "text": "Describe"}, {"type": "image_url", "image_url": {"url": PIXEL}}]
SYSTEM = {"role": "system", "content": "Be brief"}


@cache
def adapter(kind: Any) -> TypeAdapter[Any]:
    """Kept alive: what it validates lazily needs it until the end of the walk."""
    return TypeAdapter(kind)


def check_openai(body: dict[str, Any]) -> None:
    """Required keys, types, and no key that the SDK does not know."""
    from openai.types.chat import completion_create_params as params

    known = set(params.CompletionCreateParamsBase.__annotations__) | {"stream"}
    assert set(body) <= known, set(body) - known
    kind = params.CompletionCreateParamsStreaming if body.get("stream") else params.CompletionCreateParamsNonStreaming
    walk(adapter(kind).validate_python(body))


def check_claude(body: dict[str, Any]) -> None:
    """The same; sampling params belong to an older version of the API than the SDK's types."""
    from anthropic.types import message_create_params as params

    known = set(params.MessageCreateParamsBase.__annotations__) | {"stream", "temperature", "top_p", "top_k"}
    assert set(body) <= known, set(body) - known
    walk(adapter(params.MessageCreateParams).validate_python(body))


def check_gemini(body: dict[str, Any]) -> None:
    """All of the SDK's fields are optional, so this proves names and types."""
    from google.genai import types

    rest = dict(body)
    for content in rest.pop("contents"):
        assert types.Content.model_validate(content).role in ("user", "model")
    types.GenerateContentConfig.model_validate({**rest.pop("generationConfig", {}), **rest})


CHECKS: dict[str, Callable[[dict[str, Any]], None]] = {
    "openai": check_openai,
    "claude": check_claude,
    "gemini": check_gemini,
    "vertex": check_gemini,
}


def walk(value: Any) -> None:
    """Walk through a validated request: pydantic checks the items of an `Iterable` when they are asked for."""
    if isinstance(value, dict):
        for item in value.values():
            walk(item)
    elif not isinstance(value, str | bytes | int | float | None):
        for item in value:
            walk(item)


def sent(harness: Any) -> list[dict[str, Any]]:
    return [json.loads(request.body) for request in harness.server.requests if request.body]


CASES = {
    "single": ("Hello", {"max_tokens": 50, "temperature": 0.5, "top_p": 0.9, "stop": ["END"]}),
    "system": ([SYSTEM, {"role": "user", "content": "Hello"}], {}),
    "tools": ("Weather in Oslo?", {"tools": [TOOL], "tool_choice": "auto", "max_tokens": 500}),
    "tool required": ("Weather in Oslo?", {"tools": [TOOL], "tool_choice": "required", "max_tokens": 500}),
    "structured": ("Hello", {"response_format": JSON_SCHEMA, "max_tokens": 500}),
    "thinking off": ("Hello", {"thinking": False, "max_tokens": 500}),
    "thinking on": ("Hello", {"thinking": True, "max_tokens": 5000}),
    "thinking effort": ("Hello", {"thinking": "low", "max_tokens": 5000}),
    "image": ([{"role": "user", "content": PARTS}], {}),
}


@pytest.mark.parametrize("case", CASES)
def test_each_request_is_what_the_sdk_would_send(harness, case):
    """Single calls, and the two turns of a tool loop with the assistant message replayed."""
    messages, options = CASES[case]
    # The other kinds of OpenAI-compatible servers take keys that OpenAI's own SDK does not know.
    settings = {"dialect": {"kind": "openai"}} if harness.provider == "openai" else {}
    result = harness.chat(messages, settings=settings, **options)
    if result.tool_calls:
        turn = [{"role": "user", "content": messages}, result.assistant_message]
        answers = [{"role": "tool", "tool_call_id": call.id, "content": "4 C"} for call in result.tool_calls]
        harness.chat([*turn, *answers], tools=[TOOL], max_tokens=500)
    bodies = sent(harness)
    assert bodies
    for body in bodies:
        CHECKS[harness.provider](body)


def test_each_stream_is_what_the_sdk_would_ask_for(harness):
    """With `stream` where the body says so."""
    harness.events("Hello", max_tokens=50)
    CHECKS[harness.provider](sent(harness)[0])


@pytest.mark.parametrize("transport", ["h1"], indirect=True)
@pytest.mark.parametrize("mode", ["sync"], indirect=True)
@pytest.mark.parametrize("wrong", [{"temprature": 1}, {"tools": "none"}, {"messages": 1, "contents": 1}])
def test_the_checks_can_fail(harness, wrong):
    """Negative controls: unknown keys and wrong types are refused."""
    harness.chat("Hello", max_tokens=50)
    body = sent(harness)[0] | wrong
    with pytest.raises((AssertionError, ValidationError, TypeError)):
        CHECKS[harness.provider](body)
