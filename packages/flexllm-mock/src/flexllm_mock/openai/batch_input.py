"""Reads the input file of one of OpenAI's batches: its lines, and what is wrong with them."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from flexllm_mock.asgi import ApiError
from flexllm_mock.jsontext import read_object

_MAX_LINES = 50_000
_MAX_PROBLEMS = 100


@dataclass(frozen=True, slots=True)
class Line:
    """One request of a batch; its body is JSON."""

    custom_id: str
    url: str
    body: bytes


@dataclass(frozen=True, slots=True)
class BatchInput:
    """The lines of a file, and the problems that make a batch of it fail, as OpenAI lists them."""

    lines: list[Line]
    problems: list[dict[str, Any]]
    model: str | None


class _LineError(Exception):
    def __init__(self, code: str, message: str, param: str | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.param = param


def read_batch_input(content: bytes, endpoint: str) -> BatchInput:
    """Read a file for a batch of requests to `endpoint`; blank lines do not count."""
    lines, problems, known, models = list[Line](), list[dict[str, Any]](), set[str](), list[str]()
    for number, raw in enumerate(content.split(b"\n"), 1):
        if not raw.strip():
            continue
        try:
            line, model = _read_line(raw, endpoint)
            if line.custom_id in known:
                raise _LineError("duplicate_custom_id", f"The custom_id {line.custom_id!r} is not unique.", "custom_id")
            if models and model != models[0]:
                text = f"The provided model {model!r} does not match the model {models[0]!r} of the other lines."
                raise _LineError("mismatched_model", text, "body.model")
        except _LineError as error:
            problems.append({"code": error.code, "line": number, "message": str(error), "param": error.param})
            if len(problems) >= _MAX_PROBLEMS:
                break
            continue
        known.add(line.custom_id)
        lines.append(line)
        models += [model] if model is not None and not models else []
    if not lines and not problems:
        problems.append({"code": "empty_file", "line": None, "message": "The input file is empty.", "param": None})
    if len(lines) > _MAX_LINES:
        text = f"The input file has {len(lines)} requests, more than {_MAX_LINES}."
        problems.append({"code": "too_many_tasks", "line": None, "message": text, "param": None})
    return BatchInput(lines, problems, models[0] if models else None)


def _read_line(raw: bytes, endpoint: str) -> tuple[Line, str | None]:
    try:
        value = read_object(raw)
    except (ApiError, RecursionError):
        raise _LineError("invalid_json_line", "This line is not parseable as valid JSON.") from None
    for name, kind in (("custom_id", str), ("method", str), ("url", str), ("body", dict)):
        if name not in value:
            raise _LineError("missing_required_parameter", f"Missing required parameter: {name!r}.", name)
        if not isinstance(value[name], kind):
            text = f"{name!r} must be {'an object' if kind is dict else 'a string'}."
            raise _LineError("invalid_type", text, name)
    if value["method"] != "POST":
        raise _LineError("invalid_method", f"The method must be POST, not {value['method']!r}.", "method")
    if value["url"] != endpoint:
        text = f"The url {value['url']!r} does not match the batch's endpoint {endpoint!r}."
        raise _LineError("invalid_url", text, "url")
    model = value["body"].get("model")
    body = json.dumps(value["body"]).encode()
    return Line(value["custom_id"], value["url"], body), model if isinstance(model, str) else None
