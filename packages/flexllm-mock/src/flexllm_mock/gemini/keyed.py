"""What Gemini's endpoints have in common that generate nothing: lists, files and batches."""

from __future__ import annotations

from flexllm_mock.config import MockConfig
from flexllm_mock.gemini.errors import GoogleErrors
from flexllm_mock.storage import Storage


class KeyedEndpoint(GoogleErrors):
    """Takes the key from the URL too, and answers a wrong one with 400."""

    generates = False
    url_key = True
    bad_key_status = 400


class StoredEndpoint(KeyedEndpoint):
    """Looks into what clients have put into the server."""

    def __init__(self, config: MockConfig, storage: Storage) -> None:
        super().__init__(config.seed)
        self._storage = storage
