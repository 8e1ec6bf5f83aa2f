"""OpenAI's uploads: a file sent in parts."""

from __future__ import annotations

import asyncio
import hashlib
import json
import re
from dataclasses import dataclass, field
from typing import Any, Literal

from flexllm_mock.asgi import ApiError, ApiRequest, Reply, header
from flexllm_mock.config import MockConfig
from flexllm_mock.jsontext import canonical, read_object
from flexllm_mock.multipart import read_form
from flexllm_mock.openai.errors import OpenAIErrors
from flexllm_mock.openai.files import PURPOSES, StoredFile, expiry
from flexllm_mock.openai.models import CREATED
from flexllm_mock.openai.parameters import invalid, mapping, missing, whole_number
from flexllm_mock.scripted import Prescribed
from flexllm_mock.storage import Storage

UPLOADS_PATH = re.compile(r".*/uploads(?:/(?P<id>[^/]+)(?:/(?P<verb>parts|complete|cancel))?)?")

MAX_PART_BYTES = 64 * 1024 * 1024
UPLOAD_LIFETIME = 3600
"""Seconds after which an upload that is pending expires."""

_MAX_BYTES = 8 * 1024**3


@dataclass(slots=True)
class Upload:
    """A file that arrives in parts; `begun` is when that began, in seconds on the server's clock.

    `size` is how many bytes the client has announced. `parts` are forgotten when the upload has ended.
    """

    id: str
    filename: str
    purpose: str
    size: int
    expires_at: int | None
    begun: float
    state: Literal["pending", "completed", "cancelled"] = "pending"
    parts: dict[str, bytes] = field(default_factory=dict)

    @property
    def status(self) -> str:
        """Where it stands now: pending, completed, cancelled or expired."""
        late = self.state == "pending" and _now() - self.begun >= UPLOAD_LIFETIME
        return "expired" if late else self.state

    def shown(self, file: StoredFile | None = None) -> dict[str, Any]:
        """The upload as OpenAI describes it, with its file once that is there."""
        return {
            "id": self.id,
            "object": "upload",
            "bytes": self.size,
            "created_at": CREATED,
            "filename": self.filename,
            "purpose": self.purpose,
            "status": self.status,
            "expires_at": CREATED + UPLOAD_LIFETIME,
            "file": None if file is None else file.shown,
        }

    def end(self, state: Literal["completed", "cancelled"], storage: Storage) -> None:
        """Take no more parts."""
        self.state = state
        self.parts.clear()
        storage.resize(self.id, self, 0)


class UploadsEndpoint(OpenAIErrors):
    """`POST {prefix}/uploads`, and `.../{id}/parts`, `.../{id}/complete` and `.../{id}/cancel` below it."""

    methods = frozenset(("POST",))
    generates = False

    def __init__(self, config: MockConfig, storage: Storage) -> None:
        super().__init__(config.seed)
        self._storage = storage

    def read(self, request: ApiRequest) -> None:
        """Parse the body of the calls that have one in JSON."""
        match = UPLOADS_PATH.fullmatch(request.path)
        assert match is not None
        if match["id"] is None or match["verb"] == "complete":
            request.payload = read_object(request.body)

    def reply(self, request: ApiRequest, literal: Prescribed | None = None) -> Reply:
        """Begin an upload, add a part to it, make a file of it, or give it up."""
        match = UPLOADS_PATH.fullmatch(request.path)
        assert match is not None
        name, verb = match["id"], match["verb"]
        if name is None:
            return self._json(request, self._create(request.payload or {}).shown())
        if verb is None:
            raise ApiError(405, f"Method {request.method} is not allowed on {request.path}.")
        upload = self._pending(name)
        if verb == "parts":
            return self._json(request, self._add(upload, request))
        if verb == "complete":
            return self._json(request, upload.shown(self._complete(upload, request.payload or {})))
        upload.end("cancelled", self._storage)
        return self._json(request, upload.shown())

    def _json(self, request: ApiRequest, value: object) -> Reply:
        return Reply(200, self._request_id(request), body=json.dumps(value, separators=(",", ":")).encode())

    def _pending(self, name: str) -> Upload:
        upload = self._storage.get(Upload, name)
        if upload is None:
            raise ApiError(404, f"No such Upload object: {name}", param="upload_id")
        if upload.status != "pending":
            raise ApiError(400, f"The upload {name} is {upload.status}, and not pending.", param="upload_id")
        return upload

    def _create(self, payload: dict[str, Any]) -> Upload:
        for name in ("filename", "mime_type", "purpose"):
            if not isinstance(payload.get(name), str) or not payload[name]:
                raise invalid(name, "a text that is not empty", payload[name]) if name in payload else missing(name)
        if payload["purpose"] not in PURPOSES:
            raise invalid("purpose", ", ".join(PURPOSES), payload["purpose"])
        size = whole_number(payload, "bytes", 1, _MAX_BYTES)
        if size is None:
            raise missing("bytes")
        wanted = mapping(payload, "expires_after")
        expires_at = expiry(payload["purpose"], wanted.get("anchor"), wanted.get("seconds"))
        mark = self._storage.mark(self._key, b"upload" + canonical(payload))
        upload = Upload(f"upload_{mark}", payload["filename"], payload["purpose"], size, expires_at, _now())
        self._storage.put(upload.id, upload, 0)
        return upload

    def _add(self, upload: Upload, request: ApiRequest) -> dict[str, Any]:
        part = read_form(header(request, b"content-type"), request.body).get("data")
        if part is None:
            raise missing("data")
        if not part.content or len(part.content) > MAX_PART_BYTES:
            raise ApiError(400, f"A part has from 1 to {MAX_PART_BYTES} bytes.", param="data")
        kept = sum(map(len, upload.parts.values())) + len(part.content)
        if kept > upload.size:
            text = f"The parts have {kept} bytes, more than the {upload.size} that the upload was created for."
            raise ApiError(400, text, param="data")
        name = f"part_{self._storage.mark(self._key, upload.id.encode() + part.content)}"
        upload.parts[name] = part.content
        self._storage.resize(upload.id, upload, kept)
        return {"id": name, "object": "upload.part", "created_at": CREATED, "upload_id": upload.id}

    def _complete(self, upload: Upload, payload: dict[str, Any]) -> StoredFile:
        names = payload.get("part_ids")
        if names is None:
            raise missing("part_ids")
        if not isinstance(names, list) or not names or not all(isinstance(name, str) for name in names):
            raise invalid("part_ids", "a list of the ids of parts", names)
        for name in names:
            if name not in upload.parts:
                raise ApiError(400, f"The upload {upload.id} has no part {name!r}.", param="part_ids")
        content = b"".join([upload.parts[name] for name in names])
        if len(content) != upload.size:
            text = f"The parts have {len(content)} bytes, but the upload was created for {upload.size}."
            raise ApiError(400, text, param="part_ids")
        digest = payload.get("md5")
        if digest is not None and digest != hashlib.md5(content, usedforsecurity=False).hexdigest():
            raise ApiError(400, "The MD5 of the parts is another than the one given.", param="md5")
        mark = self._storage.mark(self._key, b"file" + upload.id.encode())
        file = StoredFile(f"file-{mark[:24]}", upload.filename, upload.purpose, content, expires_at=upload.expires_at)
        upload.end("completed", self._storage)
        file.keep(self._storage)
        return file


def _now() -> float:
    return asyncio.get_running_loop().time()
