"""What a request has with it at the gate."""

from __future__ import annotations

import asyncio


class Ticket:
    """A request at the gate.

    Attributes:
        tokens: What it is thought to take of each of the limits of tokens.
        weight: How many usual requests it counts for at the learnt rate.
        number: Which request of the gate it is, once it is sent, counted from 1.
        level: How many others were in flight then.
    """

    __slots__ = ("future", "level", "number", "tokens", "weight")

    def __init__(self, tokens: tuple[float, ...] = (), weight: float = 1.0) -> None:
        self.tokens = tokens
        self.weight = weight
        self.number = self.level = 0
        self.future: asyncio.Future[None] | None = None
