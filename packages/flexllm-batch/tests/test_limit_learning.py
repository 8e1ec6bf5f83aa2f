"""The pure parts of what is learnt about an endpoint, on their own."""

from __future__ import annotations

import pytest

from flexllm_batch.limits.admissions import Admissions
from flexllm_batch.limits.advice import advised_rate
from flexllm_batch.limits.climb import confirmed_hold, growth, is_held
from flexllm_batch.limits.concurrency import FIRST_LIMIT, AdaptiveLimit
from flexllm_batch.limits.learner import speaks_of_tokens
from flexllm_batch.limits.outage import Outage
from flexllm_batch.limits.queue_watch import QueueWatch
from flexllm_batch.limits.quota import Quota
from flexllm_batch.limits.token_costs import TokenCosts
from flexllm_core.errors import RateLimitError
from flexllm_core.requests import ChatRequest
from flexllm_core.results import Usage
from flexllm_providers.rate_headers import RateLimit


def test_plenty_of_a_limit_holds_nothing_back() -> None:
    """From half of it on nobody looks at it; neither at limits of tokens whose size is not known."""
    assert advised_rate([RateLimit("requests", 500, 300, 24.0)], 0) is None
    assert advised_rate([RateLimit("tokens", 1000, 0, 60.0)], 0) is None
    assert advised_rate([], 100) is None


def test_an_empty_bucket_is_used_as_fast_as_it_is_refilled() -> None:
    """500 in a minute are refilled at 8.3 per second; of several limits the lowest counts."""
    requests, tokens = RateLimit("requests", 500, 0, 60.0), RateLimit("tokens", 60_000, 0, 60.0)
    assert advised_rate([requests], 0) == pytest.approx(500 / 60)
    assert advised_rate([requests, tokens], 500) == pytest.approx(2.0)


def test_a_limit_by_the_day_leaves_a_minute_its_bursts() -> None:
    """What is left may be used soon."""
    assert advised_rate([RateLimit("requests", 14_400, 6000, 50_400.0)], 0) == pytest.approx(1 / 6 + 100)


def test_what_is_left_of_a_quota_counts_what_was_sent_and_what_came_back() -> None:
    """Of several limits that of which least is left; tokens count when their number is known."""
    requests, tokens = RateLimit("requests", 600, 300, 30.0), RateLimit("tokens", 60_000, 12_000, 48.0)
    quota = Quota((requests, tokens), at=100.0, counted=40)
    assert quota.share_left(100.0, sent=40, in_flight=0, tokens=0) == 0.5
    assert quota.share_left(100.0, sent=100, in_flight=60, tokens=0) == 0.4
    assert quota.share_left(103.0, sent=100, in_flight=60, tokens=0) == 0.45
    assert quota.share_left(103.0, sent=43, in_flight=3, tokens=1000.0) == 0.2
    assert quota.share_left(1000.0, sent=43, in_flight=3, tokens=0) == 0.995  # those in flight are not back yet
    assert Quota((tokens,), 0.0, 0).share_left(0.0, sent=5, in_flight=5, tokens=0) is None


def test_a_full_quota_comes_back_within_a_minute() -> None:
    """It does not say how fast it is refilled."""
    quota = Quota((RateLimit("requests", 600, 600, 0.0),), at=0.0, counted=0)
    assert quota.share_left(0.0, sent=60, in_flight=0, tokens=0) == 0.9
    assert quota.share_left(3.0, sent=60, in_flight=0, tokens=0) == pytest.approx(0.95)
    assert quota.share_left(30.0, sent=60, in_flight=0, tokens=0) == 1.0


def test_the_concurrency_never_leaves_its_bounds() -> None:
    """However it grows and is cut."""
    limit = AdaptiveLimit(4, 40)
    assert limit.limit == FIRST_LIMIT
    for _ in range(5):
        limit.ramp()
    assert limit.limit == 40
    limit.refused(2, 0.0)
    assert limit.limit == 4
    for second in range(200):
        for _ in range(20):
            limit.answered(float(second))
    assert limit.limit == 40


