"""What a vendor says about the money left on a key: amounts under message keys, so that they can be translated."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Literal

from flexllm_core.errors import FlexLLMError

LabelKey = Literal["remaining", "limit", "used", "today", "this_month", "paid", "gift"]
"""What an amount is: still there, granted at most, spent, spent today (UTC) or this month, of the remaining
the paid and the given part."""

NoteKey = Literal["unlimited"]

DetailKey = Literal["status", "usable", "free_tier", "low_balance", "limit_resets", "expires_at"]


@dataclass(frozen=True, slots=True)
class CreditLine:
    """One amount.

    Attributes:
        label: Key of the message that names it.
        amount: None where there is none, which `note` explains.
        currency: ISO 4217 code, or `credits`.
        note: Key of a message: `unlimited`.
        places: Decimal places to show.
    """

    label: LabelKey
    amount: Decimal | None
    currency: str
    note: NoteKey | None = None
    places: int = 2


@dataclass(frozen=True, slots=True)
class CreditReport:
    """The balance of one key.

    Attributes:
        vendor: Name of the vendor, for a person.
        lines: The amounts, the most important first; several currencies stand one after the other.
        unofficial: The vendor does not document this; it may be wrong or end at any time.
        details: What else the vendor says, by message key; values are the server's own words, `yes` or `no`.
    """

    vendor: str
    lines: tuple[CreditLine, ...]
    unofficial: bool = False
    details: Mapping[DetailKey, str] = field(default_factory=dict)


class CreditsUnavailableError(FlexLLMError):
    """This balance cannot be asked for with this key; one sentence says why and where to look.

    Attributes:
        vendor: Name of the vendor, None for a host that is not known.
    """

    def __init__(self, message: str, *, vendor: str | None = None) -> None:
        super().__init__(message)
        self.vendor = vendor
