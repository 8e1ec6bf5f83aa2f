"""Gemini's batches: generation and embedding, with the requests in the body or in a file."""

from __future__ import annotations

import json
import re
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any

from flexllm_mock.asgi import ApiError, ApiRequest, Reply
from flexllm_mock.config import MockConfig
from flexllm_mock.gemini.batch_input import BatchInput, read_batch_input
from flexllm_mock.gemini.errors import rpc_code
from flexllm_mock.gemini.files import GeminiFile, find_file
from flexllm_mock.gemini.keyed import StoredEndpoint
from flexllm_mock.gemini.lists import page
from flexllm_mock.gemini.paths import MODEL_PATH
from flexllm_mock.jobs import ENDED, Job, RunRow, State
from flexllm_mock.jsontext import canonical, read_object, string
from flexllm_mock.scripted import Prescribed
from flexllm_mock.storage import Storage
from flexllm_mock.timestamps import iso_time

BATCHES_PATH = re.compile(r".*/batches(?:/(?P<id>[^/:]+)(?P<cancel>:cancel)?)?")
VERBS = {"batchGenerateContent": "generateContent", "asyncBatchEmbedContent": "embedContent"}
"""The verbs that create a batch, each with the verb that its requests would have by themselves."""

_KINDS = {"batchGenerateContent": "GenerateContentBatch", "asyncBatchEmbedContent": "EmbedContentBatch"}
_STATES: dict[State, str] = {
    "validating": "BATCH_STATE_PENDING",
    "in_progress": "BATCH_STATE_RUNNING",
    "finalizing": "BATCH_STATE_RUNNING",
    "cancelling": "BATCH_STATE_RUNNING",
    "completed": "BATCH_STATE_SUCCEEDED",
    "failed": "BATCH_STATE_FAILED",
    "cancelled": "BATCH_STATE_CANCELLED",
    "expired": "BATCH_STATE_EXPIRED",
}
_ENDS = {"cancelled": (1, "The batch was cancelled."), "expired": (4, "The batch expired before it was done.")}
_DEFAULT_SIZE, _MOST = 50, 1000


@dataclass(frozen=True, slots=True)
class _Done:
    """What came of a request: the fields `response` or `error` of its result, as JSON."""

    fields: str
    failed: bool


@dataclass(slots=True)
class Batch:
    """A batch; `final` is its operation, as JSON, once that has ended."""

    id: str
    model: str
    version: str
    verb: str
    input: BatchInput
    job: Job[_Done]
    final: str | None = None


class BatchCreationEndpoint(StoredEndpoint):
    """`POST .../models/{model}:batchGenerateContent` and `:asyncBatchEmbedContent`."""

    methods = frozenset(("POST",))

    def __init__(self, config: MockConfig, storage: Storage, run: RunRow) -> None:
        super().__init__(config, storage)
        self._config = config
        self._run = run

    def read(self, request: ApiRequest) -> None:
        """Parse the body; the model is in the path."""
        match = MODEL_PATH.fullmatch(request.path)
        assert match is not None
        request.model = match["model"]
        request.payload = read_object(request.body)

    def reply(self, request: ApiRequest, literal: Prescribed | None = None) -> Reply:
        """Begin a batch."""
        model = request.model or ""
        if self._config.strict_models and model not in self._config.models:
            raise ApiError(404, f"models/{model} is not found, or is not supported for this method.")
        match = MODEL_PATH.fullmatch(request.path)
        assert match is not None
        verb, payload = match["verb"], request.payload or {}
        given = read_batch_input(payload, partial(find_file, self._storage))
        path = f"{match['base']}/models/{model}:{VERBS[verb]}"

        def answer(index: int) -> _Done:
            return self._answer(ApiRequest("POST", path, request.headers, body=given.rows[index].body))

        mark = self._storage.mark(self._key, b"batch" + request.path.encode() + canonical(payload))
        job = Job(self._config, len(given.rows), answer, valid=given.problem is None)
        batch = Batch(mark, model, match["version"], verb, given, job)
        self._storage.put(batch.id, batch, 2 * given.size)
        if job.working:
            self._storage.work(job.work())
        body = operation(self._storage, batch)
        job.fresh = False
        return Reply(200, b"", body=body.encode())

    def _answer(self, row: ApiRequest) -> _Done:
        reply = self._run(row)
        if reply.broken:
            reply = self.refuse(row, ApiError(500, "An internal error has occurred."))
        if reply.status == 200:
            return _Done(f'"response":{reply.body.decode()}', failed=False)
        message = f"The request failed with status {reply.status}."
        with suppress(ValueError, LookupError, TypeError):  # a fault can have a body of any shape
            message = str(json.loads(reply.body)["error"]["message"])
        return _Done(f'"error":{{"code":{rpc_code(reply.status)},"message":{string(message)}}}', failed=True)


