"""OpenAI's legacy completions: texts that go on from a prompt."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from itertools import accumulate, repeat, zip_longest
from typing import Any

from flexllm_mock.answers import ECHO_MODEL, AnswerRequest, Choice, answer
from flexllm_mock.asgi import EVENT_STREAM_TYPE, ApiRequest, Reply
from flexllm_mock.config import MockConfig
from flexllm_mock.identity import answer_key
from flexllm_mock.jsontext import string, written
from flexllm_mock.openai.errors import OpenAIErrors, unknown_model
from flexllm_mock.openai.inputs import Input, identify, input_tokens, read_inputs
from flexllm_mock.openai.logprobs import TokenScore, score_choices
from flexllm_mock.openai.models import CREATED
from flexllm_mock.openai.parameters import MAX_CHOICES, boolean, invalid, mapping, missing, read_stops, whole_number
from flexllm_mock.scripted import Prescribed

_DEFAULT_MAX_TOKENS = 16
# What neither changes the text of an answer nor is in the digest already.
_NOT_IN_KEY = frozenset(
    {"model", "prompt", "stream", "stream_options", "max_tokens", "stop", "n", "best_of", "echo", "logprobs"}
)
_MAX_LOGPROBS = 5
_DONE = "data: [DONE]\n\n"


@dataclass(slots=True)
class _Call:
    """A completions request that is valid; there are `n` choices for each of the prompts.

    `logprobs` is how many likely tokens to show at each place, None for no log probabilities at all. `scores` are those
    of each choice's text.
    """

    model: str
    prompts: list[Input]
    question: AnswerRequest
    echo: bool
    stream: bool
    logprobs: int | None
    include_usage: bool
    scores: list[list[TokenScore]] = field(default_factory=list)


class CompletionsEndpoint(OpenAIErrors):
    """`POST {prefix}/completions`."""

    methods = frozenset(("POST",))
    generates = True

    def __init__(self, config: MockConfig) -> None:
        super().__init__(config.seed)
        self._config = config

    def read(self, request: ApiRequest) -> None:
        """Parse the body and identify its content: model and prompt."""
        payload = identify(request, "prompt")
        request.event_stream = payload.get("stream") is True

    def reply(self, request: ApiRequest, literal: Prescribed | None = None) -> Reply:
        """Answer a completions request, whole or as a stream."""
        payload = request.payload or {}
        call = _parse(payload, self._config.response_len)
        if self._config.strict_models and call.model not in self._config.models:
            raise unknown_model(call.model)
        key = answer_key(self._key, request.digest, payload, _NOT_IN_KEY)
        if literal is not None:
            script = call.question.prescribe(literal)
            call.model = (script and script.model) or call.model
        choices: list[Choice] = []
        for at, prompt in enumerate(call.prompts):
            question = replace(call.question, key=key + at.to_bytes(4, "big") if at else key)
            if call.model == ECHO_MODEL and literal is None:
                question.literal = _as_text(prompt)
            choices += answer(question)
        if call.logprobs is not None:
            call.scores = score_choices(choices, key, call.logprobs)
        mark = key.hex()
        request_id = b"req_" + mark[24:56].encode()
        head = f'"id":"cmpl-{mark[:24]}","object":"text_completion","created":{CREATED},"model":{string(call.model)}'
        sizes = [choice.size for choice in choices]
        if call.stream:
            reply = Reply(200, request_id, steps=_chunks(head, call, choices), content_type=EVENT_STREAM_TYPE)
        else:
            reply = Reply(200, request_id, body=_document(head, call, choices).encode(), tokens=max(sizes))
        reply.prompt_tokens, reply.output_tokens = sum([input_tokens(each) for each in call.prompts]), sum(sizes)
        return reply


def _parse(payload: dict[str, Any], response_len: tuple[int, int]) -> _Call:
    model = payload.get("model")
    if not isinstance(model, str) or not model:
        raise invalid("model", "a name", model) if "model" in payload else missing("model")
    limit = whole_number(payload, "max_tokens", 0)
    question = AnswerRequest(b"", response_len)
    question.max_tokens = _DEFAULT_MAX_TOKENS if limit is None else limit
    question.n = whole_number(payload, "n", 1, MAX_CHOICES) or 1
    best_of = whole_number(payload, "best_of", 1, MAX_CHOICES)
    if best_of is not None and best_of < question.n:
        raise invalid("best_of", "an integer that is not less than n", best_of)
    question.stop = read_stops(payload.get("stop"))
    stream = boolean(payload, "stream")
    return _Call(
        model,
        read_inputs(payload, "prompt"),
        question,
        echo=boolean(payload, "echo"),
        logprobs=whole_number(payload, "logprobs", 0, _MAX_LOGPROBS),
        stream=stream,
        include_usage=stream and mapping(payload, "stream_options").get("include_usage") is True,
    )


def _document(head: str, call: _Call, choices: list[Choice]) -> str:
    listed = ",".join(
        [
            _choice(
                index,
                _echoed(call, index) + "".join(choice.content),
                string(choice.finish_reason),
                _logprobs(call.scores[index], len(_echoed(call, index))) if call.scores else "null",
            )
            for index, choice in enumerate(choices)
        ]
    )
    return f'{{{head},"choices":[{listed}],"usage":{_usage(call, choices)}}}'


def _chunks(head: str, call: _Call, choices: list[Choice]) -> list[str]:
    """Write server-sent events in steps of one token each; the last step holds the ends of all choices too."""
    tail = ',"usage":null}\n\n' if call.include_usage else "}\n\n"
    opening, closing, columns = "", "", list[list[str]]()
    for index, choice in enumerate(choices):
        if prompt := _echoed(call, index):
            opening += f'data: {{{head},"choices":[{_choice(index, prompt, "null")}]{tail}'
        logprobs = _token_logprobs(call, index) if call.scores else repeat("null")
        columns.append(
            [
                f'data: {{{head},"choices":[{_choice(index, token, "null", scored)}]{tail}'
                for token, scored in zip(choice.content, logprobs, strict=False)
            ]
        )
        closing += f'data: {{{head},"choices":[{_choice(index, "", string(choice.finish_reason))}]{tail}'
    if call.include_usage:
        closing += f'data: {{{head},"choices":[],"usage":{_usage(call, choices)}}}\n\n'
    steps = ["".join(row) for row in zip_longest(*columns, fillvalue="")] or [""]
    steps[0] = opening + steps[0]
    steps[-1] += closing + _DONE
    return steps


def _choice(index: int, text: str, finish_reason: str, logprobs: str = "null") -> str:
    return f'{{"text":{string(text)},"index":{index},"logprobs":{logprobs},"finish_reason":{finish_reason}}}'


def _token_logprobs(call: _Call, index: int) -> list[str]:
    """Write the log probabilities of each token of a choice by itself."""
    offset, found = len(_echoed(call, index)), list[str]()
    for scored in call.scores[index]:
        found.append(_logprobs([scored], offset))
        offset += len(scored.token)
    return found


def _logprobs(scores: list[TokenScore], offset: int) -> str:
    """Write the log probabilities of tokens, the first of which stands at `offset` in the text."""
    lengths = [len(scored.token) for scored in scores[:-1]]
    return written(
        {
            "tokens": [scored.token for scored in scores],
            "token_logprobs": [scored.logprob for scored in scores],
            "top_logprobs": [dict(scored.top) for scored in scores],
            "text_offset": list(accumulate(lengths, initial=offset)) if scores else [],
        }
    )


def _echoed(call: _Call, index: int) -> str:
    return _as_text(call.prompts[index // call.question.n]) if call.echo else ""


def _as_text(prompt: Input) -> str:
    """Return a prompt as text; the mock has no words for tokens, so they stand as numbers."""
    return prompt if isinstance(prompt, str) else " ".join([str(token) for token in prompt])


def _usage(call: _Call, choices: list[Choice]) -> str:
    script = call.question.script
    prompt = script.usage.prompt_tokens if script is not None else None
    if prompt is None:
        prompt = sum([input_tokens(each) for each in call.prompts])
    generated = sum([choice.output_tokens for choice in choices])
    return f'{{"prompt_tokens":{prompt},"completion_tokens":{generated},"total_tokens":{prompt + generated}}}'
