"""Rows whose answers are known: they end many at a time, and only the others are asked."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Sequence
from typing import Any

import pytest

from flexllm_batch.inputs.records import Record
from flexllm_batch.outcome import Outcome
from flexllm_batch.recalled_rows import BLOCK
from flexllm_batch.runner import Runner
from flexllm_batch.stop_rules import StopRules
from flexllm_core.errors import AuthenticationError, InputError
from flexllm_core.protocol import ModelWrapper, Recall
from flexllm_core.requests import ChatRequest
from flexllm_core.results import ChatCompletionResult

ROWS = 3 * BLOCK + 7


class Remembering(ModelWrapper):
    """Knows the answers to some questions; a look-up takes a while."""

    def __init__(self, inner: Any, knows: Callable[[int], bool], delay: float = 0.01) -> None:
        super().__init__(inner)
        self.knows = knows
        self.delay = delay
        self.looked_up: list[int] = []

    def recall(self) -> Recall:
        """By the number that is the question."""
        return self._recall

    async def _recall(self, requests: Sequence[ChatRequest]) -> list[ChatCompletionResult | None]:
        self.looked_up.append(len(requests))
        await asyncio.sleep(self.delay)
        numbers = [int(request.messages[0]["content"]) for request in requests]
        return [ChatCompletionResult(f"known {n}", cached=True) if self.knows(n) else None for n in numbers]


def records(count: int = ROWS, bad: int | None = None) -> Iterator[Record]:
    for index in range(count):
        error = InputError("bad") if index == bad else None
        yield Record(index, [] if error else [{"role": "user", "content": str(index)}], error=error)


def runner(model: Any, deliver: Callable[[Outcome], Awaitable[None] | None], known: list[int] | None = None) -> Runner:
    def deliver_known(outcomes: Sequence[Outcome]) -> None:
        if known is not None:
            known.append(len(outcomes))
        for outcome in outcomes:
            deliver(outcome)

    return Runner(
        model,
        window=8,
        make_request=lambda row: ChatRequest(row.messages, "m"),
        deliver=deliver,
        deliver_known=deliver_known,
        rules=StopRules(8),
        with_keys=True,
    )


def text(outcome: Outcome) -> str | None:
    return outcome.result.content if outcome.result else None


@pytest.mark.parametrize(
    "knows",
    [lambda _: True, lambda _: False, lambda n: n % 3 == 0, lambda n: n > 500],
    ids=["all", "none", "a third", "the last"],
)
async def test_each_row_ends_once_known_or_asked(make_model: Any, knows: Callable[[int], bool]) -> None:
    """With its own answer and key; what is known is never asked, and blocks are looked up once."""
    inner = make_model(lambda request: request.messages[0]["content"])
    model, ended = Remembering(inner, knows), []
    await runner(model, ended.append).run(records(bad=5))
    assert sorted(outcome.record.index for outcome in ended) == list(range(ROWS))
    for outcome in ended:
        index = outcome.record.index
        if index == 5:
            assert isinstance(outcome.error, InputError)
            continue
        assert text(outcome) == (f"known {index}" if knows(index) else str(index))
        assert outcome.request is not None
        assert outcome.key == outcome.request.fingerprint()
    assert len(inner.asked) == sum(not knows(index) for index in range(ROWS) if index != 5)
    assert model.looked_up == [BLOCK - 1, BLOCK, BLOCK, 7]


async def test_known_rows_end_together(make_model: Any) -> None:
    """A block in one step."""
    ended: list[Outcome] = []
    known: list[int] = []
    await runner(Remembering(make_model(), lambda _: True), ended.append, known).run(records())
    assert known == [BLOCK, BLOCK, BLOCK, 7]


def test_the_next_block_is_looked_up_while_rows_are_asked(make_model: Any, run_virtual: Any) -> None:
    """Nobody waits for a look-up but for the first."""

    async def main() -> float:
        model = Remembering(make_model(delay=0.1), lambda _: False, delay=1.0)
        began = asyncio.get_running_loop().time()
        await runner(model, lambda _: None).run(records(2 * BLOCK))
        return asyncio.get_running_loop().time() - began

    assert run_virtual(main()) == pytest.approx(1.0 + 2 * BLOCK / 8 * 0.1)


async def test_a_stop_leaves_the_rest(make_model: Any) -> None:
    """Rows that were looked up already are neither asked nor ended."""

    def answer(request: ChatRequest) -> str:
        raise AuthenticationError("no", endpoint="e")

    ended: list[Outcome] = []
    await runner(Remembering(make_model(answer), lambda n: n < BLOCK), ended.append).run(records())
    assert BLOCK < len(ended) <= BLOCK + 8


async def test_a_row_that_cannot_be_written_ends_the_run(make_model: Any) -> None:
    """What `deliver` raises for known rows is the run's error, and no look-up is left behind."""

    def deliver(_: Outcome) -> None:
        raise OSError("disk full")

    before = asyncio.all_tasks()
    with pytest.raises(OSError, match="disk full"):
        await runner(Remembering(make_model(), lambda _: True), deliver).run(records())
    assert asyncio.all_tasks() == before


async def test_rows_before_a_broken_source_are_asked(make_model: Any) -> None:
    """What the rows raise is raised when those before it have their outcomes."""

    def breaking() -> Iterator[Record]:
        yield from records(BLOCK + 3)
        raise ValueError("broken")

    ended: list[Outcome] = []
    with pytest.raises(ValueError, match="broken"):
        await runner(Remembering(make_model(), lambda n: n < 10), ended.append).run(breaking())
    assert len(ended) == BLOCK + 3
