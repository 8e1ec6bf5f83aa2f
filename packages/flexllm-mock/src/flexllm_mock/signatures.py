"""Signatures of thoughts: made from the seed, so that a server knows its own without storing any."""

from __future__ import annotations

from base64 import b64decode, b64encode
from hashlib import blake2b
from hmac import compare_digest

_MARK_BYTES = 12
_CODE_BYTES = 24


class Signer:
    """Signs what the client must send back unchanged. `purpose` separates the signatures of different vendors."""

    def __init__(self, seed: bytes, purpose: str) -> None:
        self._key = blake2b(purpose.encode(), digest_size=32, key=seed).digest()

    def sign(self, mark: bytes, content: str) -> str:
        """Return the signature, in base64, of a content in the answer that `mark` belongs to."""
        mark = mark[:_MARK_BYTES]
        return b64encode(mark + self._code(mark, content)).decode()

    def made(self, signature: str, content: str) -> bool:
        """Tell whether a signature was made here for exactly this content."""
        try:
            signed = b64decode(signature.encode(), validate=True)
        except ValueError:  # no base64, or text that is not even UTF-8
            return False
        return compare_digest(signed[_MARK_BYTES:], self._code(signed[:_MARK_BYTES], content))

    def _code(self, mark: bytes, content: str) -> bytes:
        signed = mark + content.encode("utf-8", "surrogatepass")
        return blake2b(signed, digest_size=_CODE_BYTES, key=self._key).digest()
