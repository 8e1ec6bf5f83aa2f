"""Claude's wire against the types of Anthropic's own SDK: what is sent, and what the examples say is answered."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, get_args

import pytest
from pydantic import BaseModel, TypeAdapter, ValidationError

from flexllm_core.endpoint import endpoint_from
from flexllm_core.requests import ChatRequest
from flexllm_core.thinking import EFFORTS
from flexllm_providers.claude import decode as claude_decode
from flexllm_providers.claude import encode as claude_encode
from flexllm_providers.claude.capabilities import UNKNOWN, find_model
from flexllm_providers.claude.errors import _STATUSES
from flexllm_providers.claude.stream import ClaudeStreamDecoder
from flexllm_providers.claude.target import claude_target_from
from flexllm_providers.http import HttpResponse
from flexllm_providers.sse import SSEParser

anthropic = pytest.importorskip("anthropic", reason="the anthropic SDK is not installed")

EXAMPLES = Path(__file__).parents[2] / "packages/flexllm-providers/tests/wires/claude/data"
SCHEMA = {"type": "object", "properties": {"t": {"type": "string"}}, "required": ["t"], "additionalProperties": False}
TOOL = {"type": "function", "function": {"name": "f", "description": "d", "parameters": SCHEMA, "strict": True}}
IMAGE = {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgo="}}
REMOTE = {"type": "image_url", "image_url": {"url": "https://x/y.png"}, "cache_control": {"type": "ephemeral"}}
PDF = {"type": "file", "file": {"file_data": "data:application/pdf;base64,JVBERi0=", "filename": "a.pdf"}}
TEXT_FILE = {"type": "file", "file": {"file_data": "data:text/plain,a%20b"}}
CALLS = [{"id": "a.b", "type": "function", "function": {"name": "f", "arguments": '{"t": "x"}'}}]
SAMPLING = ("temperature", "top_p", "top_k")
TARGET = claude_target_from(endpoint_from({"base_url": "https://api.anthropic.com", "api_key": "sk-ant-x"}))


@pytest.fixture(scope="module")
def strict_request() -> Iterator[TypeAdapter[Any]]:
    """The SDK's type of a request, with unknown keys refused in all of its dicts that do not ask for them."""
    from anthropic.types import message_create_params as params

    changed = []
    for module in _modules("anthropic.types"):
        for found in vars(module).values():
            is_dict_type = isinstance(found, type) and hasattr(found, "__required_keys__")
            if is_dict_type and "__pydantic_config__" not in vars(found):
                found.__pydantic_config__ = {"extra": "forbid"}
                changed.append(found)
    yield TypeAdapter(params.MessageCreateParams)
    for found in changed:
        del found.__pydantic_config__


def _modules(prefix: str) -> list[Any]:
    return [module for name, module in list(sys.modules.items()) if name.startswith(prefix)]


def check(adapter: TypeAdapter[Any], body: dict[str, Any]) -> None:
    """Validate a request, all of it.

    The SDK's types of version 2 have no sampling params any more: those belong to the API's older version.
    """
    consume(adapter.validate_python({key: value for key, value in body.items() if key not in SAMPLING}))


def consume(value: Any) -> None:
    """Walk through a validated request: pydantic checks the items of an `Iterable` only when they are asked for."""
    if isinstance(value, BaseModel):
        known(value)  # where the SDK takes its own answers' blocks too, which let any key pass
    elif isinstance(value, Mapping):
        for item in value.values():
            consume(item)
    elif not isinstance(value, str | bytes | int | float | None):
        for item in value:
            consume(item)


def sent(messages: Any, model: str, params: Mapping[str, Any], stream: bool = False) -> Any:
    """The JSON body of a request."""
    messages = [{"role": "user", "content": messages}] if isinstance(messages, str) else messages
    return json.loads(claude_encode.encode(ChatRequest(messages, model, params), TARGET, stream=stream).body)


CONVERSATION = [
    {"role": "system", "content": [{"type": "text", "text": "A", "cache_control": {"type": "ephemeral", "ttl": "1h"}}]},
    {"role": "user", "content": [{"type": "text", "text": "look"}, IMAGE, REMOTE, PDF, TEXT_FILE]},
    {"role": "assistant", "content": "I call.", "tool_calls": CALLS},
    {"role": "tool", "tool_call_id": "a.b", "content": [{"type": "text", "text": "4"}, IMAGE], "is_error": True},
    {"role": "user", "content": "and?"},
]
REQUESTS: list[tuple[Any, str, dict[str, Any]]] = [
    ("hi", "claude-opus-5-5", {}),
    (CONVERSATION, "claude-opus-5-5", {"tools": [TOOL], "tool_choice": "auto", "parallel_tool_calls": False}),
    (CONVERSATION, "claude-haiku-4-5", {"tools": [TOOL], "tool_choice": "required"}),
    ("hi", "claude-haiku-4-5", {"tools": [TOOL], "tool_choice": {"type": "function", "function": {"name": "f"}}}),
    ("hi", "claude-haiku-4-5", {"tools": [TOOL], "tool_choice": "none", "parallel_tool_calls": False}),
    ("hi", "claude-haiku-4-5", {"temperature": 0.5, "top_p": 0.5, "top_k": 5, "stop": ["a"], "user": "u", "seed": 1}),
    ("hi", "claude-opus-5-5", {"service_tier": "default", "max_tokens": 0, "stop": "x"}),
    (
        "hi",
        "claude-opus-5-5",
        {"thinking": "low", "response_format": {"type": "json_schema", "json_schema": {"schema": SCHEMA}}},
    ),
    ("hi", "claude-opus-5-5", {"response_format": {"type": "json_object"}, "extra_body": {"inference_geo": "us"}}),
    ("hi", "claude-sonnet-5-5", {"thinking": False}),
    ("hi", "claude-opus-5", {"thinking": False}),
    *(("hi", "claude-opus-5-5", {"thinking": word}) for word in EFFORTS),
    *(("hi", "claude-opus-4-5", {"thinking": word}) for word in EFFORTS),
    ("hi", "claude-haiku-4-5", {"thinking": 2048}),
    ("hi", "claude-sonnet-4-6", {"thinking": True}),
]


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(("messages", "model", "params"), REQUESTS)
def test_what_is_sent_is_what_the_sdk_would_send(
    strict_request: TypeAdapter[Any], messages: Any, model: str, params: dict[str, Any], stream: bool
) -> None:
    """Names, types and required keys, down to every block."""
    check(strict_request, sent(messages, model, params, stream))


