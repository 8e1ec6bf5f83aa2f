"""Draws that follow from the seed and the content of requests, so that they are the same at any concurrency."""

from __future__ import annotations

from hashlib import blake2b

from flexllm_mock.asgi import ApiRequest
from flexllm_mock.config import MockConfig
from flexllm_mock.faults.dice import Dice
from flexllm_mock.faults.rules import FaultRule
from flexllm_mock.identity import seed_bytes
from flexllm_mock.jsontext import canonical

# A content takes about 100 bytes, so there is an end to how many are remembered; later ones always count as new.
_MAX_CONTENTS = 2_000_000


class CallCounter:
    """Tells the calls of one content apart: the first, the second, and so on, in the order in which they arrive."""

    def __init__(self, seed: int) -> None:
        self._seed = seed_bytes(seed)
        self.reset()

    def reset(self) -> None:
        """Count from the first call of each content again."""
        self._calls: dict[bytes, int] = {}

    def key(self, request: ApiRequest) -> bytes:
        """Count a call and return the 16 bytes that stand for the seed, its content and its number."""
        body = request.body if request.payload is None else canonical(request.payload)
        path = request.path.encode("utf-8", "surrogatepass")
        content = blake2b(path + b"\0" + body, digest_size=16, key=self._seed).digest()
        number = self._calls.get(content, 0) + 1
        if number > 1 or len(self._calls) < _MAX_CONTENTS:
            self._calls[content] = number
        return blake2b(content + number.to_bytes(8, "big"), digest_size=16).digest()


class RandomFaults:
    """Fails a share of the requests in each of some ways."""

    def __init__(self, config: MockConfig) -> None:
        self._rules: list[tuple[float, FaultRule]] = []
        total = 0.0
        for rate, rule in _rates(config):
            total += rate
            self._rules.append((total, rule))

    def __bool__(self) -> bool:
        return bool(self._rules)

    def draw(self, key: bytes) -> FaultRule | None:
        """Return what happens to the call with a key, None when nothing does."""
        drawn = Dice(key + b"fault").bits() / 2**64
        for bound, rule in self._rules:
            if drawn < bound:
                return rule
        return None


def _rates(config: MockConfig) -> list[tuple[float, FaultRule]]:
    rates = [(rate, FaultRule.of(kind)) for kind, rate in config.fault_rates.items() if rate]
    if config.error_rate:
        headers = {}
        if config.retry_after is not None and config.error_status in (429, 503):
            headers["retry-after"] = f"{config.retry_after:g}"
        rates.append((config.error_rate, FaultRule(status=config.error_status, headers=headers)))
    return rates
