"""Output lines as OpenAI's batch API gives them: `id`, `custom_id`, `response`, `error`."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from flexllm_batch.outputs.replacement import replacing
from flexllm_core.errors import JournalError
from flexllm_core.json_codec import decode_json, encode_json

_OK = 200


def openai_line(line: dict[str, Any], created: int) -> dict[str, Any]:
    """The result line of a row.

    Args:
        line: The row's line as flexllm writes it.
        created: Seconds since 1970; the time of each answer is not kept.
    """
    key = line.get("key") or ""
    out: dict[str, Any] = {"id": f"batch_req_{line['index']}_{key}", "custom_id": _custom_id(line)}
    response: dict[str, Any] | None = None
    if line["status"] == "success":
        response = {"status_code": _OK, "request_id": key, "body": _completion(line, key, created)}
        return {**out, "response": response, "error": None}
    error = line.get("error")
    error = error if isinstance(error, dict) else {"message": str(error)}
    problem = {
        "message": error.get("message"),
        "type": error.get("type"),
        "code": error.get("code") or error.get("type"),
    }
    if status := error.get("status"):
        response = {"status_code": status, "request_id": error.get("request_id") or key, "body": {"error": problem}}
    return {**out, "response": response, "error": problem}


def _custom_id(line: dict[str, Any]) -> str:
    given = (line.get("metadata") or {}).get("custom_id")
    return given if isinstance(given, str) else f"row-{line['index']}"


def _completion(line: dict[str, Any], key: str, created: int) -> dict[str, Any]:
    message: dict[str, Any] = {"role": "assistant", "content": line.get("output")}
    if line.get("reasoning"):
        message["reasoning_content"] = line["reasoning"]
    if line.get("tool_calls"):
        message["tool_calls"] = line["tool_calls"]
    texts = (line.get("choices") or [None])[1:]
    messages = [message, *({"role": "assistant", "content": text} for text in texts)]
    reason = line.get("finish_reason") or "stop"
    body: dict[str, Any] = {
        "id": f"chatcmpl-{key}",
        "object": "chat.completion",
        "created": created,
        "model": line.get("model") or "",
        "choices": [
            {"index": number, "message": each, "logprobs": None, "finish_reason": reason}
            for number, each in enumerate(messages)
        ],
    }
    if isinstance(usage := line.get("usage"), dict):
        body["usage"] = _usage(usage)
    return body


def _usage(usage: dict[str, Any]) -> dict[str, Any]:
    out = {name: usage.get(name, 0) for name in ("prompt_tokens", "completion_tokens", "total_tokens")}
    if cached := usage.get("cached_tokens"):
        out["prompt_tokens_details"] = {"cached_tokens": cached}
    if reasoning := usage.get("reasoning_tokens"):
        out["completion_tokens_details"] = {"reasoning_tokens": reasoning}
    return out


def write_openai_lines(journal: Path, path: Path) -> None:
    """Write the lines of a complete journal to `path` in OpenAI's form; whole, or the old file stays.

    Raises:
        JournalError: It cannot be written; the answers are all in the journal.
    """
    created = int(time.time())
    try:
        with replacing(path) as file, journal.open("rb") as lines:
            file.writelines(_converted(lines, created))
    except OSError as error:
        raise JournalError(
            f"{path}: cannot be written: {error.strerror or error}; the answers are all in {journal}, "
            "and the same command writes it later"
        ) from error


def _converted(lines: Iterable[bytes], created: int) -> Iterator[bytes]:
    for line in lines:
        if line.strip():
            yield encode_json(openai_line(decode_json(line), created)) + b"\n"
