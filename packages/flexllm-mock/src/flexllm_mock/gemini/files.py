"""Gemini's files, and their upload in pieces."""

from __future__ import annotations

import json
import re
from base64 import b64encode
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any

from flexllm_mock.asgi import ApiError, ApiRequest, Reply, header, own_url, query_fields
from flexllm_mock.gemini.errors import wrong
from flexllm_mock.gemini.fields import Fields, camel_case
from flexllm_mock.gemini.keyed import StoredEndpoint
from flexllm_mock.gemini.lists import page
from flexllm_mock.jsontext import read_object
from flexllm_mock.scripted import Prescribed
from flexllm_mock.storage import Storage
from flexllm_mock.timestamps import iso_time

FILES_PATH = re.compile(r"(?P<base>.*/files)(?:/(?P<id>[^/:]+)(?P<download>:download)?)?")
UPLOAD_PATH = re.compile(r"(?P<prefix>.*)/upload/(?P<version>v\w+)/files(?:/(?P<upload>[0-9a-f]+))?")

_NAME = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,38}[a-z0-9])?")
_LIFETIME = 48 * 3600
_DEFAULT_SIZE, _MOST = 10, 100
_DEFAULT_TYPE = "application/octet-stream"
_STATUS_HEADER = b"x-goog-upload-status"


@dataclass(frozen=True, slots=True)
class GeminiFile:
    """A file; only one that was `generated`, as a batch's results are, can be downloaded."""

    id: str
    content: bytes
    mime_type: str
    display_name: str | None = None
    generated: bool = False

    def shown(self, base: str) -> dict[str, Any]:
        """Describe the file as Google does; `base` is the URL of the list of files."""
        uri = f"{base}/{self.id}"
        named = {} if self.display_name is None else {"displayName": self.display_name}
        links = {"downloadUri": f"{uri}:download?alt=media"} if self.generated else {}
        return {
            "name": f"files/{self.id}",
            **named,
            "mimeType": self.mime_type,
            "sizeBytes": str(len(self.content)),
            "createTime": iso_time(),
            "updateTime": iso_time(),
            "expirationTime": iso_time(_LIFETIME),
            "sha256Hash": b64encode(sha256(self.content).hexdigest().encode()).decode(),
            "uri": uri,
            **links,
            "state": "ACTIVE",
            "source": "GENERATED" if self.generated else "UPLOADED",
        }

    def keep(self, storage: Storage) -> None:
        """Put the file into a storage."""
        storage.put(self.id, self, len(self.content))


@dataclass(slots=True)
class _Upload:
    """An upload that has begun; `given` is what the client said of the file."""

    id: str
    given: Fields
    mime_type: str
    content: bytearray = field(default_factory=bytearray)


def find_file(storage: Storage, name: str) -> GeminiFile:
    """Return a file by its id. Raises ApiError 403, as Google does for files that do not exist."""
    found = storage.get(GeminiFile, name)
    if found is None:
        raise _unknown_file(name)
    return found


class GeminiFilesEndpoint(StoredEndpoint):
    """`{prefix}/{version}/files`, `.../files/{id}` and `.../files/{id}:download`."""

    methods = frozenset(("DELETE", "GET"))

    def read(self, request: ApiRequest) -> None:
        """There is no body."""

    def reply(self, request: ApiRequest, literal: Prescribed | None = None) -> Reply:
        """List the files, or describe, return or delete one."""
        match = FILES_PATH.fullmatch(request.path)
        assert match is not None
        call, name = (request.method, match["id"] is not None, match["download"] is not None), match["id"]
        base = own_url(request) + match["base"]
        if call == ("GET", False, False):
            files = [file.shown(base) for file in self._storage.all(GeminiFile)]
            return _json(page(request, "files", files, size=_DEFAULT_SIZE, most=_MOST))
        if call == ("GET", True, False):
            return _json(find_file(self._storage, name).shown(base))
        if call == ("GET", True, True):
            return self._download(request, name)
        if call == ("DELETE", True, False):
            if self._storage.remove(GeminiFile, name) is None:
                raise _unknown_file(name)
            return _json({})
        raise ApiError(404, f"Unknown path: {request.method} {request.path}")

    def _download(self, request: ApiRequest, name: str) -> Reply:
        file = find_file(self._storage, name)
        if ("alt", "media") not in query_fields(request.query):
            raise ApiError(400, "Downloads need the parameter alt=media.")
        if not file.generated:
            raise ApiError(400, "Only generated files can be downloaded.")
        return Reply(200, b"", body=file.content, content_type=file.mime_type.encode("latin-1", "replace"))


