"""The lines of the output file, written and read."""

from __future__ import annotations

import contextlib
import re
from typing import Any

from flexllm_batch.inputs.records import Record
from flexllm_core.errors import FlexLLMError, InputError, LLMRequestError
from flexllm_core.json_codec import decode_json, encode_json
from flexllm_core.options import SaveInput
from flexllm_core.results import ChatCompletionResult

_KEYS_BEFORE_STATUS = 2  # index and output
_OUTPUT = b'"output":"'
_BACKSLASH = ord("\\")
_KEY = re.compile("[0-9a-f]{32}")


def saved_input(record: Record, save_input: SaveInput) -> dict[str, Any]:
    """The `input` key of a row's line, or nothing."""
    if not save_input:
        return {}
    return {"input": record.messages[-1:] if save_input == "last" else record.messages}


def _begun(record: Record, output: Any, status: str, save_input: SaveInput) -> dict[str, Any]:
    """What each line begins with, in this order."""
    line = {"index": record.index, "output": output, "status": status}
    if save_input:
        line |= saved_input(record, save_input)
    line["metadata"] = record.metadata
    return line


def success_line(
    record: Record, result: ChatCompletionResult, key: str, *, save_input: SaveInput, return_usage: bool
) -> bytes:
    """The line of an answered row, with its newline."""
    line = _begun(record, result.content, "success", save_input)
    _add_answer(line, result, return_usage=return_usage)
    line["key"] = key
    return encode_json(line) + b"\n"


def _add_answer(line: dict[str, Any], result: ChatCompletionResult, *, return_usage: bool) -> None:
    """Put what is known of an answer into its row's line."""
    if return_usage and result.usage is not None:
        line["usage"] = result.usage.to_dict()
    line["finish_reason"] = result.finish_reason
    line["model"] = result.model
    line["endpoint"] = result.endpoint
    if result.cost is not None:
        line["cost"] = float(result.cost) if result.cost else 0.0
        if result.cost_source is not None:
            line["cost_source"] = result.cost_source
    if result.reasoning_content:
        line["reasoning"] = result.reasoning_content
    if result.tool_calls:
        line["tool_calls"] = [call.to_dict() for call in result.tool_calls]
    if len(result.choices) > 1:
        line["choices"] = list(result.choices)
    if result.cached:
        line["cached"] = True
    line["attempts"] = result.attempts
    if result.corrections:
        line["corrections"] = result.corrections
    if result.latency is not None:
        line["latency"] = round(result.latency, 3)
    if result.time_to_first_token is not None:
        line["time_to_first_token"] = round(result.time_to_first_token, 3)


def error_line(
    record: Record, error: Exception, key: str | None, *, save_input: SaveInput, return_usage: bool = True
) -> bytes:
    """The line of a failed row, with its newline. An answer that was paid for and cannot stand is in it too."""
    line = _begun(record, None, "error", save_input)
    line["error"] = error_dict(error)
    if isinstance(error, LLMRequestError):
        if error.answer is not None:
            line["rejected"] = error.answer.content
            _add_answer(line, error.answer, return_usage=return_usage)
        line["endpoint"] = error.endpoint or line.get("endpoint")
        line["attempts"] = error.attempts
    if key is not None:
        line["key"] = key
    try:
        return encode_json(line) + b"\n"
    except InputError:
        # A value given in Python that JSON does not have is often the error itself.
        line.pop("input", None)
        return encode_json({**line, "metadata": {}}) + b"\n"


def error_dict(error: Exception) -> dict[str, Any]:
    """An error as an output line holds it."""
    if isinstance(error, LLMRequestError):
        return error.to_dict()
    retryable = not isinstance(error, FlexLLMError)
    return {"type": type(error).__name__, "message": str(error), "retryable": retryable}


def stands(line: bytes, record: Record, save_input: SaveInput) -> bool:
    """Whether a kept answer's line already is the line of this row, and needs no rewriting."""
    start = b'{"index":%d,' % record.index
    if not line.startswith(start):
        return False
    part = encode_json({"status": "success", **saved_input(record, save_input), "metadata": record.metadata})
    inner = part[1:-1] + b","
    if line.startswith(inner, _behind_output(line, len(start))):
        return True
    at = line.find(inner)
    if at > 0:
        # Quotes in a text would be escaped, but it may be deeper, in metadata that hold the lines of another run.
        with contextlib.suppress(ValueError):
            return len(decode_json(line[: at - 1] + b"}")) == _KEYS_BEFORE_STATUS
    # The same values may be written in another way: escaped, because something else in the line had to be.
    value = decode_json(line)
    return encode_json({key: value[key] for key in ("status", "input", "metadata") if key in value}) == part


def _behind_output(line: bytes, start: int) -> int:
    """Where what follows the output begins, if the output at `start` is a text without quotes; else the line's end."""
    quote = line.find(b'"', start + len(_OUTPUT))
    if line.startswith(_OUTPUT, start) and line[quote - 1] != _BACKSLASH and line.startswith(b",", quote + 1):
        return quote + 2
    return len(line)


def rewritten(line: dict[str, Any], record: Record, save_input: SaveInput) -> bytes:
    """A kept answer's line for the row that it now belongs to."""
    answer = {
        key: value for key, value in line.items() if key not in ("index", "output", "status", "input", "metadata")
    }
    return encode_json(_begun(record, line.get("output"), "success", save_input) | answer) + b"\n"


def is_output_line(value: object) -> bool:
    """Whether a parsed line is one of ours."""
    if not isinstance(value, dict) or type(value.get("index")) is not int or "output" not in value:
        return False
    status = value.get("status")
    return status == "error" or (status == "success" and is_key(value.get("key")))


def is_key(key: object) -> bool:
    """Whether this is the fingerprint of a request."""
    return isinstance(key, str) and _KEY.fullmatch(key) is not None
