"""What is shown of an answer: its text as it comes, its thinking dimmed, and in one line what it took."""

from __future__ import annotations

import itertools
import re
import sys
from collections.abc import AsyncGenerator
from typing import TYPE_CHECKING, Any

from flexllm_cli.i18n import gettext as _
from flexllm_cli.terminal import say, styled, write_result
from flexllm_core.visible import visible

if TYPE_CHECKING:
    from flexllm_core.results import ChatCompletionResult, StreamEvent

_FENCE = re.compile(r"`{3,}(?=[^`]*$)|~{3,}")


class AnswerView:
    """Shows the events of one stream.

    Args:
        thoughts: Show the model's thinking, on stderr. It is shown on a terminal alone, as it is for people.

    Attributes:
        text: What came of the answer so far.
    """

    def __init__(self, *, thoughts: bool) -> None:
        self._thoughts = thoughts and sys.stderr.isatty()
        self._thinking = False
        self._pieces: list[str] = []

    @property
    def text(self) -> str:
        """What came of the answer so far."""
        return "".join(self._pieces)

    def show(self, event: StreamEvent) -> None:
        """Show what an event brings."""
        if event.type == "reasoning" and self._thoughts:
            dimmed(event.text, end="")
            self._thinking = True
        elif event.type == "content" and event.text:
            self._end_thinking()
            write_result(event.text)
            self._pieces.append(event.text)

    def end(self) -> None:
        """End the last line, if it is not ended yet."""
        self._end_thinking()
        if self._pieces and not self._pieces[-1].endswith("\n"):
            write_result("\n")

    def _end_thinking(self) -> None:
        if self._thinking:
            dimmed("")
            self._thinking = False


async def show_stream(events: AsyncGenerator[StreamEvent, None], view: AnswerView) -> ChatCompletionResult | None:
    """Show a stream to its end; the whole answer. What came is left on a line of its own if the stream breaks."""
    result = None
    try:
        async for event in events:
            view.show(event)
            result = event.result or result
    finally:
        view.end()
        await events.aclose()
    return result


def dimmed(text: str, end: str = "\n") -> None:
    """Show something beside the answers on stderr, dimmed on a terminal."""
    sys.stderr.write((styled(visible(text), "dim") if text else "") + end)
    sys.stderr.flush()


def usage_line(result: ChatCompletionResult) -> str:
    """What an answer took: tokens, cost and times; only what is known."""
    facts = []
    if usage := result.usage:
        facts.append(
            tokens_text(usage.prompt_tokens, usage.cached_tokens, usage.completion_tokens, usage.reasoning_tokens)
        )
    facts.append(f"${result.cost:.6f}" if result.cost is not None else _("cost unknown"))
    if result.time_to_first_token is not None:
        facts.append(_("first token {seconds} s").format(seconds=f"{result.time_to_first_token:.2f}"))
    if result.latency is not None:
        facts.append(f"{result.latency:.2f} s")
    return " · ".join(facts)


def tokens_text(prompt: int, cached: int, completion: int, reasoning: int) -> str:
    """Tokens in and out, with those that were cached or thought where there are such."""
    read = _("{count} tokens in").format(count=f"{prompt:,}")
    written = _("{count} out").format(count=f"{completion:,}")
    from_cache = _("{count} cached").format(count=f"{cached:,}") if cached else ""
    thought = _("{count} thinking").format(count=f"{reasoning:,}") if reasoning else ""
    return f"{_with_detail(read, from_cache)} · {_with_detail(written, thought)}"


def _with_detail(text: str, detail: str) -> str:
    return f"{text} ({detail})" if detail else text


def warn_of_end(result: ChatCompletionResult) -> None:
    """Say why an answer is not all that the model had to say."""
    if result.finish_reason == "length":
        say("warning: the answer was cut off by the limit of tokens; --max-tokens sets it")
    elif result.finish_reason == "content_filter":
        say("warning: the provider's content filter ended the answer")


def answer_json(result: ChatCompletionResult) -> dict[str, Any]:
    """An answer as one JSON object, with the names that output lines of a batch have."""
    return {
        "output": result.content,
        "reasoning_content": result.reasoning_content,
        "model": result.model,
        "endpoint": result.endpoint,
        "finish_reason": result.finish_reason,
        "usage": result.usage.to_dict() if result.usage else None,
        "cost": None if result.cost is None else float(result.cost),
        "cost_source": result.cost_source,
        "latency": _rounded(result.latency),
        "time_to_first_token": _rounded(result.time_to_first_token),
        "attempts": result.attempts,
        "response_id": result.response_id,
    }


def _rounded(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 6)


def code_block(text: str) -> str | None:
    r"""The content of the first fenced code block, to the text's end where it is not closed; None where there is none.

    >>> code_block("Here:\n```python\nprint(1)\n```\nDone.")
    'print(1)\n'
    """
    lines = text.splitlines(keepends=True)
    starts = ((number, found[0]) for number, line in enumerate(lines) if (found := _FENCE.match(line)))
    start, fence = next(starts, (None, ""))
    if start is None:
        return None
    inside = itertools.takewhile(lambda line: not _closes(line, fence), lines[start + 1 :])
    return "".join(inside)


def _closes(line: str, fence: str) -> bool:
    """Whether a line ends the block that began with `fence`."""
    mark = line.strip()
    return len(mark) >= len(fence) and set(mark) == {fence[0]}
