"""The parts of a pool: circuit breakers, strategies, and how errors are passed on."""

from __future__ import annotations

import asyncio
import math
import random
from collections import Counter
from dataclasses import dataclass
from typing import Any

import pytest

from flexllm_batch.balance.balanced import Balanced
from flexllm_batch.balance.health import Breaker
from flexllm_batch.balance.member import Member
from flexllm_batch.balance.strategies import least_loaded, strategy_of
from flexllm_batch.limits.limited import Limited
from flexllm_core.errors import (
    AuthenticationError,
    ConfigError,
    LLMConnectionError,
    LLMRequestError,
    LLMTimeoutError,
    NoEndpointAvailableError,
    ServerError,
)
from flexllm_core.requests import ChatRequest

REQUEST = ChatRequest([{"role": "user", "content": "hi"}], "m")


@dataclass
class Place:
    """A candidate of a strategy."""

    index: int
    weight: float = 1.0
    load: float = 0.0
    site: str | None = None
    quota_left: float | None = None


def fault() -> LLMRequestError:
    return LLMConnectionError("reset")


def proven(threshold: int = 3, recovery_time: float = 60.0) -> Breaker:
    breaker = Breaker(threshold, recovery_time)
    breaker.succeeded(trial=False)
    return breaker


def test_a_breaker_opens_after_so_many_faults_in_a_row() -> None:
    """An answer between them begins the count anew."""
    breaker = proven()
    for _ in range(2):
        breaker.failed(fault(), 1.0, trial=False)
    breaker.succeeded(trial=False)
    for _ in range(2):
        breaker.failed(fault(), 2.0, trial=False)
    assert breaker.state == "closed"
    breaker.failed(fault(), 3.0, trial=False)
    assert breaker.state == "open"
    assert breaker.next_call(0, alone=False) == 63.0


def test_one_trial_decides_whether_it_closes() -> None:
    """While it is under way there is no other."""
    breaker = proven(1)
    breaker.failed(fault(), 0.0, trial=False)
    assert breaker.begin(60.0)
    assert breaker.state == "half-open"
    assert breaker.next_call(0, alone=False) == math.inf
    breaker.failed(fault(), 61.0, trial=True)
    assert (breaker.state, breaker.next_call(0, alone=False)) == ("open", 121.0)
    assert breaker.begin(121.0)
    breaker.abandoned(trial=True)
    assert breaker.next_call(0, alone=False) <= 121.0
    assert breaker.begin(122.0)
    breaker.succeeded(trial=True)
    assert (breaker.state, breaker.ready) == ("closed", True)


def test_a_fault_of_the_account_opens_it_at_once() -> None:
    """And is not tried early, as time does not cure it."""
    breaker = proven()
    breaker.failed(AuthenticationError("401"), 0.0, trial=False)
    assert breaker.hopeless
    assert breaker.next_call(0, alone=True) == 60.0


def test_the_last_members_are_tried_earlier() -> None:
    """After half a second, then twice as long each time, and every six seconds in the end."""
    breaker = proven(1)
    breaker.failed(fault(), 0.0, trial=False)
    waits = []
    for _ in range(6):
        waits.append(breaker.next_call(0, alone=True))
        breaker.begin(0.0)
        breaker.failed(fault(), 0.0, trial=True)
    assert waits == [0.5, 1.0, 2.0, 4.0, 6.0, 6.0]


def test_a_late_answer_or_failure_does_not_change_an_open_breaker() -> None:
    """It was sent before, and tells nothing new."""
    breaker = proven(1)
    breaker.failed(fault(), 0.0, trial=False)
    breaker.failed(fault(), 30.0, trial=False)
    breaker.succeeded(trial=False)
    assert (breaker.state, breaker.next_call(0, alone=False)) == ("open", 60.0)


def test_a_member_that_never_answered_gets_only_a_few_calls_at_first() -> None:
    """As many as may fail; all it has room for once it has answered, or has failed nothing for half a second."""
    breaker = Breaker(3, 60.0)
    breaker.begin(10.0)
    assert breaker.next_call(2, alone=False) == -math.inf
    assert breaker.next_call(3, alone=False) == 10.5
    breaker.failed(fault(), 10.1, trial=False)
    assert breaker.next_call(2, alone=False) == math.inf
    breaker.succeeded(trial=False)
    assert breaker.next_call(50, alone=False) == -math.inf


def test_weights_are_kept_and_spread() -> None:
    """3 and 1: a, a, b, a; whatever the turn, no one waits for long."""
    pick, places = strategy_of("weighted"), [Place(0, 3.0), Place(1, 1.0)]
    assert [pick(places).index for _ in range(8)] == [0, 0, 1, 0, 0, 0, 1, 0]


def test_round_robin_goes_on_behind_the_last_one() -> None:
    """Also when some have no room."""
    pick, places = strategy_of("round_robin"), [Place(n) for n in range(4)]
    assert [pick(places).index for _ in range(3)] == [0, 1, 2]
    assert pick([places[0], places[3]]).index == 3
    assert pick(places[1:3]).index == 1


