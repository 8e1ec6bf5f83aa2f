"""Rows whose answers are known: they end many at a time, and only the others are asked."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest

from flexllm_batch.inputs.records import Record
from flexllm_batch.outcome import Outcome
from flexllm_batch.recalled_rows import BLOCK, LARGEST_BLOCK, KnownAnswers
from flexllm_batch.runner import Runner
from flexllm_batch.stop_rules import StopRules
from flexllm_core.errors import AuthenticationError, InputError
from flexllm_core.requests import ChatRequest
from flexllm_core.results import ChatCompletionResult

ROWS = 4 * BLOCK + 7


class Memory:
    """Knows the answers to some questions; a look-up takes a while."""

    def __init__(self, knows: Callable[[int], bool], delay: float = 0.01) -> None:
        self.knows = knows
        self.delay = delay
        self.looked_up: list[int] = []
        self.ended: list[Outcome] = []
        self.together: list[int] = []

    async def recall(self, fingerprints: Sequence[str]) -> list[ChatCompletionResult | None]:
        self.looked_up.append(len(fingerprints))
        await asyncio.sleep(self.delay)
        numbers = [NUMBERS.get(fingerprint, -1) for fingerprint in fingerprints]
        return [ChatCompletionResult(f"known {n}", cached=True) if self.knows(n) else None for n in numbers]

    def deliver(self, outcomes: Sequence[Outcome]) -> None:
        self.together.append(len(outcomes))
        self.ended += outcomes


def question(index: int) -> ChatRequest:
    return ChatRequest([{"role": "user", "content": str(index)}], "m")


NUMBERS = {question(index).fingerprint(): index for index in range(ROWS)}


def records(count: int = ROWS, bad: int | None = None) -> Iterator[Record]:
    for index in range(count):
        error = InputError("bad") if index == bad else None
        yield Record(index, [] if error else [{"role": "user", "content": str(index)}], error=error)


def runner(model: Any, memory: Memory, deliver: Callable[[Outcome], Any] | None = None) -> Runner:
    def request(row: Record) -> ChatRequest:
        return ChatRequest(row.messages, "m")

    return Runner(
        model,
        window=8,
        make_request=request,
        deliver=deliver or memory.ended.append,
        rules=StopRules(8),
        with_keys=True,
        known=KnownAnswers(memory.recall, lambda row: request(row).fingerprint(), memory.deliver),
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
    model, memory = make_model(lambda request: request.messages[0]["content"]), Memory(knows)
    await runner(model, memory).run(records(bad=5))
    assert sorted(outcome.record.index for outcome in memory.ended) == list(range(ROWS))
    for outcome in memory.ended:
        index = outcome.record.index
        if index == 5:
            assert isinstance(outcome.error, InputError)
            continue
        assert text(outcome) == (f"known {index}" if knows(index) else str(index))
        assert outcome.key == question(index).fingerprint()
        assert (outcome.request is None) == knows(index)
    assert len(model.asked) == sum(not knows(index) for index in range(ROWS) if index != 5)
    assert memory.looked_up[:2] == [BLOCK - 1, BLOCK]
    assert sum(memory.looked_up) == ROWS - 1


async def test_known_rows_end_together(make_model: Any) -> None:
    """A block in one step."""
    memory = Memory(lambda _: True)
    await runner(make_model(), memory).run(records())
    assert memory.together == [BLOCK, BLOCK, BLOCK, BLOCK, 7]


def test_blocks_grow_while_they_are_waited_for(make_model: Any, run_virtual: Any) -> None:
    """Where rows are asked fast, up to a limit; where they are not, few of them are read ahead."""
    fast, slow = Memory(lambda _: False, delay=1.0), Memory(lambda _: False, delay=0.01)
    run_virtual(runner(make_model(), fast).run(records(6 * LARGEST_BLOCK)))
    assert fast.looked_up[:3] == [BLOCK, BLOCK, 2 * BLOCK]
    assert max(fast.looked_up) == LARGEST_BLOCK
    run_virtual(runner(make_model(delay=1.0), slow).run(records(6 * LARGEST_BLOCK)))
    assert max(slow.looked_up) == 2 * BLOCK  # the first is always waited for


def test_the_next_block_is_looked_up_while_rows_are_asked(make_model: Any, run_virtual: Any) -> None:
    """Nobody waits for a look-up but for the first."""

    async def main() -> float:
        began = asyncio.get_running_loop().time()
        await runner(make_model(delay=0.1), Memory(lambda _: False, delay=1.0)).run(records(2 * BLOCK))
        return asyncio.get_running_loop().time() - began

    assert run_virtual(main()) == pytest.approx(1.0 + 2 * BLOCK / 8 * 0.1)


async def test_a_stop_leaves_the_rest(make_model: Any) -> None:
    """Rows that were looked up already are neither asked nor ended."""

    def answer(request: ChatRequest) -> str:
        raise AuthenticationError("no", endpoint="e")

    memory = Memory(lambda n: n < BLOCK)
    await runner(make_model(answer), memory).run(records())
    assert BLOCK < len(memory.ended) <= BLOCK + 8


async def test_rows_that_cannot_be_written_end_the_run(make_model: Any) -> None:
    """What `deliver` raises is the run's error, and no look-up is left behind."""

    class Full(Memory):
        def deliver(self, outcomes: Sequence[Outcome]) -> None:
            raise OSError("disk full")

    before = asyncio.all_tasks()
    with pytest.raises(OSError, match="disk full"):
        await runner(make_model(), Full(lambda _: True)).run(records())
    assert asyncio.all_tasks() == before


async def test_rows_before_a_broken_source_are_asked(make_model: Any) -> None:
    """What the rows raise is raised when those before it have their outcomes."""

    def breaking() -> Iterator[Record]:
        yield from records(BLOCK + 3)
        raise ValueError("broken")

    memory = Memory(lambda n: n < 10)
    with pytest.raises(ValueError, match="broken"):
        await runner(make_model(), memory).run(breaking())
    assert len(memory.ended) == BLOCK + 3


async def test_a_request_that_cannot_be_made_is_the_error_of_its_row(make_model: Any) -> None:
    """Whether its fingerprint fails or the request itself, the others are answered."""
    memory = Memory(lambda _: False)
    asked = runner(make_model(), memory)
    rows = [*records(3), Record(3, [{"role": "user", "content": {1, 2}}])]  # type: ignore[list-item]
    await asked.run(iter(rows))
    assert [outcome.error is None for outcome in sorted(memory.ended, key=lambda o: o.record.index)] == [True] * 3 + [
        False
    ]
