"""The gate before one endpoint on one event loop: who may send, and when.

Whoever may not send at once waits in one queue, first come, first served, and holds nothing while it
waits. The queue is looked at when a slot is free and when the next moment has come: one timer, however
many wait.
"""

from __future__ import annotations

import asyncio
import math
import random
from collections import deque
from collections.abc import Callable, Sequence

from flexllm_batch.limits.advice import advised_rate
from flexllm_batch.limits.concurrency import RAMP_SECONDS
from flexllm_batch.limits.gate_limits import GateLimits
from flexllm_batch.limits.learner import LONG_PAUSE, GateCounts, Learner
from flexllm_batch.limits.pace import Pace, TokenPace
from flexllm_batch.limits.quota import Quota
from flexllm_batch.limits.refusals import given_up, too_long
from flexllm_batch.limits.ticket import Ticket
from flexllm_core.errors import LLMRequestError
from flexllm_providers.rate_headers import RateLimit

MAX_PAUSE = 120.0
"""Seconds; a server that asks for a longer pause is answered by an error, not by waiting."""

_JITTER = 0.1
"""A pause is longer than the server said by up to this share."""

_EARLINESS = 1e-6
"""Seconds by which a timer may be early: less than any server measures."""

_LATENESS = 0.01

_OFTEN, _SELDOM = 16, 64
"""Requests between two reviews of an endpoint that tells its limits, and of others: at least so many."""

_NO_PACES: tuple[TokenPace | None, ...] = ()


