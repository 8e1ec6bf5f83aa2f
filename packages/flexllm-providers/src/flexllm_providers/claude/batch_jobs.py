"""Claude's message batches: the JSON that makes one of its items, and how far one is."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from flexllm_providers.batch_status import BatchState, BatchStatus, count

_STATES: Mapping[str, BatchState] = {"in_progress": "running", "canceling": "canceling", "ended": "done"}


def create_body(items: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """The JSON of `POST /v1/messages/batches`."""
    return {"requests": list(items)}


def decode_status(data: Mapping[str, Any]) -> BatchStatus:
    """How far the batch of a batch object is; what is missing or of a wrong type is unknown.

    Its outcomes are at the path `{id}/results`; the `results_url` of the object is not used, because a key would go
    wherever it leads. Claude counts only once the whole batch has ended.
    """
    found = data.get("request_counts")
    counts = found if isinstance(found, Mapping) else {}
    state = _STATES.get(str(data.get("processing_status")), "running")
    ended = {name: count(counts.get(name)) for name in ("succeeded", "errored", "canceled", "expired")}
    known = [number for number in ended.values() if number is not None]
    has_ended, waiting = state == "done", count(counts.get("processing")) or 0
    return BatchStatus(
        id=str(data.get("id") or ""),
        state=state,
        total=sum(known) + waiting if known else None,
        succeeded=ended["succeeded"] if has_ended else None,
        failed=sum(known) - (ended["succeeded"] or 0) if has_ended and known else None,
    )
