"""Writes OpenAI chat completions: one document, or the events of a stream."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import zip_longest

from flexllm_mock.answers import Choice, ToolCall
from flexllm_mock.jsontext import are_plain, string, strings, written
from flexllm_mock.openai.logprobs import TokenScore, utf8_bytes
from flexllm_mock.openai.request import ChatCall
from flexllm_mock.steps import EvenSteps, Steps

_DONE = "data: [DONE]\n\n"


@dataclass(slots=True)
class Completion:
    """An answered chat request, ready to be written. `scores` are those of each choice's content, if asked for."""

    id: str
    created: int
    call: ChatCall
    choices: list[Choice]
    fingerprint: str
    scores: list[list[TokenScore]] | None = None


def document(completion: Completion) -> str:
    """Write the answer as one `chat.completion` object."""
    call = completion.call
    choices = ",".join(
        [
            f'{{"index":{index},"message":{_message(completion, index, choice)},'
            f'"logprobs":{"null" if completion.scores is None else _logprobs(choice, completion.scores[index])},'
            f'"finish_reason":{string(choice.finish_reason)}}}'
            for index, choice in enumerate(completion.choices)
        ]
    )
    return (
        f'{{"id":"{completion.id}","object":"chat.completion","created":{completion.created},'
        f'"model":{string(call.model)},"choices":[{choices}],"usage":{_usage(completion)},'
        f'"service_tier":"default","system_fingerprint":"{completion.fingerprint}"}}'
    )


def chunks(completion: Completion) -> Steps:
    """Write the answer as server-sent events, in steps of one token each.

    The first step also holds the events before the first token, the last one also what follows the last token.
    """
    call = completion.call
    head = (
        f'data: {{"id":"{completion.id}","object":"chat.completion.chunk","created":{completion.created},'
        f'"model":{string(call.model)},"choices":['
    )
    tail = '],"usage":null}\n\n' if call.include_usage else "]}\n\n"
    if len(completion.choices) == 1 and _is_plain(completion):
        return _even_steps(completion, head, tail)
    opening, closing, columns = "", "", list[list[str]]()
    for index, choice in enumerate(completion.choices):
        start = f'{head}{{"index":{index},"delta":{{'
        end = f'}},"finish_reason":null}}{tail}'
        opening += start + _first_delta(completion, index, choice) + end
        columns.append(_token_events(completion, index, choice, start, end))
        closing += f'{start}}},"finish_reason":{string(choice.finish_reason)}}}{tail}'
    closing += _end(completion, head)
    steps = columns[0] if len(columns) == 1 else ["".join(row) for row in zip_longest(*columns, fillvalue="")]
    if not steps:
        return [opening + closing]
    steps[0] = opening + steps[0]
    steps[-1] += closing
    return steps


def _is_plain(completion: Completion) -> bool:
    """Tell whether the answer is one text that stands in JSON as it is, as most are."""
    choice = completion.choices[0]
    if not choice.content or choice.calls or choice.reasoning or completion.scores is not None:
        return False
    return are_plain(choice.content)


def _even_steps(completion: Completion, head: str, tail: str) -> EvenSteps:
    choice = completion.choices[0]
    start, end = f'{head}{{"index":0,"delta":{{', f'}},"finish_reason":null}}{tail}'
    name = "refusal" if choice.refuses else "content"
    return EvenSteps(
        before=f'{start}"{name}":"',
        tokens=choice.content,
        after=f'"{end}',
        opening=f"{start}{_first_delta(completion, 0, choice)}{end}",
        closing=f'{start}}},"finish_reason":{string(choice.finish_reason)}}}{tail}{_end(completion, head)}',
    )


def _end(completion: Completion, head: str) -> str:
    """Write what follows the last choice's end."""
    if not completion.call.include_usage:
        return _DONE
    return f'{head}],"usage":{_usage(completion)}}}\n\n{_DONE}'


