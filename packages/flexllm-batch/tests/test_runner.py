"""The runner: a bounded window, and exactly one outcome for every row."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any

import pytest

from flexllm_batch.inputs.records import Record
from flexllm_batch.outcome import Outcome
from flexllm_batch.runner import Runner
from flexllm_batch.stop_rules import FailureLimit, StopRules
from flexllm_core.errors import AuthenticationError, InputError, LLMRequestError
from flexllm_core.requests import ChatRequest


def record(index: int) -> Record:
    return Record(index, [{"role": "user", "content": str(index)}])


def records(count: int, taken: list[int] | None = None) -> Iterator[Record]:
    for index in range(count):
        if taken is not None:
            taken.append(index)
        yield record(index)


async def async_records(count: int, taken: list[int] | None = None) -> AsyncIterator[Record]:
    for each in records(count, taken):
        await asyncio.sleep(0)
        yield each


def make_runner(
    model: Any,
    deliver: Callable[[Outcome], Awaitable[None] | None],
    window: int = 4,
    rules: StopRules | None = None,
) -> Runner:
    return Runner(
        model,
        window=window,
        make_request=lambda row: ChatRequest(row.messages, "m"),
        deliver=deliver,
        rules=rules or StopRules(window),
        with_keys=True,
    )


@pytest.fixture(params=[records, async_records], ids=["iterator", "async iterator"])
def source(request: pytest.FixtureRequest) -> Any:
    """Each kind of source: `source(count, taken)`."""
    return request.param


async def test_every_row_has_exactly_one_outcome(make_model: Any, source: Any) -> None:
    """With its key and its answer, whatever the order."""
    outcomes: list[Any] = []
    model = make_model(delay=0.001)
    await make_runner(model, outcomes.append).run(source(50))
    assert Counter(outcome.record.index for outcome in outcomes) == Counter(range(50))
    for outcome in outcomes:
        assert outcome.key == ChatRequest(outcome.record.messages, "m").fingerprint()
        assert outcome.result.content == f"answer to {outcome.key}"
        assert outcome.error is None


@pytest.mark.parametrize("window", [1, 3, 100])
async def test_the_window_is_respected_and_filled(make_model: Any, source: Any, window: int) -> None:
    """Never more rows in flight, and as many as there are."""
    model, seen = make_model(delay=0.02), []
    runner = make_runner(model, lambda _: seen.append(runner.in_flight), window)
    await runner.run(source(30))
    assert model.peak == min(window, 30)
    assert max(seen) <= window
    assert runner.in_flight == 0


async def test_rows_are_taken_only_as_the_window_moves(make_model: Any, source: Any) -> None:
    """A source of any length is never read ahead of the window."""
    taken: list[int] = []
    done = 0

    def deliver(_: Outcome) -> None:
        nonlocal done
        done += 1
        assert len(taken) <= done + 4

    await make_runner(make_model(), deliver).run(source(200, taken))
    assert done == 200


async def test_a_fault_in_one_row_does_not_stop_the_others(make_model: Any, source: Any) -> None:
    """Foreseen or not, an error is the outcome of its row; also a cancellation that nobody here asked for."""
    faults: dict[str, BaseException] = {
        "3": LLMRequestError("refused"),
        "5": ZeroDivisionError("a bug"),
        "7": asyncio.CancelledError(),
        "9": MemoryError(),
        "11": TimeoutError(),
    }
    model = make_model(lambda request: faults.get(request.messages[-1]["content"], "fine"))
    outcomes: dict[int, Outcome] = {}
    await make_runner(model, lambda outcome: outcomes.update({outcome.record.index: outcome})).run(source(20))
    assert sorted(outcomes) == list(range(20))
    failed = {index: type(outcome.error) for index, outcome in outcomes.items() if outcome.error is not None}
    assert failed == {
        3: LLMRequestError,
        5: ZeroDivisionError,
        7: RuntimeError,
        9: MemoryError,
        11: TimeoutError,
    }


async def test_a_bad_row_is_an_outcome_without_a_request(make_model: Any) -> None:
    """Nothing is sent for it."""
    outcomes: list[Any] = []
    model = make_model()
    rows = [record(0), Record(1, [], error=InputError("bad")), record(2)]
    await make_runner(model, outcomes.append).run(iter(rows))
    assert {outcome.record.index: str(outcome.error) for outcome in outcomes if outcome.error} == {1: "bad"}
    assert sorted(model.prompts) == ["0", "2"]


async def test_a_row_whose_key_cannot_be_made_is_not_paid_for(make_model: Any) -> None:
    """Its answer could not be kept, so it is not asked."""
    outcomes: list[Any] = []
    model = make_model()
    await make_runner(model, outcomes.append).run(iter([Record(0, [{"role": "user", "content": "x", "y": object()}])]))
    assert isinstance(outcomes[0].error, InputError)
    assert model.asked == []


async def test_an_error_of_deliver_ends_the_run(make_model: Any, source: Any) -> None:
    """No further row is taken, those in flight are left, and the error comes out."""
    taken: list[int] = []

    def deliver(outcome: Outcome) -> None:
        if outcome.record.index == 6:
            raise OSError("disk full")

    runner = make_runner(make_model(delay=0.001), deliver)
    with pytest.raises(OSError, match="disk full"):
        await runner.run(source(1000, taken))
    assert len(taken) <= 14
    assert runner.in_flight == 0


async def test_an_error_of_the_source_ends_the_run(make_model: Any, source: Any) -> None:
    """What the iterator raises comes out, when the rows that were taken before have their answers."""
    outcomes: list[Any] = []

    def broken() -> Iterator[Record]:
        yield from records(3)
        raise ValueError("the generator failed")

    async def broken_async() -> AsyncIterator[Record]:
        for each in broken():
            await asyncio.sleep(0)
            yield each

    runner = make_runner(make_model(delay=0.01), outcomes.append)
    with pytest.raises(ValueError, match="the generator failed"):
        await runner.run(broken() if source is records else broken_async())
    assert sorted(outcome.record.index for outcome in outcomes) == [0, 1, 2]
    assert all(outcome.result is not None for outcome in outcomes)
    assert runner.in_flight == 0


async def test_stop_finishes_what_is_in_flight(make_model: Any, source: Any) -> None:
    """After stop() no row is taken, and every row that was asked is delivered."""
    taken: list[int] = []
    outcomes: list[Outcome] = []
    model = make_model(delay=0.002)

    def deliver(outcome: Outcome) -> None:
        outcomes.append(outcome)
        if len(outcomes) == 5:
            runner.stop()

    runner = make_runner(model, deliver)
    await runner.run(source(1000, taken))
    assert runner.stopped
    assert len(outcomes) == len(model.asked) <= 9
    assert all(outcome.result is not None for outcome in outcomes)


async def test_stop_does_not_wait_for_a_source_that_gives_nothing(make_model: Any) -> None:
    """A queue that stays empty for ever does not keep a stopped run alive."""
    closed = asyncio.Event()

    async def endless() -> AsyncIterator[Record]:
        try:
            yield record(0)
            await asyncio.Event().wait()
        finally:
            closed.set()

    outcomes: list[Outcome] = []
    runner = make_runner(make_model(), outcomes.append)
    running = asyncio.create_task(runner.run(endless()))
    while not outcomes:
        await asyncio.sleep(0)
    runner.stop()
    async with asyncio.timeout(5):
        await running
    assert len(outcomes) == 1
    assert closed.is_set()


async def test_after_a_stop_rule_no_worker_takes_another_row(make_model: Any, source: Any) -> None:
    """A rejected key costs the rows in flight, also when workers were already waiting for their turn."""
    model = make_model(lambda _: AuthenticationError("wrong key"))
    await make_runner(model, lambda _: None, window=50).run(source(1000))
    assert len(model.asked) <= 50
    slow = make_model(lambda _: AuthenticationError("wrong key"))

    async def trickle() -> AsyncIterator[Record]:
        for index in range(1000):
            await asyncio.sleep(0.001)
            yield record(index)

    await make_runner(slow, lambda _: None, window=50).run(trickle())
    assert len(slow.asked) == 1


async def test_abort_leaves_what_is_in_flight(make_model: Any, source: Any) -> None:
    """abort() cancels the calls; what was delivered before stays delivered."""
    outcomes: list[Outcome] = []
    model = make_model(delay=1000)
    runner = make_runner(model, outcomes.append)
    running = asyncio.create_task(runner.run(source(100)))
    while model.in_flight < 4:
        await asyncio.sleep(0)
    runner.abort()
    async with asyncio.timeout(5):
        await running
    assert (outcomes, model.in_flight, runner.in_flight) == ([], 0, 0)


async def test_cancelling_the_run_cancels_its_calls(make_model: Any, source: Any) -> None:
    """Nothing goes on in the background."""
    model = make_model(delay=1000)
    running = asyncio.create_task(make_runner(model, lambda _: None).run(source(100)))
    while model.in_flight < 4:
        await asyncio.sleep(0)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert model.in_flight == 0


async def test_a_slow_consumer_holds_rows_back(make_model: Any, source: Any) -> None:
    """While what deliver returned is not done, the row keeps its place in the window."""
    gate = asyncio.Event()
    taken: list[int] = []
    runner = make_runner(make_model(), lambda _: gate.wait())  # type: ignore[arg-type,return-value]
    running = asyncio.create_task(runner.run(source(100, taken)))
    for _ in range(50):
        await asyncio.sleep(0)
    assert len(taken) == 4
    gate.set()
    await running
    assert len(taken) == 100


async def test_a_failure_limit_stops_the_run(make_model: Any) -> None:
    """More failures than --max-failures: the rest is not asked."""
    model = make_model(lambda _: ValueError("bad answer"))
    rules = StopRules(2, FailureLimit(count=3))
    await make_runner(model, lambda _: None, window=2, rules=rules).run(records(100))
    assert rules.kind == "failures"
    assert 4 <= len(model.asked) <= 6