def test_fallback_takes_the_first_and_random_goes_by_weight(seeded_dice: None) -> None:
    """Of 4,000 throws about three quarters go to the threefold weight."""
    places = [Place(0, 3.0), Place(1, 1.0)]
    assert {strategy_of("fallback")(places).index for _ in range(9)} == {0}
    found = Counter(strategy_of("random")(places).index for _ in range(4000))
    assert 2900 <= found[0] <= 3100


def test_the_least_loaded_of_many_is_one_of_two(seeded_dice: None) -> None:
    """Never the most loaded one, and not always the same."""
    places = [Place(n, load=n) for n in range(40)]
    found = {least_loaded(places).index for _ in range(300)}
    assert 39 not in found
    assert len(found) > 10
    assert least_loaded(places[:16]).index == 0


def test_of_several_keys_of_one_server_the_one_with_most_of_its_quota_left_is_taken() -> None:
    """Where that server would have been chosen, and tells it of all of them."""
    other = Place(0, load=5.0)
    keys = [Place(1, load=1.0, site="s", quota_left=0.2), Place(2, load=2.0, site="s", quota_left=0.3)]
    assert least_loaded([other, *keys]).index == 2
    assert least_loaded([Place(0, load=0.5), *keys]).index == 0
    assert least_loaded([keys[0], Place(2, load=2.0, site="s")]).index == 1
    assert least_loaded([Place(1, load=1.0, site="s"), keys[1]]).index == 1
    assert least_loaded([keys[0], Place(2, load=2.0, site="t", quota_left=0.9)]).index == 1


@pytest.fixture
def seeded_dice() -> None:
    """The same dice each time."""
    random.seed(1)


def test_unknown_strategies_and_empty_pools_are_refused() -> None:
    """With what there is."""
    with pytest.raises(ConfigError, match="'round_robin'"):
        strategy_of("quickest")
    with pytest.raises(ConfigError, match="at least one"):
        Balanced([])


def balanced_of(make_model: Any, *answers: Any, **options: Any) -> Balanced:
    """Members that answer each call with one thing: a text, or an error that is raised."""
    members = [
        Member(f"m{n}", Limited(make_model(lambda request, one=one: one), concurrency=2), Breaker(3, 60.0))
        for n, one in enumerate(answers)
    ]
    return Balanced(members, **{"load_balance": "fallback", **options})


def asked(balanced: Balanced) -> list[int]:
    return [stats.requests for stats in balanced.stats]


async def test_the_error_that_may_pass_is_the_one_that_is_raised(make_model: Any) -> None:
    """So that the call is tried again; it says how many requests were sent."""
    balanced = balanced_of(make_model, ServerError("500", status_code=500), AuthenticationError("401"))
    with pytest.raises(ServerError) as caught:
        await balanced.complete(REQUEST)
    assert caught.value.attempts == 2


async def test_after_a_timeout_only_one_more_member_is_tried(make_model: Any) -> None:
    """Each may be billed."""
    balanced = balanced_of(make_model, *[LLMTimeoutError("late") for _ in range(4)])
    with pytest.raises(LLMTimeoutError):
        await balanced.complete(REQUEST)
    assert asked(balanced) == [1, 1, 0, 0]


async def test_a_cancelled_call_gives_its_place_back(make_model: Any) -> None:
    """Whether it waits or is under way; the next one gets it."""
    model = make_model(delay=30.0)
    balanced = Balanced([Member("m", Limited(model, concurrency=1), Breaker())])
    running = asyncio.ensure_future(balanced.complete(REQUEST))
    waiting = asyncio.ensure_future(balanced.complete(REQUEST))
    await asyncio.sleep(0.01)
    waiting.cancel()
    running.cancel()
    await asyncio.gather(running, waiting, return_exceptions=True)
    assert balanced.stats[0].in_flight == 0
    model.delay = 0.0
    assert (await balanced.complete(REQUEST)).content is not None


async def test_what_is_no_failure_of_an_endpoint_is_passed_on_at_once(make_model: Any) -> None:
    """A configuration error says nothing of the member."""
    balanced = balanced_of(make_model, ConfigError("no"), "fine")
    with pytest.raises(ConfigError):
        await balanced.complete(REQUEST)
    assert asked(balanced) == [1, 0]
    assert balanced.stats[0].state == "closed"


async def test_a_single_member_with_a_wrong_key_says_so_and_then_that_nobody_is_left(make_model: Any) -> None:
    """Without asking it again."""
    balanced = balanced_of(make_model, AuthenticationError("HTTP 401: wrong key", status_code=401))
    with pytest.raises(AuthenticationError):
        await balanced.complete(REQUEST)
    with pytest.raises(NoEndpointAvailableError, match="m0: HTTP 401: wrong key"):
        await balanced.complete(REQUEST)
    assert asked(balanced) == [1]
