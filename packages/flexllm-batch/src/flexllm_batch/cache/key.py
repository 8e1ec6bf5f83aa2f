"""What an answer is kept under: the question, and who was asked."""

from __future__ import annotations

from collections.abc import Sequence
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


def fingerprint_keys(fingerprint: str, masks: Sequence[int]) -> list[bytes]:
    """The keys of a request at several endpoints: 16 bytes each, its fingerprint crossed (XOR) with each one's mask."""
    number = int(fingerprint, 16)
    return [(number ^ mask).to_bytes(KEY_BYTES) for mask in masks]


def identity_mask(identity: str) -> int:
    """BLAKE2b-128 of the format's version and an endpoint's identity."""
    text = f"{FORMAT}\n{identity}"
    return int.from_bytes(blake2b(text.encode("utf-8", "surrogatepass"), digest_size=KEY_BYTES).digest())
