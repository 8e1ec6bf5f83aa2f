"""Requests, answers and streams as OpenAI documents them; `tests/conformance` checks them with its SDK's types."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from flexllm_core.endpoint import endpoint_from
from flexllm_core.errors import LLMResponseError
from flexllm_core.options import params_from_options
from flexllm_core.requests import ChatRequest
from flexllm_core.results import StreamEvent, ToolCall, Usage
from flexllm_providers import ModelInfo, list_models
from flexllm_providers.openai.wire import DEFAULT_BASE_URL, encode
from flexllm_providers.target import target_from

EXAMPLES: dict[str, Any] = json.loads((Path(__file__).parent / "openai_examples.json").read_bytes())


def sent(example: dict[str, Any], base_url: str, **options: Any) -> Any:
    """The JSON body for the messages and model of an example, with these options."""
    request = ChatRequest(example["messages"], example["model"], params_from_options(options))
    target = target_from(endpoint_from({"base_url": base_url}), DEFAULT_BASE_URL)
    return json.loads(encode(request, target, stream=False).body)


def test_the_documented_request() -> None:
    """A picture, a limit and an effort, by OpenAI's own names."""
    example = EXAMPLES["request"]
    assert sent(example, "https://api.openai.com/v1", max_tokens=90, thinking="high") == example


def test_the_documented_request_with_tools() -> None:
    """One call answered already, the tools again, and a schema for what comes."""
    example = EXAMPLES["tool_request"]
    names = ("tools", "tool_choice", "parallel_tool_calls", "response_format")
    assert sent(example, "http://h/v1", **{name: example[name] for name in names}) == example


@pytest.mark.parametrize("before", [b"", b"\n", b"\n\n \r\n\n"])
def test_the_documented_answer(wire: Any, before: bytes) -> None:
    """Also behind blank lines, which a server sends to keep a connection open while one waits."""
    result = wire.read(before + json.dumps(EXAMPLES["answer"]).encode())
    assert (result.content, result.finish_reason, result.model) == ("Un pont", "stop", "gpt-5.4-nano")
    assert result.usage == Usage(41, 27, 68, cached_tokens=16, reasoning_tokens=24)


def test_the_documented_stream(wire: Any) -> None:
    """The usage comes in a chunk of its own."""
    events, result = wire.answer(*EXAMPLES["stream"], "[DONE]")
    assert events == [StreamEvent("content", "Un "), StreamEvent("content", "canal")]
    assert (result.content, result.finish_reason, result.response_id) == ("Un canal", "stop", "chatcmpl-32")
    assert result.usage == Usage(41, 3, 44)


def test_the_documented_stream_of_calls(wire: Any) -> None:
    """Arguments in fragments, two calls by their index."""
    events, result = wire.answer(*EXAMPLES["tool_stream"], "[DONE]")
    calls = (ToolCall("call_m", "tide", '{"port":"Saint-Malo"}'), ToolCall("call_n", "now", "{}"))
    assert result.tool_calls == calls
    assert events == [StreamEvent("tool_call", tool_call=call) for call in calls]
    assert (result.content, result.finish_reason) == (None, "tool_calls")


def test_the_documented_error_in_a_stream(wire: Any) -> None:
    """It ends the stream whatever came before."""
    with pytest.raises(LLMResponseError, match=r"The server had an error\.") as caught:
        wire.events(*EXAMPLES["stream"][:2], EXAMPLES["stream_error"])
    assert caught.value.kind == "transient"


async def test_the_documented_list_of_models(fake_transport: Any, answers: Any) -> None:
    """Only the ids are safe to read."""
    transport = fake_transport(answers.json(EXAMPLES["models"]))
    found = await list_models(endpoint_from({"base_url": "http://h/v1"}), transport=transport)
    assert [(type(model), model.id) for model in found] == [(ModelInfo, "gpt-5.4-nano")]
