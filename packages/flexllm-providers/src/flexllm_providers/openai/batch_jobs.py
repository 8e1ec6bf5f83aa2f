"""OpenAI's batches: the JSON that makes one of a file of items, and how far one is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from flexllm_providers.batch_status import BatchState, BatchStatus, count, problem
from flexllm_providers.openai.batch_items import URL

WINDOW = "24h"
_STATES: Mapping[str, BatchState] = {
    "validating": "running",
    "in_progress": "running",
    "finalizing": "running",
    "completed": "done",
    "failed": "failed",
    "expired": "expired",
    "cancelling": "canceling",
    "cancelled": "canceled",
}
_PROBLEMS = 5


def create_body(input_file_id: str, metadata: Mapping[str, str] | None = None) -> dict[str, Any]:
    """The JSON of `POST /batches` for a file that was sent with the purpose `batch`."""
    body: dict[str, Any] = {"input_file_id": input_file_id, "endpoint": URL, "completion_window": WINDOW}
    return {**body, "metadata": dict(metadata)} if metadata else body


def decode_status(data: Mapping[str, Any]) -> BatchStatus:
    """How far the batch of a batch object is; what is missing or of a wrong type is unknown."""
    counts, errors = data.get("request_counts"), data.get("errors")
    counts = counts if isinstance(counts, Mapping) else {}
    listed = errors.get("data") if isinstance(errors, Mapping) else None
    problems = [_problem(error) for error in listed[:_PROBLEMS]] if isinstance(listed, list) else []
    files = [data.get(key) for key in ("output_file_id", "error_file_id")]
    return BatchStatus(
        id=str(data.get("id") or ""),
        state=_STATES.get(str(data.get("status")), "running"),
        total=count(counts.get("total")),
        succeeded=count(counts.get("completed")),
        failed=count(counts.get("failed")),
        files=tuple(name for name in files if isinstance(name, str) and name),
        problems=tuple(text for text in problems if text),
    )


def _problem(error: object) -> str | None:
    text = problem(error)
    line = error.get("line") if isinstance(error, Mapping) else None
    return f"line {line}: {text}" if text and type(line) is int else text
