"""What identifies a request: the digest of its content, the key that its answer is drawn from, the ids it gets."""

from __future__ import annotations

from hashlib import blake2b

from flexllm_mock.asgi import ApiRequest
from flexllm_mock.jsontext import canonical


def seed_bytes(seed: int) -> bytes:
    """Return a server's seed as the key of its digests."""
    return seed.to_bytes(8, "big", signed=True)


def content_digest(value: object) -> bytes:
    """Return the 16 bytes that identify what was asked: BLAKE2b of the value's canonical JSON."""
    return blake2b(canonical(value), digest_size=16).digest()


def answer_key(seed: bytes, digest: bytes | None, others: dict[str, object]) -> bytes:
    """Return the 32 bytes from which an answer is drawn: from the content and the other parameters that matter."""
    content = digest or b""
    if others:
        content += canonical(others)
    return blake2b(content, digest_size=32, key=seed).digest()


def request_mark(seed: bytes, request: ApiRequest) -> str:
    """Return 32 hexadecimal digits for an answer that has no content of its own, such as an error."""
    content = request.path.encode("utf-8", "replace") + request.query + request.body
    return blake2b(content, digest_size=16, key=seed).hexdigest()
