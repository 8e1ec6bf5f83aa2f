"""Claude's message batches."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any, Literal

from flexllm_mock.asgi import ApiError, ApiRequest, Reply, own_url, query_fields
from flexllm_mock.claude.errors import REQUEST_ID_HEADER, ClaudeErrors, invalid, missing, wrong
from flexllm_mock.claude.lists import page
from flexllm_mock.config import MockConfig
from flexllm_mock.jobs import ENDED, Job, RunRow
from flexllm_mock.jsontext import canonical, read_object, string
from flexllm_mock.scripted import Prescribed
from flexllm_mock.storage import Storage
from flexllm_mock.timestamps import iso_time

_PATH = re.compile(r"(?P<messages>.*/messages)/batches(?:/(?P<id>[^/]+)(?:/(?P<verb>results|cancel))?)?")
_MAX_REQUESTS = 100_000
_CUSTOM_ID = re.compile(r"[a-zA-Z0-9_-]{1,64}")
_RESULTS_TYPE = b"application/x-jsonl"

Outcome = Literal["succeeded", "errored"]


@dataclass(frozen=True, slots=True)
class _Done:
    outcome: Outcome
    result: str


@dataclass(slots=True)
class Batch:
    """A batch; `results` is its file once it has ended, and `counts` say what came of its requests."""

    id: str
    messages_path: str
    custom_ids: list[str]
    job: Job[_Done]
    results: bytes | None = None
    counts: dict[str, int] | None = None


class MessageBatchesEndpoint(ClaudeErrors):
    """`{prefix}/messages/batches`, `.../{id}`, `.../{id}/results` and `.../{id}/cancel`."""

    methods = frozenset(("DELETE", "GET", "POST"))
    generates = False

    def __init__(self, config: MockConfig, storage: Storage, run: RunRow) -> None:
        super().__init__(config.seed)
        self._config = config
        self._storage = storage
        self._run = run

    @staticmethod
    def serves(path: str) -> bool:
        """Tell whether a path is one of the batches'."""
        return _PATH.fullmatch(path) is not None

    def read(self, request: ApiRequest) -> None:
        """Parse the body of a creation; the other calls have none."""
        if request.method == "POST" and request.path.endswith("/batches"):
            request.payload = read_object(request.body)

    def reply(self, request: ApiRequest, literal: Prescribed | None = None) -> Reply:
        """Create a batch, list the batches, or describe, cancel or delete one, or return its results."""
        match = _PATH.fullmatch(request.path)
        assert match is not None
        call = request.method, match["id"] is not None, match["verb"]
        if call == ("POST", False, None):
            batch = self._create(request, match["messages"])
            shown = self._shown(batch, request)
            batch.job.fresh = False
        elif call == ("GET", False, None):
            listed = [self._shown(batch, request) for batch in reversed(self._storage.all(Batch))]
            shown = page(listed, dict(query_fields(request.query)))
        elif call == ("GET", True, "results"):
            return self._results(request, self._find(match["id"]))
        elif call == ("GET", True, None):
            shown = self._shown(self._find(match["id"]), request)
        elif call == ("POST", True, "cancel"):
            batch = self._find(match["id"])
            if not batch.job.cancel() and batch.job.state in ENDED:
                raise ApiError(400, f"Batch {batch.id} has ended, so it cannot be canceled.")
            shown = self._shown(batch, request)
        elif call == ("DELETE", True, None):
            shown = self._delete(self._find(match["id"]))
        else:
            raise ApiError(405, "Method Not Allowed")
        body = json.dumps(shown, separators=(",", ":")).encode()
        return Reply(200, self._request_id(request), body=body, id_header=REQUEST_ID_HEADER)

    def _find(self, name: str) -> Batch:
        batch = self._storage.get(Batch, name)
        if batch is None:
            raise ApiError(404, f"Could not find message batch with id: {name}")
        return batch

    def _create(self, request: ApiRequest, messages_path: str) -> Batch:
        payload = request.payload or {}
        custom_ids, bodies = _read_requests(payload)
        mark = self._storage.mark(self._key, b"batch" + canonical(payload))

        def answer(index: int) -> _Done:
            row = ApiRequest("POST", messages_path, request.headers, body=bodies[index])
            return self._answer(row)

        job = Job(self._config, len(bodies), answer)
        batch = Batch(f"msgbatch_{mark[:24]}", messages_path, custom_ids, job)
        self._storage.put(batch.id, batch, 2 * len(request.body))
        if job.working:
            self._storage.work(job.work())
        return batch

    def _answer(self, row: ApiRequest) -> _Done:
        reply = self._run(row)
        if reply.steps is not None:
            reply = self.refuse(row, invalid("stream", "streaming is not supported in a batch"))
        elif reply.broken:
            reply = self.refuse(row, ApiError(500, "Internal server error"))
        document = reply.body.decode("utf-8", "replace")
        if reply.status == 200:
            return _Done("succeeded", f'{{"type":"succeeded","message":{document}}}')
        return _Done("errored", f'{{"type":"errored","error":{document}}}')

    def _shown(self, batch: Batch, request: ApiRequest) -> dict[str, Any]:
        job, state = batch.job, batch.job.state
        ended = batch.results is not None or state in ENDED
        if ended and batch.results is None:
            self._finish(batch, "canceled" if state == "cancelled" else "expired")
        none = dict.fromkeys(("succeeded", "errored", "canceled", "expired"), 0)
        results_url = f"{own_url(request)}{batch.messages_path}/batches/{batch.id}/results"
        return {
            "id": batch.id,
            "type": "message_batch",
            "processing_status": "ended" if ended else "canceling" if state == "cancelling" else "in_progress",
            # While it is being processed, a batch does not tell what has become of its requests.
            "request_counts": batch.counts or {"processing": job.total, **none},
            "created_at": iso_time(),
            "expires_at": iso_time(job.timetable.window),
            "ended_at": iso_time(job.ended_at) if ended else None,
            "cancel_initiated_at": None if job.cancelled_at is None else iso_time(job.cancelled_at),
            "archived_at": None,
            "results_url": results_url if ended else None,
        }

    def _finish(self, batch: Batch, left: str) -> None:
        """Write the results of a batch that has ended; `left` is what has become of the requests not done."""
        done = batch.job.results[: batch.job.done]
        results = [each.result for each in done] + [f'{{"type":"{left}"}}'] * (batch.job.total - len(done))
        lines = [
            f'{{"custom_id":{string(custom_id)},"result":{result}}}\n'
            for custom_id, result in zip(batch.custom_ids, results, strict=True)
        ]
        outcomes = [each.outcome for each in done]
        counts = dict.fromkeys(("processing", "succeeded", "errored", "canceled", "expired"), 0)
        counts |= {"succeeded": outcomes.count("succeeded"), "errored": outcomes.count("errored")}
        counts[left] = batch.job.total - len(done)
        batch.counts, batch.results = counts, "".join(lines).encode()
        batch.custom_ids.clear()
        batch.job.close()
        self._storage.resize(batch.id, batch, len(batch.results))

    def _results(self, request: ApiRequest, batch: Batch) -> Reply:
        self._shown(batch, request)
        if batch.results is None:
            raise ApiError(400, f"Batch {batch.id} has not finished processing, so it has no results yet.")
        return Reply(
            200,
            self._request_id(request),
            body=batch.results,
            content_type=_RESULTS_TYPE,
            id_header=REQUEST_ID_HEADER,
        )

    def _delete(self, batch: Batch) -> dict[str, Any]:
        if batch.results is None and batch.job.state not in ENDED:
            raise ApiError(400, f"Batch {batch.id} is being processed: cancel it first.")
        self._storage.remove(Batch, batch.id)
        return {"id": batch.id, "type": "message_batch_deleted"}


