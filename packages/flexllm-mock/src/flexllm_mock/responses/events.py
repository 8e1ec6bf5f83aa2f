"""Writes answers of the Responses API as the events of a stream, in steps of one token each."""

from __future__ import annotations

from typing import Any

from flexllm_mock.jsontext import string, written
from flexllm_mock.openai.logprobs import TokenScore
from flexllm_mock.responses.answer import Answered, Item, document, output_items


def events(answered: Answered) -> list[str]:
    """Write the answer as server-sent events.

    The first step also holds the events before the first token, the last one also what follows the last token.
    """
    writer = _Writer()
    if answered.call.background:
        for name in ("created", "queued"):
            writer.event(f"response.{name}", response=document(answered, "queued"))
    else:
        writer.event("response.created", response=document(answered, "in_progress"))
    writer.event("response.in_progress", response=document(answered, "in_progress"))
    for index, item in enumerate(output_items(answered)):
        match item["type"]:
            case "reasoning":
                _reasoning(writer, answered, index, item)
            case "message":
                _message(writer, answered, index, item)
            case _:
                _call(writer, answered, index, item)
    writer.event(f"response.{answered.status}", response=document(answered))
    return writer.finished()


class _Writer:
    """Numbers the events, and collects those between two tokens into the step of the later one."""

    def __init__(self) -> None:
        self._steps: list[str] = []
        self._pending = ""
        self._count = 0

    def event(self, name: str, **fields: Any) -> None:
        """Write an event that belongs to the next step."""
        body = {"type": name, "sequence_number": self._count, **fields}
        self._pending += f"event: {name}\ndata: {written(body)}\n\n"
        self._count += 1

    def delta(self, name: str, place: str, token: str) -> None:
        """Write a token, which ends a step; `place` is the fields that say where it belongs, as JSON."""
        head = f'"type":"{name}","sequence_number":{self._count}'
        self._pending += f'event: {name}\ndata: {{{head},{place},"delta":{string(token)}}}\n\n'
        self._count += 1
        self.pause()

    def pause(self) -> None:
        """End a step, with a token that is not shown but takes its time all the same."""
        self._steps.append(self._pending)
        self._pending = ""

    def finished(self) -> list[str]:
        """Return the steps."""
        if not self._steps:
            return [self._pending]
        self._steps[-1] += self._pending
        return self._steps


def _reasoning(writer: _Writer, answered: Answered, index: int, item: Item) -> None:
    writer.event("response.output_item.added", output_index=index, item={**item, "summary": []})
    if item["summary"]:
        place = {"item_id": item["id"], "output_index": index, "summary_index": 0}
        [part] = item["summary"]
        name = "response.reasoning_summary"
        writer.event(f"{name}_part.added", **place, part={**part, "text": ""})
        inner = written(place)[1:-1]
        for token in answered.choice.reasoning:
            writer.delta(f"{name}_text.delta", inner, token)
        writer.event(f"{name}_text.done", **place, text=part["text"])
        writer.event(f"{name}_part.done", **place, part=part)
    else:
        for _ in answered.choice.reasoning:
            writer.pause()
    writer.event("response.output_item.done", output_index=index, item=item)


def _message(writer: _Writer, answered: Answered, index: int, item: Item) -> None:
    [part] = item["content"]
    field = "refusal" if part["type"] == "refusal" else "text"
    name = "response.refusal" if field == "refusal" else "response.output_text"
    place = {"item_id": item["id"], "output_index": index, "content_index": 0}
    started = {**item, "status": "in_progress", "content": []}
    writer.event("response.output_item.added", output_index=index, item=started)
    empty = {**part, field: "", **({"logprobs": []} if field == "text" else {})}
    writer.event("response.content_part.added", **place, part=empty)
    inner, scores = written(place)[1:-1], iter(answered.scores)
    for token in answered.choice.content:
        logprobs = f',"logprobs":{written(_scores(scores))}' if field == "text" else ""
        writer.delta(f"{name}.delta", inner + logprobs, token)
    all_scores = {"logprobs": [_score(each) for each in answered.scores]} if field == "text" else {}
    writer.event(f"{name}.done", **place, **{field: part[field]}, **all_scores)
    writer.event("response.content_part.done", **place, part=part)
    writer.event("response.output_item.done", output_index=index, item=item)


def _call(writer: _Writer, answered: Answered, index: int, item: Item) -> None:
    number = sum([each["type"] == "function_call" for each in output_items(answered)[:index]])
    place = {"item_id": item["id"], "output_index": index}
    name = "response.function_call_arguments"
    started = {**item, "status": "in_progress", "arguments": ""}
    writer.event("response.output_item.added", output_index=index, item=started)
    inner = written(place)[1:-1]
    for token in answered.choice.calls[number].arguments:
        writer.delta(f"{name}.delta", inner, token)
    writer.event(f"{name}.done", **place, arguments=item["arguments"])
    writer.event("response.output_item.done", output_index=index, item=item)


def _scores(scores: Any) -> list[Item]:
    """Return the score of the next token in a list, an empty one when tokens are not scored."""
    scored = next(scores, None)
    return [] if scored is None else [_score(scored)]


def _score(scored: TokenScore) -> Item:
    top = [{"token": token, "logprob": logprob} for token, logprob in scored.top]
    return {"token": scored.token, "logprob": scored.logprob, "top_logprobs": top}
