"""What identifies a request: the digest of its content, the key that its answer is drawn from, the ids it gets."""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import blake2b

from flexllm_mock.asgi import ApiRequest
from flexllm_mock.jsontext import canonical, canonical_chat


def seed_bytes(seed: int) -> bytes:
    """Return a server's seed as the key of its digests."""
    return seed.to_bytes(8, "big", signed=True)


def content_digest(value: object) -> bytes:
    """Return the 16 bytes that identify what was asked: BLAKE2b of the value's canonical JSON."""
    return blake2b(canonical(value), digest_size=16).digest()


def chat_digest(messages: object, model: object) -> bytes:
    """Return the `content_digest` of an object of `messages` and `model`, for plain messages in less time."""
    plain = canonical_chat(messages, model)
    if plain is None:
        return content_digest({"messages": messages, "model": model})
    return blake2b(plain, digest_size=16).digest()


def answer_key(
    seed: bytes, digest: bytes | None, parameters: Mapping[str, object], without: frozenset[str] = frozenset()
) -> bytes:
    """Return the 32 bytes from which an answer is drawn: from the content and the parameters, without those named."""
    content = digest or b""
    if not without.issuperset(parameters):
        content += canonical({name: value for name, value in parameters.items() if name not in without})
    return blake2b(content, digest_size=32, key=seed).digest()


def request_mark(seed: bytes, request: ApiRequest) -> str:
    """Return 32 hexadecimal digits for an answer that has no content of its own, such as an error."""
    content = request.path.encode("utf-8", "replace") + request.query + request.body
    return blake2b(content, digest_size=16, key=seed).hexdigest()