def _read_requests(payload: dict[str, Any]) -> tuple[list[str], list[bytes]]:
    """Return the ids and bodies of the requests; what is wrong inside a body, only its result says."""
    for name in payload:
        if name != "requests":
            raise invalid(name, "Extra inputs are not permitted")
    requests = payload.get("requests")
    if requests is None:
        raise missing("requests")
    if not isinstance(requests, list) or not 1 <= len(requests) <= _MAX_REQUESTS:
        raise wrong("requests", f"a list of 1 to {_MAX_REQUESTS} requests", requests)
    known, bodies = dict[str, None](), list[bytes]()
    for at, each in enumerate(requests):
        place = f"requests.{at}"
        if not isinstance(each, dict):
            raise wrong(place, "an object", each)
        custom_id, params = each.get("custom_id"), each.get("params")
        if custom_id is None or params is None:
            raise missing(f"{place}.{'custom_id' if custom_id is None else 'params'}")
        if not isinstance(custom_id, str) or not _CUSTOM_ID.fullmatch(custom_id):
            raise wrong(f"{place}.custom_id", "1 to 64 letters, digits, hyphens and underscores", custom_id)
        if custom_id in known:
            raise invalid(f"{place}.custom_id", f"{custom_id!r} is used twice, but must be unique")
        if not isinstance(params, dict):
            raise wrong(f"{place}.params", "an object", params)
        known[custom_id] = None
        bodies.append(json.dumps(params).encode())
    return list(known), bodies
