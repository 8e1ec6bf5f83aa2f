"""Prefix affinity with servers that keep the beginnings of the last prompts: most is read from their caches."""

from __future__ import annotations

import asyncio
import json
import random
from collections import OrderedDict
from dataclasses import dataclass, field
from typing import Any

import pytest
from simulated_pool import Outcomes, member, run_rows
from simulated_server import SimulatedServer, constant, dead, flapping, hangs, lognormal, unavailable

from flexllm_batch.balance.affinity import LOOK_AHEAD, PrefixAffinity
from flexllm_batch.balance.balanced import Balanced
from flexllm_batch.balance.prefix import prefix_key
from flexllm_core.protocol import ChatModel, ModelWrapper
from flexllm_core.requests import ChatRequest
from flexllm_core.results import ChatCompletionResult
from flexllm_providers.retry import Retrying

DOCUMENT = 3000


@dataclass
class CachingServer(SimulatedServer):
    """Keeps the beginnings of the last prompts that it has answered; whoever comes before that reads all of it."""

    kept: int = 20
    hits: int = 0
    _cache: OrderedDict[str, None] = field(default_factory=OrderedDict)

    async def complete(self, request: ChatRequest) -> ChatCompletionResult:
        beginning = str(request.messages[-1]["content"])[:DOCUMENT]
        hit = beginning in self._cache
        result = await super().complete(request)
        self.hits += hit
        self._cache[beginning] = None
        self._cache.move_to_end(beginning)
        while len(self._cache) > self.kept:
            self._cache.popitem(last=False)
        return result


def prompts_of(documents: int, questions: int, order: str) -> list[str]:
    prompts = [f"{d:6} ".ljust(DOCUMENT, "x") + f"question {q}" for d in range(documents) for q in range(questions)]
    if order == "in blocks":  # rows of 8 documents at a time, mixed
        size, dice = 8 * questions, random.Random(1)
        blocks = [prompts[i : i + size] for i in range(0, len(prompts), size)]
        for block in blocks:
            dice.shuffle(block)
        prompts = [prompt for block in blocks for prompt in block]
    return prompts


class Streamed(ModelWrapper):
    """Asks for streams, and reads them to their end."""

    async def complete(self, request: ChatRequest) -> ChatCompletionResult:
        result: ChatCompletionResult | None = None
        async for event in self.inner.stream(request):
            result = event.result or result
        assert result is not None
        return result


def run(run_virtual: Any, prompts: list[str], *, affinity: bool, streams: bool = False) -> tuple[Outcomes, float]:
    """The outcomes, and the share of the prompts whose beginning was in the cache."""
    servers = [CachingServer(service=lognormal(1.0, 0.3), name=f"s{i}", seed=i) for i in range(4)]

    async def main() -> Outcomes:
        balanced = Balanced([member(server, 10) for server in servers])
        model: ChatModel = Retrying(PrefixAffinity(balanced) if affinity else balanced)
        model = Streamed(model) if streams else model
        return await run_rows(model, len(prompts), 40 * (LOOK_AHEAD if affinity else 1), prompts)

    return run_virtual(main()), sum(server.hits for server in servers) / len(prompts)


@pytest.mark.parametrize("order", ["sorted", "in blocks"])
@pytest.mark.parametrize(("documents", "questions"), [(200, 20), (400, 10), (4, 600), (1, 2000)])
def test_nine_tenths_of_what_could_be_cached_is_cached_and_no_time_is_lost(
    run_virtual: Any, seeded: Any, documents: int, questions: int, order: str
) -> None:
    """At least 90 % of the optimum; at most 5 % longer than without affinity."""
    seeded(1)
    prompts = prompts_of(documents, questions, order)
    plain, _ = run(run_virtual, prompts, affinity=False)
    outcomes, share = run(run_virtual, prompts, affinity=True)
    assert len(outcomes.ok) == len(prompts)
    optimum = 1 - documents / len(prompts)
    assert share >= 0.9 * optimum
    assert outcomes.seconds <= 1.05 * plain.seconds


