"""Prefix affinity: prompts that begin alike go to the same member, which has read that beginning before.

Of the calls with a beginning that no member knows one is sent ahead, and the others follow when it has
been answered. Calls that are held back for that, or because the members that know their beginning are
full, let other calls pass. Where that would leave slots idle they are sent all the same, once the time
that was lost that way comes to a small share of the work done.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import OrderedDict, deque
from collections.abc import AsyncGenerator, Collection

from flexllm_batch.balance.balanced import Balanced
from flexllm_batch.balance.dispatcher import Dispatcher, Place
from flexllm_batch.balance.member import Member
from flexllm_batch.balance.prefix import prefix_key
from flexllm_core.requests import ChatRequest
from flexllm_core.results import ChatCompletionResult, StreamEvent

LOOK_AHEAD = 8
"""Rows in flight for each slot of the pool: among so many, one is found that may be sent."""

LOST_SHARE = 0.02
"""Slot time that may be lost by holding calls back, as a share of all that was used."""

_GROUPS = 10_000
_KNOWN_FOR = 300.0
"""Seconds for which servers keep a beginning that is not used."""

_SHORT_WAIT = 0.005
"""Seconds in which calls that are about to come may take a slot before one that is held back does."""


class Group:
    """The calls with one beginning.

    Attributes:
        known_at: The members that have read it, and when they did last.
        leading: Calls on their way that will make it known to a member.
    """

    __slots__ = ("held", "known_at", "leading")

    def __init__(self) -> None:
        self.known_at: dict[Member, float] = {}
        self.leading = 0
        self.held = 0


class Held:
    """A call that is held back."""

    __slots__ = ("excluded", "future", "group")

    def __init__(self, group: Group, excluded: Collection[Member], future: asyncio.Future[Place | None]) -> None:
        self.group = group
        self.excluded = excluded
        self.future = future


class PrefixRouter:
    """Places the calls of one event loop by their beginnings.

    Args:
        dispatcher: The members there; whenever it serves its queue, it serves the calls that are held back too.
    """

    def __init__(self, dispatcher: Dispatcher) -> None:
        self._dispatcher = dispatcher
        dispatcher.before_queue, dispatcher.after_queue = self._serve_known, self._serve_idle
        self._by_name = {place.member.name: place.member for place in dispatcher.places}
        self._loop = asyncio.get_running_loop()
        self._groups: OrderedDict[bytes, Group] = OrderedDict()
        self._held: deque[Held] = deque()
        self._timer: asyncio.TimerHandle | None = None
        self._used = self._lost = 0.0  # seconds of slots
        self._idle = 0
        self._idle_from = 0.0

    def group(self, key: bytes) -> Group:
        """The group of a beginning."""
        group = self._groups.get(key)
        if group is None:
            group = self._groups[key] = Group()
            if len(self._groups) > _GROUPS:
                oldest, unused = next(iter(self._groups.items()))
                if not unused.held and not unused.leading:
                    del self._groups[oldest]
        self._groups.move_to_end(key)
        return group

    async def place(self, group: Group, excluded: Collection[Member]) -> tuple[Place, bool]:
        """A place for a call of a group, and whether it leads: its member does not know the beginning yet."""
        place = self._known_place(group, excluded)
        if place is not None:
            return place, False
        while group.leading or self._known(group):
            place = await self._hold(group, excluded)
            if place is not None:
                leads = place.member not in self._known(group)
                group.leading += leads
                return place, leads
        group.leading += 1
        try:
            place = self._dispatcher.take(excluded) or await self._dispatcher.wait(excluded)
        except BaseException:
            group.leading -= 1
            raise
        return place, True

    def ended(self, group: Group, *, led: bool, result: ChatCompletionResult | None) -> None:
        """A call has ended, with an answer or without."""
        group.leading -= led
        if result is not None:
            self._used += result.latency or 0.0
            member = self._by_name.get(result.endpoint or "")
            if member is not None:
                group.known_at[member] = self._loop.time()
        self._dispatcher.serve()

    def _known(self, group: Group) -> list[Member]:
        oldest = self._loop.time() - _KNOWN_FOR
        return [member for member, at in group.known_at.items() if at > oldest and member.breaker.closed]

    def _known_place(self, group: Group, excluded: Collection[Member]) -> Place | None:
        """A place with a member that knows the beginning, if one has room."""
        known = [member for member in self._known(group) if member not in excluded]
        return self._dispatcher.pick_among(known) if known else None

    async def _hold(self, group: Group, excluded: Collection[Member]) -> Place | None:
        """A place when there is one for the call; None when it may lead now."""
        held = Held(group, excluded, self._loop.create_future())
        group.held += 1
        self._held.append(held)
        if self._serve_idle():
            self._dispatcher.look_again()
        try:
            place = await held.future
        except asyncio.CancelledError:
            if held.future.done() and not held.future.cancelled() and (given := held.future.result()) is not None:
                given.promised -= 1
            raise
        finally:
            group.held -= 1
        if place is not None:
            place.promised -= 1
        return place

    def _serve_known(self) -> None:
        """Give the calls that are held back to members that know their beginning, the longest held ones first."""
        full: set[Group] = set()
        kept: deque[Held] = deque()
        for held in self._held:
            if held.future.done():
                continue
            place = None if held.group in full else self._known_place(held.group, held.excluded)
            if place is None and held.group not in full and not held.group.leading and not self._known(held.group):
                held.future.set_result(None)
            elif place is None:
                kept.append(held)
            else:
                place.promised += 1
                held.future.set_result(place)
                continue
            full.add(held.group)
        self._held = kept

    def _serve_idle(self) -> bool:
        """Count the slots that are left idle while calls are held back, and use them if that costs too much.

        Returns:
            Whether calls are held back because no member has room.
        """
        now = self._loop.time()
        self._lost += self._idle * (now - self._idle_from)
        self._idle_from = now
        waiting = not self._dispatcher.waiting and any(not held.future.done() for held in self._held)
        self._idle = min(self._dispatcher.room(), len(self._held)) if waiting else 0
        if not self._idle:
            return bool(self._held)
        credit = (LOST_SHARE * self._used - self._lost) / self._idle
        moment = now + max(credit, self._short_wait())
        if self._timer is not None:
            if self._timer.when() <= moment:
                return False
            self._timer.cancel()
        self._timer = self._loop.call_at(moment, self._out_of_credit)
        return False

    def _short_wait(self) -> float:
        latency = max((place.member.latency for place in self._dispatcher.places), default=0.0)
        return min(_SHORT_WAIT, latency / 50) if latency else _SHORT_WAIT

    def _out_of_credit(self) -> None:
        """Send what is held back wherever there is room, unless there is credit again."""
        self._timer = None
        self._serve_idle()
        if self._idle and LOST_SHARE * self._used <= self._lost:
            while self._held and not self._dispatcher.waiting:
                held = self._held[0]
                if not held.future.done():
                    place = self._dispatcher.take(held.excluded)
                    if place is None:
                        break
                    place.promised += 1
                    held.future.set_result(place)
                self._held.popleft()
            self._serve_idle()


class PrefixAffinity:
    """Sends the calls of a pool by their beginnings.

    Args:
        inner: The pool's members.
    """

    def __init__(self, inner: Balanced) -> None:
        self.inner = inner
        self._routers: dict[Dispatcher, PrefixRouter] = {}

    async def complete(self, request: ChatRequest) -> ChatCompletionResult:
        """Answer a request, if possible by a member that knows its beginning.

        Raises:
            LLMRequestError: As `Balanced`.
            NoEndpointAvailableError: As `Balanced`.
        """
        key = prefix_key(request)
        if key is None:
            return await self.inner.complete(request)
        router = self._router()
        group = router.group(key)
        place, led = await router.place(group, self.inner.excluded(request))
        result: ChatCompletionResult | None = None
        try:
            result = await self.inner.complete_at(place, request)
        finally:
            router.ended(group, led=led, result=result)
        return result

    async def stream(self, request: ChatRequest) -> AsyncGenerator[StreamEvent, None]:
        """Stream an answer, if possible from a member that knows its beginning.

        Raises:
            LLMRequestError: As `Balanced`.
            NoEndpointAvailableError: As `Balanced`.
        """
        key = prefix_key(request)
        router = self._router()
        group = router.group(key) if key is not None else None
        place, led = await router.place(group, self.inner.excluded(request)) if group is not None else (None, False)
        result: ChatCompletionResult | None = None
        try:
            async with contextlib.aclosing(self.inner.stream(request, place)) as events:
                async for event in events:
                    result = event.result or result
                    yield event
        finally:
            if group is not None:
                router.ended(group, led=led, result=result)

    def _router(self) -> PrefixRouter:
        """The router of the running event loop."""
        dispatcher = self.inner.dispatcher
        router = self._routers.get(dispatcher)
        if router is None:
            self._routers = {known: one for known, one in self._routers.items() if not known.closed}
            router = self._routers[dispatcher] = PrefixRouter(dispatcher)
        return router

    async def aclose(self) -> None:
        """Close the members."""
        await self.inner.aclose()