class UploadEndpoint(StoredEndpoint):
    """`POST {prefix}/upload/{version}/files`, which begins an upload."""

    methods = frozenset(("POST",))

    def read(self, request: ApiRequest) -> None:
        """Parse what the client says of the file."""
        request.payload = read_object(request.body) if request.body.strip() else {}

    def reply(self, request: ApiRequest, literal: Prescribed | None = None) -> Reply:
        """Tell the URL to send the content to."""
        protocol, command = header(request, b"x-goog-upload-protocol"), header(request, b"x-goog-upload-command")
        if protocol != "resumable" or command != "start":
            raise ApiError(
                400, "Files are uploaded with x-goog-upload-protocol: resumable, and the command start first."
            )
        given = (request.payload or {}).get("file", {})
        if not isinstance(given, dict):
            raise wrong("file", "an object", given)
        described = {camel_case(name): value for name, value in given.items()}
        kind = header(request, b"x-goog-upload-header-content-type") or described.get("mimeType") or _DEFAULT_TYPE
        if not isinstance(kind, str):
            raise wrong("file.mime_type", "a string", kind)
        self._check_name(described)
        mark = self._storage.mark(self._key, b"upload" + request.body + kind.encode("utf-8", "replace"))
        self._storage.put(mark, _Upload(mark, described, kind), len(request.body))
        url = f"{own_url(request)}{request.path}/{mark}?upload_id={mark}&upload_protocol=resumable"
        reply = _json({})
        reply.headers = (
            (b"x-goog-upload-url", url.encode("latin-1", "replace")),
            (b"x-goog-upload-control-url", url.encode("latin-1", "replace")),
            (_STATUS_HEADER, b"active"),
        )
        return reply

    def _check_name(self, described: Fields) -> None:
        name = described.get("name")
        if name is None:
            return
        short = name.removeprefix("files/") if isinstance(name, str) else ""
        if not _NAME.fullmatch(short):
            raise wrong("file.name", "files/ and up to 40 lower-case letters, digits and hyphens", name)
        if self._storage.get(GeminiFile, short) is not None:
            raise ApiError(409, f"The file {short} already exists.", kind="ALREADY_EXISTS")


class UploadPartEndpoint(StoredEndpoint):
    """`POST {prefix}/upload/{version}/files/{upload}`, which takes the content; the URL stands for the key."""

    methods = frozenset(("POST",))
    open = True

    def read(self, request: ApiRequest) -> None:
        """Accept any content."""

    def reply(self, request: ApiRequest, literal: Prescribed | None = None) -> Reply:
        """Take a piece, and make the file of the last one."""
        match = UPLOAD_PATH.fullmatch(request.path)
        upload = self._storage.get(_Upload, match["upload"]) if match is not None else None
        if match is None or upload is None:
            raise ApiError(404, "There is no such upload, or it has ended.")
        commands = [each.strip() for each in (header(request, b"x-goog-upload-command") or "").split(",")]
        reply = _json({})
        reply.headers = ((_STATUS_HEADER, b"active"), (b"x-goog-upload-size-received", b"%d" % len(upload.content)))
        if commands == ["query"]:
            return reply
        if commands == ["cancel"]:
            self._storage.remove(_Upload, upload.id)
            reply.headers = ((_STATUS_HEADER, b"cancelled"),)
            return reply
        if not set(commands) <= {"upload", "finalize"}:
            raise ApiError(400, "x-goog-upload-command must be upload, finalize, query or cancel.")
        self._append(upload, request)
        if "finalize" not in commands:
            self._storage.resize(upload.id, upload, len(upload.content))
            return reply
        return self._finish(upload, own_url(request) + f"{match['prefix']}/{match['version']}/files")

    def _append(self, upload: _Upload, request: ApiRequest) -> None:
        offset = header(request, b"x-goog-upload-offset")
        if offset is not None and offset != str(len(upload.content)):
            raise ApiError(
                400, f"x-goog-upload-offset is {offset}, but {len(upload.content)} bytes have been received."
            )
        upload.content += request.body

    def _finish(self, upload: _Upload, base: str) -> Reply:
        content = bytes(upload.content)
        name, display_name = upload.given.get("name"), upload.given.get("displayName")
        mark = self._storage.mark(self._key, b"file" + upload.mime_type.encode("utf-8", "replace") + content)
        file = GeminiFile(
            name.removeprefix("files/") if isinstance(name, str) else mark[:12],
            content,
            upload.mime_type,
            display_name if isinstance(display_name, str) else None,
        )
        self._storage.remove(_Upload, upload.id)
        file.keep(self._storage)
        reply = _json({"file": file.shown(base)})
        reply.headers = ((_STATUS_HEADER, b"final"),)
        return reply


def _json(value: object) -> Reply:
    return Reply(200, b"", body=json.dumps(value, separators=(",", ":")).encode())


def _unknown_file(name: str) -> ApiError:
    return ApiError(403, f"You do not have permission to access the File {name} or it may not exist.")
