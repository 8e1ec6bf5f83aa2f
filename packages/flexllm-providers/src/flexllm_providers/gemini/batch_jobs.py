"""Gemini's batches: the JSON that makes one of items or of a file of them, and how far one is."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from flexllm_providers.batch_status import BatchState, BatchStatus, count, problem

_STATES: Mapping[str, BatchState] = {
    "SUCCEEDED": "done",
    "FAILED": "failed",
    "CANCELLED": "canceled",
    "EXPIRED": "expired",
}
_PREFIXES = ("BATCH_STATE_", "JOB_STATE_")


def create_body(inlined: Iterable[Mapping[str, Any]], display_name: str) -> dict[str, Any]:
    """The JSON of `POST /models/{model}:batchGenerateContent` with the requests in it, for less than 20 MB."""
    return _batch({"requests": {"requests": list(inlined)}}, display_name)


def create_body_of_file(file_name: str, display_name: str) -> dict[str, Any]:
    """The same for a file of items, such as `files/abc`."""
    return _batch({"fileName": file_name}, display_name)


def _batch(source: dict[str, Any], display_name: str) -> dict[str, Any]:
    return {"batch": {"displayName": display_name, "inputConfig": source}}


def decode_status(data: Mapping[str, Any]) -> BatchStatus:
    """How far the batch of a long-running operation is; what is missing or of a wrong type is unknown."""
    metadata = _mapping(data.get("metadata"))
    # The outcomes of a batch that is done stand in its metadata, in its response, or in both.
    stats, output = _mapping(metadata.get("batchStats")), metadata.get("output") or data.get("response")
    answers = _mapping(output).get("inlinedResponses")
    listed = _mapping(answers).get("inlinedResponses")
    file = _mapping(output).get("responsesFile")
    text = problem(data.get("error"))
    return BatchStatus(
        id=str(data.get("name") or ""),
        state=_state(metadata.get("state"), data),
        total=count(stats.get("requestCount")),
        succeeded=count(stats.get("successfulRequestCount")),
        failed=count(stats.get("failedRequestCount")),
        files=(file,) if isinstance(file, str) and file else (),
        inlined=tuple(item for item in listed if isinstance(item, dict)) if isinstance(listed, list) else (),
        problems=(text,) if text else (),
    )


def _state(given: object, data: Mapping[str, Any]) -> BatchState:
    name = str(given)
    for prefix in _PREFIXES:
        name = name.removeprefix(prefix)
    if name in _STATES:
        return _STATES[name]
    if data.get("done") is not True:
        return "running"
    return "failed" if data.get("error") else "done"


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}
