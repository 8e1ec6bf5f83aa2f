"""What an answer is kept under: the question, and who was asked."""

from __future__ import annotations

from hashlib import blake2b

from flexllm_core.json_codec import encode_json
from flexllm_providers.client import ProviderClient

TAG_BYTES = 8
"""Bytes that tell the endpoints of a folder apart: a few, or some hundred."""

KEY_BYTES = 16 + TAG_BYTES

FORMAT = 2
"""Version of keys and entries; another version's answers are not found."""


def endpoint_identity(client: ProviderClient) -> str:
    """Who answers: wire, base URL, and what else of an endpoint's settings shapes the question.

    Keys, headers, proxies, limits and timeouts do not: with another key it is the same question. The
    endpoint's own model counts only for requests that name none, and default params are in the request.
    """
    endpoint = client.endpoint
    return encode_json(
        [client.provider, client.target.base_url.rstrip("/").lower(), endpoint.model, sorted(endpoint.dialect.items())]
    ).decode()


def fingerprint_key(fingerprint: str, tag: bytes) -> bytes:
    """The key of a request at an endpoint: the 16 bytes of its fingerprint, then the endpoint's tag."""
    return bytes.fromhex(fingerprint) + tag


def identity_tag(identity: str) -> bytes:
    """BLAKE2b-64 of the format's version and an endpoint's identity."""
    text = f"{FORMAT}\n{identity}"
    return blake2b(text.encode("utf-8", "surrogatepass"), digest_size=TAG_BYTES).digest()
