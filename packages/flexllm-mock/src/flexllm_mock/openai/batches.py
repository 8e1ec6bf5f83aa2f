"""OpenAI's batches."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any, NamedTuple

from flexllm_mock.asgi import ApiError, ApiRequest, Reply
from flexllm_mock.config import MockConfig
from flexllm_mock.jobs import ENDED, Job, RunRow, State
from flexllm_mock.jsontext import canonical, read_object, string
from flexllm_mock.openai.batch_input import BatchInput, Line, read_batch_input
from flexllm_mock.openai.errors import OpenAIErrors
from flexllm_mock.openai.files import StoredFile, find_file
from flexllm_mock.openai.lists import page
from flexllm_mock.openai.models import CREATED
from flexllm_mock.openai.parameters import invalid, mapping, missing, whole_number
from flexllm_mock.scripted import Prescribed
from flexllm_mock.storage import Storage

BATCHES_PATH = re.compile(r".*/batches(?:/(?P<id>[^/]+)(?P<cancel>/cancel)?)?")

_ENDPOINTS = ("/v1/responses", "/v1/chat/completions", "/v1/embeddings", "/v1/completions", "/v1/moderations")
_WINDOW = "24h"
_MAX_METADATA = 16
_LEFT = {
    "expired": ("batch_expired", "This request could not be executed before the completion window expired."),
    "cancelled": ("batch_cancelled", "This request was not executed because the batch was cancelled."),
}


class _Usage(NamedTuple):
    """The tokens of an answer."""

    input: int = 0
    output: int = 0
    cached: int = 0
    reasoning: int = 0


@dataclass(frozen=True, slots=True)
class _Done:
    """One finished line as it stands in a file; `failed` lines go into the error file."""

    line: bytes
    failed: bool
    usage: _Usage


@dataclass(slots=True)
class Batch:
    """A batch; `final` is its description once that has ended, from when on nothing else of it matters."""

    id: str
    request: dict[str, Any]
    input: BatchInput
    job: Job[_Done]
    lifetime: int | None
    final: dict[str, Any] | None = None


class BatchesEndpoint(OpenAIErrors):
    """`{prefix}/batches`, `{prefix}/batches/{id}` and `{prefix}/batches/{id}/cancel`."""

    methods = frozenset(("GET", "POST"))
    generates = False

    def __init__(self, config: MockConfig, storage: Storage, run: RunRow) -> None:
        super().__init__(config.seed)
        self._config = config
        self._storage = storage
        self._run = run

    def read(self, request: ApiRequest) -> None:
        """Parse the body of a creation; the other calls have none that matters."""
        match = BATCHES_PATH.fullmatch(request.path)
        if request.method == "POST" and match is not None and match["id"] is None:
            request.payload = read_object(request.body)

    def reply(self, request: ApiRequest, literal: Prescribed | None = None) -> Reply:
        """Create a batch, list the batches, or describe or cancel one."""
        match = BATCHES_PATH.fullmatch(request.path)
        assert match is not None
        name, cancels = match["id"], match["cancel"] is not None
        if request.method == "GET" if cancels else request.method == "POST" and name is not None:
            raise ApiError(405, f"Method {request.method} is not allowed on {request.path}.")
        found: object
        if name is None and request.method == "POST":
            batch = self._create(request.payload or {}, request)
            found = self._shown(batch)
            batch.job.fresh = False
        elif name is None:
            found = page(request, [self._shown(batch) for batch in self._storage.all(Batch)])
        else:
            batch = self._find(name)
            if cancels and not batch.job.cancel():
                raise ApiError(400, f"Cannot cancel a batch with status '{batch.job.state}'.", param="batch_id")
            found = self._shown(batch)
        body = json.dumps(found, separators=(",", ":")).encode()
        return Reply(200, self._request_id(request), body=body)

    def _find(self, name: str) -> Batch:
        batch = self._storage.get(Batch, name)
        if batch is None:
            raise ApiError(404, f"No batch found with id '{name}'.", param="batch_id")
        return batch

    def _create(self, payload: dict[str, Any], request: ApiRequest) -> Batch:
        for name in ("input_file_id", "endpoint", "completion_window"):
            if not isinstance(payload.get(name), str):
                raise invalid(name, "a string", payload[name]) if name in payload else missing(name)
        if payload["endpoint"] not in _ENDPOINTS:
            raise invalid("endpoint", ", ".join(_ENDPOINTS), payload["endpoint"])
        if payload["completion_window"] != _WINDOW:
            raise invalid("completion_window", _WINDOW, payload["completion_window"])
        _check_metadata(payload)
        lifetime = whole_number(mapping(payload, "output_expires_after"), "seconds", 3600, 30 * 86_400)
        file = find_file(self._storage, payload["input_file_id"])
        if file.purpose != "batch":
            text = f"The file {file.id} has the purpose {file.purpose!r}, but a batch needs 'batch'."
            raise ApiError(400, text, param="input_file_id")
        given = read_batch_input(file.content, payload["endpoint"])
        mark = self._storage.mark(self._key, b"batch" + canonical(payload))
        total = 0 if given.problems else len(given.lines)

        def answer(index: int) -> _Done:
            return self._answer(_line_id(mark, index), given.lines[index], request)

        job = Job(self._config, total, answer, valid=not given.problems)
        batch = Batch(f"batch_{mark}", payload, given, job, lifetime)
        self._storage.put(batch.id, batch, len(file.content))
        if job.working:
            self._storage.work(job.work())
        return batch

    def _answer(self, mark: str, line: Line, created_by: ApiRequest) -> _Done:
        row = ApiRequest("POST", line.url, created_by.headers, body=line.body)
        reply = self._run(row)
        if reply.steps is not None:
            reply = self.refuse(row, ApiError(400, "Streaming is not supported in a batch.", param="stream"))
        elif reply.broken:
            reply = self.refuse(row, ApiError(500, "The server had an error while processing your request."))
        document = reply.body.decode("utf-8", "replace")
        usage = _Usage()
        try:
            parsed = json.loads(document)
            usage = _usage(parsed.get("usage")) if isinstance(parsed, dict) else usage
        except ValueError:  # a fault can have a body of any shape
            document = string(document)
        response = f'{{"status_code":{reply.status},"request_id":"{reply.request_id.decode()}","body":{document}}}'
        text = f'{{"id":"{mark}","custom_id":{string(line.custom_id)},"response":{response},"error":null}}\n'
        return _Done(text.encode(), reply.status != 200, usage)

    def _shown(self, batch: Batch) -> dict[str, Any]:
        if batch.final is not None:
            return batch.final
        job, state = batch.job, batch.job.state
        done = job.results[: job.done]
        failed = sum([each.failed for each in done])
        files: dict[str, str] = {}
        if state in ENDED:
            files = self._write_files(batch, state, done)
        problems = {"object": "list", "data": batch.input.problems} if state == "failed" else None
        shown = {
            "id": batch.id,
            "object": "batch",
            "endpoint": batch.request["endpoint"],
            "model": batch.input.model,
            "errors": problems,
            "input_file_id": batch.request["input_file_id"],
            "completion_window": batch.request["completion_window"],
            "status": state,
            "output_file_id": files.get("output"),
            "error_file_id": files.get("error"),
            "created_at": CREATED,
            **_times(job, state, begun=bool(done)),
            "request_counts": {
                "total": 0 if state == "validating" else job.total,
                "completed": len(done) - failed,
                "failed": failed,
            },
            "usage": _total_usage(done) if state in ENDED else None,
            "metadata": batch.request.get("metadata"),
        }
        if state in ENDED:
            batch.final = shown
            batch.input.lines.clear()
            job.close()
            self._storage.resize(batch.id, batch, 0)
        return shown

    def _write_files(self, batch: Batch, state: State, done: list[_Done]) -> dict[str, str]:
        """Write the files of a batch that has ended, and return their ids; an empty one is not written."""
        lines = {"output": [each.line for each in done if not each.failed]}
        lines["error"] = [each.line for each in done if each.failed]
        if state in _LEFT:
            code, message = _LEFT[state]
            for index, line in enumerate(batch.input.lines[len(done) :], len(done)):
                mark, error = _line_id(batch.id, index), {"code": code, "message": message}
                left = {"id": mark, "custom_id": line.custom_id, "response": None, "error": error}
                lines["error"].append(json.dumps(left, separators=(",", ":")).encode() + b"\n")
        created = CREATED + int(batch.job.ended_at)
        expires = None if batch.lifetime is None else created + batch.lifetime
        files: dict[str, str] = {}
        for kind, written in lines.items():
            if written:
                files[kind] = f"file-{self._storage.mark(self._key, (batch.id + kind).encode())[:24]}"
                name, content = f"{batch.id}_{kind}.jsonl", b"".join(written)
                StoredFile(files[kind], name, "batch_output", content, created, expires).keep(self._storage)
        return files


def _line_id(batch_id: str, index: int) -> str:
    return f"batch_req_{batch_id.removeprefix('batch_')[:16]}{index:08x}"


def _times(job: Job[_Done], state: State, *, begun: bool) -> dict[str, int | None]:
    """Return when the batch reached each state it has reached, in seconds since 1970."""
    table = job.timetable
    ended = CREATED + int(job.ended_at)
    finalizing = state in ("finalizing", "completed")
    ran = state == "in_progress" or finalizing or (state in ("expired", "cancelling", "cancelled") and begun)
    return {
        "in_progress_at": CREATED + int(table.phase) if ran else None,
        "expires_at": CREATED + int(table.window),
        "finalizing_at": CREATED + int(table.duration - table.phase) if finalizing else None,
        "completed_at": ended if state == "completed" else None,
        "failed_at": ended if state == "failed" else None,
        "expired_at": ended if state == "expired" else None,
        "cancelling_at": None if job.cancelled_at is None else CREATED + int(job.cancelled_at),
        "cancelled_at": ended if state == "cancelled" else None,
    }


def _usage(given: object) -> _Usage:
    """Read the usage of an answer, whichever of OpenAI's endpoints it comes from."""
    usage = given if isinstance(given, dict) else {}
    return _Usage(
        _number(usage, "input_tokens") or _number(usage, "prompt_tokens"),
        _number(usage, "output_tokens") or _number(usage, "completion_tokens"),
        _number(usage.get("input_tokens_details") or usage.get("prompt_tokens_details"), "cached_tokens"),
        _number(usage.get("output_tokens_details") or usage.get("completion_tokens_details"), "reasoning_tokens"),
    )


def _number(values: object, name: str) -> int:
    value = values.get(name) if isinstance(values, dict) else None
    return value if isinstance(value, int) else 0


def _total_usage(done: list[_Done]) -> dict[str, Any]:
    total = _Usage(*[sum(column) for column in zip(*[each.usage for each in done], strict=True)])
    return {
        "input_tokens": total.input,
        "input_tokens_details": {"cached_tokens": total.cached},
        "output_tokens": total.output,
        "output_tokens_details": {"reasoning_tokens": total.reasoning},
        "total_tokens": total.input + total.output,
    }


def _check_metadata(payload: dict[str, Any]) -> None:
    metadata = mapping(payload, "metadata")
    if len(metadata) > _MAX_METADATA or not all(isinstance(value, str) for value in metadata.values()):
        raise invalid("metadata", f"an object of up to {_MAX_METADATA} strings", metadata)
