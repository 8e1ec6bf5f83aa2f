"""Reads the requests of one of Gemini's batches: those in the body, or those in a file."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from flexllm_mock.asgi import ApiError
from flexllm_mock.gemini.errors import invalid, wrong
from flexllm_mock.gemini.fields import camel_case
from flexllm_mock.gemini.files import GeminiFile
from flexllm_mock.jsontext import read_object


@dataclass(frozen=True, slots=True)
class Row:
    """One request; its body is JSON. `key` is from a file's line, `metadata` from a request in the body."""

    body: bytes
    key: object = None
    metadata: object = None


@dataclass(frozen=True, slots=True)
class BatchInput:
    """What a batch has to do; `problem` is why its file cannot be read."""

    display_name: str | None
    rows: list[Row]
    from_file: bool
    size: int
    problem: str | None = None


def read_batch_input(payload: dict[str, Any], find_file: Callable[[str], GeminiFile]) -> BatchInput:
    """Read the body of a creation. Raises ApiError for what is wrong outside a file."""
    batch = _object(payload, "batch", "")
    config = _object(batch, "inputConfig", "batch.")
    name = batch.get("displayName")
    if name is not None and not isinstance(name, str):
        raise wrong("batch.display_name", "a string", name)
    if ("fileName" in config) == ("requests" in config):
        raise invalid("batch.input_config", "give either requests or a file_name")
    if "fileName" in config:
        file_name = config["fileName"]
        if not isinstance(file_name, str):
            raise wrong("batch.input_config.file_name", "files/ and the file's id", file_name)
        content = find_file(file_name.removeprefix("files/")).content
        try:
            return BatchInput(name, _file_rows(content), from_file=True, size=len(content))
        except _LineError as error:
            return BatchInput(name, [], from_file=True, size=0, problem=str(error))
    rows = _inline_rows(_object(config, "requests", "batch.input_config.").get("requests"))
    return BatchInput(name, rows, from_file=False, size=sum([len(row.body) for row in rows]))


class _LineError(Exception):
    """A line of the file that is no request."""


def _file_rows(content: bytes) -> list[Row]:
    rows: list[Row] = []
    for number, raw in enumerate(content.split(b"\n"), 1):
        if not raw.strip():
            continue
        try:
            line = read_object(raw)
        except (ApiError, RecursionError):
            raise _LineError(f"Line {number} of the input file is not a JSON object.") from None
        if not isinstance(line.get("request"), dict):
            raise _LineError(f"Line {number} of the input file has no request.")
        rows.append(Row(json.dumps(line["request"]).encode(), key=line.get("key")))
    if not rows:
        raise _LineError("The input file has no requests.")
    return rows


def _inline_rows(requests: object) -> list[Row]:
    place = "batch.input_config.requests.requests"
    if not isinstance(requests, list) or not requests:
        raise wrong(place, "a list of requests", requests)
    rows: list[Row] = []
    for at, each in enumerate(requests):
        if not isinstance(each, dict) or not isinstance(each.get("request"), dict):
            raise wrong(f"{place}[{at}]", "an object with a request", each)
        rows.append(Row(json.dumps(each["request"]).encode(), metadata=each.get("metadata")))
    return rows


def _object(holder: dict[str, Any], name: str, place: str) -> dict[str, Any]:
    value = holder.get(name)
    if not isinstance(value, dict):
        raise wrong(place + name, "an object", value)
    return {camel_case(each): inner for each, inner in value.items()}
