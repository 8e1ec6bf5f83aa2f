"""The members of a pool on one event loop: which of them takes a call now, and the queue of calls that none can take.

A call that waits is bound to no member: it goes to whichever has room first. It holds nothing while it
waits, and once it has been given to a member it never comes back into the queue by itself.
"""

from __future__ import annotations

import asyncio
import math
from collections import Counter, deque
from collections.abc import Callable, Collection, Hashable, Sequence

from flexllm_batch.balance.member import Member
from flexllm_batch.balance.strategies import Candidate, Strategy
from flexllm_batch.limits.concurrency import RAMP_SECONDS
from flexllm_core.errors import NoEndpointAvailableError

NEVER_ANSWERED_PATIENCE = 10.0
"""Seconds that a pool is waited for of which no member has ever answered."""

_SLOW = 5.0
"""A member is slow whose answers take so many times longer than those of the fastest."""

_DISPENSABLE = 0.1
"""Slow members are held back while they do no more than this share of the work: each of their calls may be the last."""

_PROBE_AFTER = 10.0
"""Times its latency after which a member that is held back gets one call, to see."""

_SOONEST = 0.001
"""Seconds between two looks at the queue because of time alone."""


class Place:
    """A member on one event loop, with its gate there.

    Attributes:
        promised: Calls that were given to it and have not begun yet.
        held_back: It is slow, and does so little of the work that it is better left alone.
        site: Other members are the same server, with keys of their own; None for the only one.
    """

    __slots__ = ("gate", "held_back", "member", "promised", "site")

    def __init__(self, member: Member) -> None:
        self.member = member
        self.gate = member.limited.gate
        self.promised = 0
        self.held_back = False
        self.site: Hashable | None = None

    @property
    def index(self) -> int:
        """The member's number in the pool."""
        return self.member.index

    @property
    def weight(self) -> float:
        """The member's weight."""
        return self.member.weight

    @property
    def rate(self) -> float:
        """Calls per second that it can answer, as far as is known."""
        full = self.gate.limit / self.member.latency
        return min(full, self.member.limited.max_qps or math.inf, self.gate.learned_qps or math.inf)

    @property
    def quota_left(self) -> float | None:
        """The share that is left of its key's quota, as far as the server tells."""
        return self.gate.quota_left

    @property
    def load(self) -> float:
        """(calls in flight + 1) / capacity, by the latency as it is known."""
        member, gate = self.member, self.gate
        share = (gate.in_flight + self.promised + 1) / gate.limit
        latency = member.latency if gate.in_flight else member.expected_latency(asyncio.get_running_loop().time())
        return share * latency if latency else share * 1e-9  # who has never answered is soon known


class Waiter:
    """A call that waits for a place; `again` if it has failed somewhere already."""

    __slots__ = ("again", "excluded", "future")

    def __init__(self, excluded: Collection[Member], future: asyncio.Future[Place | None], *, again: bool) -> None:
        self.excluded = excluded
        self.future = future
        self.again = again


