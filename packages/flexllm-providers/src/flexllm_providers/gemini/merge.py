"""The chunks of a Gemini stream put together into one answer of the same shape."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from flexllm_core.requests import ChatRequest
from flexllm_providers.gemini.parts import PartsJoiner, function_call, is_thought, part_text


@dataclass(slots=True)
class _Candidate:
    """One candidate so far."""

    rest: dict[str, Any] = field(default_factory=dict)
    parts: PartsJoiner = field(default_factory=PartsJoiner)
    finish_reason: str | None = None


class MergedAnswer:
    """Takes the chunks in order; `to_dict` is the answer as it would have come without streaming."""

    def __init__(self, request: ChatRequest) -> None:
        asked = request.params.get("n")
        self._asked = asked if type(asked) is int else 1
        self._head: dict[str, Any] = {}
        self._usage: dict[str, Any] = {}
        self._candidates: dict[int, _Candidate] = {}
        self._went_on = False

    @property
    def is_whole(self) -> bool:
        """Whether every candidate that was asked for has its end, or the prompt was refused."""
        finished = [candidate.finish_reason is not None for candidate in self._candidates.values()]
        if not finished:
            feedback = self._head.get("promptFeedback")
            return isinstance(feedback, dict) and bool(feedback.get("blockReason"))
        return all(finished) and len(finished) >= self._asked

    @property
    def is_surely_whole(self) -> bool:
        """`is_whole`, from a server that has not gone on after a finishReason: older models gave one in each chunk."""
        return self.is_whole and not self._went_on

    def add(self, chunk: object) -> list[tuple[bool, str]]:
        """Take a chunk; returns the texts that it adds to the first candidate, each with whether it is a thought."""
        if not isinstance(chunk, dict):
            return []
        for key, value in chunk.items():
            if key not in ("candidates", "usageMetadata") and value is not None:
                self._head[key] = value
        usage = chunk.get("usageMetadata")
        if isinstance(usage, dict):
            self._usage.update(usage)  # running totals
        out: list[tuple[bool, str]] = []
        listed = chunk.get("candidates")
        for position, item in enumerate(listed if isinstance(listed, list) else ()):
            if isinstance(item, dict):
                index = item.get("index")
                index = index if type(index) is int else position
                texts = self._add_candidate(self._candidates.setdefault(index, _Candidate()), item)
                out += texts if index == 0 else []
        return out

    def _add_candidate(self, candidate: _Candidate, item: dict[str, Any]) -> list[tuple[bool, str]]:
        content = item.get("content")
        parts = content.get("parts") if isinstance(content, dict) else None
        out: list[tuple[bool, str]] = []
        for part in parts if isinstance(parts, list) else ():
            if not isinstance(part, dict):
                continue
            candidate.parts.add(part)
            text = part_text(part)
            if text:
                out.append((is_thought(part), text))
            if (text or function_call(part)) and candidate.finish_reason is not None:
                candidate.finish_reason, self._went_on = None, True
        reason = item.get("finishReason")
        if isinstance(reason, str) and reason not in ("", "FINISH_REASON_UNSPECIFIED"):
            candidate.finish_reason = reason
        candidate.rest.update({key: value for key, value in item.items() if key != "content" and value is not None})
        return out

    def to_dict(self) -> dict[str, Any]:
        """The answer; what came more than once is as it came last, the parts are those of all chunks."""
        out = dict(self._head)
        if self._candidates:
            out["candidates"] = [
                {
                    "content": {"role": "model", "parts": candidate.parts.parts()},
                    **candidate.rest,
                    "finishReason": candidate.finish_reason,
                }
                for _, candidate in sorted(self._candidates.items())
            ]
        if self._usage:
            out["usageMetadata"] = self._usage
        return out
