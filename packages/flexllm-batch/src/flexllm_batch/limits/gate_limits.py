"""What a gate is told: the limits that the user sets."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class GateLimits:
    """What a gate is told.

    Attributes:
        concurrency: Requests in flight at most.
        max_qps: Requests per second at most.
        tokens: Tokens per minute at most: of input and output together, of input, of output.
        adaptive: Learn lower limits from the endpoint.
        floor: The least that is learnt for the requests in flight.
        patience: Seconds without an answer after which the calls that wait get an error.
    """

    concurrency: int
    max_qps: float | None = None
    tokens: tuple[float | None, float | None, float | None] = (None, None, None)
    adaptive: bool = False
    floor: int = 1
    patience: float = 300.0
