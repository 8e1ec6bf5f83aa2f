"""Balanced: several endpoints as one ChatModel.

One call tries each healthy member at most once, at once; waiting and going round again is the part of
`Retrying` outside. What the caller did wrong is neither sent elsewhere nor held against a member.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Collection, Iterable, Sequence

from flexllm_batch.balance.dispatcher import Dispatcher, Place
from flexllm_batch.balance.member import Member, MemberStats
from flexllm_batch.balance.strategies import DEFAULT_LOAD_BALANCE, LoadBalance, strategy_of
from flexllm_batch.limits.outage import PATIENCE
from flexllm_core.errors import ConfigError, ContextLengthError, LLMRequestError, NotFoundError
from flexllm_core.requests import ChatRequest
from flexllm_core.results import ChatCompletionResult, StreamEvent

_REVIEWED = 16
"""Answers of a member after which the members are compared again."""

_DEAR = ("timeout", "suspicious")
"""Failures that may be billed: after one of these only one further member is tried in the same call."""


class Balanced:
    """Several members behind one ChatModel.

    Args:
        members: At least one.
        load_balance: How a member is picked.
        fallback: Whether a call that failed at one member is sent to another.
        model: The model of requests that leave it to the members.
        context_fallback: Names of members with a larger context, which get the calls that are too long for others.
        patience: Seconds for which calls wait while no member takes any.

    Raises:
        ConfigError: There is no member, or a name or strategy is unknown.
    """

    def __init__(
        self,
        members: Sequence[Member],
        *,
        load_balance: LoadBalance = DEFAULT_LOAD_BALANCE,
        fallback: bool = True,
        model: str | None = None,
        context_fallback: Iterable[str] = (),
        patience: float = PATIENCE,
    ) -> None:
        if not members:
            raise ConfigError("a pool needs at least one endpoint")
        self.members = list(members)
        for index, member in enumerate(self.members):
            member.index = index
        self.model = model
        self.fallback = fallback
        self._strategy = strategy_of(load_balance)
        self._patience = patience
        self._larger = [self._named(name) for name in context_fallback]
        self._dispatchers: dict[asyncio.AbstractEventLoop, Dispatcher] = {}
        self._others = self._others_by_model()

    def _named(self, name: str) -> Member:
        for member in self.members:
            if name in (member.name, member.model):
                return member
        known = ", ".join(repr(member.name) for member in self.members)
        raise ConfigError(f"context_fallback names {name!r}, which is no member of the pool (members: {known})")

    def _others_by_model(self) -> dict[str, frozenset[Member]]:
        """For each model that only some members have, those that do not have it."""
        models = {member.model for member in self.members if member.model is not None}
        others = {
            model: frozenset(member for member in self.members if member.model not in (model, None)) for model in models
        }
        return {model: members for model, members in others.items() if members and model != self.model}

    @property
    def stats(self) -> list[MemberStats]:
        """How each member has done."""
        return [member.stats() for member in self.members]

    @property
    def dispatcher(self) -> Dispatcher:
        """The members on the running event loop."""
        loop = asyncio.get_running_loop()
        found = self._dispatchers.get(loop)
        if found is None:
            self._dispatchers = {known: one for known, one in self._dispatchers.items() if not known.is_closed()}
            found = self._dispatchers[loop] = Dispatcher(self.members, self._strategy, self._patience)
        return found

    def excluded(self, request: ChatRequest) -> Collection[Member]:
        """The members that a request does not go to: those without its model, where others have it."""
        return self._others.get(request.model, ()) if request.model is not None and self._others else ()

    async def complete(self, request: ChatRequest) -> ChatCompletionResult:
        """Answer a request by one of the members.

        Raises:
            LLMRequestError: No member that was tried has answered; of several errors one that may pass.
            NoEndpointAvailableError: No member takes calls.
        """
        dispatcher = self._dispatchers.get(asyncio.get_running_loop()) or self.dispatcher
        excluded = self.excluded(request) if self._others else ()
        place = dispatcher.take(excluded) or await dispatcher.wait(excluded)
        return await self.complete_at(place, request)

    async def complete_at(
        self, place: Place, request: ChatRequest, failover: Failover | None = None
    ) -> ChatCompletionResult:
        """Answer a request by a member, or by those that follow it.

        Args:
            place: The member that is asked first.
            request: The request.
            failover: What the call has tried elsewhere.

        Raises:
            LLMRequestError: As `complete`.
            NoEndpointAvailableError: As `complete`.
        """
        dispatcher = self._dispatchers[asyncio.get_running_loop()]
        while True:
            member = place.member
            if failover is not None:
                failover.sent_to(member)
            trial = member.begin()
            try:
                result = await member.limited.complete(member.adapted(request, self.model))
            except LLMRequestError as error:
                if failover is None:
                    failover = Failover(self, request)
                    failover.sent_to(member)
                failover.failed(member, error, trial=trial)
            except BaseException:
                member.abandoned(trial=trial)
                dispatcher.serve()
                raise
            else:
                member.succeeded(result, trial=trial)
                if member.ok < _REVIEWED or not member.ok % _REVIEWED:
                    dispatcher.review()
                if dispatcher.waiting or dispatcher.before_queue is not None:
                    dispatcher.serve()
                if failover is not None:
                    result.attempts = failover.sent
                return result
            dispatcher.review()
            dispatcher.serve()
            place = await failover.next(dispatcher)

    async def stream(self, request: ChatRequest, place: Place | None = None) -> AsyncGenerator[StreamEvent, None]:
        """Stream an answer; another member is tried only before the first event.

        Args:
            request: The request.
            place: The member that is asked first; by default any that has room.

        Raises:
            LLMRequestError: As `complete`, or the error of a stream that had begun.
            NoEndpointAvailableError: As `complete`.
        """
        dispatcher = self.dispatcher
        failover = Failover(self, request)
        place = place or dispatcher.take(failover.excluded) or await dispatcher.wait(failover.excluded)
        while True:
            begun = False
            try:
                async with contextlib.aclosing(self._stream_at(place, request, failover)) as events:
                    async for event in events:
                        begun = True
                        yield event
                return
            except LLMRequestError as error:
                if begun or not failover.is_last(error):
                    raise
            place = await failover.next(dispatcher)

    async def _stream_at(
        self, place: Place, request: ChatRequest, failover: Failover
    ) -> AsyncGenerator[StreamEvent, None]:
        """The stream of one member; how it went is told to the member."""
        dispatcher, member = self.dispatcher, place.member
        failover.sent_to(member)
        trial = member.begin()
        ended = False
        try:
            async with contextlib.aclosing(member.limited.stream(member.adapted(request, self.model))) as events:
                async for event in events:
                    if event.result is not None and not ended:
                        ended = True
                        member.succeeded(event.result, trial=trial)
                        event.result.attempts = failover.sent
                    yield event
        except LLMRequestError as error:
            if not ended:
                ended = True
                failover.failed(member, error, trial=trial)
            raise
        finally:
            if not ended:
                member.abandoned(trial=trial)
            dispatcher.serve()

    def larger_context(self, tried: Collection[Member]) -> frozenset[Member]:
        """The members that a call which is too long does not go to; all of them if there is none for it."""
        larger = [member for member in self._larger if member not in tried and member.breaker.closed]
        return frozenset(self.members) - frozenset(larger[:1])

    async def aclose(self) -> None:
        """Close every member."""
        for member in self.members:
            await member.limited.aclose()


class Failover:
    """What one call has tried, and what it tries next.

    Attributes:
        excluded: The members that the call does not go to, or not any more.
        sent: Requests sent for the call.
    """

    __slots__ = ("_balanced", "_dear", "_errors", "_request", "excluded", "sent")

    def __init__(self, balanced: Balanced, request: ChatRequest) -> None:
        self._balanced = balanced
        self._request = request
        self._errors: list[LLMRequestError] = []
        self._dear = 0
        self.excluded = balanced.excluded(request)
        self.sent = 0

    def sent_to(self, member: Member) -> None:
        """A request is sent to a member: it gets no other of this call."""
        self.sent += 1
        if self._balanced.fallback:
            self.excluded = (*self.excluded, member)

    def is_last(self, error: LLMRequestError) -> bool:
        """Whether it is the error of the last request that was sent."""
        return bool(self._errors) and self._errors[-1] is error

    def failed(self, member: Member, error: LLMRequestError, *, trial: bool) -> None:
        """A member failed: it is told, unless the request alone is to blame."""
        self._errors.append(error)
        self._dear += error.kind in _DEAR
        if isinstance(error, NotFoundError) and self._request.model not in (self._balanced.model, member.model):
            member.abandoned(trial=trial)  # the row asked for a model that is not there
        else:
            member.failed_by(error, trial=trial)

    async def next(self, dispatcher: Dispatcher) -> Place:
        """The place that is tried next.

        Raises:
            LLMRequestError: There is none.
            NoEndpointAvailableError: No member takes calls.
        """
        error, balanced = self._errors[-1], self._balanced
        if isinstance(error, ContextLengthError):
            self.excluded = balanced.larger_context(self.excluded)
        elif error.fault == "caller":
            raise error
        if balanced.fallback and self._dear <= 1 and dispatcher.has_other(self.excluded):
            place = dispatcher.take(self.excluded) or await dispatcher.wait_for_other(self.excluded)
            if place is not None:
                return place
        passing = next((one for one in self._errors if one.retryable), None)
        if passing is None and error.fault == "account" and balanced.fallback and dispatcher.may_return():
            # Whoever is out of order may come back, and would answer: a key that is wrong elsewhere is no reason.
            self.excluded = balanced.excluded(self._request)
            return await dispatcher.wait(self.excluded)
        last = passing or error
        last.attempts = self.sent
        raise last
