"""Writes Claude messages: one document, or the events of a stream."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from flexllm_mock.answers import Choice
from flexllm_mock.claude.request import MessagesCall
from flexllm_mock.jsontext import are_plain, is_json, string
from flexllm_mock.steps import EvenSteps, Steps

_PING = 'event: ping\ndata: {"type":"ping"}\n\n'
_STOP_REASONS = {"stop": "end_turn", "length": "max_tokens", "tool_calls": "tool_use", "content_filter": "refusal"}


@dataclass(slots=True)
class Message:
    """An answered messages request, ready to be written. `signature` goes with the thinking, if there is any."""

    id: str
    call: MessagesCall
    choice: Choice
    signature: str = ""


@dataclass(slots=True)
class _Block:
    kind: Literal["thinking", "text", "tool_use"]
    tokens: list[str]
    fields: dict[str, str] = field(default_factory=dict)


def document(message: Message) -> str:
    """Write the answer as one `message` object."""
    content = ",".join([_whole(message, block) for block in _blocks(message)])
    return (
        f'{{{_head(message)},"content":[{content}],{_stop(message)},'
        f'"usage":{{{_prompt(message)},{_generated(message)},"service_tier":"standard"}}}}'
    )


def events(message: Message) -> Steps:
    """Write the answer as server-sent events, in steps of one token each.

    The first step also holds the events before the first token, the last one also what follows the last token.
    """
    prompt = f'"usage":{{{_prompt(message)},"output_tokens":1,"service_tier":"standard"}}'
    start = f'"message":{{{_head(message)},"content":[],"stop_reason":null,"stop_sequence":null,{prompt}}}'
    pending, ping, steps = _event("message_start", start), _PING, list[str]()
    blocks = _blocks(message)
    if len(blocks) == 1 and blocks[0].kind == "text" and are_plain(blocks[0].tokens):
        return _even_steps(message, blocks[0], pending)
    for index, block in enumerate(blocks):
        pending += _event("content_block_start", f'"index":{index},"content_block":{_empty(block)}') + ping
        ping = ""
        if block.kind == "tool_use":
            pending += _delta(index, '"type":"input_json_delta","partial_json":""')
        for token in block.tokens:
            steps.append(pending + _token_delta(message, block, index, token))
            pending = ""
        if block.kind == "thinking":
            pending += _delta(index, f'"type":"signature_delta","signature":{string(message.signature)}')
        pending += _event("content_block_stop", f'"index":{index}')
    pending += _end(message)
    if not steps:
        return [pending]
    steps[-1] += pending
    return steps


def _even_steps(message: Message, block: _Block, opening: str) -> EvenSteps:
    """Write the events of one text that stands in JSON as it is, as most answers are."""
    before, _, after = _delta(0, '"type":"text_delta","text":"\0"').partition("\0")
    opening += _event("content_block_start", f'"index":0,"content_block":{_empty(block)}') + _PING
    closing = _event("content_block_stop", '"index":0') + _end(message)
    return EvenSteps(before, block.tokens, after, opening, closing)


def _end(message: Message) -> str:
    usage = f'"usage":{{{_prompt(message, totals=True)},{_generated(message)}}}'
    return _event("message_delta", f'"delta":{{{_stop(message)}}},{usage}') + _event("message_stop", "")


def _blocks(message: Message) -> list[_Block]:
    choice, blocks = message.choice, list[_Block]()
    if choice.reasoning:
        blocks.append(_Block("thinking", choice.reasoning))
    if choice.content:
        blocks.append(_Block("text", choice.content))
    for at, call in enumerate(choice.calls):
        fields = {"id": call.id or f"toolu_{message.id[-20:]}{at:04x}", "name": call.name}
        blocks.append(_Block("tool_use", call.arguments, fields))
    return blocks


def _whole(message: Message, block: _Block) -> str:
    text = "".join(block.tokens)
    match block.kind:
        case "thinking":
            shown = string(text if message.call.shows_thinking else "")
            return f'{{"type":"thinking","thinking":{shown},"signature":{string(message.signature)}}}'
        case "text":
            return f'{{"type":"text","text":{string(text)}}}'
        case "tool_use":
            return _tool_use(block, text if is_json(text) else "{}")


def _empty(block: _Block) -> str:
    match block.kind:
        case "thinking":
            return '{"type":"thinking","thinking":"","signature":""}'
        case "text":
            return '{"type":"text","text":""}'
        case "tool_use":
            return _tool_use(block, "{}")


def _tool_use(block: _Block, arguments: str) -> str:
    name, mark = string(block.fields["name"]), string(block.fields["id"])
    return f'{{"type":"tool_use","id":{mark},"name":{name},"input":{arguments}}}'


def _token_delta(message: Message, block: _Block, index: int, token: str) -> str:
    match block.kind:
        case "thinking":
            # Thinking that is not shown takes its time all the same, so its steps are there and empty.
            shown = message.call.shows_thinking
            return _delta(index, f'"type":"thinking_delta","thinking":{string(token)}') if shown else ""
        case "text":
            return _delta(index, f'"type":"text_delta","text":{string(token)}')
        case "tool_use":
            return _delta(index, f'"type":"input_json_delta","partial_json":{string(token)}')


def _delta(index: int, fields: str) -> str:
    return _event("content_block_delta", f'"index":{index},"delta":{{{fields}}}')


def _event(name: str, fields: str) -> str:
    return f'event: {name}\ndata: {{"type":"{name}"{"," if fields else ""}{fields}}}\n\n'


def _head(message: Message) -> str:
    return f'"id":"{message.id}","type":"message","role":"assistant","model":{string(message.call.model)}'


def _stop(message: Message) -> str:
    stopped = message.choice.stop_text
    if stopped is not None:
        return f'"stop_reason":"stop_sequence","stop_sequence":{string(stopped)}'
    reason = "content_filter" if message.choice.refuses else message.choice.finish_reason
    return f'"stop_reason":{string(_STOP_REASONS.get(reason, reason))},"stop_sequence":null'


def _prompt(message: Message, *, totals: bool = False) -> str:
    usage = message.call.usage
    shown = (
        f'"input_tokens":{usage.uncached},'
        f'"cache_creation_input_tokens":{usage.written_5m + usage.written_1h},'
        f'"cache_read_input_tokens":{usage.cache_read}'
    )
    if totals:
        return shown
    lifetimes = f'"ephemeral_5m_input_tokens":{usage.written_5m},"ephemeral_1h_input_tokens":{usage.written_1h}'
    return f'{shown},"cache_creation":{{{lifetimes}}}'


def _generated(message: Message) -> str:
    choice = message.choice
    details = f'"output_tokens_details":{{"thinking_tokens":{choice.reasoning_tokens}}}'
    return f'"output_tokens":{choice.output_tokens},{details}'
