"""Budgets against a server that keeps accounts: whatever goes wrong, it never bills more than the limit."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncGenerator, Callable, Coroutine
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

import pytest

from flexllm_batch.cost.budget import Budget
from flexllm_batch.cost.budgeted import Budgeted
from flexllm_batch.cost.input_bound import input_bound
from flexllm_batch.cost.metered import Metered
from flexllm_batch.cost.pricing import Pricer
from flexllm_batch.limits.limited import Limited
from flexllm_core.endpoint import Price
from flexllm_core.errors import (
    BadRequestError,
    BudgetExceededError,
    LLMConnectionError,
    LLMRequestError,
    LLMResponseError,
    LLMTimeoutError,
    RateLimitError,
    ServerError,
)
from flexllm_core.protocol import ChatModel, ModelWrapper
from flexllm_core.requests import ChatRequest
from flexllm_core.results import ChatCompletionResult, StreamEvent, Usage
from flexllm_providers.retry import Retrying, RetryPolicy

Run = Callable[[Coroutine[Any, Any, Any]], Any]

RESERVATIONS = 20
"""A limit of so many of the largest reservations: then refused means that 95 % are spent."""


def refused_connection() -> LLMConnectionError:
    error = LLMConnectionError("connection refused")
    error.may_be_billed = False
    return error


FAILURES: list[tuple[bool, Callable[[], LLMRequestError]]] = [
    (False, lambda: RateLimitError("slow down", status_code=429)),
    (False, lambda: ServerError("no", status_code=500)),
    (False, lambda: BadRequestError("never", status_code=400)),
    (False, refused_connection),
    (True, lambda: LLMTimeoutError("too late")),
    (True, lambda: LLMConnectionError("cut")),
    (True, lambda: LLMResponseError("an empty answer", status_code=200)),
]
"""Whether the server bills the attempt, and what the client gets."""


@dataclass
class Account:
    """What the servers of one owner have billed."""

    billed: Decimal = Decimal(0)
    requests: int = 0


@dataclass
class BillingServer:
    """Answers like a provider at a price, in virtual time, and bills whatever it generated."""

    random: random.Random
    account: Account
    price: Price
    failing: float = 0.0
    silent: float = 0.0  # share of answers without usage
    long_input: bool = False
    sent: list[ChatRequest] = field(default_factory=list)

    def _bill(self, request: ChatRequest, share: float = 1.0) -> Usage:
        choices = request.params.get("n", 1)
        limit = request.params.get("max_tokens", 0) * choices
        text = len(request.messages[0]["content"].encode())
        prompt = text + 10 if self.long_input else self.random.randint(text // 5, text // 2)
        cached = self.random.choice([0, prompt // 2])
        if limit:
            completion = max(1, int(self.random.randint(1, limit) * share))
        else:  # lengths with a heavy tail: one in a hundred is eleven times the median
            completion = max(1, sum(int(self.random.lognormvariate(6, 1)) for _ in range(choices)))
        usage = Usage(prompt, completion, prompt + completion, cached_tokens=cached)
        rates = Pricer(self.price, None).rates("m")
        assert rates is not None
        self.account.billed += rates.cost(usage)
        return usage

    async def complete(self, request: ChatRequest) -> ChatCompletionResult:
        self.account.requests += 1
        self.sent.append(request)
        await asyncio.sleep(self.random.uniform(0.1, 5.0))
        if self.random.random() < self.failing:
            billed, make_error = self.random.choice(FAILURES)
            if billed:
                self._bill(request, share=self.random.random())
            raise make_error()
        usage = self._bill(request)
        told = None if self.random.random() < self.silent else usage
        return ChatCompletionResult("x", finish_reason="stop", usage=told, model="m", endpoint="e")

    async def stream(self, request: ChatRequest) -> AsyncGenerator[StreamEvent, None]:
        result = await self.complete(request)
        yield StreamEvent("content", "x")
        await asyncio.sleep(0.1)
        if self.random.random() < self.failing:
            raise LLMConnectionError("cut")  # billed above
        yield StreamEvent("done", result=result)

    async def aclose(self) -> None:
        pass


class TakingTurns(ModelWrapper):
    """Several endpoints in turn, and the next one when one fails: as a pool does."""

    def __init__(self, members: list[ChatModel]) -> None:
        super().__init__(members[0])
        self.members = members
        self.next = 0

    async def complete(self, request: ChatRequest) -> ChatCompletionResult:
        self.next += 1
        for number in range(len(self.members)):
            try:
                return await self.members[(self.next + number) % len(self.members)].complete(request)
            except LLMRequestError as error:
                last = error
        raise last

    async def stream(self, request: ChatRequest) -> AsyncGenerator[StreamEvent, None]:
        self.next += 1
        async for event in self.members[self.next % len(self.members)].stream(request):
            yield event


@dataclass
class Case:
    """One drawn case, and how it went."""

    seed: int
    max_tokens: bool = True
    limit_factor: int = RESERVATIONS
    refused: int = 0
    answered: int = 0

    def __post_init__(self) -> None:
        self.random = draw = random.Random(self.seed)
        self.account = Account()
        self.concurrency = draw.choice([1, 3, 10, 50, 200])
        self.streams = draw.random() < 0.4
        failing, silent = draw.choice([0, 0, 0.1, 0.5]), draw.choice([0, 0, 0.2])
        self.servers = [
            BillingServer(
                draw,
                self.account,
                Price(
                    input=draw.choice([0.1, 1, 3, 15]),
                    output=draw.choice([0.4, 5, 75]),
                    cached=draw.choice([None, 0.05]),
                    cache_write=draw.choice([None, 20]),
                ),
                failing,
                silent,
                long_input=draw.random() < 0.3,
            )
            for _ in range(draw.choice([1, 1, 2, 3]))
        ]
        params = {"max_tokens": draw.choice([1, 16, 500, 4000])} if self.max_tokens else {}
        if draw.random() < 0.2:
            params["n"] = draw.randint(2, 4)
        self.requests = [
            ChatRequest([{"role": "user", "content": "π" * draw.randint(0, 300)}], "m", params) for _ in range(400)
        ]
        self.budget = Budget(self.limit_factor * self.largest_reservation())
        self.model = self._stack()

    def largest_reservation(self) -> Decimal:
        worst = Decimal(0)
        for server in self.servers:
            rates = Pricer(server.price, None).worst_rates("m")
            assert rates is not None
            for request in self.requests:
                output = request.params.get("max_tokens", 4096) * request.params.get("n", 1)
                worst = max(worst, rates.worst_cost(input_bound(request).tokens, output, any_kind=False))
        return worst

    def _stack(self) -> ChatModel:
        def limit(request: ChatRequest) -> int | None:
            found = request.params.get("max_tokens")
            return found and found * request.params.get("n", 1)

        members: list[ChatModel] = [
            Limited(
                Budgeted(
                    server, self.budget, Pricer(server.price, None), output_limit=limit, model=None, label="server"
                ),
                concurrency=self.concurrency,
            )
            for server in self.servers
        ]
        one = members[0] if len(members) == 1 else TakingTurns(members)
        return Metered(Retrying(one, RetryPolicy(patience=60.0)), Pricer(self.servers[0].price, None), self.budget)

    async def ask(self, request: ChatRequest) -> None:
        if not (self.streams and self.random.random() < 0.5):
            await self.model.complete(request)
            return
        leave = self.random.random() < 0.1
        events = self.model.stream(request)
        try:
            async for _ in events:
                if leave:
                    return
        finally:
            await events.aclose()

    async def run(self) -> Case:
        rows = iter(self.requests)

        async def work() -> None:
            for request in rows:
                try:
                    await self.ask(request)
                except BudgetExceededError:
                    self.refused += 1
                    return  # as a batch stops
                except LLMRequestError:
                    pass
                else:
                    self.answered += 1

        await asyncio.gather(*(work() for _ in range(self.concurrency)))
        return self


@pytest.mark.parametrize("seed", range(200))
def test_the_bill_never_passes_the_limit(run_virtual: Run, seed: int) -> None:
    """Prices, failures, retries, failovers, streams and missing usage as drawn; with max_tokens in every request.

    What is counted as spent is at least what was billed and at most the limit. Where rows are left, at
    least 90 % of the limit are used, as it is 20 times the largest reservation.
    """
    case = run_virtual(Case(seed).run())
    ledger = case.budget.ledger
    assert case.account.billed <= ledger.spent <= ledger.limit
    assert ledger.reserved == 0
    if case.refused:
        assert ledger.spent >= Decimal("0.9") * ledger.limit
    if not ledger.estimated_count:
        assert case.account.billed == ledger.spent
    assert case.account.requests == sum(len(server.sent) for server in case.servers)


def test_small_limits_hold_too(run_virtual: Run) -> None:
    """A limit of less than one reservation admits nothing, one of three at most three at a time."""
    for seed in range(20):
        case = run_virtual(Case(seed, limit_factor=3).run())
        assert case.account.billed <= case.budget.ledger.spent <= case.budget.ledger.limit
        nothing = Case(seed)
        nothing.budget = Budget(min(nothing.largest_reservation(), Decimal("1e-9")))
        nothing.model = nothing._stack()
        run_virtual(nothing.run())
        assert (nothing.account.requests, nothing.account.billed) == (0, 0)


def test_many_cases_leave_rows_and_many_do_not(run_virtual: Run) -> None:
    """The cases above are of both kinds, and have retries, estimates and several prices among them."""
    cases = [run_virtual(Case(seed).run()) for seed in range(0, 200, 5)]
    assert 5 <= sum(bool(case.refused) for case in cases) <= 38
    assert any(case.budget.ledger.estimated_count for case in cases)
    assert any(case.account.requests > len(case.requests) for case in cases)


def test_without_max_tokens_the_limit_is_passed_by_little(run_virtual: Run) -> None:
    """Answers of any length, with a heavy tail, reserved at what is known of them: what docs/cost.md says of it."""
    overshoots = []
    for seed in range(0, 200, 5):
        case = run_virtual(Case(seed, max_tokens=False).run())
        ledger = case.budget.ledger
        overshoots.append(ledger.spent / ledger.limit - 1)
        assert case.refused == 0 or ledger.spent > Decimal("0.75") * ledger.limit
    assert sum(share > 0 for share in overshoots) <= 1
    assert max(overshoots) < Decimal("0.2")
