"""What the mock answers: text, reasoning, JSON or a tool call, cut as the request asks. Knows no wire format."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any, Literal

from flexllm_mock.dice import Dice
from flexllm_mock.schemas import instance
from flexllm_mock.tokens import split_tokens
from flexllm_mock.words import sentence_tokens

FinishReason = Literal["stop", "length", "tool_calls"]

_MIN_REASONING, _MAX_REASONING = 8, 32
_FREE_JSON = {
    "type": "object",
    "properties": {"answer": {"type": "string"}, "confidence": {"type": "number", "minimum": 0, "maximum": 1}},
    "required": ["answer", "confidence"],
}


@dataclass(frozen=True, slots=True)
class Tool:
    """A function that the model may call, with the JSON schema of its arguments."""

    name: str
    parameters: Any


@dataclass(slots=True)
class AnswerRequest:
    """What decides an answer. Equal requests have equal answers, whatever else happens on the server.

    `key` stands for the content of the request. `literal` is the text to answer with, if it is given; else the answer
    is a call of one of `tools` if there are any, else JSON for `schema` if `wants_json`, else text of least to most
    tokens. `max_tokens` limits reasoning and answer together; `stop` texts end the answer and are not part of it.
    """

    key: bytes
    response_len: tuple[int, int]
    n: int = 1
    max_tokens: int | None = None
    stop: tuple[str, ...] = ()
    reasoning: bool = False
    literal: str | None = None
    tools: tuple[Tool, ...] = ()
    wants_json: bool = False
    schema: Any = field(default_factory=lambda: _FREE_JSON)


@dataclass(slots=True)
class Choice:
    """One answer in tokens: reasoning, then content, which is the arguments when `tool_name` is set."""

    reasoning: list[str]
    content: list[str]
    finish_reason: FinishReason
    tool_name: str | None = None

    @property
    def size(self) -> int:
        """Tokens of reasoning and content together."""
        return len(self.reasoning) + len(self.content)


def answer(request: AnswerRequest) -> list[Choice]:
    """Answer a request with `n` choices. Raises SchemaError when a schema cannot be satisfied."""
    if request.n == 1:
        return [_choice(request, request.key)]
    return [_choice(request, request.key + index.to_bytes(4, "big")) for index in range(request.n)]


def _choice(request: AnswerRequest, key: bytes) -> Choice:
    choice = _whole_choice(request, key)
    if request.max_tokens is not None and choice.size > request.max_tokens:
        choice.reasoning = choice.reasoning[: request.max_tokens]
        choice.content = choice.content[: request.max_tokens - len(choice.reasoning)]
        choice.finish_reason = "length"
    if request.stop and choice.tool_name is None:
        _stop(choice, request.stop)
    return choice


def _whole_choice(request: AnswerRequest, key: bytes) -> Choice:
    reasoning: list[str] = []
    if request.reasoning:
        dice = Dice(key + b"reasoning")
        reasoning = sentence_tokens(key + b"reasoning", dice.between(_MIN_REASONING, _MAX_REASONING))
    if request.literal is not None:
        return Choice(reasoning, split_tokens(request.literal), "stop")
    if request.tools:
        tool = Dice(key + b"tool").pick(request.tools)
        return Choice(reasoning, _json_tokens(instance(tool.parameters, key)), "tool_calls", tool.name)
    if request.wants_json:
        return Choice(reasoning, _json_tokens(instance(request.schema, key)), "stop")
    least, most = request.response_len
    count = least + int.from_bytes(key[:4], "big") % (most - least + 1)
    return Choice(reasoning, sentence_tokens(key, count), "stop")


def _json_tokens(value: Any) -> list[str]:
    return split_tokens(json.dumps(value, ensure_ascii=False, separators=(",", ":")))


def _stop(choice: Choice, stops: tuple[str, ...]) -> None:
    """Cut the content before the first stop text, and count only the tokens that are left."""
    text = "".join(choice.content)
    found = [at for stop in stops if (at := text.find(stop)) >= 0]
    if not found:
        return
    left = min(found)
    choice.finish_reason = "stop"
    for index, token in enumerate(choice.content):
        if left <= len(token):
            choice.content = choice.content[:index] + ([token[:left]] if left else [])
            return
        left -= len(token)
