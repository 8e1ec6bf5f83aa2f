"""Requests as Anthropic documents them; `tests/conformance` checks them with its SDK's types."""

from __future__ import annotations

from typing import Any


def test_the_documented_request(wire: Any) -> None:
    """A cached system prompt, a picture, thinking by effort, a schema and a stop sequence."""
    example = wire.data("request.json")
    system, (turn,) = example["system"], example["messages"]
    source = turn["content"][0]["source"]
    url = f"data:{source['media_type']};base64,{source['data']}"
    picture = {"type": "image_url", "image_url": {"url": url}}
    schema = example["output_config"]["format"]["schema"]
    sent = wire.body(
        [{"role": "system", "content": system}, {"role": "user", "content": [picture, turn["content"][1]]}],
        example["model"],
        max_tokens=example["max_tokens"],
        thinking="high",
        stop="###",
        response_format={"type": "json_schema", "json_schema": {"name": "n", "schema": schema}},
    )
    assert sent == example


def test_the_documented_request_with_tools(wire: Any) -> None:
    """The answer with its thinking goes back as it came, and the result in a turn of the user."""
    example = wire.data("request_tools.json")
    (tool,) = example["tools"]
    answer = wire.read(wire.said(*example["messages"][1]["content"], stop_reason="tool_use", model=example["model"]))
    function = {"name": tool["name"], "description": tool["description"], "parameters": tool["input_schema"]}
    sent = wire.body(
        [
            example["messages"][0],
            answer.assistant_message,
            {"role": "tool", "tool_call_id": answer.tool_calls[0].id, "content": "5.2 m"},
        ],
        example["model"],
        max_tokens=example["max_tokens"],
        tools=[{"type": "function", "function": function}],
        tool_choice="auto",
        parallel_tool_calls=False,
    )
    assert sent == example


def test_the_documented_budget(wire: Any) -> None:
    """On a model that takes one."""
    example = wire.data("request_budget.json")
    assert wire.body(example["messages"], example["model"], max_tokens=6000, thinking=3000) == example
