"""What an answer is kept under: the question, and who was asked."""

from __future__ import annotations

from functools import lru_cache
from hashlib import blake2b

from flexllm_core.json_codec import encode_json
from flexllm_providers.client import ProviderClient

KEY_BYTES = 16

FORMAT = 1
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


def fingerprint_key(fingerprint: str, identity: str) -> bytes:
    """16 bytes: a request's fingerprint, crossed (XOR) with BLAKE2b-128 of the format's version and the identity."""
    return (int(fingerprint, 16) ^ _mask(identity)).to_bytes(KEY_BYTES)


@lru_cache
def _mask(identity: str) -> int:
    text = f"{FORMAT}\n{identity}"
    return int.from_bytes(blake2b(text.encode("utf-8", "surrogatepass"), digest_size=KEY_BYTES).digest())
