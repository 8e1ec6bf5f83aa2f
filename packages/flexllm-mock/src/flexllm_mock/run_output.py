"""Makes fixtures of the output of a finished flexllm run, so that the same questions get the same answers again."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal

from flexllm_mock.conversation import read_conversation
from flexllm_mock.fixture_files import FixtureError

MatchBy = Literal["messages", "user"]
"""Whether fixtures match whole conversations, or the text of the last user message."""

# What flexllm puts before the words of the server: the endpoint and the status.
_OWN_WORDS = re.compile(r"^\S+: HTTP \d{3}: ")
_ID_HEADERS = ("x-request-id", "request-id")
_NEVER_ASKED = ("InputError", "MediaError")


@dataclass(frozen=True, slots=True)
class Converted:
    """The fixtures of a run: rules as they stand in files, and how many rows had nothing to answer with."""

    rules: list[dict[str, Any]]
    rows: int
    skipped: int


def fixtures_from_output(lines: Iterable[str], name: str, by: MatchBy = "messages") -> Converted:
    """Make a rule for each conversation of an output; rows that ask the same become the steps of a sequence.

    Raises FixtureError that names the line for what is no line of an output, or has no input.
    """
    found: dict[bytes, tuple[dict[str, Any], list[dict[str, Any]]]] = {}
    rows = skipped = 0
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        row = _row(line, f"{name}:{number}")
        rows += 1
        step = _step(row)
        if step is None:
            skipped += 1
            continue
        key, match = _match(row, by, f"{name}:{number}")
        found.setdefault(key, (match, []))[1].append(step)
    rules = [_rule(match, steps) for match, steps in found.values()]
    return Converted(rules, rows, skipped)


def _row(line: str, place: str) -> dict[str, Any]:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise FixtureError(f"{place}: not JSON: {error}") from None
    if not isinstance(row, dict) or row.get("status") not in ("success", "error") or "output" not in row:
        raise FixtureError(f"{place}: not a line of flexllm's output, which has `output` and `status`")
    return row


def _match(row: dict[str, Any], by: MatchBy, place: str) -> tuple[bytes, dict[str, Any]]:
    messages = row.get("input")
    if not isinstance(messages, list) or not messages or not all(isinstance(each, dict) for each in messages):
        raise FixtureError(f"{place}: the row has no input to match: run with --save-input true")
    conversation = read_conversation({"messages": messages})
    if by == "messages":
        return conversation.key, {"messages": messages}
    text = conversation.last_user
    if not text:
        raise FixtureError(f"{place}: the input has no user text to match")
    return text.encode("utf-8", "surrogatepass"), {"user": text}


def _rule(match: dict[str, Any], steps: list[dict[str, Any]]) -> dict[str, Any]:
    if all(step == steps[0] for step in steps):
        return {"match": match, **steps[0]}
    return {"match": match, "sequence": steps}


def _step(row: dict[str, Any]) -> dict[str, Any] | None:
    """Return what answers a row; None when it was never asked."""
    if row["status"] == "error":
        return _failure(row.get("error"))
    answer: dict[str, Any] = {"text": row["output"] if isinstance(row["output"], str) else "", "verbatim": True}
    if isinstance(row["output"], dict | list):  # an answer that was parsed
        answer["text"] = json.dumps(row["output"], ensure_ascii=False)
    for name, given in (("thinking", "reasoning"), ("tool_calls",) * 2, ("finish_reason",) * 2, ("model",) * 2):
        if row.get(given):
            answer[name] = row[given]
    usage = row.get("usage")
    if isinstance(usage, dict):
        # Without the number the mock would count the thinking by itself.
        answer["usage"] = {"reasoning_tokens": 0, **{name: count for name, count in usage.items() if count is not None}}
    return {"answer": answer}


def _failure(error: object) -> dict[str, Any] | None:
    if not isinstance(error, dict) or error.get("type") in _NEVER_ASKED:
        return None
    status, message = error.get("status"), error.get("message")
    if not isinstance(status, int) or not 400 <= status <= 599:
        return {"disconnect": "before"}  # whatever it was, no answer came
    step: dict[str, Any] = {"status": status}
    if isinstance(message, str) and message:
        step["error"] = {"message": _OWN_WORDS.sub("", message, count=1)}
        if isinstance(error.get("code"), str):
            step["error"]["code"] = error["code"]
    mark = error.get("request_id")
    if isinstance(mark, str) and mark.isascii() and mark.isprintable():
        step["headers"] = dict.fromkeys(_ID_HEADERS, mark)
    return step
