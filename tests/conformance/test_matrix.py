"""Every provider does the same things in the same way: a user switches by changing two words."""

from __future__ import annotations

import json

import pytest

from flexllm import (
    AuthenticationError,
    BadRequestError,
    LLMRequestError,
    NotFoundError,
    RateLimitError,
    ServerError,
)

PIXEL = "data:image/png;base64,iVBORw0KGgo="
WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "The weather of a city",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string"}, "unit": {"enum": ["c", "f"]}},
            "required": ["city"],
        },
    },
}
SCHEMA = {
    "type": "object",
    "properties": {"answer": {"type": "integer"}, "words": {"type": "array", "items": {"type": "string"}}},
    "required": ["answer", "words"],
    "additionalProperties": False,
}


def test_single(harness):
    """Text, reason, usage, model, id, provider and a message to replay."""
    result = harness.chat("Hello", max_tokens=200)
    assert result.content
    assert result.finish_reason == "stop"
    assert result.usage.total_tokens == result.usage.prompt_tokens + result.usage.completion_tokens > 0
    assert result.response_id
    assert result.provider == harness.provider
    assert result.assistant_message["role"] == "assistant"
    assert result.assistant_message["content"] == result.content
    assert result.raw is None


def test_a_system_prompt_and_several_turns(harness):
    """The answer depends on all of them."""
    turns = [
        {"role": "system", "content": "Be brief"},
        {"role": "user", "content": "One"},
        {"role": "assistant", "content": "Two"},
        {"role": "user", "content": "Three"},
    ]
    whole = harness.chat(turns)
    assert whole.content == harness.chat(turns).content
    assert whole.content != harness.chat(turns[1:]).content


def test_a_limit_cuts_the_answer(harness):
    """`length`, in every vendor's words."""
    result = harness.chat("Hello", max_tokens=3)
    assert result.finish_reason == "length"
    assert result.usage.completion_tokens == 3


def test_stream(harness, text_of):
    """The pieces are the answer; the last event carries the whole result."""
    events = harness.events("Hello", max_tokens=200)
    result = events[-1].result
    assert events[-1].type == "done"
    assert text_of(events) == result.content == harness.chat("Hello", max_tokens=200).content
    assert result.finish_reason == "stop"
    assert result.usage.completion_tokens > 0
    assert result.time_to_first_token is not None


@pytest.mark.parametrize("choice", ["auto", "required", {"type": "function", "function": {"name": "get_weather"}}])
def test_tools_in_two_turns(harness, choice):
    """A call, its result, and an answer; the assistant message goes back as it came."""
    question = {"role": "user", "content": "What is the weather in Oslo?"}
    first = harness.chat([question], tools=[WEATHER], tool_choice=choice, max_tokens=500)
    assert first.finish_reason == "tool_calls"
    call = first.tool_calls[0]
    assert call.name == "get_weather"
    assert isinstance(json.loads(call.arguments)["city"], str)
    answer = {"role": "tool", "tool_call_id": call.id, "content": "4 C"}
    second = harness.chat([question, first.assistant_message, answer], tools=[WEATHER], max_tokens=500)
    assert second.content
    assert second.finish_reason == "stop"


def test_tools_in_a_stream(harness):
    """The call is whole, and the same as without streaming."""
    question = "What is the weather in Oslo?"
    events = harness.events(question, tools=[WEATHER], max_tokens=500)
    calls = [event.tool_call for event in events if event.type == "tool_call"]
    assert calls == list(events[-1].result.tool_calls)
    assert calls[0].name == "get_weather"
    assert "city" in json.loads(calls[0].arguments)


def test_structured_output(harness):
    """JSON that satisfies the schema."""
    wanted = {"type": "json_schema", "json_schema": {"name": "out", "schema": SCHEMA, "strict": True}}
    value = json.loads(harness.chat("Give me a number", response_format=wanted, max_tokens=2000).content)
    assert isinstance(value["answer"], int)
    assert all(isinstance(word, str) for word in value["words"])


@pytest.mark.parametrize("thinking", [True, "low", 2048])
def test_thinking_gives_reasoning(harness, thinking):
    """By one argument: on, an effort, a budget. The text of it where the endpoint shows it, its tokens everywhere."""
    dialect = {"kind": "vllm"} if harness.provider == "openai" else {}  # OpenAI's own API has no budgets
    result = harness.chat("Think", thinking=thinking, max_tokens=6000, settings={"dialect": dialect})
    assert result.reasoning_content
    assert result.usage.reasoning_tokens > 0
    assert result.usage.completion_tokens > result.usage.reasoning_tokens


def test_thinking_off_gives_none(harness):
    """No reasoning, no reasoning tokens."""
    result = harness.chat("Think", thinking=False, max_tokens=500)
    assert not result.reasoning_content
    assert result.usage.reasoning_tokens == 0


def test_thinking_in_a_stream(harness):
    """Reasoning comes first, as events of its own."""
    events = harness.events("Think", thinking=True, max_tokens=6000)
    kinds = [event.type for event in events]
    assert kinds[0] == "reasoning"
    assert "content" in kinds
    reasoning = "".join(event.text for event in events if event.type == "reasoning")
    assert reasoning == events[-1].result.reasoning_content


def test_image_input(harness):
    """A data URI reaches each vendor in its own shape."""
    parts = [{"type": "text", "text": "Describe"}, {"type": "image_url", "image_url": {"url": PIXEL}}]
    assert harness.chat([{"role": "user", "content": parts}]).content


def test_a_wrong_key(harness):
    """Every vendor's own way of saying so is one error."""
    with pytest.raises(AuthenticationError) as caught:
        harness.chat("Hello", settings={"api_key": "sk-wrong-0123456789abcdef"})
    assert not caught.value.retryable
    assert "0123456789abcdef" not in str(caught.value) + repr(caught.value) + str(caught.value.body)


@pytest.mark.parametrize(
    ("status", "error"),
    [(400, BadRequestError), (404, NotFoundError), (429, RateLimitError), (500, ServerError), (503, ServerError)],
)
def test_error_statuses(harness, status, error):
    """Each status is the same error, with the endpoint's name."""
    harness.fault(status=status)
    with pytest.raises(error) as caught:
        harness.chat("Hello")
    assert caught.value.status_code == status
    assert harness.server.url in caught.value.endpoint


def test_retry_after_is_read(harness):
    """In seconds, from the header."""
    harness.fault(status=429, headers={"retry-after": "7"})
    with pytest.raises(RateLimitError) as caught:
        harness.chat("Hello")
    assert caught.value.retry_after == 7


def test_a_cut_stream_is_an_error(harness):
    """Never a short answer."""
    harness.fault(disconnect="mid_body")
    with pytest.raises(LLMRequestError) as caught:
        harness.events("Hello", max_tokens=200)
    assert caught.value.retryable


def test_the_key_is_in_its_header_only(harness):
    """Never in a URL."""
    harness.chat("Hello")
    for request in harness.server.requests:
        assert "conformance-0123456789" not in request.path
