"""The gate, in virtual time: concurrency, requests per second, and the pause that all obey."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncGenerator, Callable, Coroutine
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from flexllm_batch.limits.gate import MAX_PAUSE
from flexllm_batch.limits.limited import Limited
from flexllm_core.errors import ConfigError, LLMRequestError, RateLimitError, ServerError
from flexllm_core.requests import ChatRequest
from flexllm_core.results import ChatCompletionResult, StreamEvent, Usage
from flexllm_providers.retry import Retrying, RetryPolicy

RunVirtual = Callable[[Coroutine[Any, Any, Any]], Any]


def request(text: object = "hi") -> ChatRequest:
    return ChatRequest([{"role": "user", "content": str(text)}], "m")


class Server:
    """Takes `seconds` for each call, keeps the times of all calls, and answers what `answer(number)` says."""

    def __init__(self, seconds: float = 0.0, answer: Callable[[int], Exception | None] = lambda _: None) -> None:
        self.seconds = seconds
        self.answer = answer
        self.times: list[float] = []
        self.order: list[str] = []
        self.in_flight = self.peak = 0

    async def complete(self, request: ChatRequest) -> ChatCompletionResult:
        self.times.append(asyncio.get_running_loop().time())
        self.order.append(request.messages[-1]["content"])
        number = len(self.times)
        self.in_flight += 1
        self.peak = max(self.peak, self.in_flight)
        try:
            if self.seconds:
                await asyncio.sleep(self.seconds)
        finally:
            self.in_flight -= 1
        error = self.answer(number)
        if error is not None:
            raise error
        return ChatCompletionResult("ok")

    async def stream(self, request: ChatRequest) -> AsyncGenerator[StreamEvent, None]:
        result = await self.complete(request)
        yield StreamEvent("content", "ok")
        await asyncio.sleep(self.seconds)
        yield StreamEvent("done", result=result)

    async def aclose(self) -> None:
        pass


def busiest(times: list[float], window: float = 1.0) -> int:
    """The largest number of calls in any half-open window of that many seconds."""
    times = sorted(times)
    return max(sum(start <= time < start + window - 1e-5 for time in times) for start in times)


async def ask_all(model: Any, count: int, pause: float = 0.0) -> list[Any]:
    tasks = []
    for number in range(count):
        tasks.append(asyncio.ensure_future(model.complete(request(number))))
        if pause:
            await asyncio.sleep(pause)
    return await asyncio.gather(*tasks, return_exceptions=True)


@pytest.mark.parametrize(("limit", "rows"), [(1, 5), (3, 10), (7, 100)])
def test_concurrency_is_never_exceeded_and_always_used(run_virtual: RunVirtual, limit: int, rows: int) -> None:
    """Never more in flight, and no slot idle while somebody waits."""
    server = Server(seconds=1.0)

    async def main() -> float:
        await ask_all(Limited(server, concurrency=limit), rows)
        return asyncio.get_running_loop().time()

    started_at = run_virtual(_now())
    assert run_virtual(main()) - started_at == pytest.approx(-(-rows // limit))
    assert server.peak == limit


async def _now() -> float:
    return asyncio.get_running_loop().time()


def test_slots_are_handed_over_first_come_first_served(run_virtual: RunVirtual) -> None:
    """Nobody who comes later is served earlier, with and without a rate."""
    for max_qps in (None, 5.0):
        server = Server(seconds=0.3)
        run_virtual(ask_all(Limited(server, concurrency=2, max_qps=max_qps), 30, pause=0.01))
        assert server.order == [str(number) for number in range(30)]


@pytest.mark.parametrize("max_qps", [0.25, 0.5, 1, 2, 3, 7.5, 20, 333])
@pytest.mark.parametrize("seconds", [0.0, 0.7])
def test_no_second_has_more_requests_than_the_rate(run_virtual: RunVirtual, max_qps: float, seconds: float) -> None:
    """Whatever the rate, evenly spaced, and slower than the rate admits by what networks may distort."""
    rows = min(200, max(8, int(max_qps * 5)))
    server = Server(seconds)

    async def main() -> float:
        started = asyncio.get_running_loop().time()
        await ask_all(Limited(server, concurrency=1000, max_qps=max_qps), rows)
        return server.times[-1] - started

    took = run_virtual(main())
    assert busiest(server.times, max(1.0, 1 / max_qps)) <= max(1, -(-max_qps // 1))
    assert took == pytest.approx((rows - 1) / max_qps, rel=0.03)


def test_retries_pass_the_rate_limit_too(run_virtual: RunVirtual) -> None:
    """max_qps=2 with a server that fails two of three calls: never more than 2 in any second."""
    server = Server(answer=lambda number: ServerError("no") if number % 3 else None)
    retrying = Retrying(Limited(server, concurrency=50, max_qps=2), RetryPolicy(transient=20))
    results = run_virtual(ask_all(retrying, 30))
    assert all(isinstance(result, ChatCompletionResult) for result in results)
    assert len(server.times) == 90
    assert busiest(server.times) == 2


def test_a_pause_between_requests_gives_no_right_to_a_burst(run_virtual: RunVirtual) -> None:
    """After an hour without requests the rate is the same."""
    server = Server()
    limited = Limited(server, concurrency=100, max_qps=4)

    async def main() -> None:
        await ask_all(limited, 3)
        await asyncio.sleep(3600)
        await ask_all(limited, 20)

    run_virtual(main())
    assert busiest(server.times) == 4
    gaps = [later - earlier for earlier, later in zip(server.times, server.times[1:], strict=False)]
    assert min(gaps) >= 0.25


def test_late_timers_put_no_second_above_the_rate(run_virtual: RunVirtual, monkeypatch: pytest.MonkeyPatch) -> None:
    """Real timers are late by milliseconds, one more than the other; what was really sent counts."""
    dice = random.Random(1)

    async def main(limited: Limited, rows: int) -> None:
        loop = asyncio.get_running_loop()
        call_at = loop.call_at
        late = lambda when, *args, **options: call_at(when + dice.random() * 0.004, *args, **options)  # noqa: E731
        monkeypatch.setattr(loop, "call_at", late)
        await ask_all(limited, rows)

    for max_qps in (2, 10, 100):
        server = Server()
        run_virtual(main(Limited(server, concurrency=1000, max_qps=max_qps), max_qps * 10))
        assert 0.98 * max_qps <= busiest(server.times) <= max_qps
        assert server.times[-1] - server.times[0] < 10.3, "late timers are caught up with"


@pytest.mark.parametrize("max_qps", [None, 5])
def test_nobody_sends_while_the_server_asked_for_a_pause(run_virtual: RunVirtual, max_qps: float | None) -> None:
    """429 with Retry-After: 3 stops all rows for three seconds, those that already wait for their turn too."""

    def answer(number: int) -> Exception | None:
        return RateLimitError("slow down", retry_after=3.0) if number in (4, 15) else None

    server = Server(answer=answer)
    retrying = Retrying(Limited(server, concurrency=2, max_qps=max_qps))
    results = run_virtual(ask_all(retrying, 20, pause=0.05))
    assert all(isinstance(result, ChatCompletionResult) for result in results)
    assert len(server.times) == 22
    for paused_at in (server.times[3], server.times[14]):
        assert not [time for time in server.times if paused_at < time < paused_at + 3.0 - 1e-5]


def test_a_later_and_longer_pause_wins_and_a_shorter_one_does_not(run_virtual: RunVirtual) -> None:
    """The gate opens at the latest moment that any answer named."""
    waits = {1: 5.0, 2: 20.0, 3: 1.0}
    server = Server(0.5, lambda number: RateLimitError("429", retry_after=waits.get(number)) if number < 4 else None)
    limited = Limited(server, concurrency=5)

    async def main() -> None:
        await ask_all(limited, 3, pause=0.1)
        await ask_all(limited, 3)

    run_virtual(main())
    told_at = server.times[1] + 0.5
    assert all(20.0 <= time - told_at <= 22.0 for time in server.times[3:])


@pytest.mark.parametrize(
    "error",
    [
        RateLimitError("never", retry_after=60, retryable=False),
        RateLimitError("no word of it"),
    ],
)
def test_other_errors_pause_nobody(run_virtual: RunVirtual, error: LLMRequestError) -> None:
    """A pause that nobody would wait for, or an error that is not to be tried again, stops no other row."""
    server = Server(answer=lambda number: error if number == 1 else None)
    limited = Limited(server, concurrency=1)
    run_virtual(ask_all(limited, 10))
    assert server.times[-1] == server.times[0]


def test_waiting_between_retries_holds_no_slot(run_virtual: RunVirtual) -> None:
    """One failing row in a long backoff leaves the only slot to the others."""

    def answer(number: int) -> Exception | None:
        return ServerError("no") if number == 1 else None

    server = Server(1.0, answer)
    policy = RetryPolicy(base=1000.0, cap=1000.0)
    results = run_virtual(ask_all(Retrying(Limited(server, concurrency=1), policy), 10))
    assert len(results) == 10
    assert server.order[1:10] == [str(number) for number in range(1, 10)]
    assert server.order[10] == "0"


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    cancelled_after=st.lists(st.floats(0, 3), min_size=1, max_size=25),
    limit=st.integers(1, 4),
    max_qps=st.sampled_from([None, 3.0]),
    streaming=st.booleans(),
)
def test_cancelled_waiters_never_leak_a_slot(
    run_virtual: RunVirtual, cancelled_after: list[float], limit: int, max_qps: float | None, streaming: bool
) -> None:
    """Cancelled at any moment, waiting, in flight or just let in: afterwards all slots are free again."""
    server = Server(0.4)
    limited = Limited(server, concurrency=limit, max_qps=max_qps)

    async def one() -> None:
        if streaming:
            async for _ in limited.stream(request()):
                pass
        else:
            await limited.complete(request())

    async def main() -> None:
        loop = asyncio.get_running_loop()
        tasks = [asyncio.create_task(one()) for _ in cancelled_after]
        for task, delay in zip(tasks, cancelled_after, strict=True):
            loop.call_later(delay, task.cancel)
        await asyncio.wait(tasks)
        assert server.peak <= limit
        server.peak = 0
        await ask_all(limited, limit * 2)
        assert server.peak == (limit if max_qps is None else server.peak)
        assert (limited.gate.in_flight, limited.gate.waiting) == (0, 0)

    run_virtual(main())


def test_a_slot_handed_over_in_the_moment_of_a_cancellation_is_passed_on(run_virtual: RunVirtual) -> None:
    """The waiter that was let in and cancelled in the same turn gives its slot to the next."""
    server = Server(1.0)
    limited = Limited(server, concurrency=1)

    async def main() -> None:
        first, second, third = [asyncio.create_task(limited.complete(request(number))) for number in range(3)]
        first.add_done_callback(lambda _: second.cancel())
        await asyncio.wait([first, second, third])
        assert (second.cancelled(), third.cancelled()) == (True, False)
        assert limited.gate.in_flight == 0

    run_virtual(main())


def test_a_stream_holds_its_slot_until_its_end(run_virtual: RunVirtual) -> None:
    """Also when it is closed early, which frees it."""
    server = Server(1.0)
    limited = Limited(server, concurrency=1)

    async def main() -> None:
        loop = asyncio.get_running_loop()
        stream = limited.stream(request())
        assert (await anext(stream)).text == "ok"
        waiting = asyncio.create_task(limited.complete(request()))
        await asyncio.sleep(10)
        assert len(server.times) == 1
        closed_at = loop.time()
        await stream.aclose()
        await waiting
        assert server.times[1] == closed_at

    run_virtual(main())


def test_an_error_in_opening_a_stream_frees_the_slot(run_virtual: RunVirtual) -> None:
    """Whatever the wrapped model raises, and whenever."""

    class Broken(Server):
        def stream(self, request: ChatRequest) -> Any:
            raise RuntimeError("no streams here")

    limited = Limited(Broken(), concurrency=1)

    async def main() -> None:
        for _ in range(3):
            with pytest.raises(RuntimeError, match="no streams"):
                await anext(limited.stream(request()))
        await limited.complete(request())

    run_virtual(main())


def test_a_429_of_a_stream_pauses_everybody(run_virtual: RunVirtual) -> None:
    """Streams tell the gate as single calls do."""
    server = Server(answer=lambda number: RateLimitError("429", retry_after=7.0) if number == 1 else None)
    limited = Limited(server, concurrency=5)

    async def main() -> None:
        with pytest.raises(RateLimitError):
            await anext(limited.stream(request()))
        await limited.complete(request())

    run_virtual(main())
    assert 7.0 <= server.times[1] - server.times[0] <= 7.7


@pytest.mark.parametrize(("concurrency", "max_qps"), [(0, None), (-1, None), (1, 0.0), (1, -2.0), (1, float("nan"))])
def test_limits_that_let_nothing_through_are_refused(concurrency: int, max_qps: float | None) -> None:
    """They would wait for ever."""
    with pytest.raises(ConfigError):
        Limited(Server(), concurrency=concurrency, max_qps=max_qps)


def test_a_pause_that_is_too_long_is_an_error_for_all_at_once(run_virtual: RunVirtual) -> None:
    """Nobody waits for hours and nobody asks again meanwhile: the error says when to come back."""
    server = Server(0.1, lambda number: RateLimitError("HTTP 429", retry_after=3600.0) if number == 1 else None)
    limited = Limited(server, concurrency=1)

    async def main() -> None:
        errors = await ask_all(Retrying(limited), 20)
        assert [type(error) for error in errors] == [RateLimitError] * 20
        assert "come back in 3,600 s" in str(errors[5])
        assert not errors[5].retryable
        assert len(server.times) == 1
        await asyncio.sleep(3600)
        await limited.complete(request())

    run_virtual(main())
    assert MAX_PAUSE < 3600


def spent(server: Server, tokens: Callable[[str], int], window: float) -> int:
    """The most tokens in any window of so many seconds."""
    sizes = [tokens(text) for text in server.order]
    pairs = list(zip(server.times, sizes, strict=True))
    return max(sum(size for time, size in pairs if start <= time < start + window - 1e-6) for start, _ in pairs)


@pytest.mark.parametrize("kind", ["max_tpm", "max_input_tpm", "max_output_tpm"])
def test_no_second_has_more_tokens_than_its_share_and_one_row(run_virtual: RunVirtual, kind: str) -> None:
    """6,000 a minute are 100 a second; what the answers say corrects what was thought."""
    server = TokenServer()
    limited = Limited(server, concurrency=100, **{kind: 6000})
    run_virtual(ask_all(limited, 400))
    sizes = {"max_tpm": 60, "max_input_tpm": 20, "max_output_tpm": 40}
    assert spent(server, lambda _: sizes[kind], 1.0) <= 100 + sizes[kind]
    took = server.times[-1] - server.times[0]
    assert took == pytest.approx(399 * sizes[kind] / 100, rel=0.1)


def test_a_row_larger_than_a_minute_passes_and_the_others_wait_for_it(run_virtual: RunVirtual) -> None:
    """It takes as many minutes as it needs, and never waits for ever."""
    server = TokenServer()
    limited = Limited(server, concurrency=10, max_input_tpm=600)

    async def main() -> None:
        await limited.complete(request("x" * 4 * 3000))
        await limited.complete(request("small"))

    run_virtual(main())
    assert server.times[1] - server.times[0] == pytest.approx(300, rel=0.05)


class TokenServer(Server):
    """Answers with a usage: a token for each 4 characters and at least 20, and 40 tokens of output."""

    async def complete(self, request: ChatRequest) -> ChatCompletionResult:
        await super().complete(request)
        size = max(20, len(request.messages[-1]["content"]) // 4)
        return ChatCompletionResult("ok", usage=Usage(size, 40, size + 40))


def test_streams_obey_and_correct_the_limit_of_tokens(run_virtual: RunVirtual) -> None:
    """They pass the same gate."""
    server = TokenServer()
    limited = Limited(server, concurrency=10, max_output_tpm=600)

    async def one() -> None:
        async for _ in limited.stream(request()):
            pass

    async def main() -> None:
        for _ in range(20):
            await one()

    run_virtual(main())
    gaps = [later - earlier for earlier, later in zip(server.times[2:], server.times[3:], strict=False)]
    assert gaps == [pytest.approx(4.0, rel=0.01)] * len(gaps)
