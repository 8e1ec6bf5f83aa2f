"""Retrying: sends a failed call again when its error says that this may help.

Which event is retried how often is `reliability` policy in one table (`RetryPolicy`): each retry costs
money, and nobody waits on one row of a batch. Waiting happens outside every limit, so a waiting call
holds no slot.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncGenerator
from dataclasses import dataclass, replace

from flexllm_core.errors import ConfigError, LLMRequestError, LLMTimeoutError
from flexllm_core.protocol import ChatModel, ModelWrapper
from flexllm_core.requests import ChatRequest
from flexllm_core.results import ChatCompletionResult, StreamEvent

_MAX_DOUBLINGS = 60  # more would be beyond every cap, and in the end beyond floats


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How often each kind of error is retried, and how long the waits are, in seconds.

    Attributes:
        transient: Retries after resets, cut bodies and 5xx.
        overload: Retries after 429, 503 and 529; one is counted only if another call succeeded
            meanwhile, so that a storm which hits everybody does not use them up.
        timeout: Retries after a timeout, which may already be billed.
        suspicious: Retries after a 200 without a usable answer.
        base: First backoff; it doubles with each retry, and a random share of it is waited (full jitter).
        cap: Longest backoff.
        patience: Longest time that one call spends waiting for an overloaded server.
        max_retry_after: When the server asks to wait longer than this, the call fails at once.
    """

    transient: int = 5
    overload: int = 8
    timeout: int = 2
    suspicious: int = 1
    base: float = 0.2
    cap: float = 20.0
    patience: float = 300.0
    max_retry_after: float = 120.0

    def with_retry_times(self, retry_times: int | None) -> RetryPolicy:
        """The policy with the user's own number of retries; None keeps the policy.

        The dear kinds, timeouts and suspicious answers, are only ever made fewer by it.
        """
        if retry_times is None:
            return self
        return replace(
            self,
            transient=retry_times,
            overload=retry_times and max(self.overload, retry_times),
            timeout=min(self.timeout, retry_times),
            suspicious=min(self.suspicious, retry_times),
        )

    def retries_for(self, error: LLMRequestError) -> int:
        """How many retries this kind of error may have in one call."""
        if not error.retryable:
            return 0
        if isinstance(error, LLMTimeoutError) and error.phase == "connect":
            return self.transient
        return {
            "transient": self.transient,
            "overload": self.overload,
            "timeout": self.timeout,
            "suspicious": self.suspicious,
            "refused": self.transient,  # refused by status, but the server said `x-should-retry: true`
        }[error.kind]

    def backoff(self, retry: int, error: LLMRequestError) -> float:
        """Seconds to wait before retry number `retry` (0 is the first).

        The server's own word is obeyed, with up to 10 % on top so that not all waiters come at once. It
        is never cut short by the backoff, but may be lengthened: a server that says 0 again and again
        would otherwise be asked without a pause.
        """
        longest: float = min(self.cap, self.base * 2.0 ** min(retry, _MAX_DOUBLINGS))
        wait = longest * random.random()
        if error.retry_after is not None:
            wait = max(wait, error.retry_after * (1 + 0.1 * random.random()))
        return wait


def retry_policy_of(policy: RetryPolicy | None, retry_times: int | None) -> RetryPolicy:
    """The policy of a client, by its two arguments; None for the defaults.

    Raises:
        ConfigError: `policy` is none.
    """
    if policy is not None and not isinstance(policy, RetryPolicy):
        raise ConfigError(f"retry_policy is a {type(policy).__name__}; expected a RetryPolicy")
    return (policy or RetryPolicy()).with_retry_times(retry_times)


NO_RETRY = RetryPolicy(transient=0, overload=0, timeout=0, suspicious=0)


class _Attempts:
    """The retries of one call: counts them and decides whether there is another."""

    def __init__(self, policy: RetryPolicy, successes: int) -> None:
        self._policy = policy
        self._counted: dict[str, int] = {}
        self._waited = 0.0
        self._successes = successes
        self.requests = 0  # that failed; an attempt may be several, or none
        self._retries = 0

    def wait_before_next(self, error: LLMRequestError, successes: int) -> float:
        """Seconds to wait before the next attempt.

        Args:
            error: How the last attempt ended.
            successes: Of all calls so far; more than at the attempt before tells that the server
                answers others.

        Raises:
            LLMRequestError: `error` itself, when there is no next attempt.
        """
        self.requests += error.attempts
        others_succeeded, self._successes = successes > self._successes, successes
        policy = self._policy
        counted = self._counted.get(error.kind, 0)
        if counted >= policy.retries_for(error):
            raise self._last(error)
        if error.retry_after is not None and error.retry_after > policy.max_retry_after:
            raise self._last(error)
        wait = policy.backoff(self._retries, error)
        if error.kind != "overload" or others_succeeded:
            self._counted[error.kind] = counted + 1
        if error.kind == "overload":
            self._waited += wait
            if self._waited > policy.patience:
                raise self._last(error)
        self._retries += 1
        return wait

    def _last(self, error: LLMRequestError) -> LLMRequestError:
        error.attempts = self.requests
        return error


class Retrying(ModelWrapper):
    """Retries what it wraps, by `policy`. Every attempt goes through the whole of what is wrapped."""

    def __init__(self, inner: ChatModel, policy: RetryPolicy | None = None) -> None:
        super().__init__(inner)
        self.policy = policy or RetryPolicy()
        self._successes = 0

    async def complete(self, request: ChatRequest) -> ChatCompletionResult:
        """Answer a request, in as many attempts as the policy admits.

        Raises:
            LLMRequestError: The last attempt's error, with the number of attempts.
        """
        attempts: _Attempts | None = None
        successes = self._successes
        while True:
            try:
                result = await self.inner.complete(request)
            except LLMRequestError as error:
                attempts = attempts or _Attempts(self.policy, successes)
                wait = attempts.wait_before_next(error, self._successes)
            else:
                self._successes += 1
                if attempts is not None:
                    result.attempts += attempts.requests
                return result
            await asyncio.sleep(wait)

    async def stream(self, request: ChatRequest) -> AsyncGenerator[StreamEvent, None]:
        """Stream an answer; only a stream that has not begun is tried again.

        Raises:
            LLMRequestError: The last attempt's error, or the error of a stream that had begun.
        """
        attempts = _Attempts(self.policy, self._successes)
        while True:
            begun = False
            events = self.inner.stream(request)
            try:
                async for event in events:
                    begun = True
                    if event.result is not None:
                        event.result.attempts += attempts.requests
                        self._successes += 1
                    yield event
                return
            except LLMRequestError as error:
                if begun:
                    error.attempts += attempts.requests
                    raise
                wait = attempts.wait_before_next(error, self._successes)
            finally:
                await events.aclose()
            await asyncio.sleep(wait)
