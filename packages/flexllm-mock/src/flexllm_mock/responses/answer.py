"""Writes answers of the Responses API as one document."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from flexllm_mock.answers import Choice
from flexllm_mock.openai.logprobs import TokenScore, utf8_bytes
from flexllm_mock.openai.models import CREATED
from flexllm_mock.responses.request import ResponsesCall

Item = dict[str, Any]

_INCOMPLETE = {"length": "max_output_tokens", "content_filter": "content_filter"}


@dataclass(slots=True)
class Answered:
    """An answered request, ready to be written.

    `mark` is in all of its ids. `sealed` is the encrypted content of its reasoning, if that was asked for, and `scores`
    are those of its text.
    """

    mark: str
    call: ResponsesCall
    choice: Choice
    sealed: str | None
    scores: list[TokenScore]

    @property
    def id(self) -> str:
        """The id of the response."""
        return f"resp_{self.mark}"

    @property
    def status(self) -> str:
        """How it ended: completed or incomplete."""
        return "incomplete" if self.choice.finish_reason in _INCOMPLETE else "completed"


def response_id_of(item_id: str) -> str:
    """Return the id of the response that an item belongs to, as far as its own id says."""
    return f"resp_{item_id.partition('_')[2][:-4]}"


def document(answered: Answered, status: str | None = None) -> dict[str, Any]:
    """Return the response; with a `status` before its end, such as in_progress, without output and usage."""
    final = status is None
    reason = _INCOMPLETE.get(answered.choice.finish_reason)
    return {
        "id": answered.id,
        "object": "response",
        "created_at": CREATED,
        "status": status or answered.status,
        "completed_at": CREATED if final and reason is None else None,
        "error": None,
        "incomplete_details": {"reason": reason} if final and reason is not None else None,
        "model": answered.call.model,
        **answered.call.echoed,
        "output": output_items(answered) if final else [],
        "usage": _usage(answered) if final else None,
    }


def output_items(answered: Answered) -> list[Item]:
    """Return the items of the output, complete: reasoning, a message, calls, whichever there are."""
    choice, items = answered.choice, list[Item]()
    if choice.reasoning:
        text = {"type": "summary_text", "text": "".join(choice.reasoning)}
        sealed = {} if answered.sealed is None else {"encrypted_content": answered.sealed}
        summary = [text] if answered.call.shows_reasoning else []
        items.append({"id": f"rs_{answered.mark}0000", "type": "reasoning", "summary": summary, **sealed})
    if choice.content or not choice.calls:
        item = {"id": f"msg_{answered.mark}{len(items):04x}", "type": "message", "status": "completed"}
        items.append({**item, "role": "assistant", "content": [content_part(answered)]})
    for at, call in enumerate(choice.calls):
        item = {"id": f"fc_{answered.mark}{len(items):04x}", "type": "function_call", "status": "completed"}
        call_id = call.id or f"call_{answered.mark[-20:]}{at:04x}"
        items.append({**item, "call_id": call_id, "name": call.name, "arguments": "".join(call.arguments)})
    if answered.status == "incomplete" and items[-1]["type"] != "reasoning":
        items[-1]["status"] = "incomplete"
    return items


def content_part(answered: Answered) -> Item:
    """Return the content of the message: text, or a refusal."""
    text = "".join(answered.choice.content)
    if answered.choice.refuses:
        return {"type": "refusal", "refusal": text}
    logprobs = [
        {"token": each.token, "bytes": utf8_bytes(each.token), "logprob": each.logprob, "top_logprobs": _top(each)}
        for each in answered.scores
    ]
    return {"type": "output_text", "annotations": [], "logprobs": logprobs, "text": text}


def _top(scored: TokenScore) -> list[Item]:
    return [{"token": token, "bytes": utf8_bytes(token), "logprob": logprob} for token, logprob in scored.top]


def _usage(answered: Answered) -> dict[str, Any]:
    call, choice = answered.call, answered.choice
    return {
        "input_tokens": call.prompt_tokens,
        "input_tokens_details": {"cached_tokens": call.cached_tokens, "cache_write_tokens": 0},
        "output_tokens": choice.output_tokens,
        "output_tokens_details": {"reasoning_tokens": choice.reasoning_tokens},
        "total_tokens": call.prompt_tokens + choice.output_tokens,
    }