class BatchesEndpoint(StoredEndpoint):
    """`{prefix}/{version}/batches`, `.../batches/{id}` and `.../batches/{id}:cancel`."""

    methods = frozenset(("DELETE", "GET", "POST"))

    def read(self, request: ApiRequest) -> None:
        """There is no body that matters."""

    def reply(self, request: ApiRequest, literal: Prescribed | None = None) -> Reply:
        """List the batches, or describe, cancel or delete one."""
        match = BATCHES_PATH.fullmatch(request.path)
        assert match is not None
        call = request.method, match["id"] is not None, match["cancel"] is not None
        if call == ("GET", False, False):
            listed = [json.loads(operation(self._storage, batch)) for batch in self._storage.all(Batch)]
            found = page(request, "operations", listed, size=_DEFAULT_SIZE, most=_MOST)
            return Reply(200, b"", body=json.dumps(found, separators=(",", ":")).encode())
        batch = self._storage.get(Batch, match["id"] or "")
        if call not in (("GET", True, False), ("POST", True, True), ("DELETE", True, False)):
            raise ApiError(404, f"Unknown path: {request.method} {request.path}")
        if batch is None:
            raise ApiError(404, "Requested entity was not found.")
        if request.method == "GET":
            return Reply(200, b"", body=operation(self._storage, batch).encode())
        if request.method == "DELETE":
            self._storage.remove(Batch, batch.id)
        elif batch.final is not None or (not batch.job.cancel() and batch.job.state in ENDED):
            raise ApiError(400, "The batch has ended, so it cannot be cancelled.", kind="FAILED_PRECONDITION")
        return Reply(200, b"", body=b"{}")


def operation(storage: Storage, batch: Batch) -> str:
    """Write a batch as the long-running operation that it is, and its results once it has ended."""
    if batch.final is not None:
        return batch.final
    job, state = batch.job, batch.job.state
    done = job.results[: job.done]
    failed = sum([each.failed for each in done])
    ended = state in ENDED
    kind = f"type.googleapis.com/google.ai.generativelanguage.{batch.version}.{_KINDS[batch.verb]}"
    metadata: dict[str, Any] = {
        "@type": kind,
        "model": f"models/{batch.model}",
        **({} if batch.input.display_name is None else {"displayName": batch.input.display_name}),
        "state": _STATES[state],
        "name": f"batches/{batch.id}",
        "createTime": iso_time(),
        "updateTime": iso_time(job.ended_at if ended else 0.0),
        **({"endTime": iso_time(job.ended_at)} if ended else {}),
        "batchStats": {
            "requestCount": str(job.total),
            "pendingRequestCount": str(job.total - len(done)),
            "successfulRequestCount": str(len(done) - failed),
            "failedRequestCount": str(failed),
        },
    }
    head = json.dumps(metadata, separators=(",", ":"))[:-1]
    output = _output(storage, batch) if state == "completed" else ""
    shown = f'{{"name":"batches/{batch.id}","metadata":{head}'
    shown += f',"output":{{{output}}}}}' if output else "}"
    if ended:
        shown += ',"done":true'
    if output:
        shown += f',"response":{{"@type":{string(kind + "Output")},{output}}}'
    elif ended:
        code, message = _ENDS.get(state, (3, batch.input.problem or "The batch failed."))
        shown += f',"error":{{"code":{code},"message":{string(message)}}}'
    shown += "}"
    if ended:
        batch.final = shown
        batch.input.rows.clear()
        job.close()
        storage.resize(batch.id, batch, len(shown))
    return shown


def _output(storage: Storage, batch: Batch) -> str:
    """Write where the results are: a file of their own when the requests came in one."""
    pairs = list(zip(batch.input.rows, batch.job.results, strict=True))
    if not batch.input.from_file:
        listed = ",".join([f"{{{_shared('metadata', row.metadata)}{done.fields}}}" for row, done in pairs])
        return f'"inlinedResponses":{{"inlinedResponses":[{listed}]}}'
    lines = [f"{{{_shared('key', row.key)}{done.fields}}}\n" for row, done in pairs]
    name = f"batch-{batch.id}"
    GeminiFile(name, "".join(lines).encode(), "application/jsonl", name, generated=True).keep(storage)
    return f'"responsesFile":"files/{name}"'


def _shared(name: str, value: object) -> str:
    return "" if value is None else f'"{name}":{json.dumps(value, separators=(",", ":"))},'
