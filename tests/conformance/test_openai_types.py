"""The examples of OpenAI's wire against the types of OpenAI's own SDK."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel, TypeAdapter, ValidationError

chat = pytest.importorskip("openai.types.chat", reason="the openai SDK is not installed")
from openai.types import Model  # noqa: E402

TESTS = Path(__file__).parents[2] / "packages/flexllm-providers/tests/wires"
EXAMPLES: dict[str, Any] = json.loads((TESTS / "openai_examples.json").read_bytes())


def known(model: BaseModel) -> None:
    """Every key is one that the SDK knows, at every depth."""
    assert not model.model_extra, model.model_extra
    for value in dict(model).values():
        for item in value if isinstance(value, list) else [value]:
            if isinstance(item, BaseModel):
                known(item)


@pytest.mark.parametrize("name", ["request", "tool_request"])
def test_the_examples_of_requests_are_requests(name: str) -> None:
    """No key is unknown, and every message, tool and choice is of a known kind."""
    from openai.types.chat.completion_create_params import CompletionCreateParamsNonStreaming as Params

    example = EXAMPLES[name]
    adapter: TypeAdapter[Any] = TypeAdapter(Params)
    checked = adapter.validate_python(example)
    assert [message["role"] for message in checked["messages"]]  # an Iterable is checked when it is walked through
    assert list(checked.get("tools", ())) == example.get("tools", [])
    assert example.keys() <= Params.__annotations__.keys()
    with pytest.raises(ValidationError):
        list(adapter.validate_python({**example, "messages": [{"role": "user"}]})["messages"])
    with pytest.raises(ValidationError):
        adapter.validate_python({**example, "reasoning_effort": "ultra"})


def test_the_examples_of_answers_are_answers() -> None:
    """The answer, every chunk of the streams, and the models; an unknown finish_reason is refused."""
    known(chat.ChatCompletion.model_validate(EXAMPLES["answer"]))
    for chunk in (*EXAMPLES["stream"], *EXAMPLES["tool_stream"]):
        known(chat.ChatCompletionChunk.model_validate(chunk))
    for model in EXAMPLES["models"]["data"]:
        known(Model.model_validate(model))
    choice = {**EXAMPLES["answer"]["choices"][0], "finish_reason": "done"}
    with pytest.raises(ValidationError):
        chat.ChatCompletion.model_validate({**EXAMPLES["answer"], "choices": [choice]})
