"""The rows that a report's page shows: which of many, and how much of their texts."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from flexllm_batch.outputs.output_lines import Line, number_of, tokens_of
from flexllm_batch.report.charts import shown
from flexllm_batch.report.summary import is_truncated, line_error_kind, line_error_text

DEFAULT_ROWS = 10_000
"""Rows on a page."""

LONG_TEXT = 20_000
"""Characters of a text at most, while there is room."""

SHORT_TEXT = 500
"""Characters of a text when half of the room is taken."""

ROOM = 32 * 1024 * 1024
"""Bytes that the rows of a page may take."""

_UNSAFE = {
    ord("<"): "\\u003c",
    ord(">"): "\\u003e",
    ord("&"): "\\u0026",
    0x2028: "\\u2028",
    0x2029: "\\u2029",
}


@dataclass(slots=True)
class PageRows:
    """Chooses the rows of a page as they come: failed ones before others, the first of each.

    Attributes:
        limit: Rows at most.
        room: Bytes at most, for all of them together.
        seen: Rows that there are.
    """

    limit: int = DEFAULT_ROWS
    room: int = ROOM
    seen: int = 0
    _failed: list[tuple[int, bytes, bool]] = field(default_factory=list)
    _others: list[tuple[int, bytes, bool]] = field(default_factory=list)
    _used: int = 0

    def add(self, line: Line) -> None:
        """Take a line in, if there is room."""
        self.seen += 1
        failed = line["status"] == "error"
        if len(self._failed) + len(self._others) >= self.limit and not (failed and self._others):
            return
        row, cut = page_row(line, LONG_TEXT if self._used < self.room / 2 else SHORT_TEXT)
        data = script_safe_json(row)
        kept = self._failed if failed else self._others
        while failed and self._others and (self._is_full() or self._used + len(data) > self.room):
            self._used -= len(self._others.pop()[1])
        if self._used + len(data) > self.room:
            return
        kept.append((line["index"], data, cut))
        self._used += len(data)

    def _is_full(self) -> bool:
        return len(self._failed) + len(self._others) >= self.limit

    @property
    def shown(self) -> int:
        """Rows on the page."""
        return len(self._failed) + len(self._others)

    @property
    def shortened(self) -> int:
        """Rows on the page of which a text is cut."""
        return sum(cut for _, _, cut in (*self._failed, *self._others))

    def json_array(self) -> Iterator[bytes]:
        """The rows as one JSON array that may stand in a `<script>` element, in pieces, in the order of the input."""
        yield b"["
        for number, (_, data, _) in enumerate(sorted([*self._failed, *self._others])):
            yield data if not number else b",\n" + data
        yield b"]"


def page_row(line: Line, longest: int) -> tuple[dict[str, Any], bool]:
    """A row as the page's script reads it, and whether a text of it is cut.

    What cannot be seen, such as control characters and marks that turn the direction of text, becomes visible escapes.
    """
    row: dict[str, Any] = {"i": line["index"], "s": _status(line)}
    texts = {"n": _input_text(line.get("input")), "o": _output_text(line), "m": _metadata_text(line.get("metadata"))}
    if line["status"] == "error":
        texts["e"] = line_error_text(line.get("error"))
        row["k"] = shown(line_error_kind(line.get("error")))
    cut = False
    for name, text in texts.items():
        if text:
            row[name] = shown(text[:longest])
            if len(text) > longest:
                row[f"{name}l"] = len(text)
                cut = True
    row["a"] = shown(str(line.get("model") or "")[:100])
    numbers = (("t", number_of(line.get("latency"))), ("c", number_of(line.get("cost"))))
    row |= {name: value for name, value in numbers if value is not None}
    if any(tokens := tokens_of(line)):
        row["u"] = tokens
    return row, cut


def script_safe_json(value: object) -> bytes:
    """JSON in which nothing can end a `<script>` element or begin another."""
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return text.translate(_UNSAFE).encode("utf-8")


def _status(line: Line) -> str:
    if line["status"] == "error":
        return "failed"
    return "truncated" if is_truncated(line) else "ok"


def _input_text(messages: object) -> str:
    """The messages as text; the role stands before each where there are several."""
    if not isinstance(messages, list):
        return ""
    texts = [
        (str(message.get("role")), _content_text(message.get("content")))
        for message in messages
        if isinstance(message, dict)
    ]
    if len(texts) == 1:
        return texts[0][1]
    return "\n".join(f"{role}: {text}" for role, text in texts)


def _content_text(content: object) -> str:
    if isinstance(content, str):
        return content
    parts = content if isinstance(content, list) else [content] if content is not None else []
    texts = [
        part["text"] if isinstance(part, dict) and isinstance(part.get("text"), str) else json.dumps(part)
        for part in parts
    ]
    return "\n".join(texts)


def _output_text(line: Line) -> str:
    """The answer, the one that could not stand, or the calls of tools."""
    for name in ("output", "rejected"):
        if isinstance(line.get(name), str):
            return str(line[name])
    return json.dumps(line["tool_calls"], ensure_ascii=False) if line.get("tool_calls") else ""


def _metadata_text(metadata: object) -> str:
    return json.dumps(metadata, ensure_ascii=False) if metadata else ""
