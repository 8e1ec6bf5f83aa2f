"""Identical calls in flight: one of them asks, the others wait for its answer."""

from __future__ import annotations

import asyncio
from collections.abc import Hashable

from flexllm_core.errors import LLMRequestError
from flexllm_core.results import ChatCompletionResult


class Leading:
    """A call that asks; it says how it ended in `result` or, when the question itself is at fault, in `error`."""

    result: ChatCompletionResult | None = None
    error: LLMRequestError | None = None
    ended: asyncio.Future[None] | None = None  # made by the first that waits


class Joined:
    """Calls in flight by their key, on one event loop."""

    def __init__(self) -> None:
        self._in_flight: dict[Hashable, Leading] = {}

    def lead(self, key: Hashable) -> Leading | None:
        """Lead at once, where nobody else does. Who leads calls `end`."""
        if key in self._in_flight:
            return None
        leading = self._in_flight[key] = Leading()
        return leading

    async def turn(self, key: Hashable) -> Leading | ChatCompletionResult:
        """Lead, or wait for the answer of the call that leads. Who leads calls `end`.

        When the leader fails or is cancelled, one of those that wait leads next; the others go on
        waiting. An error that is the question's own fault (`fault` "caller") is everybody's: another
        call would be refused too.

        Raises:
            LLMRequestError: The leader's, when it is the question's fault.
        """
        while (other := self._in_flight.get(key)) is not None:
            if other.ended is None:
                other.ended = asyncio.get_running_loop().create_future()
            # Shielded: one who leaves must not take the answer from the others.
            await asyncio.shield(other.ended)
            if other.error is not None:
                raise other.error.with_traceback(None)
            if other.result is not None:
                return other.result
        leading = self.lead(key)
        assert leading is not None  # nothing was awaited since the place was seen to be free
        return leading

    def end(self, key: Hashable, leading: Leading) -> None:
        """Give up the lead. The first who wakes up then finds the place free and takes it."""
        del self._in_flight[key]
        if leading.ended is not None:
            leading.ended.set_result(None)
