"""Limited: the limits of one endpoint, its own and those that are learnt from it, around a ChatModel.

Every attempt passes it, retries included.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Callable, Sequence

from flexllm_batch.limits.gate import Gate
from flexllm_batch.limits.gate_limits import GateLimits
from flexllm_batch.limits.outage import PATIENCE
from flexllm_batch.limits.ticket import Ticket
from flexllm_batch.limits.token_costs import TokenCosts
from flexllm_core.endpoint import EndpointConfig
from flexllm_core.errors import ConfigError, LLMRequestError
from flexllm_core.protocol import ChatModel, ModelWrapper
from flexllm_core.requests import ChatRequest
from flexllm_core.results import ChatCompletionResult, StreamEvent
from flexllm_providers.rate_headers import RateLimit


class Limited(ModelWrapper):
    """Limits what it wraps, on each event loop.

    Args:
        inner: What is limited.
        concurrency: Requests in flight at most.
        max_qps: Requests per second at most; they are spaced evenly, and no second has more.
        max_tpm: Tokens per minute at most, input and output together. What a request will take is
            estimated, and corrected when its answer says it; requests are spaced evenly by their tokens.
        max_input_tpm: The same for input tokens alone.
        max_output_tpm: The same for output tokens alone.
        adaptive: Learn from refusals, pauses and failures how much the endpoint takes, up to the limits
            above: requests in flight, and a rate. An endpoint that is out of order gets one request at a
            time, to see, until it answers again.
        min_concurrency: The least that is learnt for the requests in flight.
        patience: Seconds without an answer after which the calls that wait get an error.
        rate_limits: What the last answer said about the endpoint's limits; `adaptive` keeps within them.

    Raises:
        ConfigError: A limit that would let nothing through.
    """

    def __init__(
        self,
        inner: ChatModel,
        *,
        concurrency: int,
        max_qps: float | None = None,
        max_tpm: float | None = None,
        max_input_tpm: float | None = None,
        max_output_tpm: float | None = None,
        adaptive: bool = False,
        min_concurrency: int = 1,
        patience: float = PATIENCE,
        rate_limits: Callable[[], Sequence[RateLimit]] | None = None,
    ) -> None:
        super().__init__(inner)
        for name, value in (
            ("concurrency", concurrency),
            ("max_qps", max_qps),
            ("max_tpm", max_tpm),
            ("max_input_tpm", max_input_tpm),
            ("max_output_tpm", max_output_tpm),
            ("min_concurrency", min_concurrency),
            ("patience", patience),
        ):
            if value is not None and not value > 0:
                raise ConfigError(f"{name} is {value}; expected a number above 0")
        self.concurrency = concurrency
        self.adaptive = adaptive
        self.max_qps = max_qps
        tokens = (max_tpm, max_input_tpm, max_output_tpm)
        self._limits = GateLimits(
            concurrency, max_qps, tokens, adaptive=adaptive, floor=min(min_concurrency, concurrency), patience=patience
        )
        self._costs = TokenCosts()
        self._rate_limits = rate_limits if adaptive else None
        self._gates: dict[asyncio.AbstractEventLoop, Gate] = {}

    @property
    def gate(self) -> Gate:
        """The gate of the running event loop: what is in flight, and what may be sent when."""
        loop = asyncio.get_running_loop()
        gate = self._gates.get(loop)
        if gate is None:
            for other in [other for other in self._gates if other.is_closed()]:
                del self._gates[other]
            gate = self._gates[loop] = Gate(self._limits)
        return gate

    async def complete(self, request: ChatRequest) -> ChatCompletionResult:
        """Answer a request when the gate lets it through.

        Raises:
            LLMRequestError: There is no answer, or the gate will not let it through.
        """
        gate = self._gates.get(asyncio.get_running_loop()) or self.gate
        level = gate.in_flight
        ticket: Ticket | None = None
        if gate.open and level < gate.limit:  # the usual case is worth its own lines
            gate.sent = number = gate.sent + 1
            gate.in_flight = level + 1
        else:
            ticket = await gate.enter(self._costs.estimate(request) if gate.weighs else ())
            number, level = ticket.number, ticket.level
        try:
            result = await self.inner.complete(request)
        except LLMRequestError as error:
            gate.failed(number, level, error, ticket.weight if ticket is not None else 1.0)
            raise
        finally:
            gate.leave(number)
        gate.answered = True
        if gate.alert:
            gate.succeeded(number, level)
        if gate.sent >= gate.review_at:
            self._review(gate, result)
        if ticket is not None and ticket.tokens:
            self._correct(gate, ticket, result)
        return result

    async def stream(self, request: ChatRequest) -> AsyncGenerator[StreamEvent, None]:
        """Stream an answer when the gate lets it through; the slot is held until the stream ends.

        Raises:
            LLMRequestError: There is no answer, or the gate will not let it through.
        """
        gate = self.gate
        ticket = await gate.enter(self._costs.estimate(request) if gate.weighs else ())
        result: ChatCompletionResult | None = None
        try:
            async with contextlib.aclosing(self.inner.stream(request)) as events:
                async for event in events:
                    result = event.result or result
                    yield event
        except LLMRequestError as error:
            gate.failed(ticket.number, ticket.level, error, ticket.weight)
            raise
        finally:
            gate.leave(ticket.number)
        gate.answered = True
        gate.succeeded(ticket.number, ticket.level)
        if gate.sent >= gate.review_at and result is not None:
            self._review(gate, result)
        if ticket.tokens and result is not None:
            self._correct(gate, ticket, result)

    def _review(self, gate: Gate, result: ChatCompletionResult) -> None:
        """Now and then: what the endpoint says about its limits, and how fast it is."""
        limits = self._rate_limits() if self._rate_limits is not None else ()
        gate.review(limits, result.usage.total_tokens if result.usage is not None else 0, result.latency)

    def _correct(self, gate: Gate, ticket: Ticket, result: ChatCompletionResult) -> None:
        """Put what the answer says it took in the place of what was thought."""
        if result.usage is not None:
            gate.correct(ticket, self._costs.learn(ticket.tokens, result.usage))


def limited_by(
    endpoint: EndpointConfig,
    inner: ChatModel,
    concurrency: int,
    rate_limits: Callable[[], Sequence[RateLimit]] | None = None,
) -> Limited:
    """A model with the limits of an endpoint; `concurrency` is its own limit, or the default."""
    return Limited(
        inner,
        concurrency=concurrency,
        max_qps=endpoint.max_qps,
        max_tpm=endpoint.max_tpm,
        max_input_tpm=endpoint.max_input_tpm,
        max_output_tpm=endpoint.max_output_tpm,
        adaptive=endpoint.adaptive is not False,
        min_concurrency=endpoint.min_concurrency or 1,
        rate_limits=rate_limits,
    )
