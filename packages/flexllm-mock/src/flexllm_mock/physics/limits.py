"""Rate limits: token buckets for requests, input and output tokens, and a limit on concurrency, for each key."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass

from flexllm_mock.asgi import Limit

MINUTE = 60.0
# Whoever sends a new key with each request must not fill the memory.
_MAX_KEYS = 10_000


@dataclass(slots=True)
class Bucket:
    """What may be used up per minute; it fills up evenly, and never holds more than `capacity`. Times in seconds."""

    per_minute: float
    capacity: float
    level: float
    filled_at: float

    def fill(self, now: float) -> None:
        """Add what has come in since the last time."""
        self.level = min(self.capacity, self.level + (now - self.filled_at) * self.per_minute / MINUTE)
        self.filled_at = now

    def wait_for(self, amount: float) -> float:
        """Return the seconds until so much is there; 0 when it is."""
        return max(0.0, (amount - self.level) * MINUTE / self.per_minute)

    @property
    def remaining(self) -> int:
        """What is left, in whole units."""
        return max(0, int(self.level + 1e-9))

    @property
    def reset(self) -> float:
        """Seconds until it is full again."""
        return self.wait_for(self.capacity)


@dataclass(frozen=True, slots=True)
class Excess:
    """Why a request is refused: `limit` was `allowed`, `requested` were asked for.

    `retry_in`: seconds after which there is room, None when there never will be, or nobody knows when.
    """

    limit: Limit
    allowed: float
    used: float
    requested: int
    retry_in: float | None


class Account:
    """What one key has used up."""

    def __init__(self, buckets: Mapping[Limit, Bucket], max_concurrent: int | None) -> None:
        self.buckets = buckets
        self.running = 0
        self._max_concurrent = max_concurrent

    def admit(self, prompt_tokens: int, output_tokens: int, now: float) -> Excess | None:
        """Charge a request and let it run until `leave`, or say what it would exceed, and charge nothing.

        Nobody knows the output in advance, so it may put its bucket into debt, which later requests wait for.
        """
        costs: dict[Limit, int] = {"requests": 1, "input_tokens": prompt_tokens, "output_tokens": output_tokens}
        excess = None
        for limit, bucket in self.buckets.items():
            bucket.fill(now)
            excess = excess or _excess(limit, bucket, 1 if limit == "output_tokens" else costs[limit])
        if self._max_concurrent is not None and self.running >= self._max_concurrent:
            excess = Excess("concurrency", self._max_concurrent, self.running, 1, None)
        if excess is not None:
            return excess
        for limit, bucket in self.buckets.items():
            bucket.level -= costs[limit]
        self.running += 1
        return None

    def leave(self) -> None:
        """Let another one run."""
        self.running -= 1


class Limiter:
    """The limits of a server: `rpm` requests, `input_tpm` and `output_tpm` tokens per minute, None for no limit.

    Each key has them for itself. A bucket holds what `burst` seconds bring, and at least one request; it is full at
    the start. `max_concurrent` requests of a key run at the same time.
    """

    def __init__(
        self,
        *,
        rpm: float | None = None,
        input_tpm: float | None = None,
        output_tpm: float | None = None,
        max_concurrent: int | None = None,
        burst: float = MINUTE,
    ) -> None:
        rates: dict[Limit, float | None] = {"requests": rpm, "input_tokens": input_tpm, "output_tokens": output_tpm}
        self._rates: dict[Limit, float] = {limit: rate for limit, rate in rates.items() if rate is not None}
        self._max_concurrent = max_concurrent
        self._burst = burst
        self.reset()

    def __bool__(self) -> bool:
        return bool(self._rates) or self._max_concurrent is not None

    def reset(self) -> None:
        """Forget what was used."""
        self._accounts: OrderedDict[object, Account] = OrderedDict()

    def account(self, key: object, now: float) -> Account:
        """Return the account of a key."""
        account = self._accounts.get(key)
        if account is None:
            account = self._accounts[key] = self._opened(now)
            if len(self._accounts) > _MAX_KEYS:
                self._accounts.popitem(last=False)
        else:
            self._accounts.move_to_end(key)
        return account

    def _opened(self, now: float) -> Account:
        buckets: dict[Limit, Bucket] = {}
        for limit, rate in self._rates.items():
            capacity = max(1.0, rate * self._burst / MINUTE)
            buckets[limit] = Bucket(rate, capacity, capacity, now)
        return Account(buckets, self._max_concurrent)


def _excess(limit: Limit, bucket: Bucket, amount: int) -> Excess | None:
    wait = bucket.wait_for(amount)
    if wait <= 1e-9:
        return None
    retry_in = wait if amount <= bucket.capacity else None
    return Excess(limit, bucket.per_minute, bucket.capacity - bucket.level, amount, retry_in)
