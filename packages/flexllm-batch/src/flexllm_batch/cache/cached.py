"""Cached: answers a question that was answered before from the store, and asks identical ones in flight once."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from dataclasses import replace
from decimal import Decimal

from flexllm_batch.cache.entry import Entry, encode_entry, why_not_stored
from flexllm_batch.cache.joining import Joined, Leading
from flexllm_batch.cache.key import fingerprint_key, identity_tag
from flexllm_batch.cache.misses import Misses
from flexllm_batch.cache.store import ResponseStore
from flexllm_core.errors import InputError, LLMRequestError
from flexllm_core.protocol import ChatModel, ModelWrapper, Recall
from flexllm_core.requests import ChatRequest
from flexllm_core.results import ChatCompletionResult, StreamEvent

logger = logging.getLogger("flexllm")

_NOTHING = Decimal(0)


class Cached(ModelWrapper):
    """The outermost wrapper: a hit passes neither gate nor budget.

    Args:
        inner: Asks what was not answered before.
        store: Keeps the answers; closed with this.
        identities: For each endpoint by its name in results, who it is (`endpoint_identity`). Answers of
            any of them count; one is kept under the identity of the endpoint that gave it.
        accepts: Whether a stored answer will do; by default each does.
    """

    def __init__(
        self,
        inner: ChatModel,
        store: ResponseStore,
        identities: Mapping[str, str],
        accepts: Callable[[ChatCompletionResult], bool] | None = None,
    ) -> None:
        super().__init__(inner)
        self.accepts = accepts
        self.store = store
        self.identities = identities
        self._tags = {name: identity_tag(identity) for name, identity in identities.items()}
        self._distinct = tuple(dict.fromkeys(self._tags.values()))
        self._misses = Misses()
        self._joined: dict[asyncio.AbstractEventLoop, Joined] = {}

    def _in_flight(self) -> Joined:
        loop = asyncio.get_running_loop()
        joined = self._joined.get(loop)
        if joined is None:
            self._joined = {known: joined for known, joined in self._joined.items() if not known.is_closed()}
            joined = self._joined[loop] = Joined()
        return joined

    async def complete(self, request: ChatRequest) -> ChatCompletionResult:
        """Answer a request from the store, from an identical call in flight, or by asking."""
        if request.skip_cache:
            return await self.inner.complete(request)
        joined, key = self._in_flight(), (request.fingerprint(), request.keep_raw)
        turn = joined.lead(key) or await joined.turn(key)
        if not isinstance(turn, Leading):
            return _copy(turn)
        try:
            result = None if self._missed(request) else await self._stored(request)
            if result is None:
                result = await self.inner.complete(request)
                self._keep(request, result)
                if self.store.full:
                    await self.store.flush()
            turn.result = result
        except LLMRequestError as error:
            _share(error, turn)
            raise
        finally:
            joined.end(key, turn)
        return result

    async def stream(self, request: ChatRequest) -> AsyncGenerator[StreamEvent, None]:
        """Stream an answer; one that was given before is replayed as events. Only whole streams are kept."""
        if request.skip_cache:
            async with contextlib.aclosing(self.inner.stream(request)) as events:
                async for event in events:
                    yield event
            return
        joined, key = self._in_flight(), (request.fingerprint(), request.keep_raw)
        turn = joined.lead(key) or await joined.turn(key)
        if not isinstance(turn, Leading):
            for event in replayed(_copy(turn)):
                yield event
            return
        try:
            async with contextlib.aclosing(self._replay_or_ask(request)) as events:
                async for event in events:
                    turn.result = event.result
                    yield event
        except LLMRequestError as error:
            _share(error, turn)
            raise
        finally:
            joined.end(key, turn)

    async def _replay_or_ask(self, request: ChatRequest) -> AsyncGenerator[StreamEvent, None]:
        known = None if self._missed(request) else await self._stored(request)
        if known is not None:
            for event in replayed(known):
                yield event
            return
        async with contextlib.aclosing(self.inner.stream(request)) as events:
            async for event in events:
                if event.result is not None:
                    self._keep(request, event.result)
                    if self.store.full:
                        await self.store.flush()
                yield event

    def recall(self) -> Recall:
        """The answers in the store, of many questions at once: most of what a look-up takes is the way to it."""
        return self._recall

    async def _recall(self, fingerprints: Sequence[str]) -> list[ChatCompletionResult | None]:
        keys = [fingerprint_key(fingerprint, tag) for fingerprint in fingerprints for tag in self._distinct]
        results: list[ChatCompletionResult | None] = [None] * len(fingerprints)
        self._misses.look(fingerprints)
        values = await self.store.small_values(keys)
        if values:
            keys_of_each = zip(*[iter(keys)] * len(self._distinct), strict=True)
            for place, its_keys in enumerate(keys_of_each):
                if not values.keys().isdisjoint(its_keys):
                    self._misses.forget(fingerprints[place])
                    results[place] = self._usable(self.store.newest(its_keys, values), keep_raw=False)
        self._misses.note(fingerprints, time.monotonic())
        return results

    def _missed(self, request: ChatRequest) -> bool:
        """Whether it was looked up in vain a moment ago, with others."""
        return self._misses.take(request.fingerprint(), time.monotonic())

    async def _stored(self, request: ChatRequest) -> ChatCompletionResult | None:
        """The answer in the store, if there is one that counts."""
        fingerprint = request.fingerprint()
        entry = await self.store.look_up([fingerprint_key(fingerprint, tag) for tag in self._distinct])
        return self._usable(entry, keep_raw=request.keep_raw)

    def _usable(self, entry: Entry | None, *, keep_raw: bool) -> ChatCompletionResult | None:
        """A stored answer as one of now, if it will do."""
        if entry is None or (keep_raw and entry.result.raw is None):
            return None
        if self.accepts is not None and not self.accepts(entry.result):
            return None
        return _free(entry.result, keep_raw=keep_raw)

    def _keep(self, request: ChatRequest, result: ChatCompletionResult) -> None:
        """Put an answer into the store, unless it is one that must not be kept."""
        tag = self._tags.get(result.endpoint or "")
        if tag is None or why_not_stored(result) is not None:
            return
        fingerprint = request.fingerprint()
        key = fingerprint_key(fingerprint, tag)
        try:
            blob = encode_entry(key, result, time.time())
        except InputError as error:
            logger.warning("an answer of %s cannot be kept in the cache: %s", result.endpoint, error)
            return
        self.store.put(key, blob)
        self._misses.forget(fingerprint)

    async def aclose(self) -> None:
        """Close what is wrapped, then write what is left and close the store."""
        try:
            await self.inner.aclose()
        finally:
            await self.store.aclose()


def replayed(result: ChatCompletionResult) -> list[StreamEvent]:
    """A whole answer as the events of a stream."""
    events = []
    if result.reasoning_content:
        events.append(StreamEvent("reasoning", result.reasoning_content))
    if result.content:
        events.append(StreamEvent("content", result.content))
    events += [StreamEvent("tool_call", tool_call=call) for call in result.tool_calls]
    return [*events, StreamEvent("done", result=result)]


def _share(error: LLMRequestError, leading: Leading) -> None:
    """Let the identical calls have an error that they would get too."""
    if error.fault == "caller":
        leading.error = error


def _copy(result: ChatCompletionResult) -> ChatCompletionResult:
    """The answer that an identical call got, for one that waited for it and paid nothing."""
    usage = None if result.usage is None else replace(result.usage)
    return _free(replace(result, usage=usage), keep_raw=True)


def _free(result: ChatCompletionResult, *, keep_raw: bool) -> ChatCompletionResult:
    """The answer as one that nothing was sent for, and that costs nothing now."""
    result.cached = True
    result.attempts = result.corrections = 0
    result.latency = result.time_to_first_token = None
    result.saved_cost, result.cost, result.cost_source = result.cost, _NOTHING, "cache"
    if not keep_raw:
        result.raw = None
    return result
