"""BatchStatus: how far a batch is that a provider runs itself, in the same words for every provider."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

BatchState = Literal["running", "canceling", "done", "failed", "expired", "canceled"]
"""`failed` gives no outcomes; `expired` and `canceled` may give those of the requests that were asked in time."""

_ENDED: frozenset[BatchState] = frozenset({"done", "failed", "expired", "canceled"})
_SHOWN = 500
_DIGITS = 18


@dataclass(frozen=True, slots=True)
class BatchStatus:
    """A batch as its provider last told of it.

    Attributes:
        id: The provider's id of the batch.
        state: How far it is; a state that is not known counts as `running`.
        total: Requests in it; None where the provider does not say, or not yet.
        succeeded: Requests with an answer so far; None as for `total`.
        failed: Requests that ended without an answer so far; None as for `total`.
        files: The files that hold outcomes, to be fetched by these names; empty where there are none.
        inlined: The outcomes themselves, where the provider puts them here.
        problems: Why it failed, for a person; the first of a longer list.
    """

    id: str
    state: BatchState
    total: int | None = None
    succeeded: int | None = None
    failed: int | None = None
    files: tuple[str, ...] = ()
    inlined: tuple[Mapping[str, Any], ...] = field(default=(), repr=False)
    problems: tuple[str, ...] = ()

    @property
    def has_ended(self) -> bool:
        """Whether nothing more will happen to it."""
        return self.state in _ENDED


def count(value: object) -> int | None:
    """A count, also one that is written as a text; None for anything else."""
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) <= _DIGITS:
        value = int(value)
    return value if type(value) is int and value >= 0 else None


def problem(error: object) -> str | None:
    """What an error of a batch says, cut to a length that can be read; None where it says nothing."""
    message = error.get("message") if isinstance(error, Mapping) else error
    return message[:_SHOWN] if isinstance(message, str) and message else None
