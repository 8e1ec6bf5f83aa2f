"""Writes Gemini's answers: one document, or the chunks of a stream."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import zip_longest

from flexllm_mock.answers import Choice, ToolCall
from flexllm_mock.gemini.request import GeminiCall
from flexllm_mock.jsontext import is_json, string

_FINISH_REASONS = {"stop": "STOP", "tool_calls": "STOP", "length": "MAX_TOKENS", "content_filter": "SAFETY"}


@dataclass(slots=True)
class Generation:
    """An answered request, ready to be written; each choice has the signature that its first call or its text gets."""

    id: str
    call: GeminiCall
    choices: list[Choice]
    signatures: list[str]


@dataclass(slots=True)
class _Chunk:
    """What one candidate adds at one step."""

    parts: str
    thoughts: int = 0
    tokens: int = 0
    finish: str = ""


def document(generation: Generation) -> str:
    """Write the answer as one GenerateContentResponse."""
    candidates = [
        _candidate(index, ",".join(_parts(generation, index)), _finish(choice))
        for index, choice in enumerate(generation.choices)
    ]
    thoughts = sum([choice.reasoning_tokens for choice in generation.choices])
    tokens = sum([choice.output_tokens for choice in generation.choices]) - thoughts
    return _response(generation, candidates, thoughts, tokens)


def chunks(generation: Generation) -> list[str]:
    """Write the answer as GenerateContentResponses, a token each; the usage in them counts what has been sent.

    A call comes whole, after steps without a chunk (empty strings) for the time that its tokens take.
    """
    columns = [_steps(generation, index) for index in range(len(generation.choices))]
    written: list[str] = []
    thoughts = tokens = 0
    for row in zip_longest(*columns):
        candidates: list[str] = []
        for index, chunk in enumerate(row):
            if chunk is not None:
                thoughts += chunk.thoughts
                tokens += chunk.tokens
                if chunk.parts or chunk.finish:
                    candidates.append(_candidate(index, chunk.parts, chunk.finish))
        written.append(_response(generation, candidates, thoughts, tokens) if candidates else "")
    return written


def _steps(generation: Generation, index: int) -> list[_Chunk]:
    choice, shows = generation.choices[index], generation.call.shows_thoughts
    steps = [_Chunk(_thought(token) if shows else "", thoughts=1) for token in choice.reasoning]
    steps += [_Chunk(_text(token), tokens=1) for token in choice.content]
    for at, call in enumerate(choice.calls):
        steps += [_Chunk("", tokens=1) for _ in call.arguments[1:]]
        steps.append(_Chunk(_function_call(generation, index, at, call) if _is_whole(choice, call) else "", tokens=1))
    signature = _signature(generation, index) if choice.content else ""
    closing = f'{{"text":""{signature}}}' if choice.size else ""
    # What a script prescribes to report may differ from what was sent: the end makes up for it.
    thoughts = choice.reasoning_tokens - len(choice.reasoning)
    tokens = choice.output_tokens - choice.size - thoughts
    steps.append(_Chunk(closing, thoughts, tokens, _finish(choice)))
    return steps


def _finish(choice: Choice) -> str:
    reason = "content_filter" if choice.refuses else choice.finish_reason
    return _FINISH_REASONS.get(reason, reason)


def _parts(generation: Generation, index: int) -> list[str]:
    choice, parts = generation.choices[index], list[str]()
    if choice.reasoning and generation.call.shows_thoughts:
        parts.append(_thought("".join(choice.reasoning)))
    if choice.content:
        parts.append(_text("".join(choice.content), _signature(generation, index)))
    for at, call in enumerate(choice.calls):
        if _is_whole(choice, call):
            parts.append(_function_call(generation, index, at, call))
    return parts


def _is_whole(choice: Choice, call: ToolCall) -> bool:
    """Tell a call from one with cut or broken arguments, which cannot be sent: they are an object, not its text."""
    drawn = choice.script is None and choice.finish_reason != "length"
    return drawn or is_json("".join(call.arguments))


def _thought(text: str) -> str:
    return f'{{"text":{string(text)},"thought":true}}'


def _text(text: str, signature: str = "") -> str:
    return f'{{"text":{string(text)}{signature}}}'


def _signature(generation: Generation, index: int) -> str:
    """Return the field that a text gets after thoughts."""
    if not generation.choices[index].reasoning:
        return ""
    return f',"thoughtSignature":"{generation.signatures[index]}"'


def _function_call(generation: Generation, index: int, at: int, call: ToolCall) -> str:
    # Of parallel calls only the first is signed.
    signature = "" if at else f',"thoughtSignature":"{generation.signatures[index]}"'
    mark = string(call.id or f"{generation.id[:12]}{at << 8 | index:04x}")
    arguments = "".join(call.arguments)
    return f'{{"functionCall":{{"id":{mark},"name":{string(call.name)},"args":{arguments}}}{signature}}}'


def _candidate(index: int, parts: str, finish: str) -> str:
    listed = f'"parts":[{parts}],' if parts else ""
    reason = f'"finishReason":{string(finish)},' if finish else ""
    return f'{{"content":{{{listed}"role":"model"}},{reason}"index":{index}}}'


def _response(generation: Generation, candidates: list[str], thoughts: int, tokens: int) -> str:
    call = generation.call
    details = ",".join([f'{{"modality":"{modality}","tokenCount":{count}}}' for modality, count in call.prompt.items()])
    usage = f'"promptTokenCount":{call.prompt_tokens}'
    if call.cached_tokens:
        usage += f',"cachedContentTokenCount":{call.cached_tokens}'
    if tokens:
        usage += f',"candidatesTokenCount":{tokens}'
    if thoughts:
        usage += f',"thoughtsTokenCount":{thoughts}'
    total = call.prompt_tokens + tokens + thoughts
    return (
        f'{{"candidates":[{",".join(candidates)}],'
        f'"usageMetadata":{{{usage},"totalTokenCount":{total},"promptTokensDetails":[{details}]}},'
        f'"modelVersion":{string(call.model)},"responseId":"{generation.id}"}}'
    )
