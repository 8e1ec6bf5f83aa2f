"""The ledger of a budget: what is spent and what is reserved, in US dollars. It only adds up; nobody waits here."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

ZERO = Decimal(0)


@dataclass(slots=True)
class Ledger:
    """The amounts of one budget, in US dollars.

    Every attempt reserves the most that it may cost before it is sent. Afterwards its reservation is
    settled with what it cost, released if it surely cost nothing, or kept as spent if nobody knows.

    Attributes:
        limit: What may be spent.
        spent: What was spent, estimates included.
        reserved: For the attempts under way.
        estimated: The part of `spent` that nobody told: the reservations of attempts that may be billed.
        estimated_count: How many attempts that were.
    """

    limit: Decimal
    spent: Decimal = ZERO
    reserved: Decimal = ZERO
    estimated: Decimal = ZERO
    estimated_count: int = 0

    @property
    def left(self) -> Decimal:
        """What is neither spent nor reserved; negative if something cost more than its reservation."""
        return self.limit - self.spent - self.reserved

    def fits(self, amount: Decimal) -> bool:
        """Whether an amount can be reserved now."""
        return self.spent + self.reserved + amount <= self.limit

    def may_fit(self, amount: Decimal) -> bool:
        """Whether an amount could be reserved if everything that is reserved now turned out to cost nothing."""
        return self.spent + amount <= self.limit

    def reserve(self, amount: Decimal) -> None:
        """Put an amount aside."""
        self.reserved += amount

    def try_reserve(self, amount: Decimal) -> bool:
        """Put an amount aside if it fits."""
        reserved = self.reserved + amount
        if self.spent + reserved > self.limit:
            return False
        self.reserved = reserved
        return True

    def settle(self, reserved: Decimal, cost: Decimal) -> None:
        """An attempt is over and has cost so much."""
        self.reserved -= reserved
        self.spent += cost

    def release(self, reserved: Decimal) -> None:
        """An attempt is over and has cost nothing."""
        self.reserved -= reserved

    def estimate(self, reserved: Decimal) -> None:
        """An attempt is over and may have cost anything up to its reservation, which is what is counted."""
        self.settle(reserved, reserved)
        self.estimated += reserved
        self.estimated_count += 1

    def summary(self) -> str:
        """The amounts in one line."""
        guess = f" (${self.estimated:.4f} of it estimated)" if self.estimated_count else ""
        return f"${self.spent:.4f}{guess} spent and ${self.reserved:.4f} reserved of ${self.limit:.4f}"
