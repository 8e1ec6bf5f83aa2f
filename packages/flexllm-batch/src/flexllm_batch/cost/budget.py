"""Budget: one ledger for many calls, on any event loop: who may reserve now, who waits, and who is refused.

A call whose reservation does not fit waits as long as what others have reserved may still come free. It
is refused when even that would not be enough: then more than the limit less its own reservation is
really spent. Those that wait are served in their order, so that the dear ones are not passed over.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Literal

from flexllm_batch.cost.ledger import Ledger
from flexllm_core.errors import BudgetExceededError

_log = logging.getLogger(__name__)

OnUnknownPrice = Literal["refuse", "ignore"]


@dataclass(eq=False, slots=True)
class _Waiter:
    amount: Decimal
    loop: asyncio.AbstractEventLoop
    granted: asyncio.Future[bool]


class Budget:
    """What a client's calls may cost together.

    Args:
        limit: US dollars.
        warning: The share of the limit at which `on_warning` is called, once.
        on_warning: Is called with the ledger when so much is spent.
        on_unknown_price: Whether calls whose price is unknown are refused, or left out of the budget.
    """

    def __init__(
        self,
        limit: Decimal,
        *,
        warning: float | None = None,
        on_warning: Callable[[Ledger], None] | None = None,
        on_unknown_price: OnUnknownPrice = "refuse",
    ) -> None:
        self._ledger = Ledger(limit)
        self._warn_at = None if warning is None else limit * Decimal(str(warning))
        self._listeners = [on_warning] if on_warning is not None else []
        self.on_unknown_price: OnUnknownPrice = on_unknown_price
        self._lock = threading.Lock()  # a client may be used on several loops, in threads of their own
        self._waiters: deque[_Waiter] = deque()

    @property
    def ledger(self) -> Ledger:
        """The amounts at this moment."""
        with self._lock:
            return replace(self._ledger)

    def add_listener(self, listener: Callable[[Ledger], None]) -> None:
        """Call somebody else too, when the warning's share is spent."""
        self._listeners.append(listener)

    def remove_listener(self, listener: Callable[[Ledger], None]) -> None:
        """Do not call a listener any more."""
        if listener in self._listeners:
            self._listeners.remove(listener)

    def try_reserve(self, amount: Decimal) -> bool:
        """Reserve an amount if it fits now and nobody waits."""
        with self._lock:
            return not self._waiters and self._ledger.try_reserve(amount)

    async def reserve(self, amount: Decimal) -> None:
        """Reserve an amount, waiting for others to settle where that may help.

        Raises:
            BudgetExceededError: It cannot fit any more.
        """
        with self._lock:
            if not self._ledger.may_fit(amount):
                raise self._exceeded(amount)
            if not self._waiters and self._ledger.try_reserve(amount):
                return
            loop = asyncio.get_running_loop()
            waiter = _Waiter(amount, loop, loop.create_future())
            self._waiters.append(waiter)
        try:
            granted = await waiter.granted
        except asyncio.CancelledError:
            self._leave(waiter)
            raise
        if not granted:
            with self._lock:
                raise self._exceeded(amount)

    def settle(self, reserved: Decimal, cost: Decimal) -> None:
        """A call is over and has cost so much."""
        with self._lock:
            self._ledger.settle(reserved, cost)
            if self._waiters:
                self._serve()
            warn_at = self._warn_at
        if warn_at is not None and self._ledger.spent >= warn_at:
            self._warn()

    def release(self, reserved: Decimal) -> None:
        """A call is over and has cost nothing."""
        with self._lock:
            self._ledger.release(reserved)
            if self._waiters:
                self._serve()

    def estimate(self, reserved: Decimal) -> None:
        """A call is over and nobody knows what it cost: its reservation is taken for it."""
        with self._lock:
            self._ledger.estimate(reserved)
            if self._waiters:
                self._serve()
            warn_at = self._warn_at
        if warn_at is not None and self._ledger.spent >= warn_at:
            self._warn()

    def _serve(self) -> None:
        """Let those in who wait and fit now, and turn away those who cannot any more."""
        while self._waiters:
            waiter = self._waiters[0]
            fits = self._ledger.fits(waiter.amount)
            if not fits and self._ledger.may_fit(waiter.amount):
                return
            self._waiters.popleft()
            if fits:
                self._ledger.reserve(waiter.amount)
            try:
                waiter.loop.call_soon_threadsafe(self._tell, waiter, fits)
            except RuntimeError:  # its loop is closed, and with it the call
                if fits:
                    self._ledger.release(waiter.amount)

    def _tell(self, waiter: _Waiter, granted: bool) -> None:
        if not waiter.granted.done():
            waiter.granted.set_result(granted)
        elif granted:  # it was cancelled meanwhile
            self.release(waiter.amount)

    def _leave(self, waiter: _Waiter) -> None:
        """A call that waited was cancelled; what it was granted at this moment is given back."""
        with self._lock:
            if waiter in self._waiters:
                self._waiters.remove(waiter)
                self._serve()
                return
        if waiter.granted.done() and not waiter.granted.cancelled() and waiter.granted.result():
            self.release(waiter.amount)

    def _warn(self) -> None:
        """Tell the listeners, once."""
        with self._lock:
            due, self._warn_at = self._warn_at is not None, None
        for listener in self._listeners if due else ():
            try:
                listener(self.ledger)
            except Exception:  # noqa: BLE001 - the user's own code; an answer that is paid for is not lost by it
                _log.exception("the warning of a budget was not taken")

    def _exceeded(self, amount: Decimal) -> BudgetExceededError:
        ledger = self._ledger
        return BudgetExceededError(
            f"the budget is used up: {ledger.summary()}; the next call may cost up to ${amount:.4f}",
            spent=ledger.spent,
            reserved=ledger.reserved,
            limit=ledger.limit,
        )


def budget_warning(ledger: Ledger) -> str:
    """The line that says that a budget is about to be used up."""
    return f"budget: {ledger.spent / ledger.limit:.0%} is used: {ledger.summary()}"
