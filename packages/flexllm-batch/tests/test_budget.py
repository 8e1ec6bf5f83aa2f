"""The budget: who may reserve, who waits and who is refused; the ledger behind it only adds up."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine
from decimal import Decimal
from typing import Any

import pytest

from flexllm_batch.cost.budget import Budget, budget_warning
from flexllm_batch.cost.ledger import Ledger
from flexllm_batch.cost.tracking import CostTrackerConfig, cost_tracking
from flexllm_core.errors import BudgetExceededError, ConfigError

Run = Callable[[Coroutine[Any, Any, Any]], Any]
TEN = Decimal(10)


def test_the_ledger_adds_up() -> None:
    """Reservations are settled, released or kept as estimates."""
    ledger = Ledger(TEN)
    for _ in range(3):
        ledger.reserve(Decimal(3))
    assert (ledger.left, ledger.fits(Decimal(1)), ledger.fits(Decimal(2))) == (1, True, False)
    ledger.settle(Decimal(3), Decimal("0.5"))
    ledger.release(Decimal(3))
    ledger.estimate(Decimal(3))
    assert (ledger.spent, ledger.reserved, ledger.estimated, ledger.estimated_count) == (Decimal("3.5"), 0, 3, 1)
    assert ledger.summary() == "$3.5000 ($3.0000 of it estimated) spent and $0.0000 reserved of $10.0000"
    ledger.settle(Decimal(0), Decimal(20))  # something cost more than anybody could know
    assert (ledger.left, ledger.fits(Decimal(0)), ledger.may_fit(Decimal(0))) == (Decimal("-13.5"), False, False)


async def test_what_cannot_fit_any_more_is_refused_at_once() -> None:
    """The error has the amounts, and nothing is reserved by it."""
    budget = Budget(TEN)
    assert budget.try_reserve(Decimal(9))
    budget.settle(Decimal(9), Decimal(9))
    with pytest.raises(
        BudgetExceededError, match=r"used up: \$9\.0000 spent and .* may cost up to \$2\.0000"
    ) as caught:
        await budget.reserve(Decimal(2))
    assert (caught.value.spent, caught.value.reserved, caught.value.limit) == (9, 0, 10)
    await budget.reserve(Decimal(1))
    assert budget.ledger.reserved == 1


def test_what_may_fit_later_waits_in_its_order(run_virtual: Run) -> None:
    """A small call does not pass a large one that waits; each settlement lets in whoever fits then."""

    async def main() -> None:
        budget, order = Budget(TEN), list[str]()

        async def call(name: str, amount: int, seconds: float, cost: int) -> None:
            if not budget.try_reserve(Decimal(amount)):
                await budget.reserve(Decimal(amount))
            order.append(name)
            await asyncio.sleep(seconds)
            budget.settle(Decimal(amount), Decimal(cost))

        async with asyncio.TaskGroup() as group:
            for name, amount, seconds, cost in [("a", 8, 1, 1), ("large", 6, 5, 2), ("small", 1, 1, 1)]:
                group.create_task(call(name, amount, seconds, cost))
                await asyncio.sleep(0)
        assert order == ["a", "large", "small"]
        assert (budget.ledger.spent, budget.ledger.reserved) == (4, 0)

    run_virtual(main())


def test_who_waits_is_refused_when_too_much_is_spent_meanwhile(run_virtual: Run) -> None:
    """And those behind it have their turn."""

    async def main() -> None:
        budget = Budget(TEN)
        await budget.reserve(Decimal(9))
        large = asyncio.ensure_future(budget.reserve(Decimal(6)))
        small = asyncio.ensure_future(budget.reserve(Decimal(1)))
        await asyncio.sleep(0)
        budget.estimate(Decimal(5))
        with pytest.raises(BudgetExceededError):
            await large
        await small
        assert (budget.ledger.spent, budget.ledger.reserved) == (5, 5)

    run_virtual(main())


@pytest.mark.parametrize("granted", [False, True])
def test_a_call_that_is_cancelled_while_it_waits_leaves_nothing_behind(run_virtual: Run, granted: bool) -> None:
    """Also in the moment in which it is let in."""

    async def main() -> None:
        budget = Budget(TEN)
        await budget.reserve(TEN)
        waiting = asyncio.ensure_future(budget.reserve(Decimal(4)))
        behind = asyncio.ensure_future(budget.reserve(Decimal(6)))
        await asyncio.sleep(0)
        if granted:
            budget.release(Decimal(4))
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        if not granted:
            budget.release(TEN)
            await behind
            assert budget.ledger.reserved == 6
            return
        await asyncio.sleep(0)
        budget.release(Decimal(2))
        await behind
        assert budget.ledger.reserved == 10

    run_virtual(main())


def test_one_budget_serves_loops_in_several_threads() -> None:
    """Who waits on one loop is let in by who settles on another."""
    budget, entered = Budget(TEN), threading.Event()

    async def wait() -> None:
        await budget.reserve(Decimal(5))

    def other() -> None:
        asyncio.run(wait())
        entered.set()

    assert budget.try_reserve(TEN)
    thread = threading.Thread(target=other)
    thread.start()
    while not budget._waiters:
        pass
    budget.settle(TEN, Decimal(1))
    thread.join(10)
    assert entered.is_set()
    assert (budget.ledger.spent, budget.ledger.reserved) == (1, 5)


def test_the_warning_comes_once() -> None:
    """At its share of the limit, to everybody who listens; what a listener raises harms nobody."""
    warned: list[Ledger] = []

    def broken(_: Ledger) -> None:
        raise ValueError("not my day")

    config = CostTrackerConfig.with_budget(10, warning=0.5, on_warning=broken)
    budget = config.make_budget()
    assert budget is not None
    budget.add_listener(warned.append)
    budget.add_listener(print)
    budget.remove_listener(print)
    for _ in range(4):
        assert budget.try_reserve(Decimal("2.5"))
        budget.settle(Decimal("2.5"), Decimal("2.5"))
    assert [ledger.spent for ledger in warned] == [5]
    assert budget_warning(warned[0]) == "budget: 50% is used: $5.0000 spent and $0.0000 reserved of $10.0000"


@pytest.mark.parametrize("limit", [0, -1, True, "much", float("nan"), float("inf"), None])
def test_a_limit_must_be_dollars(limit: Any) -> None:
    """Above nothing."""
    with pytest.raises(ConfigError, match="expected US dollars above 0"):
        CostTrackerConfig.with_budget(limit)


def test_a_budgets_other_values_are_checked() -> None:
    """A share, and one of two words."""
    for warning in (0, 1.5, -1):
        with pytest.raises(ConfigError, match="share"):
            CostTrackerConfig.with_budget(1, warning)
    with pytest.raises(ConfigError, match="refuse"):
        CostTrackerConfig.with_budget(1, on_unknown_price="maybe")  # type: ignore[arg-type]


def test_two_arguments_that_contradict_each_other_are_refused() -> None:
    """And the plain one is a short form of the other."""
    with pytest.raises(ConfigError, match="contradict"):
        cost_tracking(CostTrackerConfig.disabled(), track_cost=True)
    assert cost_tracking(None, track_cost=True) == CostTrackerConfig.tracking_only()
    assert cost_tracking(None, track_cost=False) == CostTrackerConfig.disabled()
    assert CostTrackerConfig.tracking_only().make_budget() is None