def _token_events(completion: Completion, index: int, choice: Choice, start: str, end: str) -> list[str]:
    events = [f'{start}"reasoning_content":{string(token)}{end}' for token in choice.reasoning]
    name = "refusal" if choice.refuses else "content"
    if completion.scores is None:
        start_of_token = f'{start}"{name}":'
        events += [f"{start_of_token}{token}{end}" for token in strings(choice.content)]
    else:
        events += [
            f'{start}"{name}":{string(each.token)}}},"logprobs":{_logprobs(choice, [each])}{end[1:]}'
            for each in completion.scores[index]
        ]
    for at, call in enumerate(choice.calls):
        parts = [
            f'{start}"tool_calls":[{{"index":{at},"function":{{"arguments":{string(token)}}}}}]{end}'
            for token in call.arguments
        ]
        if at or choice.reasoning or choice.content:  # else the first delta begins the call
            parts[:1] = [f"{start}{_tool_header(completion, index, at, call)}{end}{''.join(parts[:1])}"]
        events += parts
    return events


def _logprobs(choice: Choice, scores: list[TokenScore]) -> str:
    """Write the log probabilities of some tokens of a choice, null when it has no text."""
    if not choice.content:
        return "null"
    listed = ",".join(
        [f'{_score(each.token, each.logprob)},"top_logprobs":[{",".join(_top(each))}]}}' for each in scores]
    )
    if choice.refuses:
        return f'{{"content":null,"refusal":[{listed}]}}'
    return f'{{"content":[{listed}],"refusal":null}}'


def _top(scored: TokenScore) -> list[str]:
    return [_score(token, logprob) + "}" for token, logprob in scored.top]


def _score(token: str, logprob: float) -> str:
    return f'{{"token":{string(token)},"logprob":{logprob!r},"bytes":{written(utf8_bytes(token))}'


def _first_delta(completion: Completion, index: int, choice: Choice) -> str:
    if not choice.calls or choice.content:
        return '"role":"assistant","content":""'
    if choice.reasoning:
        return '"role":"assistant","content":null'  # the call itself begins after the reasoning
    return '"role":"assistant","content":null,' + _tool_header(completion, index, 0, choice.calls[0])


def _tool_header(completion: Completion, index: int, at: int, call: ToolCall) -> str:
    return (
        f'"tool_calls":[{{"index":{at},"id":{_call_id(completion, index, at, call)},"type":"function",'
        f'"function":{{"name":{string(call.name)},"arguments":""}}}}]'
    )


def _message(completion: Completion, index: int, choice: Choice) -> str:
    reasoning = f',"reasoning_content":{string("".join(choice.reasoning))}' if choice.reasoning else ""
    content = string("".join(choice.content)) if choice.content or not choice.calls else "null"
    refusal = "null"
    if choice.refuses:
        content, refusal = "null", content
    if not choice.calls:
        return f'{{"role":"assistant","content":{content},"refusal":{refusal}{reasoning}}}'
    calls = ",".join(
        [
            f'{{"id":{_call_id(completion, index, at, call)},"type":"function","function":'
            f'{{"name":{string(call.name)},"arguments":{string("".join(call.arguments))}}}}}'
            for at, call in enumerate(choice.calls)
        ]
    )
    return f'{{"role":"assistant","content":{content},"refusal":{refusal}{reasoning},"tool_calls":[{calls}]}}'


def _call_id(completion: Completion, index: int, at: int, call: ToolCall) -> str:
    return string(call.id or f"call_{completion.id[-20:]}{at << 8 | index:04x}")


def _usage(completion: Completion) -> str:
    prompt = completion.call.prompt_tokens
    generated = thought = 0
    for choice in completion.choices:
        generated += choice.output_tokens
        thought += choice.reasoning_tokens
    return (
        f'{{"prompt_tokens":{prompt},"completion_tokens":{generated},"total_tokens":{prompt + generated},'
        f'"prompt_tokens_details":{{"cached_tokens":{completion.call.cached_tokens},"audio_tokens":0}},'
        f'"completion_tokens_details":{{"reasoning_tokens":{thought},"audio_tokens":0,'
        '"accepted_prediction_tokens":0,"rejected_prediction_tokens":0}}'
    )
