"""A member of a pool: one endpoint with its limits, its health, and how it has done."""

from __future__ import annotations

import asyncio
from collections.abc import Hashable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from flexllm_batch.balance.health import Breaker, HealthState
from flexllm_batch.limits.limited import Limited
from flexllm_core.errors import LLMRequestError
from flexllm_core.requests import ChatRequest
from flexllm_core.results import ChatCompletionResult

_LATENCY_WEIGHT = 1 / 8
_FORGOTTEN_AFTER = 10.0
"""Seconds in which a member that has nothing to do loses half of what its latency was."""


@dataclass(frozen=True, slots=True)
class MemberStats:
    """How a member of a pool has done, and how it stands.

    Attributes:
        name: The endpoint's name or base URL.
        state: `closed` takes calls, `open` was found out of order, `half-open` is at its trial call.
        in_flight: Requests without an answer yet.
        requests: Requests sent.
        ok: Answers.
        failed: Requests that failed by the fault of the endpoint or the account.
        hedged: Requests sent because another member was slow.
        latency: Seconds of an answer, averaged over the last ones; None before the first.
        error: The last fault; None if there was none.
    """

    name: str
    state: HealthState
    in_flight: int
    requests: int
    ok: int
    failed: int
    hedged: int
    latency: float | None
    error: str | None


class Member:
    """One endpoint of a pool.

    Args:
        name: What messages and results call it.
        limited: Answers requests within the endpoint's limits.
        breaker: Its health.
        model: The model that it asks.
        params: Its own default params, where they are not those of the whole pool.
        weight: Its share, for the strategies that go by weight.
        site: What members have in common that are one server and model with different keys; None where it does not
            matter.

    Attributes:
        index: Its number in the pool.
        in_flight, requests, ok, failed, hedged: As in `MemberStats`.
        latency: Seconds of an answer, lately; 0 before the first.
        last_answer: The time of the last.
    """

    __slots__ = (
        "breaker",
        "failed",
        "hedged",
        "in_flight",
        "index",
        "last_answer",
        "latency",
        "limited",
        "model",
        "name",
        "ok",
        "params",
        "requests",
        "site",
        "weight",
    )

    def __init__(
        self,
        name: str,
        limited: Limited,
        breaker: Breaker,
        *,
        model: str | None = None,
        params: Mapping[str, Any] | None = None,
        weight: float = 1.0,
        site: Hashable | None = None,
    ) -> None:
        self.name = name
        self.limited = limited
        self.breaker = breaker
        self.model = model
        self.params = params
        self.weight = weight
        self.site = site
        self.index = 0
        self.in_flight = self.requests = self.ok = self.failed = self.hedged = 0
        self.latency = self.last_answer = 0.0

    def stats(self) -> MemberStats:
        """How it has done."""
        error = self.breaker.last_error
        return MemberStats(
            self.name,
            self.breaker.state,
            self.in_flight,
            self.requests,
            self.ok,
            self.failed,
            self.hedged,
            self.latency or None,
            None if error is None else f"{type(error).__name__}: {error}",
        )

    def adapted(self, request: ChatRequest, pool_model: str | None) -> ChatRequest:
        """The request as this member is asked: its own model, and its own params below those of the call."""
        own_model = request.model == pool_model and self.model != pool_model
        if not own_model and not self.params:
            return request
        return replace(
            request,
            model=self.model if own_model else request.model,
            params={**self.params, **request.params} if self.params else request.params,
        )

    def expected_latency(self, now: float) -> float:
        """Seconds that an answer would take; what is long ago counts less, so that a slow member is tried again."""
        if self.in_flight or not self.latency:
            return self.latency
        return float(self.latency * 0.5 ** ((now - self.last_answer) / _FORGOTTEN_AFTER))

    def begin(self) -> bool:
        """A request is sent; whether it is the trial of a member that was out of order."""
        self.in_flight += 1
        self.requests += 1
        return not self.breaker.ready and self.breaker.begin(asyncio.get_running_loop().time())

    def succeeded(self, result: ChatCompletionResult, *, trial: bool) -> None:
        """A request was answered."""
        self.in_flight -= 1
        self.ok += 1
        self.breaker.succeeded(trial=trial)
        if result.latency is not None:
            self.note_latency(result.latency)

    def note_latency(self, seconds: float) -> None:
        """An answer took so long, or one that was given up would have taken at least so long."""
        self.latency += (seconds - self.latency) * (_LATENCY_WEIGHT if self.latency else 1.0)
        self.last_answer = asyncio.get_running_loop().time()

    def failed_by(self, error: LLMRequestError, *, trial: bool) -> None:
        """A request failed."""
        self.in_flight -= 1
        if error.fault == "caller":
            self.breaker.succeeded(trial=trial)
            return
        self.failed += 1
        if self.limited.adaptive and error.kind == "overload" and not trial:
            self.breaker.last_error = error  # the gate has heard of it, and holds back what is too much
            return
        self.breaker.failed(error, asyncio.get_running_loop().time(), trial=trial)

    def abandoned(self, *, trial: bool) -> None:
        """A request ended without telling anything of the endpoint: it was cancelled, or never sent."""
        self.in_flight -= 1
        self.breaker.abandoned(trial=trial)
