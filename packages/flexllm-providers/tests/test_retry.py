"""Retries: how often each kind, how long the waits, and when not at all. In virtual time."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flexllm_core.errors import (
    AuthenticationError,
    BadRequestError,
    LLMConnectionError,
    LLMHTTPError,
    LLMRequestError,
    LLMResponseError,
    LLMTimeoutError,
    QuotaExceededError,
    RateLimitError,
    ServerError,
)
from flexllm_core.requests import ChatRequest
from flexllm_core.results import ChatCompletionResult, StreamEvent
from flexllm_providers.retry import NO_RETRY, Retrying, RetryPolicy

RunVirtual = Callable[[Any], Any]
REQUEST = ChatRequest([{"role": "user", "content": "hi"}], "m")


class Script:
    """A ChatModel that answers by a script: errors are raised, texts are answers; the last one repeats."""

    def __init__(self, *steps: Any, takes: float = 0.0) -> None:
        self.steps: Sequence[Any] = steps
        self.takes = takes
        self.times: list[float] = []
        self.open_streams = 0

    def _next(self) -> Any:
        self.times.append(asyncio.get_running_loop().time())
        return self.steps[min(len(self.times), len(self.steps)) - 1]

    async def complete(self, request: ChatRequest) -> ChatCompletionResult:
        """The next step."""
        step = self._next()
        await asyncio.sleep(self.takes)
        if isinstance(step, BaseException):
            if isinstance(step, LLMRequestError):
                step.attempts = 1
            raise step
        return ChatCompletionResult(step)

    async def stream(self, request: ChatRequest) -> AsyncGenerator[StreamEvent, None]:
        """The next step; a list streams its texts, and raises where it holds an error."""
        step = self._next()
        self.open_streams += 1
        try:
            await asyncio.sleep(self.takes)
            for item in step if isinstance(step, list) else [step]:
                if isinstance(item, LLMRequestError):
                    item.attempts = 1  # the same one may have been raised before, by a call that retried
                if isinstance(item, BaseException):
                    raise item
                yield StreamEvent("content", item)
            yield StreamEvent("done", result=ChatCompletionResult("done"))
        finally:
            await asyncio.sleep(0)
            self.open_streams -= 1

    async def aclose(self) -> None:
        """Nothing to close."""

    @property
    def waits(self) -> list[float]:
        """Seconds between the attempts."""
        return [after - before for before, after in zip(self.times, self.times[1:], strict=False)]


def timeout(phase: str) -> LLMTimeoutError:
    """A timeout in a phase."""
    error = LLMTimeoutError("slow")
    error.phase = phase
    return error


def attempts_of(
    run_virtual: RunVirtual, script: Script, policy: RetryPolicy | None = None
) -> LLMRequestError | str | None:
    """How a call ends: its error, or its content."""

    async def main() -> LLMRequestError | str | None:
        try:
            return (await Retrying(script, policy).complete(REQUEST)).content
        except LLMRequestError as error:
            return error

    outcome: LLMRequestError | str | None = run_virtual(main())
    return outcome


COUNTS: list[tuple[str, LLMRequestError, int]] = [  # error, requests in all
    ("500", ServerError("x", status_code=500), 6),
    ("reset", LLMConnectionError("x"), 6),
    ("cut stream", LLMResponseError("x", kind="transient"), 6),
    ("connect timeout", timeout("connect"), 6),
    ("total timeout", timeout("total"), 3),
    ("idle timeout", timeout("idle"), 3),
    ("empty answer", LLMResponseError("x"), 2),
    ("400", BadRequestError("x", status_code=400), 1),
    ("401", AuthenticationError("x", status_code=401), 1),
    ("no money", QuotaExceededError("x", status_code=429), 1),
    ("no money, though the server says wait", QuotaExceededError("x", retry_after=1), 1),
    ("should not be retried", ServerError("x", status_code=500, retryable=False), 1),
    ("overload that should not be retried", RateLimitError("x", retryable=False), 1),
    ("refused by status, but should be retried", LLMHTTPError("x", kind="refused", retryable=True), 6),
]


@pytest.mark.parametrize(("error", "requests"), [row[1:] for row in COUNTS], ids=[row[0] for row in COUNTS])
def test_each_kind_is_retried_so_often(run_virtual: RunVirtual, error: LLMRequestError, requests: int) -> None:
    """And the error that comes out says how many requests were sent."""
    script = Script(error)
    assert attempts_of(run_virtual, script) is error
    assert len(script.times) == requests
    assert error.attempts == requests


def test_kinds_are_counted_apart(run_virtual: RunVirtual) -> None:
    """A reset does not use up the retry of an empty answer."""
    empty, reset = LLMResponseError("x"), LLMConnectionError("x")
    script = Script(reset, empty, reset, timeout("total"), reset, "Hi")
    assert attempts_of(run_virtual, script) == "Hi"
    script = Script(reset, empty, reset, empty, "Hi")
    assert attempts_of(run_virtual, script) is empty


def test_a_success_says_how_many_requests_it_took(run_virtual: RunVirtual) -> None:
    """One where nothing failed."""

    async def main(*steps: Any) -> int:
        return (await Retrying(Script(*steps)).complete(REQUEST)).attempts

    assert run_virtual(main("Hi")) == 1
    assert run_virtual(main(ServerError("x"), ServerError("x"), "Hi")) == 3


def test_waits_are_full_jitter_below_a_doubling_bound(run_virtual: RunVirtual) -> None:
    """Anywhere from 0 to 0.2, 0.4 ... 20 seconds; over many calls the whole range is used."""
    policy = RetryPolicy(transient=9)
    random.seed(1)
    shares: list[float] = []
    for _ in range(50):
        script = Script(ServerError("x", status_code=500))
        attempts_of(run_virtual, script, policy)
        bounds = [min(20.0, 0.2 * 2**retry) for retry in range(9)]
        shares += [wait / bound for wait, bound in zip(script.waits, bounds, strict=True)]
    assert all(-1e-9 <= share <= 1 + 1e-6 for share in shares)
    assert min(shares) < 0.05
    assert max(shares) > 0.95
    assert 0.45 < sum(shares) / len(shares) < 0.55


@given(st.integers(0, 10_000), st.none() | st.floats(0, 100))
def test_every_backoff_is_within_its_bounds(retry: int, asked: float | None) -> None:
    """Never shorter than asked, never endless, whatever the number of the retry."""
    wait = RetryPolicy().backoff(retry, ServerError("x", retry_after=asked))
    assert wait >= (asked or 0)
    assert wait <= max(20.0, 1.1 * (asked or 0) + 1e-9)


@pytest.mark.parametrize("asked", [1.0, 7.0, 60.0, 120.0])
def test_retry_after_is_obeyed_with_a_little_spread(run_virtual: RunVirtual, asked: float) -> None:
    """Up to 10 % longer, so that not all come at once; never shorter."""
    script = Script(RateLimitError("x", retry_after=asked), "Hi")
    assert attempts_of(run_virtual, script) == "Hi"
    assert asked <= script.waits[0] <= asked * 1.1 + 1e-9


def test_retry_after_counts_for_every_kind(run_virtual: RunVirtual) -> None:
    """A 500 with a Retry-After too."""
    script = Script(ServerError("x", retry_after=30), "Hi")
    assert attempts_of(run_virtual, script) == "Hi"
    assert script.waits[0] >= 30


@pytest.mark.parametrize("error", [RateLimitError("x", retry_after=120.5), ServerError("x", retry_after=86_400)])
def test_a_wait_beyond_two_minutes_is_not_waited(run_virtual: RunVirtual, error: LLMRequestError) -> None:
    """The caller is told instead, at once."""
    script = Script(error)
    assert attempts_of(run_virtual, script) is error
    assert script.times == [0.0]


def test_a_storm_is_waited_for_as_long_as_the_patience_lasts(run_virtual: RunVirtual) -> None:
    """While nobody else succeeds, overloads use up time and no attempts: far more than 8 of them."""
    script = Script(*[RateLimitError("x", retry_after=20)] * 12, "Hi")
    assert attempts_of(run_virtual, script) == "Hi"
    assert len(script.times) == 13


def test_a_storm_without_an_end_ends_in_an_error(run_virtual: RunVirtual) -> None:
    """After the patience, and not after one wait more."""
    script = Script(RateLimitError("x"))
    error = attempts_of(run_virtual, script)
    assert isinstance(error, RateLimitError)
    assert error.attempts == len(script.times) > 8
    assert 200 < script.times[-1] <= 300


def test_a_server_that_says_zero_for_ever_is_not_hammered(run_virtual: RunVirtual) -> None:
    """`Retry-After: 0` again and again: backoff, and an end."""
    script = Script(RateLimitError("x", retry_after=0))
    assert isinstance(attempts_of(run_virtual, script), RateLimitError)
    assert len(script.times) < 150
    assert script.times[-1] <= 300


def test_a_call_that_is_refused_while_others_succeed_gives_up(run_virtual: RunVirtual) -> None:
    """A request that is too large for its limit gets 429 for ever: 8 retries, not five minutes."""

    class TooLarge(Script):
        async def complete(self, request: ChatRequest) -> ChatCompletionResult:
            if request is not REQUEST:
                return ChatCompletionResult("fine")
            return await super().complete(request)

    async def main() -> tuple[LLMRequestError, int, float]:
        script = TooLarge(RateLimitError("x", retry_after=1))
        model = Retrying(script)
        other = ChatRequest([], "m")

        async def traffic() -> None:
            while True:
                await model.complete(other)
                await asyncio.sleep(0.1)

        task = asyncio.get_running_loop().create_task(traffic())
        with pytest.raises(RateLimitError) as caught:
            await model.complete(REQUEST)
        task.cancel()
        return caught.value, len(script.times), asyncio.get_running_loop().time()

    error, sent, seconds = run_virtual(main())
    assert error.attempts == sent
    assert 9 <= sent <= 10
    assert seconds < 120


@pytest.mark.parametrize(
    ("retry_times", "error", "requests"),
    [
        (0, ServerError("x"), 1),
        (0, RateLimitError("x"), 1),
        (0, timeout("total"), 1),
        (0, LLMResponseError("x"), 1),
        (1, ServerError("x"), 2),
        (9, ServerError("x"), 10),
        (9, timeout("total"), 3),
        (9, LLMResponseError("x"), 2),
        (1, timeout("total"), 2),
        (None, ServerError("x"), 6),
    ],
)
def test_the_users_number_of_retries(
    run_virtual: RunVirtual, retry_times: int | None, error: LLMRequestError, requests: int
) -> None:
    """It sets the cheap ones; the dear ones become only fewer by it."""
    script = Script(error)
    attempts_of(run_virtual, script, RetryPolicy().with_retry_times(retry_times))
    assert len(script.times) == requests


def test_no_retry_is_none(run_virtual: RunVirtual) -> None:
    """For whoever retries outside."""
    for error in (ServerError("x"), RateLimitError("x", retry_after=0), timeout("connect"), LLMResponseError("x")):
        script = Script(error)
        attempts_of(run_virtual, script, NO_RETRY)
        assert len(script.times) == 1


def test_other_errors_pass(run_virtual: RunVirtual) -> None:
    """A mistake in a program is not retried."""
    script = Script(KeyError("x"))
    with pytest.raises(KeyError):
        attempts_of(run_virtual, script)
    assert len(script.times) == 1


def test_a_cancelled_wait_ends_at_once(run_virtual: RunVirtual) -> None:
    """And sends nothing more."""
    script = Script(RateLimitError("x", retry_after=100))

    async def main() -> float:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(5):
                await Retrying(script).complete(REQUEST)
        return asyncio.get_running_loop().time()

    assert run_virtual(main()) == pytest.approx(5)
    assert len(script.times) == 1


async def texts(events: AsyncGenerator[StreamEvent, None], into: list[str]) -> ChatCompletionResult | None:
    """Collect the texts of a stream; its result."""
    result = None
    async with aclosing(events):
        async for event in events:
            into.append(event.text)
            result = event.result or result
    return result


def test_a_stream_that_has_not_begun_is_tried_again(run_virtual: RunVirtual) -> None:
    """A 500 or a reset before the first event, as often as without streaming; and no stream stays open."""
    script = Script(ServerError("x"), LLMConnectionError("x"), ["a", "b"])

    async def main() -> tuple[list[str], int]:
        seen: list[str] = []
        result = await texts(Retrying(script).stream(REQUEST), seen)
        assert result is not None
        return seen, result.attempts

    assert run_virtual(main()) == (["a", "b", ""], 3)
    assert script.open_streams == 0


def test_a_stream_that_has_begun_is_not(run_virtual: RunVirtual) -> None:
    """Its text was shown; the error says so."""
    error = LLMConnectionError("x")
    script = Script(ServerError("y"), ["a", error])

    async def main() -> list[str]:
        seen: list[str] = []
        with pytest.raises(LLMConnectionError) as caught:
            await texts(Retrying(script).stream(REQUEST), seen)
        assert caught.value is error
        return seen

    assert run_virtual(main()) == ["a"]
    assert error.attempts == len(script.times) == 2
    assert script.open_streams == 0


@pytest.mark.parametrize(("error", "requests"), [row[1:] for row in COUNTS], ids=[row[0] for row in COUNTS])
def test_streams_are_retried_as_often_as_other_calls(
    run_virtual: RunVirtual, error: LLMRequestError, requests: int
) -> None:
    """One table for both."""
    script = Script(error)

    async def main() -> None:
        with pytest.raises(LLMRequestError):
            await texts(Retrying(script).stream(REQUEST), [])

    run_virtual(main())
    assert error.attempts == len(script.times) == requests


def test_no_stream_is_open_while_its_retry_waits(run_virtual: RunVirtual) -> None:
    """A waiting call holds no slot of what it wraps."""
    script = Script(RateLimitError("x", retry_after=50), ["a"])

    async def main() -> int:
        task = asyncio.get_running_loop().create_task(texts(Retrying(script).stream(REQUEST), []))
        await asyncio.sleep(25)
        waiting = script.open_streams
        await task
        return waiting

    assert run_virtual(main()) == 0


def test_closing_a_stream_early_closes_the_inner_one(run_virtual: RunVirtual) -> None:
    """Before `aclose` returns."""
    script = Script(["a", "b", "c"])

    async def main() -> int:
        events = Retrying(script).stream(REQUEST)
        assert (await anext(events)).text == "a"
        assert script.open_streams == 1
        await events.aclose()
        return script.open_streams

    assert run_virtual(main()) == 0


def test_a_finished_stream_is_a_success_for_the_others(run_virtual: RunVirtual) -> None:
    """It tells that the server answers."""

    async def main() -> int:
        model = Retrying(Script(["a"]))
        await texts(model.stream(REQUEST), [])
        return model._successes

    assert run_virtual(main()) == 1
