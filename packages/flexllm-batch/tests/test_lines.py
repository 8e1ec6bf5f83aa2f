"""The lines of the output file: their keys in order, strict JSON, and nothing of a row that cannot be written."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flexllm_batch.inputs.records import Record
from flexllm_batch.outputs.lines import error_line, is_output_line, rewritten, stands, success_line
from flexllm_core.errors import InputError, LLMTimeoutError, RateLimitError
from flexllm_core.json_codec import decode_json
from flexllm_core.results import ChatCompletionResult, ToolCall, Usage

KEY = "0123456789abcdef" * 2
MESSAGES = [{"role": "system", "content": "s"}, {"role": "user", "content": "hi"}]


def written(record: Record, result: ChatCompletionResult, save_input: Any = True, return_usage: bool = True) -> bytes:
    return success_line(record, result, KEY, save_input=save_input, return_usage=return_usage)


def strict(line: bytes) -> Any:
    def refuse(text: str) -> None:
        raise AssertionError(text)

    assert line.endswith(b"\n")
    assert line.count(b"\n") == 1
    return json.loads(line.decode("utf-8"), parse_constant=refuse)


def test_an_answer_has_the_documented_keys_in_order() -> None:
    """index, output, status, input and metadata come first, then what else is known."""
    result = ChatCompletionResult(
        "hello",
        reasoning_content="because",
        tool_calls=(ToolCall("c1", "f", '{"a":1}'),),
        finish_reason="stop",
        usage=Usage(10, 5, 15, cached_tokens=4),
        model="m",
        endpoint="e",
        choices=("hello", "other"),
        cached=True,
        attempts=2,
        latency=0.12345,
        cost=Decimal("0.00012"),
    )
    line = strict(written(Record(7, MESSAGES, {"id": "001"}), result))
    assert line == {
        "index": 7,
        "output": "hello",
        "status": "success",
        "input": MESSAGES,
        "metadata": {"id": "001"},
        "usage": {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15, "cached_tokens": 4},
        "finish_reason": "stop",
        "model": "m",
        "endpoint": "e",
        "cost": 0.00012,
        "reasoning": "because",
        "tool_calls": [{"id": "c1", "type": "function", "function": {"name": "f", "arguments": '{"a":1}'}}],
        "choices": ["hello", "other"],
        "cached": True,
        "attempts": 2,
        "latency": 0.123,
        "key": KEY,
    }
    assert list(line)[:5] == ["index", "output", "status", "input", "metadata"]


def test_what_is_unknown_is_left_out() -> None:
    """No usage, cost, reasoning, tools or choices: no keys for them; return_usage=False drops the usage."""
    line = strict(written(Record(0, MESSAGES), ChatCompletionResult("x")))
    assert not line.keys() & {"usage", "cost", "reasoning", "tool_calls", "choices", "cached", "latency"}
    line = strict(written(Record(0, MESSAGES), ChatCompletionResult("x", usage=Usage(1, 1, 2)), return_usage=False))
    assert "usage" not in line


@pytest.mark.parametrize(("save_input", "expected"), [(True, MESSAGES), ("last", MESSAGES[1:]), (False, None)])
def test_save_input_is_all_last_or_nothing(save_input: Any, expected: Any) -> None:
    """Of answers and errors alike."""
    record = Record(0, MESSAGES)
    assert strict(written(record, ChatCompletionResult("x"), save_input)).get("input") == expected
    assert strict(error_line(record, ValueError("x"), None, save_input=save_input)).get("input") == expected


def test_an_error_of_an_endpoint_has_its_facts() -> None:
    """Type, status, code, message and whether it may succeed later, the endpoint and the attempts."""
    error = RateLimitError("slow down", endpoint="e", model="m", status_code=429, code="rate_limit", attempts=4)
    assert strict(error_line(Record(3, MESSAGES, {"id": 1}), error, KEY, save_input=False)) == {
        "index": 3,
        "output": None,
        "status": "error",
        "metadata": {"id": 1},
        "error": {
            "type": "RateLimitError",
            "status": 429,
            "code": "rate_limit",
            "message": "slow down",
            "retryable": True,
        },
        "endpoint": "e",
        "attempts": 4,
        "key": KEY,
    }


def test_other_errors_say_their_type() -> None:
    """A bad row is not worth asking again, an unforeseen fault may be."""
    line = strict(error_line(Record(0, []), InputError("bad"), None, save_input=True))
    assert line["error"] == {"type": "InputError", "message": "bad", "retryable": False}
    assert "key" not in line
    line = strict(error_line(Record(0, []), LLMTimeoutError("late"), None, save_input=True))
    assert line["error"]["type"] == "LLMTimeoutError"
    assert strict(error_line(Record(0, []), KeyError("x"), None, save_input=True))["error"]["retryable"] is True


def test_what_json_does_not_have_never_stops_a_line() -> None:
    """NaN and the infinities are null, a lone surrogate is escaped and read back."""
    record = Record(0, MESSAGES, {"score": float("nan"), "max": float("inf")})
    line = strict(written(record, ChatCompletionResult("cut \ud83d")))
    assert line["output"] == "cut \ud83d"
    assert line["metadata"] == {"score": None, "max": None}


def test_an_error_line_leaves_out_what_cannot_be_written() -> None:
    """A row whose values are the error has a line all the same."""
    record = Record(0, [{"role": "user", "content": "x", "extra": object()}], {"y": object()})
    line = strict(error_line(record, InputError("cannot be written"), None, save_input=True))
    assert (line["status"], line["metadata"], line["error"]["message"]) == ("error", {}, "cannot be written")


texts = st.text(alphabet=st.characters(exclude_categories=()), max_size=8)
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=6,
)
records = st.builds(
    lambda index, text, more: Record(index, [{"role": "user", "content": text}], more),
    st.integers(0, 2),
    texts,
    st.dictionaries(texts, values, max_size=3),
)
results = st.builds(ChatCompletionResult, texts | st.none(), reasoning_content=texts | st.none())


@given(records, results, st.sampled_from([True, "last", False]))
def test_any_answer_gives_a_line_that_is_ours_and_stands(record: Record, result: Any, save_input: Any) -> None:
    """Whatever is in it, the line is read back as it was, as one of ours, and needs no rewriting."""
    line = written(record, result, save_input)
    assert line.count(b"\n") == 1
    value = decode_json(line)
    assert is_output_line(value)
    assert (value["index"], value["output"], value["metadata"]) == (record.index, result.content, record.metadata)
    assert stands(line, record, save_input)


@given(records, records, results, st.sampled_from([True, "last", False]))
def test_a_rewritten_line_is_the_line_of_its_new_row(old: Record, new: Record, result: Any, save_input: Any) -> None:
    """Rewriting an answer for another row gives what that row would have got at first."""
    line = written(old, result, save_input)
    fresh = written(new, result, save_input)
    if stands(line, new, save_input):
        assert decode_json(line) == decode_json(fresh)
    again = rewritten(decode_json(line), new, save_input)
    assert again == fresh or decode_json(again) == decode_json(fresh)
    assert stands(again, new, save_input)


@given(values)
def test_no_other_value_is_taken_for_one_of_our_lines(value: Any) -> None:
    """Only objects with an index, a status, an output and a key are ours."""
    assert not is_output_line(value)
    assert not is_output_line({"index": value, "status": "success"})


def test_equal_but_different_values_do_not_stand() -> None:
    """1, 1.0 and true are equal in Python and three different metadata."""
    line = written(Record(0, MESSAGES, {"x": 1}), ChatCompletionResult("x"))
    assert stands(line, Record(0, MESSAGES, {"x": 1}), True)
    for other in (True, 1.0, "1"):
        assert not stands(line, Record(0, MESSAGES, {"x": other}), True)