@pytest.mark.parametrize(
    "wrong",
    [
        {"max_tokens": None},
        {"n": 2},
        {"messages": [{"role": "user", "content": [{"type": "text", "text": "a", "name": "x"}]}]},
        {"messages": [{"role": "user", "content": [{"type": "image", "source": {"type": "base64"}}]}]},
        {"output_config": {"effort": "ultra"}},
        {"thinking": {"type": "enabled"}},
        {"tool_choice": {"type": "function"}},
        {"stop_sequences": [5]},
    ],
)
def test_the_check_can_fail(strict_request: TypeAdapter[Any], wrong: dict[str, Any]) -> None:
    """Missing, unknown and wrong keys are found at every depth."""
    with pytest.raises((ValidationError, AssertionError)):
        check(strict_request, {**sent("hi", "claude-opus-5-5", {}), **wrong})


def example(name: str) -> Any:
    """One of the documented examples."""
    return json.loads((EXAMPLES / name).read_bytes())


def known(model: BaseModel) -> None:
    """Every key of the example is one that the SDK knows, at every depth."""
    assert not model.model_extra, model.model_extra
    for value in dict(model).values():
        for item in value if isinstance(value, list) else [value]:
            if isinstance(item, BaseModel):
                known(item)


@pytest.mark.parametrize("name", ["request.json", "request_tools.json", "request_budget.json"])
def test_the_examples_of_requests_are_requests(strict_request: TypeAdapter[Any], name: str) -> None:
    """By the SDK's type of a request; without its limit it is none."""
    check(strict_request, example(name))
    with pytest.raises(ValidationError):
        check(strict_request, {key: value for key, value in example(name).items() if key != "max_tokens"})


@pytest.mark.parametrize("name", ["answer.json", "answer_tools.json", "answer_refusal.json"])
def test_the_examples_of_answers_are_answers(name: str) -> None:
    """By the SDK's type of a message; and every reason to stop is one that we know."""
    known(anthropic.types.Message.model_validate(example(name)))


def test_the_examples_go_back_as_the_sdk_would_send_them(strict_request: TypeAdapter[Any]) -> None:
    """Thinking, calls and results, from whole and streamed answers."""
    body = (EXAMPLES / "answer_tools.json").read_bytes()
    request = ChatRequest([], "claude-haiku-4-5")
    whole = claude_decode.decode(HttpResponse(200, {}, body), request, TARGET, 0.0)
    decoder, parser = ClaudeStreamDecoder(request, TARGET, 0.0), SSEParser()
    for event in [*parser.feed((EXAMPLES / "stream.sse").read_bytes()), *parser.close()]:
        decoder.feed(event)
    streamed = decoder.close()[-1].result
    assert streamed is not None
    for result in (whole, streamed):
        results = [{"role": "tool", "tool_call_id": call.id, "content": "4"} for call in result.tool_calls]
        messages = [{"role": "user", "content": "?"}, result.assistant_message, *results]
        check(strict_request, sent(messages, result.model or "", {"tools": [TOOL]}))


def test_the_example_of_a_stream_is_one() -> None:
    """Every event by the SDK's types; its name is its type."""
    adapter: TypeAdapter[Any] = TypeAdapter(anthropic.types.RawMessageStreamEvent)
    parser = SSEParser()
    kinds = set()
    for event in [*parser.feed((EXAMPLES / "stream.sse").read_bytes()), *parser.close()]:
        data = json.loads(event.data)
        assert event.event == data["type"]
        if data["type"] != "ping":
            known(adapter.validate_python(data))
        kinds.add(data.get("delta", data).get("type", data["type"]))
    assert {"text_delta", "thinking_delta", "signature_delta", "input_json_delta", "citations_delta"} <= kinds


def test_the_examples_of_errors_are_errors() -> None:
    """By the SDK's type; and each of its types of errors has a status here."""
    from anthropic.types.shared import ErrorResponse, ErrorType

    for _, body in example("errors.json"):
        if body["error"]["type"] == "conflict_error":  # a type of error without a class of its own
            body["error"]["type"] = "api_error"
        assert ErrorResponse.model_validate(body).error.message == body["error"]["message"]
    of_memory = {kind for kind in get_args(ErrorType) if kind.startswith("memory_")}
    assert set(get_args(ErrorType)) - of_memory <= set(_STATUSES)


def test_the_example_of_a_list_of_models_is_one() -> None:
    """By the SDK's type of a model, with the capabilities that an answer may leave out put aside."""
    for model in example("models.json")["data"]:
        known(anthropic.types.ModelInfo.model_validate({key: model[key] for key in model if key != "capabilities"}))


def test_every_model_of_the_sdk_has_a_row() -> None:
    """And every reason to stop a word."""
    from anthropic.types import Model, StopReason

    named = [name for each in get_args(Model) for name in get_args(each)]
    assert len(named) > 10
    assert [name for name in named if find_model(name) is UNKNOWN] == []
    assert set(get_args(StopReason)) == set(claude_decode.FINISH_REASONS)