class Dispatcher:
    """Gives calls to members.

    Args:
        members: Those of the pool.
        strategy: Picks one of several that have room.
        patience: Seconds for which calls wait while no member takes any.

    Attributes:
        before_queue: Is called when there may be room, before the calls that wait are served.
        after_queue: Is called afterwards; whether calls wait elsewhere.
    """

    def __init__(self, members: Sequence[Member], strategy: Strategy[Candidate], patience: float) -> None:
        self.places = [Place(member) for member in members]
        sites = Counter(member.site for member in members)
        for place in self.places:
            place.site = place.member.site if sites[place.member.site] > 1 else None
        self._strategy: Strategy[Place] = strategy  # type: ignore[assignment]
        self._patience = patience
        self._loop = asyncio.get_running_loop()
        self._waiters: deque[Waiter] = deque()
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = math.inf
        self._ramped_at = -math.inf
        self.before_queue: Callable[[], None] | None = None
        self.after_queue: Callable[[], bool] | None = None

    @property
    def closed(self) -> bool:
        """Its event loop is closed."""
        return self._loop.is_closed()

    @property
    def waiting(self) -> bool:
        """Calls wait for a place."""
        return bool(self._waiters)

    def take(self, excluded: Collection[Member] = ()) -> Place | None:
        """A place for a call at this moment; None if it has to wait, or would overtake others that do."""
        return None if self._waiters else self._pick(excluded)

    def pick_among(self, members: Collection[Member]) -> Place | None:
        """A place with one of these members, whoever else waits; None if none of them has room."""
        return self._pick([place.member for place in self.places if place.member not in members])

    def room(self) -> int:
        """Free slots of the members that take calls at this moment; one of those that are sent calls at a rate."""
        slots = 0
        for place in self.places:
            if place.member.breaker.closed and not place.held_back:
                gate = place.gate
                free = gate.limit - gate.in_flight - place.promised if gate.open else gate.has_room(place.promised)
                slots += max(0, free)
        return slots

    def _pick(self, excluded: Collection[Member]) -> Place | None:
        free = []
        for place in self.places:
            gate = place.gate
            if (excluded and place.member in excluded) or (place.held_back and not self._needs(place, excluded)):
                continue
            if place.member.breaker.ready and gate.open:
                if gate.in_flight + place.promised < gate.limit:
                    free.append(place)
            elif self._admits(place) and gate.has_room(place.promised):
                free.append(place)
        if not free:
            return None
        return free[0] if len(free) == 1 else self._strategy(free)

    def _needs(self, place: Place, excluded: Collection[Member]) -> bool:
        """Whether a member that is held back gets a call all the same: to see, or because no other can take it."""
        idle = self._loop.time() - place.member.last_answer
        if not place.member.in_flight and idle > _PROBE_AFTER * place.member.latency:
            return True
        return not any(
            other.member.breaker.closed and other.gate.open and not other.held_back
            for other in self.places
            if other.member not in excluded
        )

    def review(self) -> None:
        """Hold back the slow members that do next to nothing."""
        places = [place for place in self.places if place.member.latency and place.member.breaker.closed]
        fastest = min((place.member.latency for place in places), default=0.0)
        dispensable = _DISPENSABLE * sum(place.rate for place in places)
        for place in sorted(places, key=lambda place: place.rate):
            slow = place.member.latency > _SLOW * fastest
            place.held_back = slow and place.rate <= dispensable
            dispensable -= place.rate if place.held_back else 0.0

    def _admits(self, place: Place) -> bool:
        """Whether the member's health admits a call now."""
        if place.promised and not place.member.breaker.closed:
            return False  # that is the trial
        return self._next_call(place) <= self._loop.time() + 1e-9

    def _next_call(self, place: Place) -> float:
        in_flight = place.gate.in_flight + place.promised
        return place.member.breaker.next_call(in_flight, alone=self.all_open)

    @property
    def all_open(self) -> bool:
        """No member takes calls, but for trials."""
        return not any(place.member.breaker.closed for place in self.places)

    def has_other(self, excluded: Collection[Member]) -> bool:
        """Whether a member that is not excluded takes calls, though perhaps not at this moment."""
        now = self._loop.time()
        return any(
            (place.member.breaker.closed and not place.gate.refuses) or self._next_call(place) <= now
            for place in self.places
            if place.member not in excluded
        )

    def may_return(self) -> bool:
        """Whether a member takes calls, or may do so again if it is waited for."""
        return any(self._may_return(place) for place in self.places)

    @staticmethod
    def _may_return(place: Place) -> bool:
        return not place.gate.refuses and not place.member.breaker.hopeless

    async def wait(self, excluded: Collection[Member] = ()) -> Place:
        """Wait for a place with any member that is not excluded. The caller begins its call there at once.

        Raises:
            NoEndpointAvailableError: No member takes calls, and that has lasted too long or will not change.
        """
        place = await self._wait(excluded, again=False)
        assert place is not None
        return place

    async def wait_for_other(self, excluded: Collection[Member]) -> Place | None:
        """As `wait`, for a call that has failed at those excluded; None if no other takes calls any more."""
        return await self._wait(excluded, again=True)

    async def _wait(self, excluded: Collection[Member], *, again: bool) -> Place | None:
        waiter = Waiter(excluded, self._loop.create_future(), again=again)
        self._waiters.append(waiter)
        self.serve()
        try:
            place = await waiter.future
        except asyncio.CancelledError:
            future = waiter.future
            if future.done() and not future.cancelled() and not future.exception() and (place := future.result()):
                place.promised -= 1
                self.serve()
            raise
        if place is not None:
            place.promised -= 1
        return place

    def serve(self) -> None:
        """Give the calls that wait to whoever has room now, in their order."""
        if self.before_queue is not None:
            self.before_queue()
        waiters = self._waiters
        kept: list[Waiter] = []
        while waiters:
            waiter = waiters[0]
            if not waiter.future.done() and not self._serve(waiter):
                if not waiter.excluded:
                    break  # what it cannot have, the others behind it cannot either
                kept.append(waiter)
            waiters.popleft()
        waiters.extendleft(reversed(kept))
        if (self.after_queue is not None and self.after_queue()) or waiters:
            self.look_again()

    def _serve(self, waiter: Waiter) -> bool:
        """Whether the wait of a call is over."""
        place = self._pick(waiter.excluded)
        if place is not None:
            place.promised += 1
            waiter.future.set_result(place)
        elif waiter.again:
            if self.has_other(waiter.excluded):
                return False
            waiter.future.set_result(None)
        elif (error := self._in_vain(waiter.excluded)) is not None:
            waiter.future.set_exception(error)
        else:
            return False
        return True

    def _in_vain(self, excluded: Collection[Member]) -> NoEndpointAvailableError | None:
        """The error of a call that waits in vain."""
        places = [place for place in self.places if place.member not in excluded]
        if any(place.member.breaker.closed and not place.gate.refuses for place in places):
            return None
        now = self._loop.time()
        out = min((now - place.member.breaker.out_since for place in places), default=0.0)
        if out < self._patience_with(places) and any(map(self._may_return, places)):
            return None
        members = [place.member for place in places]
        errors = [member.breaker.last_error for member in members if member.breaker.last_error is not None]
        waited = f" for {out:,.0f} s" if out >= 1 else ""
        reasons = "; ".join(f"{member.name}: {member.breaker.last_error}" for member in members)
        return NoEndpointAvailableError(f"no endpoint of {len(members)} takes calls{waited}: {reasons}", errors)

    def _patience_with(self, places: Sequence[Place]) -> float:
        answered = any(place.member.breaker.answered for place in places)
        return self._patience if answered else min(self._patience, NEVER_ANSWERED_PATIENCE)

    def _next_look(self) -> float:
        """When time alone may make room, or end a wait."""
        now, moment = self._loop.time(), math.inf
        for place in self.places:
            gate = place.gate
            opens = self._next_call(place)
            full = gate.in_flight + place.promised >= gate.limit
            if not place.member.breaker.closed:
                given_up = place.member.breaker.out_since + self._patience_with(self.places)
                moment = min(moment, given_up) if given_up > now else moment
            if opens < math.inf and not full:
                opens = max(opens, now + gate.opens_in())
                moment = min(moment, opens) if opens > now else moment  # else it has room that nobody may take
            elif full and gate.ramping and opens <= now:
                moment = min(moment, max(now, self._ramped_at + RAMP_SECONDS))
        return moment if moment == math.inf else max(moment, now + _SOONEST)

    def look_again(self) -> None:
        """Serve again when time alone may have made room."""
        self._wake_at(self._next_look())

    def _wake_at(self, moment: float) -> None:
        if self._timer is not None:
            if self._timer_at <= moment:
                return
            self._timer.cancel()
            self._timer = None
        if moment < math.inf:
            self._timer, self._timer_at = self._loop.call_at(moment, self._wake), moment

    def _wake(self) -> None:
        self._timer = None
        now = self._loop.time()
        if now - self._ramped_at >= RAMP_SECONDS - 1e-6:
            self._ramped_at = now
            for place in self.places:
                if place.gate.ramping and place.gate.in_flight + place.promised >= place.gate.limit:
                    place.gate.ramp()
        self.serve()
