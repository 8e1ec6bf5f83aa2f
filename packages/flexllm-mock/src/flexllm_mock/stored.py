"""The paths of files and batches, which several vendors have in common, and the uploads of OpenAI and Gemini."""

from __future__ import annotations

from flexllm_mock.asgi import Endpoint
from flexllm_mock.config import MockConfig
from flexllm_mock.gemini.batches import BatchesEndpoint as GeminiBatches
from flexllm_mock.gemini.files import UPLOAD_PATH, GeminiFilesEndpoint, UploadEndpoint, UploadPartEndpoint
from flexllm_mock.jobs import RunRow
from flexllm_mock.openai.batches import BATCHES_PATH, BatchesEndpoint
from flexllm_mock.openai.files import FILES_PATH, FilesEndpoint
from flexllm_mock.openai.uploads import UPLOADS_PATH, UploadsEndpoint
from flexllm_mock.storage import Storage
from flexllm_mock.unknown import UnknownEndpoint
from flexllm_mock.vendor import VendorEndpoint


class StoredWire:
    """`{prefix}/files`, `{prefix}/batches`, `{prefix}/uploads` and `{prefix}/upload/{version}/files`."""

    def __init__(self, config: MockConfig, storage: Storage, run: RunRow) -> None:
        unknown = UnknownEndpoint(config.seed)
        self._upload = UploadEndpoint(config, storage)
        self._upload_part = UploadPartEndpoint(config, storage)
        self._uploads = UploadsEndpoint(config, storage)
        self._files = VendorEndpoint(
            {
                "openai": FilesEndpoint(config, storage),
                "gemini": GeminiFilesEndpoint(config, storage),
                "claude": unknown,
            }
        )
        batches = BatchesEndpoint(config, storage, run)
        self._batches = VendorEndpoint({"openai": batches, "gemini": GeminiBatches(config, storage), "claude": unknown})

    def find(self, path: str) -> Endpoint | None:
        """Return the endpoint that serves a path, or None."""
        upload = UPLOAD_PATH.fullmatch(path)
        if upload is not None:
            return self._upload if upload["upload"] is None else self._upload_part
        if UPLOADS_PATH.fullmatch(path):
            return self._uploads
        if FILES_PATH.fullmatch(path):
            return self._files
        return self._batches if BATCHES_PATH.fullmatch(path) else None