@pytest.mark.parametrize(("documents", "questions"), [(200, 20), (4, 600)])
def test_streams_go_by_their_beginnings_too(run_virtual: Any, seeded: Any, documents: int, questions: int) -> None:
    """As much is cached, and no more time is lost."""
    seeded(1)
    prompts = prompts_of(documents, questions, "in blocks")
    plain, _ = run(run_virtual, prompts, affinity=False, streams=True)
    outcomes, share = run(run_virtual, prompts, affinity=True, streams=True)
    assert len(outcomes.ok) == len(prompts)
    assert share >= 0.9 * (1 - documents / len(prompts))
    assert outcomes.seconds <= 1.05 * plain.seconds


def test_a_stream_that_is_left_early_holds_nobody_back(run_virtual: Any) -> None:
    """The one that was sent ahead ends without an answer: the next one leads, and no slot is lost."""
    server = CachingServer(name="s", service=constant(1.0))
    prompts = prompts_of(1, 3, "sorted")

    async def main() -> tuple[Outcomes, int]:
        balanced = Balanced([member(server, 2)])
        model = PrefixAffinity(balanced)
        left = model.stream(ChatRequest([{"role": "user", "content": prompts[0]}], "m"))
        await anext(left)
        await left.aclose()
        outcomes = await run_rows(Streamed(model), 3, 3, prompts)
        return outcomes, balanced.stats[0].in_flight

    outcomes, in_flight = run_virtual(main())
    assert (len(outcomes.ok), in_flight) == (3, 0)
    assert outcomes.seconds <= 2.1


@pytest.mark.parametrize("seed", range(60))
def test_every_row_ends_whatever_fails_and_however_slowly_it_may_be_sent(
    run_virtual: Any, seeded: Any, seed: int
) -> None:
    """Members that fail, come and go, or have a rate; callers that give up: no call is held for ever."""
    seeded(seed)
    dice = random.Random(seed)
    prompts = prompts_of(6, 8, "in blocks")
    kinds = [list, lambda: [dead(after=2, until=30)], lambda: [dead()], lambda: [unavailable(share=0.5)]]
    faults = [*kinds, lambda: [hangs(share=0.2)], lambda: [flapping(2, 5)]]
    servers = [CachingServer(faults=dice.choice(faults)(), name=f"s{i}", seed=i) for i in range(dice.randint(1, 3))]
    streams = seed % 3 == 0
    limits: dict[str, Any] = {"max_qps": dice.choice([None, None, 2.0]), "adaptive": dice.random() < 0.5}

    async def main() -> Outcomes:
        members = [member(server, 4, timeout=5.0, recovery_time=5.0, limits=limits) for server in servers]
        model: ChatModel = Retrying(PrefixAffinity(Balanced(members)))
        model = Streamed(model) if streams else model
        doomed = [asyncio.ensure_future(run_rows(model, 10, 10, prompts)) for _ in range(2)]
        await asyncio.sleep(dice.random() * 3)
        for task in doomed:
            task.cancel()
        outcomes = await run_rows(model, len(prompts), 20, prompts)
        await asyncio.gather(*doomed, return_exceptions=True)
        return outcomes

    outcomes = run_virtual(main())
    assert len(outcomes.ok) + len(outcomes.failed) == len(prompts)
    assert all(server.in_system == 0 for server in servers)


@pytest.mark.parametrize(
    ("messages", "same"),
    [
        ([{"role": "system", "content": "s" * 3000}, {"role": "user", "content": "1"}], True),
        ([{"role": "user", "content": "d" * 3000 + "1"}], True),
        ([{"role": "user", "content": [{"type": "text", "text": "d" * 3000 + "1"}]}], True),
        ([{"role": "system", "content": "s"}, {"role": "user", "content": "d" * 3000 + "1"}], True),
        ([{"role": "user", "content": "1" + "d" * 3000}], False),
    ],
)
def test_prompts_are_known_by_their_long_beginning(messages: list[Any], same: bool) -> None:
    """Whether it is a system prompt or the first part of the question."""
    other = [*messages[:-1], json.loads(json.dumps(messages[-1]).replace("1", "2"))]
    first, second = (prefix_key(ChatRequest(one, "m")) for one in (messages, other))
    assert first is not None
    assert (first == second) is same


def test_a_short_prompt_has_no_beginning_to_speak_of() -> None:
    """It goes to whichever member has room."""
    assert prefix_key(ChatRequest([{"role": "user", "content": "x" * 2047}], "m")) is None
    assert prefix_key(ChatRequest([{"role": "user", "content": None}], "m")) is None
