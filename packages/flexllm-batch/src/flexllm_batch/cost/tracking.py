"""CostTrackerConfig: whether a client works out costs, and whether they have a limit."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Self, get_args

from flexllm_batch.cost.budget import Budget, OnUnknownPrice
from flexllm_batch.cost.ledger import Ledger
from flexllm_core.errors import ConfigError

DEFAULT_WARNING = 0.8


@dataclass(frozen=True, slots=True)
class CostTrackerConfig:
    """How a client treats costs. Made by `tracking_only`, `with_budget` or `disabled`.

    Attributes:
        enabled: Answers have a cost, and there is a report.
        limit: US dollars that all calls of the client may cost together; None for no limit.
        warning: The share of the limit at which the warning comes.
        on_warning: Is called with the ledger then, once.
        on_unknown_price: With a limit, whether calls without a known price are refused, or left out of it.
    """

    enabled: bool = True
    limit: Decimal | None = None
    warning: float | None = None
    on_warning: Callable[[Ledger], None] | None = None
    on_unknown_price: OnUnknownPrice = "refuse"

    @classmethod
    def tracking_only(cls) -> Self:
        """Costs without a limit."""
        return cls()

    @classmethod
    def disabled(cls) -> Self:
        """No costs."""
        return cls(enabled=False)

    @classmethod
    def with_budget(
        cls,
        limit: float | Decimal | str,
        warning: float | None = DEFAULT_WARNING,
        on_warning: Callable[[Ledger], None] | None = None,
        *,
        on_unknown_price: OnUnknownPrice = "refuse",
    ) -> Self:
        """Costs with a limit.

        Args:
            limit: US dollars, above 0.
            warning: The share of the limit at which the warning comes, above 0 and at most 1; None for none.
            on_warning: Is called with the ledger then, once. What it raises is logged, and nothing else.
            on_unknown_price: `refuse` to call a model whose price is unknown, or `ignore` it: such calls are
                not in the budget.

        Raises:
            ConfigError: A value is unusable.
        """
        try:
            amount = Decimal(str(limit))
        except InvalidOperation:
            amount = Decimal(0)
        if isinstance(limit, bool) or not amount.is_finite() or amount <= 0:
            raise ConfigError(f"the budget is {limit!r}; expected US dollars above 0")
        if warning is not None and not 0 < warning <= 1:
            raise ConfigError(f"the budget's warning is {warning!r}; expected a share of the limit, such as 0.8")
        if on_unknown_price not in get_args(OnUnknownPrice):
            raise ConfigError(f"on_unknown_price is {on_unknown_price!r}; expected 'refuse' or 'ignore'")
        return cls(True, amount, warning, on_warning, on_unknown_price)

    def make_budget(self) -> Budget | None:
        """A budget of its own for one client; None without a limit."""
        if self.limit is None:
            return None
        return Budget(
            self.limit, warning=self.warning, on_warning=self.on_warning, on_unknown_price=self.on_unknown_price
        )


def cost_tracking(config: CostTrackerConfig | None, *, track_cost: bool) -> CostTrackerConfig:
    """What a client does, by its two arguments.

    Raises:
        ConfigError: They contradict each other, or `config` is none.
    """
    if config is not None and not isinstance(config, CostTrackerConfig):
        raise ConfigError(f"cost_tracker is a {type(config).__name__}; expected a CostTrackerConfig")
    if config is None:
        return CostTrackerConfig.tracking_only() if track_cost else CostTrackerConfig.disabled()
    if track_cost and not config.enabled:
        raise ConfigError("track_cost=True and CostTrackerConfig.disabled() contradict each other; give one of them")
    return config