def test_a_cut_limit_is_held_first() -> None:
    """For 500 requests but at least 5 and at most 30 seconds; then growth is slow before it is fast."""
    assert is_held(4.0, 10_000)
    assert is_held(29.0, 100)
    assert not is_held(6.0, 501)
    assert not is_held(31.0, 1)
    assert growth(0.0) == pytest.approx(0.01)
    assert growth(1e9) == pytest.approx(0.1)


def test_a_low_limit_that_was_confirmed_is_held_longer() -> None:
    """For 100 requests, at most 90 seconds; from 3.3 requests per second on as any other."""
    assert confirmed_hold(10.0) is None
    assert confirmed_hold(2.0) == 50.0
    assert confirmed_hold(0.1) == 90.0


def test_admissions_are_averaged_over_a_minute() -> None:
    """Older ones are forgotten."""
    admissions = Admissions(0.0)
    for second in range(1, 121):
        admissions.count(float(second), 10.0 * min(second, 60))
    assert admissions.per_second(120.0, 600.0) == pytest.approx(0.0)
    assert admissions.span(120.0) == pytest.approx(60.0)


@pytest.mark.parametrize(
    ("message", "by_tokens"),
    [
        ("Rate limit reached for gpt-4 on tokens per min (TPM): Limit 10000, Used 9900", True),
        ("This request would exceed your rate limit of 40,000 input tokens per minute", True),
        ("Quota exceeded for metric: generate_content_free_tier_input_token_count", True),
        ("Rate limit reached for gpt-4 on requests per min (RPM): Limit 3, Used 3, Requested 1", False),
    ],
)
def test_what_a_refusal_speaks_of(message: str, by_tokens: bool) -> None:
    """Vendors say whether it was the requests or the tokens."""
    assert speaks_of_tokens(RateLimitError(message)) is by_tokens


def test_an_old_answer_does_not_end_an_outage() -> None:
    """One that was sent before it began may still come; a probe's ends it."""
    outage = Outage()
    for number in range(12):
        outage.failed(number + 1, number * 0.1, sent=50, overload=False, answered=True)
    assert outage.parked
    assert not outage.succeeded(50)
    assert outage.parked
    assert outage.succeeded(51)
    assert not outage.parked


def test_what_was_in_flight_when_an_outage_began_puts_no_probe_off() -> None:
    """A hundred requests that fail together are one failure; a probe that fails is another."""
    outage = Outage()
    for number in range(1, 101):
        outage.failed(number, 10.0, sent=100, overload=False, answered=True)
    assert outage.parked
    assert outage.next_probe < 10.6
    outage.failed(101, 10.6, sent=101, overload=False, answered=True)
    assert 11.3 < outage.next_probe < 11.5


def test_estimates_of_tokens_are_corrected_by_answers() -> None:
    """Also those that were made before others were corrected."""
    costs = TokenCosts()
    request = ChatRequest([{"role": "user", "content": "x" * 400}], params={"max_tokens": 90})
    first = costs.estimate(request)
    assert first[2] == 90
    for _ in range(40):
        costs.learn(first, Usage(300, 30, 330))
    assert costs.estimate(request)[:3] == (pytest.approx(330), pytest.approx(300), pytest.approx(30))


def test_a_try_of_fewer_requests_is_taken_back_where_it_costs_throughput() -> None:
    """A server that answers as many per second as it is given, each in 10 seconds."""
    watch = QueueWatch(100)
    answers, now, lowest = 0, 0.0, 100
    for _ in range(200):
        now += 20.0
        answers += 2 * watch.limit
        watch.review(now, answers, watch.limit, 3.0)
        lowest = min(lowest, watch.limit)
    assert lowest == 80
    assert watch.limit == 100
