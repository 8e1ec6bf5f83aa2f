"""What the mock answers: text, reasoning, JSON or tool calls, cut as the request asks. Knows no wire format."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from flexllm_mock.faults.dice import Dice
from flexllm_mock.schemas import instance
from flexllm_mock.scripted import Prescribed, ScriptedAnswer
from flexllm_mock.tokens import split_tokens
from flexllm_mock.tools import Tool, named_in
from flexllm_mock.words import sentence_tokens

ECHO_MODEL = "echo"
"""The model that answers with the last user text."""

FinishReason = str
"""`stop`, `length`, `tool_calls` or `content_filter`, which each vendor words in its own way; others as they are."""

_MIN_REASONING, _MAX_REASONING = 8, 32
_FREE_JSON = {
    "type": "object",
    "properties": {"answer": {"type": "string"}, "confidence": {"type": "number", "minimum": 0, "maximum": 1}},
    "required": ["answer", "confidence"],
}


@dataclass(slots=True)
class AnswerRequest:
    """What decides an answer. Equal requests have equal answers, whatever else happens on the server.

    `key` stands for the content of the request. `script` is the whole answer and `literal` its text, if given; else it
    is a call of one of `tools` if there are any (of each with `call_each`), else JSON for `schema` if `wants_json`,
    else text of least to most tokens. `max_tokens` limits reasoning and answer together; `stop` texts end the answer
    and are not part of it.
    """

    key: bytes
    response_len: tuple[int, int]
    n: int = 1
    max_tokens: int | None = None
    stop: tuple[str, ...] = ()
    reasoning: bool = False
    literal: str | None = None
    script: ScriptedAnswer | None = None
    tools: tuple[Tool, ...] = ()
    call_each: bool = False
    wants_json: bool = False
    schema: Any = field(default_factory=lambda: _FREE_JSON)

    def offer(self, tools: tuple[Tool, ...], text: str, *, parallel: bool) -> None:
        """Let the answer be a call of one of the tools, of those that the user's text names if it names any.

        When it names several there is a call of each, or of the first one unless `parallel`.
        """
        named = named_in(text, tools)
        self.call_each = parallel and len(named) > 1
        self.tools = (named if parallel else named[:1]) or tools

    def prescribe(self, given: Prescribed) -> ScriptedAnswer | None:
        """Answer with exactly this, whatever limits the request sets; return it when it is more than a text."""
        self.max_tokens, self.stop = None, ()
        if isinstance(given, str):
            self.literal = given
        else:
            self.script = given
        return self.script


@dataclass(slots=True)
class ToolCall:
    """A call of a function, its arguments as JSON in tokens. `id` is empty for one that the wire makes up."""

    name: str
    arguments: list[str]
    id: str = ""


@dataclass(slots=True)
class Choice:
    """One answer in tokens: reasoning, then content, then calls.

    `stop_text` is the stop text that ended the content. `refuses`: the content is a refusal. `script` is what the
    answer follows, if it is prescribed.
    """

    reasoning: list[str]
    content: list[str]
    finish_reason: FinishReason
    calls: Sequence[ToolCall] = ()
    stop_text: str | None = None
    refuses: bool = False
    script: ScriptedAnswer | None = None

    @property
    def size(self) -> int:
        """Tokens of reasoning, content and calls together."""
        size = len(self.reasoning) + len(self.content)
        for call in self.calls:
            size += len(call.arguments)
        return size

    @property
    def output_tokens(self) -> int:
        """Tokens of the whole answer to report: as prescribed, else as counted."""
        if self.script is not None and self.script.usage.completion_tokens is not None:
            return self.script.usage.completion_tokens
        return self.size

    @property
    def reasoning_tokens(self) -> int:
        """Tokens of the reasoning to report: as prescribed, else as counted."""
        if self.script is not None and self.script.usage.reasoning_tokens is not None:
            return self.script.usage.reasoning_tokens
        return len(self.reasoning)


def answer(request: AnswerRequest) -> list[Choice]:
    """Answer a request with `n` choices. Raises SchemaError when a schema cannot be satisfied."""
    if request.n == 1:
        return [_choice(request, request.key)]
    return [_choice(request, request.key + index.to_bytes(4, "big")) for index in range(request.n)]


def _choice(request: AnswerRequest, key: bytes) -> Choice:
    choice = _whole_choice(request, key)
    if request.max_tokens is not None and choice.size > request.max_tokens:
        _cut(choice, request.max_tokens)
    if request.stop and not choice.calls:
        _stop(choice, request.stop)
    return choice


def _scripted_choice(script: ScriptedAnswer) -> Choice:
    calls = [ToolCall(call.name, split_tokens(call.arguments), call.id) for call in script.tool_calls]
    reason = script.finish_reason or ("tool_calls" if calls else "stop")
    reasoning, content = split_tokens(script.thinking), split_tokens(script.text)
    return Choice(reasoning, content, reason, calls, refuses=script.refusal, script=script)


def _whole_choice(request: AnswerRequest, key: bytes) -> Choice:
    if request.script is not None:
        return _scripted_choice(request.script)
    reasoning: list[str] = []
    if request.reasoning:
        dice = Dice(key + b"reasoning")
        reasoning = sentence_tokens(key + b"reasoning", dice.between(_MIN_REASONING, _MAX_REASONING))
    if request.literal is not None:
        return Choice(reasoning, split_tokens(request.literal), "stop")
    if request.tools:
        called = request.tools if request.call_each else (Dice(key + b"tool").pick(request.tools),)
        return Choice(reasoning, [], "tool_calls", [_call(tool, key, at) for at, tool in enumerate(called)])
    if request.wants_json:
        return Choice(reasoning, _json_tokens(instance(request.schema, key)), "stop")
    least, most = request.response_len
    count = least + int.from_bytes(key[:4], "big") % (most - least + 1)
    return Choice(reasoning, sentence_tokens(key, count), "stop")


def _call(tool: Tool, key: bytes, at: int) -> ToolCall:
    if at:
        key += b"call" + at.to_bytes(4, "big")
    return ToolCall(tool.name, _json_tokens(instance(tool.parameters, key)))


def _json_tokens(value: Any) -> list[str]:
    return split_tokens(json.dumps(value, ensure_ascii=False, separators=(",", ":")))


def _cut(choice: Choice, limit: int) -> None:
    """Keep the first tokens; a call that keeps none has not begun."""
    choice.reasoning = choice.reasoning[:limit]
    limit -= len(choice.reasoning)
    choice.content = choice.content[:limit]
    limit -= len(choice.content)
    calls: list[ToolCall] = []
    for call in choice.calls:
        kept = call.arguments[:limit]
        limit -= len(kept)
        if kept:
            calls.append(ToolCall(call.name, kept))
    choice.calls = calls
    choice.finish_reason = "length"


def _stop(choice: Choice, stops: tuple[str, ...]) -> None:
    """Cut the content before the first stop text, and count only the tokens that are left."""
    text = "".join(choice.content)
    found = [(at, stop) for stop in stops if (at := text.find(stop)) >= 0]
    if not found:
        return
    left, choice.stop_text = min(found, key=lambda each: each[0])
    choice.finish_reason = "stop"
    for index, token in enumerate(choice.content):
        if left <= len(token):
            choice.content = choice.content[:index] + ([token[:left]] if left else [])
            return
        left -= len(token)
