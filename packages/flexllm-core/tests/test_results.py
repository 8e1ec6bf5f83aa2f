"""Results and usage: their JSON, and sums."""

from __future__ import annotations

from dataclasses import fields

from hypothesis import given
from hypothesis import strategies as st

from flexllm_core.results import ChatCompletionResult, StreamEvent, ToolCall, Usage

COUNTS = st.integers(0, 10**9)
USAGES = st.builds(Usage, COUNTS, COUNTS, COUNTS, COUNTS, COUNTS, COUNTS)


@given(USAGES, USAGES)
def test_a_sum_adds_every_count(one: Usage, other: Usage) -> None:
    """No count is forgotten or added into another."""
    total = one + other
    for field in fields(Usage):
        assert getattr(total, field.name) == getattr(one, field.name) + getattr(other, field.name)


@given(USAGES)
def test_usage_comes_back_from_its_dict(usage: Usage) -> None:
    """`to_dict` loses nothing: what it leaves out is 0."""
    assert Usage(**usage.to_dict()) == usage


def test_details_that_are_zero_are_not_written() -> None:
    """The three totals are always there."""
    assert Usage(1, 2, 3).to_dict() == {"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3}
    assert Usage(1, 2, 3, reasoning_tokens=1).to_dict()["reasoning_tokens"] == 1


def test_a_tool_call_as_it_stands_on_a_message() -> None:
    """OpenAI's shape."""
    call = ToolCall("1", "f", '{"a":1}')
    assert call.to_dict() == {"id": "1", "type": "function", "function": {"name": "f", "arguments": '{"a":1}'}}


def test_data_is_another_name_of_raw() -> None:
    """Both names of the user's documents work."""
    assert ChatCompletionResult("x", raw={"a": 1}).data == {"a": 1}


def test_the_repr_of_a_result_is_short() -> None:
    """Raw JSON and the message to replay are not in it."""
    result = ChatCompletionResult("x", raw={"a": "RAW"}, assistant_message={"content": "REPLAY"})
    assert "RAW" not in repr(result)
    assert "REPLAY" not in repr(result)


def test_an_event_is_a_value() -> None:
    """Equal events are equal."""
    assert StreamEvent("content", "a") == StreamEvent("content", "a")
    assert StreamEvent("content", "a") != StreamEvent("reasoning", "a")
