"""What a fault does to the content of an ordinary answer, whatever the vendor and whether it is a stream or not."""

from __future__ import annotations

import gzip
import json
import re
from collections.abc import Callable, Mapping
from typing import Any

from flexllm_mock.asgi import EVENT_STREAM_TYPE, Breakage, Reply
from flexllm_mock.faults.kinds import Alteration
from flexllm_mock.steps import whole

Refuse = Callable[[int], Reply]
"""Gives the vendor's error for a status."""

_BLOCK = b"x" * 65536
_PIECE_GAP = 0.01
_USAGE = ("usage", "usageMetadata")
_LISTS = ("choices", "candidates", "content", "output")
_ARGUMENTS = ("arguments", "partial_json")
_COMMENT = ": keep-alive\n\n"
_BLANK = "\n\n"


def error_body(reply: Reply, refuse: Refuse, _: int) -> None:
    """Answer 200 with an error, as gateways do whose upstream has failed."""
    refusal = refuse(500)
    _replace(reply, refusal.body)
    reply.content_type = refusal.content_type


def cut_stream(reply: Reply, _: Refuse, __: int) -> None:
    """End in the middle as if that were the end; HTTP says that all is well."""
    if reply.steps is None:
        reply.body = reply.body[: len(reply.body) // 2]
        return
    pieces = _events(reply)
    reply.steps = pieces[: max(1, len(pieces) // 2)]


def error_event(reply: Reply, refuse: Refuse, _: int) -> None:
    """Let a stream end with the vendor's error in its middle; a single answer is the error, with status 200."""
    if reply.steps is None:
        error_body(reply, refuse, 0)
        return
    cut_stream(reply, refuse, 0)
    steps = list(reply.steps)
    opening = "".join(steps[:1])
    error = _text(refuse(503).body)
    if reply.content_type != EVENT_STREAM_TYPE:
        reply.steps = [*steps, f",\r\n{_unlisted(error)}]"]
    elif "response.created" in opening:
        message = json.loads(error)["error"]["message"]
        value = {"type": "error", "code": "server_error", "message": message, "param": None}
        reply.steps = [*steps, f"event: error\ndata: {json.dumps({**value, 'sequence_number': len(steps)})}\n\n"]
    elif opening.startswith("event: "):
        reply.steps = [*steps, f"event: error\ndata: {_text(refuse(529).body)}\n\n"]
    else:
        reply.steps = [*steps, f"data: {error}{_separator(opening)}"]


def malformed_json(reply: Reply, _: Refuse, __: int) -> None:
    """Lose the first colon of the answer, or of an event in the middle of a stream."""
    if reply.steps is None:
        reply.body = reply.body.replace(b'":', b'"', 1)
        return
    steps = reply.steps = _events(reply)
    steps[len(steps) // 2] = steps[len(steps) // 2].replace('":', '"', 1)


def missing_usage(reply: Reply, _: Refuse, __: int) -> None:
    """Tell nothing about the tokens used."""
    _rewrite(reply, _without_usage)


def empty_choices(reply: Reply, _: Refuse, __: int) -> None:
    """Answer with no choices, candidates or blocks at all."""
    _rewrite(reply, _without_choices)


def broken_arguments(reply: Reply, _: Refuse, __: int) -> None:
    """Call tools with arguments that are no JSON: their closing braces are missing.

    Single answers of Claude cannot hold such, so their input is empty; Gemini says MALFORMED_FUNCTION_CALL itself.
    """
    _rewrite(reply, _with_broken_arguments)


def split_utf8(reply: Reply, _: Refuse, __: int) -> None:
    """Send each character that is more than one byte in two packets."""
    pieces = re.split(rb"(?<=[\xc0-\xff])", reply.content())
    _breakage(reply, [piece for piece in pieces if piece], _PIECE_GAP)


def crlf(reply: Reply, _: Refuse, __: int) -> None:
    """End the lines of an event stream with CR and LF."""
    if reply.steps is not None and reply.content_type == EVENT_STREAM_TYPE:
        reply.steps = [re.sub("\r?\n", "\r\n", step) for step in reply.steps]


def keep_alive(reply: Reply, _: Refuse, __: int) -> None:
    """Send a comment before each part of an event stream, blank lines before a single answer."""
    if reply.content_type == EVENT_STREAM_TYPE:
        _interleave(reply, _COMMENT)
    else:
        blank_lines(reply, _, __)


def blank_lines(reply: Reply, _: Refuse, __: int) -> None:
    """Send blank lines before the answer, in an event stream before each of its parts."""
    if reply.content_type == EVENT_STREAM_TYPE:
        _interleave(reply, _BLANK)
    else:
        _replace(reply, b"\n\r\n \n" + reply.content())


def compress(reply: Reply, _: Refuse, __: int) -> None:
    """Compress the answer, although the client may have asked for identity."""
    _replace(reply, gzip.compress(reply.content(), mtime=0))
    reply.breakage = reply.breakage or Breakage()
    reply.headers += ((b"content-encoding", b"gzip"),)


def oversized(reply: Reply, _: Refuse, size: int) -> None:
    """Put `size` bytes of padding into the first object of the answer; it stays valid JSON."""
    head, brace, tail = reply.content().partition(b"{")
    blocks, rest = divmod(size, len(_BLOCK))
    padding = [_BLOCK] * blocks + [_BLOCK[:rest]]
    _breakage(reply, [head + brace + b'"padding":"', *padding, b'",' + tail], 0.0)


ALTERATIONS: Mapping[Alteration, Callable[[Reply, Refuse, int], None]] = {
    "error_body": error_body,
    "cut_stream": cut_stream,
    "error_event": error_event,
    "malformed_json": malformed_json,
    "missing_usage": missing_usage,
    "empty_choices": empty_choices,
    "broken_arguments": broken_arguments,
    "split_utf8": split_utf8,
    "crlf": crlf,
    "keep_alive": keep_alive,
    "blank_lines": blank_lines,
    "gzip": compress,
    "oversized": oversized,
}
"""Each changes a reply; it gets the vendor's errors and a size in bytes."""


def _breakage(reply: Reply, pieces: list[bytes], gap: float) -> None:
    reply.breakage = reply.breakage or Breakage()
    reply.breakage.pieces, reply.breakage.gap = pieces, gap


def _replace(reply: Reply, body: bytes) -> None:
    """Make the reply one whole body, which takes as long as what it replaces."""
    reply.tokens, reply.steps, reply.body = reply.length, None, body


def _interleave(reply: Reply, text: str) -> None:
    if reply.steps is None:
        reply.body = text.encode() + reply.body
    else:
        reply.steps = [text + step for step in reply.steps]


def _text(body: bytes) -> str:
    return body.decode()


def _unlisted(error: str) -> str:
    """Take an error out of the list that stands for a stream."""
    return error[1:-1] if error.startswith("[") else error


def _separator(text: str) -> str:
    return "\r\n\r\n" if "\r\n\r\n" in text else "\n\n"


def _events(reply: Reply) -> list[str]:
    """Return the events of a stream one by one, or its steps when it is no event stream."""
    steps = reply.steps or []
    if reply.content_type != EVENT_STREAM_TYPE:
        return [step for step in steps if step]
    text = whole(steps)
    end = _separator(text)
    return [event + end for event in text.split(end)[:-1]]


def _rewrite(reply: Reply, change: Callable[[dict[str, Any]], dict[str, Any] | None]) -> None:
    """Change every object of the answer; an event whose object becomes None is left out."""
    if reply.steps is not None and reply.content_type == EVENT_STREAM_TYPE:
        end = _separator(whole(reply.steps))
        reply.steps = [
            "".join([_changed_event(event, change) + end for event in step.split(end)[:-1] if _keeps(event, change)])
            for step in reply.steps
        ]
        return
    value = json.loads(reply.content())
    if isinstance(value, list):
        changed: object = [each for each in map(change, value) if each is not None]
    else:
        changed = change(value)
    _replace(reply, _dumped(changed).encode("utf-8", "surrogatepass"))


def _dumped(value: object) -> str:
    return json.dumps(value, ensure_ascii=True, separators=(",", ":"))


def _keeps(event: str, change: Callable[[dict[str, Any]], dict[str, Any] | None]) -> bool:
    data = _data(event)
    return data is None or change(data) is not None


def _changed_event(event: str, change: Callable[[dict[str, Any]], dict[str, Any] | None]) -> str:
    data = _data(event)
    if data is None:
        return event
    return event[: event.index("data: ")] + "data: " + _dumped(change(data))


def _data(event: str) -> dict[str, Any] | None:
    """Return the object that an event holds, None when it holds none."""
    _, found, text = event.partition("data: ")
    if not found or not text.startswith("{"):
        return None
    value: dict[str, Any] = json.loads(text)
    return value


def _without_usage(value: dict[str, Any]) -> dict[str, Any] | None:
    if value.get("choices") == [] and value.get("usage"):
        return None
    for inner in ("message", "response"):
        if isinstance(value.get(inner), dict):
            _without_usage(value[inner])
    for name in _USAGE:
        value.pop(name, None)
    return value


def _without_choices(value: dict[str, Any]) -> dict[str, Any] | None:
    if str(value.get("type", "")).startswith("content_block_"):
        return None
    for name in _LISTS:
        if isinstance(value.get(name), list):
            value[name] = []
    return value


def _with_broken_arguments(value: dict[str, Any]) -> dict[str, Any]:
    changed = _broken(value)
    assert isinstance(changed, dict)
    for candidate in changed.get("candidates") or ():
        parts = candidate.get("content", {}).get("parts") or ()
        if any("functionCall" in part for part in parts):
            candidate["content"] = {}
            candidate["finishReason"] = "MALFORMED_FUNCTION_CALL"
            candidate["finishMessage"] = "Malformed function call: call:default_api"
    return changed


def _broken(value: Any) -> Any:
    if isinstance(value, list):
        return [_broken(each) for each in value]
    if not isinstance(value, dict):
        return value
    changed = {name: _broken(each) for name, each in value.items()}
    for name in _ARGUMENTS:
        if isinstance(value.get(name), str):
            changed[name] = value[name].replace("}", "")
    if value.get("type") == "tool_use":
        changed["input"] = {}
    if str(value.get("type", "")).endswith("function_call_arguments.delta"):
        changed["delta"] = str(value.get("delta", "")).replace("}", "")
    return changed
