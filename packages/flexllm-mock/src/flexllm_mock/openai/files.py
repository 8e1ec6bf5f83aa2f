"""OpenAI's files."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any

from flexllm_mock.asgi import ApiError, ApiRequest, Reply, header, query_fields
from flexllm_mock.config import MockConfig
from flexllm_mock.multipart import read_form, text_field
from flexllm_mock.openai.errors import OpenAIErrors
from flexllm_mock.openai.lists import page
from flexllm_mock.openai.models import CREATED
from flexllm_mock.openai.parameters import invalid, missing
from flexllm_mock.scripted import Prescribed
from flexllm_mock.storage import Storage

FILES_PATH = re.compile(r".*/files(?:/(?P<id>[^/]+)(?P<content>/content)?)?")

PURPOSES = ("assistants", "batch", "fine-tune", "vision", "user_data", "evals")
_BATCH_LIFETIME = 30 * 86_400
_LEAST_LIFETIME, _MOST_LIFETIME = 3600, 30 * 86_400
_MOST_LISTED = 10_000


@dataclass(frozen=True, slots=True)
class StoredFile:
    """A file. `created_at` and `expires_at` are in seconds since 1970."""

    id: str
    filename: str
    purpose: str
    content: bytes
    created_at: int = CREATED
    expires_at: int | None = None

    @property
    def shown(self) -> dict[str, Any]:
        """The file as OpenAI describes it."""
        return {
            "object": "file",
            "id": self.id,
            "purpose": self.purpose,
            "filename": self.filename,
            "bytes": len(self.content),
            "created_at": self.created_at,
            "expires_at": self.expires_at,
            "status": "processed",
            "status_details": None,
        }

    def keep(self, storage: Storage) -> None:
        """Put the file into a storage."""
        storage.put(self.id, self, len(self.content))


def find_file(storage: Storage, name: str) -> StoredFile:
    """Return a file. Raises ApiError 404."""
    found = storage.get(StoredFile, name)
    if found is None:
        raise _unknown_file(name)
    return found


class FilesEndpoint(OpenAIErrors):
    """`{prefix}/files`, `{prefix}/files/{id}` and `{prefix}/files/{id}/content`."""

    methods = frozenset(("DELETE", "GET", "POST"))
    generates = False

    def __init__(self, config: MockConfig, storage: Storage) -> None:
        super().__init__(config.seed)
        self._storage = storage

    def read(self, request: ApiRequest) -> None:
        """Accept any body: what it must be depends on the method."""

    def reply(self, request: ApiRequest, literal: Prescribed | None = None) -> Reply:
        """Keep a file, list the files, or describe, return or delete one."""
        match = FILES_PATH.fullmatch(request.path)
        assert match is not None
        name = match["id"]
        if match["content"] and request.method == "GET":
            content = find_file(self._storage, name).content
            request_id = self._request_id(request)
            return Reply(200, request_id, body=content, content_type=b"application/octet-stream")
        if name is None and request.method == "POST":
            return self._json(request, self._create(request).shown)
        if name is None and request.method == "GET":
            return self._json(request, self._list(request))
        if name is not None and not match["content"] and request.method == "GET":
            return self._json(request, find_file(self._storage, name).shown)
        if name is not None and not match["content"] and request.method == "DELETE":
            if self._storage.remove(StoredFile, name) is None:
                raise _unknown_file(name)
            return self._json(request, {"object": "file", "id": name, "deleted": True})
        raise ApiError(405, f"Method {request.method} is not allowed on {request.path}.")

    def _json(self, request: ApiRequest, value: object) -> Reply:
        body = json.dumps(value, separators=(",", ":")).encode()
        return Reply(200, self._request_id(request), body=body)

    def _create(self, request: ApiRequest) -> StoredFile:
        form = read_form(header(request, b"content-type"), request.body)
        purpose, file = text_field(form, "purpose"), form.get("file")
        if file is None:
            raise missing("file")
        if purpose is None:
            raise missing("purpose")
        if purpose not in PURPOSES:
            raise invalid("purpose", ", ".join(PURPOSES), purpose)
        if not file.content:
            raise ApiError(400, "File is empty.", param="file")
        seconds = text_field(form, "expires_after[seconds]")
        lasts = int(seconds) if seconds is not None and seconds.isdecimal() and len(seconds) < 9 else seconds
        expires_at = expiry(purpose, text_field(form, "expires_after[anchor]"), lasts)
        name = file.filename or "upload"
        mark = self._storage.mark(self._key, f"{purpose}\0{name}\0".encode("utf-8", "replace") + file.content)
        created = StoredFile(f"file-{mark[:24]}", name, purpose, file.content, expires_at=expires_at)
        created.keep(self._storage)
        return created

    def _list(self, request: ApiRequest) -> dict[str, Any]:
        purpose = dict(query_fields(request.query)).get("purpose")
        files = [file.shown for file in self._storage.all(StoredFile) if purpose in (None, file.purpose)]
        return page(request, files, limit=_MOST_LISTED, most=_MOST_LISTED)


def expiry(purpose: str, anchor: object, seconds: object) -> int | None:
    """Return when a file expires that a client wants to last so long, None for never. Raises ApiError 400."""
    if anchor is None and seconds is None:
        return CREATED + _BATCH_LIFETIME if purpose == "batch" else None
    if anchor != "created_at":
        raise invalid("expires_after.anchor", "created_at", anchor)
    if not isinstance(seconds, int) or isinstance(seconds, bool) or not _LEAST_LIFETIME <= seconds <= _MOST_LIFETIME:
        raise invalid("expires_after.seconds", f"an integer from {_LEAST_LIFETIME} to {_MOST_LIFETIME}", seconds)
    return CREATED + seconds


def _unknown_file(name: str) -> ApiError:
    return ApiError(404, f"No such File object: {name}", param="id")