class Gate:
    """The state of one endpoint on one event loop.

    A request passes by `enter`; or, while the gate is `open` and fewer than `limit` are in flight, by
    counting itself in `sent` and `in_flight`. In the end it says how it went (`succeeded` when `alert`,
    `failed`) and leaves (`leave`).

    Attributes:
        limit: Requests in flight at most, now.
        in_flight: Requests in flight.
        sent: Requests so far.
        answered: There was an answer.
        review_at: The request after which the endpoint's headers are to be looked at.
        open: Nothing but `limit` holds a request back.
        alert: Answers are looked at.
    """

    def __init__(self, limits: GateLimits) -> None:
        self._limits = limits
        self._loop = asyncio.get_running_loop()
        now = self._loop.time()
        self._learner = Learner(limits.floor, limits.concurrency, limits.patience, now) if limits.adaptive else None
        self._pace = Pace(limits.max_qps) if limits.max_qps else None
        self._token_paces = tuple(TokenPace(limit) if limit else None for limit in limits.tokens)
        if not any(self._token_paces):
            self._token_paces = _NO_PACES
        self._waiters: deque[Ticket] = deque()
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = 0.0
        self._ramp: asyncio.TimerHandle | None = None
        self._paused_until = 0.0
        self._ramps_after_pause = False
        self._refused_until = 0.0  # the server asked for a pause that nobody waits for
        self._refusal: LLMRequestError | None = None
        self._learned_last = 0.0
        self._held_by_rate = False
        self._usual_size = 0.0
        self._probes: set[int] = set()  # the requests that try an endpoint that was out of order
        self._tokens = 0.0  # of a usual request, as answers say
        self._quota: Quota | None = None
        self.in_flight = self.sent = 0
        self.review_at = 1 if limits.adaptive else math.inf
        self.answered = False
        self.limit = limits.concurrency
        self.open = self.alert = False
        self._settle(now)

    @property
    def waiting(self) -> int:
        """Requests that wait to be let through."""
        return sum(1 for ticket in self._waiters if ticket.future is not None and not ticket.future.done())

    @property
    def weighs(self) -> bool:
        """The size of a request matters: `enter` wants its tokens."""
        return self._token_paces is not _NO_PACES or self._learner is not None

    @property
    def learned_qps(self) -> float | None:
        """Requests per second that the endpoint was found to admit; None while nothing is known."""
        return self._learner.rate.rate if self._learner else None

    @property
    def quota_left(self) -> float | None:
        """The share of its quota that the endpoint says is left, less what was sent since; None where it says nothing.

        It may be below 0 while more is in flight than is left.
        """
        quota = self._quota
        if quota is None:
            return None
        now = self._loop.time()
        return quota.share_left(now, sent=self.sent, in_flight=self.in_flight, tokens=self._tokens)

    @property
    def parked(self) -> bool:
        """The endpoint is out of order: only now and then one request is sent, to see."""
        return self._learner is not None and self._learner.outage.parked

    def opens_in(self) -> float:
        """Seconds until the next request may be sent, as far as it is a matter of time; 0 for now."""
        now = self._loop.time()
        head = self._waiters[0] if self._waiters else Ticket()
        return max(0.0, self._moment(head) - now, self._refused_until - now)

    @property
    def refuses(self) -> bool:
        """Whether requests are refused instead of waiting: for a long pause, or because the endpoint is given up."""
        now = self._loop.time()
        outage = self._learner.outage if self._learner is not None else None
        return now < self._refused_until or (outage is not None and outage.given_up and now < outage.next_probe)

    @property
    def ramping(self) -> bool:
        """The first limit, which grows with time while it holds requests back, has not been reached yet."""
        return self._learner is not None and self._learner.concurrency.ramping

    def ramp(self) -> None:
        """Requests were held back elsewhere for `RAMP_SECONDS`, because there was no room here."""
        if self._learner is not None:
            self._learner.concurrency.ramp()
            self._settle(self._loop.time())

    def has_room(self, promised: int = 0) -> bool:
        """Whether a request that comes now would pass at once, beside so many that are promised to pass.

        To ask tells that somebody wants to send: a learnt rate is in use, even if they go elsewhere.
        """
        now = self._loop.time()
        self._settle(now)
        if self._waiters or (promised and not self.open) or now < self._refused_until:
            return False
        if not (self._has_slot() if self.parked else self.in_flight + promised < self.limit):
            return False
        ticket = Ticket()
        moment = self._moment(ticket)
        if moment > now + _EARLINESS:
            self._held_by_rate = moment == self._learned_moment(ticket)
            return False
        return True

    async def enter(self, tokens: tuple[float, ...] = ()) -> Ticket:
        """Wait until a request may be sent.

        Raises:
            LLMRequestError: It will not be sent: the server asked for a pause that is too long, or
                the endpoint has been given up.
        """
        now = self._loop.time()
        self._check_open(now)
        self._settle(now)
        ticket = Ticket(tokens, self._weight(tokens))
        if not self._waiters and self._may_send(ticket, now):
            self._send(ticket, now)
            return ticket
        if self._learner is not None:
            if not self._waiters:
                self._learner.outage.asked_again(now)
            self._start_ramp()
        ticket.future = self._loop.create_future()
        self._waiters.append(ticket)
        self._look()
        try:
            await ticket.future
        except asyncio.CancelledError:
            if ticket.number:  # it was let through in the moment of the cancellation
                self.leave(ticket.number)
            raise
        return ticket

    def leave(self, number: int) -> None:
        """Request `number` has ended, in whatever way."""
        self.in_flight -= 1
        if self._probes:
            self._probes.discard(number)
        if self._waiters:
            self._look()

    def succeeded(self, number: int, level: int) -> None:
        """Request `number` was answered, which was sent when `level` others were in flight."""
        if self._learner is not None:
            now = self._loop.time()
            self._learner.succeeded(number, level, now, GateCounts(self.sent, self.answered, self.in_flight))
            self._settle(now)

    def failed(self, number: int, level: int, error: LLMRequestError, weight: float = 1.0) -> None:
        """Request `number`, sent when `level` others were in flight, failed."""
        now = self._loop.time()
        pause = error.retry_after if error.retryable else None
        if pause is not None and pause > MAX_PAUSE:
            self._refused_until, self._refusal = now + pause, error
            self._refuse_all(lambda: too_long(error, pause, MAX_PAUSE))
        elif pause:
            self._ramps_after_pause |= pause >= LONG_PAUSE
            self._paused_until = max(self._paused_until, now + pause * (1 + _JITTER * random.random()))
        if self._learner is not None:
            gate = GateCounts(self.sent, self.answered, self.in_flight - 1)
            self._learner.failed(number, level, weight, error, now, gate)
            outage = self._learner.outage
            if outage.given_up:
                self._refusal = error
                self._refuse_all(lambda: given_up(error, now - outage.since, outage.failures))
        self._settle(now)

    def review(self, limits: Sequence[RateLimit], tokens: int, latency: float | None) -> None:
        """Look at how it goes.

        Args:
            limits: What the endpoint's headers say.
            tokens: Of an answer and its prompt; 0 when that is not known.
            latency: Seconds that the answer took; None when that is not known.
        """
        self.review_at = self.sent + (_OFTEN if limits else max(_SELDOM, 2 * self.limit))
        if tokens:
            self._tokens += (tokens - self._tokens) / (8 if self._tokens else 1)
        if self._learner is not None:
            now = self._loop.time()
            self._quota = Quota(limits, now, self.sent - self.in_flight) if limits else None
            self._learner.advised = advised_rate(limits, self._tokens)
            if self._learner.pace is None and not self._learner.outage.failures:
                self._learner.queue.review(now, self.sent - self.in_flight, self.in_flight, latency)
            self._settle(now)

    def correct(self, ticket: Ticket, tokens: tuple[float, ...]) -> None:
        """The request took so many tokens."""
        for pace, thought, actual in zip(self._token_paces, ticket.tokens, tokens, strict=False):
            if pace is not None:
                pace.correct(actual - thought)
        if self._waiters:
            self._look()  # the next moment may have come nearer

    def _check_open(self, now: float) -> None:
        """Refuse what would wait in vain.

        Raises:
            LLMRequestError: As `enter`.
        """
        if now < self._refused_until and self._refusal is not None:
            raise too_long(self._refusal, self._refused_until - now, MAX_PAUSE)
        outage = self._learner.outage if self._learner else None
        if outage is not None and outage.given_up and (self._probes or now < outage.next_probe):
            assert self._refusal is not None
            raise given_up(self._refusal, now - outage.since, outage.failures)

    def _settle(self, now: float) -> None:
        """Work out again what the fast path looks at, after something has changed."""
        learner = self._learner
        if self._ramps_after_pause and now >= self._paused_until - _EARLINESS:
            self._ramps_after_pause = False
            if learner is not None:
                learner.pause_ended(self.in_flight)
                self._start_ramp()
        paced = self._pace is not None or self._token_paces is not _NO_PACES
        self.open = not paced and now >= self._paused_until and now >= self._refused_until
        if learner is not None:
            self.limit = learner.limit
            self.alert = learner.alert
            self.open = self.open and learner.pace is None and not learner.outage.parked
        if self._waiters:
            self._look()

    def _moment(self, ticket: Ticket) -> float:
        """When a request may be sent as the next, if there is a slot."""
        moment = self._paused_until
        if self._pace is not None:
            moment = max(moment, self._pace.moment())
        for pace in self._token_paces:
            if pace is not None:
                moment = max(moment, pace.moment())
        learner = self._learner
        if learner is None:
            return moment
        if learner.outage.parked:
            return max(moment, learner.outage.next_probe)
        return max(moment, self._learned_moment(ticket))

    def _has_slot(self) -> bool:
        if self.parked:
            return self._learner is not None and len(self._probes) < self._learner.outage.probes
        return self.in_flight < self.limit

    def _may_send(self, ticket: Ticket, now: float) -> bool:
        return self._has_slot() and self._moment(ticket) <= now + _EARLINESS

    def _send(self, ticket: Ticket, now: float) -> None:
        """Count a request in."""
        self.sent = ticket.number = self.sent + 1
        ticket.level = self.in_flight
        self.in_flight += 1
        if self._pace is not None:
            self._pace.send(now)
        for pace, tokens in zip(self._token_paces, ticket.tokens, strict=False):
            if pace is not None:
                pace.send(now, tokens)
        if self._learner is None:
            return
        if self._learner.outage.parked:
            self._probes.add(ticket.number)
        rate = self._learner.rate
        if self._learner.pace is not None:
            moment = self._learned_moment(ticket)
            self._learned_last = moment if now - moment < _LATENESS else now
            in_use = self._held_by_rate and self._learner.pace == rate.rate
            rate.sent(now, ticket.number, ticket.weight, in_use=in_use)
            self._held_by_rate = False

    def _learned_moment(self, ticket: Ticket) -> float:
        """When a request may be sent at the learnt rate: after the last one, by what it takes itself."""
        rate = self._learner.pace if self._learner is not None else None
        return 0.0 if rate is None else self._learned_last + ticket.weight / rate

    def _weight(self, tokens: tuple[float, ...]) -> float:
        """How many usual requests one counts for, where the endpoint counts tokens."""
        if not tokens or self._learner is None:
            return 1.0
        if not self._learner.by_tokens:  # afterwards the unit stays what it is, whatever sizes come
            self._usual_size += (tokens[0] - self._usual_size) / 64 if self._usual_size else tokens[0]
            return 1.0
        self._usual_size = self._usual_size or tokens[0]
        return tokens[0] / self._usual_size

    def _look(self) -> None:
        """Let through whoever may pass now, and set the timer for the next."""
        waiters = self._waiters
        while waiters:
            future = waiters[0].future
            if future is None or future.done():
                waiters.popleft()
                continue
            if not self._has_slot():
                return
            now = self._loop.time()
            moment = self._moment(waiters[0])
            if moment > now + _EARLINESS:
                self._held_by_rate = moment == self._learned_moment(waiters[0])
                self._wake_at(moment)
                return
            self._send(waiters.popleft(), now)
            future.set_result(None)

    def _refuse_all(self, make_error: Callable[[], LLMRequestError]) -> None:
        """Nobody waits any longer."""
        waiters, self._waiters = self._waiters, deque()
        for ticket in waiters:
            if ticket.future is not None and not ticket.future.done():
                ticket.future.set_exception(make_error())

    def _start_ramp(self) -> None:
        """While the first limit holds requests back, it grows with time."""
        if self._ramp is None and self._learner is not None and self._learner.concurrency.ramping:
            self._ramp = self._loop.call_later(RAMP_SECONDS, self._climb)

    def _climb(self) -> None:
        self._ramp = None
        if self._learner is not None and self._waiters:
            self._learner.concurrency.ramp()
            self._settle(self._loop.time())
            self._start_ramp()

    def _wake_at(self, moment: float) -> None:
        if self._timer is not None:
            if self._timer_at == moment:
                return
            self._timer.cancel()
        self._timer, self._timer_at = self._loop.call_at(moment, self._wake), moment

    def _wake(self) -> None:
        self._timer = None
        self._settle(self._loop.time())
