"""The engine's times: distributions, queueing, prefill and the prefix cache, all in virtual time."""

from __future__ import annotations

import asyncio
import heapq
import json
import math
import random
from itertools import accumulate, count, islice, pairwise
from statistics import NormalDist, fmean

import pytest

from flexllm_mock import Distribution, Engine, FaultRule, MockApp, MockConfig
from flexllm_mock.physics.distributions import distribution

NORMAL = NormalDist()
# Each spelling with its cumulative distribution function, written down independently of the code under test.
CASES = {
    "0.1-0.5": lambda x: min(1.0, max(0.0, (x - 0.1) / 0.4)),
    "normal:0.5,0.1": lambda x: NORMAL.cdf((x - 0.5) / 0.1),
    "lognormal:0.2,0.7": lambda x: NORMAL.cdf(math.log(x / 0.2) / 0.7) if x > 0 else 0.0,
    "exponential:0.3": lambda x: 1 - math.exp(-x / 0.3) if x > 0 else 0.0,
}


def ks_distance(sample, cdf):
    """The Kolmogorov-Smirnov statistic: the largest distance between the sample's and the true distribution."""
    ordered, size = sorted(sample), len(sample)
    return max(max((at + 1) / size - cdf(value), cdf(value) - at / size) for at, value in enumerate(ordered))


def follows(sample, cdf):
    """Whether a sample is one that its distribution gives in 99.9 of 100 cases."""
    return ks_distance(sample, cdf) < 1.95 / math.sqrt(len(sample))


def test_the_test_itself_can_fail():
    """A sample from a neighbouring distribution is told apart."""
    drawn = random.Random(1)
    assert follows([drawn.gauss(0.5, 0.1) for _ in range(4000)], CASES["normal:0.5,0.1"])
    assert not follows([drawn.gauss(0.52, 0.1) for _ in range(4000)], CASES["normal:0.5,0.1"])


def chat(text, *, stream=True, **more):
    return {"model": "mock", "messages": [{"role": "user", "content": text}], "stream": stream, **more}


async def exchange(app, body, path="/v1/chat/completions", leave_after=None):
    """Send one request to the application; returns the times and bodies of what came after the head, from the start."""
    loop = asyncio.get_running_loop()
    start, sent, given = loop.time(), [], []
    headers = [(b"anthropic-version", b"2023-06-01")] if path == "/v1/messages" else []

    async def receive():
        if not given:
            given.append(True)
            return {"type": "http.request", "body": json.dumps(body).encode(), "more_body": False}
        await (asyncio.Event().wait() if leave_after is None else asyncio.sleep(start + leave_after - loop.time()))
        return {"type": "http.disconnect"}

    async def send(message):
        if message["type"] == "http.response.body":
            sent.append((loop.time() - start, message["body"]))

    await app({"type": "http", "method": "POST", "path": path, "headers": headers}, receive, send)
    return sent


@pytest.mark.parametrize("form", CASES)
def test_first_tokens_and_gaps_follow_their_distributions(run_virtual, form):
    """First tokens, and gaps between tokens, have on a client's clock the distribution that was asked for."""
    app = MockApp(MockConfig(ttft=form, token_time=form, response_len=(6, 6), seed=5))

    async def many():
        return await asyncio.gather(*(exchange(app, chat(f"Question {number}")) for number in range(1000)))

    streams, _ = run_virtual(many())
    firsts = [sent[0][0] for sent in streams]
    gaps = [after[0] - before[0] for sent in streams for before, after in pairwise(sent)]
    assert (len(firsts), len(gaps)) == (1000, 5000)
    assert follows(firsts, CASES[form])
    assert follows(gaps, CASES[form])


def test_times_do_not_depend_on_order(run_virtual):
    """A call's times follow from the seed, its content and its number."""

    async def one_by_one(texts):
        app = MockApp(MockConfig(ttft="exponential:1", token_time="0.1-0.2", seed=3))
        return {text: [at for at, _ in await exchange(app, chat(text))] for text in texts}

    texts = [f"Question {number}" for number in range(20)]
    first, _ = run_virtual(one_by_one(texts))
    again, _ = run_virtual(one_by_one(texts[::-1]))
    for text in texts:
        assert again[text] == pytest.approx(first[text])
    assert len({times[0] for times in first.values()}) == 20


def erlang_c(servers, load):
    """The share of customers that wait in an M/M/c queue; `load` is arrivals per service time."""
    terms = [load**k / math.factorial(k) for k in range(servers)]
    last = load**servers / math.factorial(servers) * servers / (servers - load)
    return last / (sum(terms) + last)


def queue_by_hand(customers, servers):
    """How long each of the customers waits, who are pairs of the time of arrival and the time of service."""
    free, waits = [0.0] * servers, []
    for arrival, service in customers:
        start = max(arrival, heapq.heappop(free))
        heapq.heappush(free, start + service)
        waits.append(start - arrival)
    return waits


def arrivals(rate, seed):
    """Random times of arrival."""
    drawn = random.Random(seed)
    return accumulate(drawn.expovariate(rate) for _ in count())


CROWDS = [(1, 0.5), (4, 0.7), (16, 0.85)]


@pytest.mark.parametrize(("servers", "use"), CROWDS)
def test_queue_is_first_come_first_served(run_virtual, servers, use):
    """Each customer waits exactly as long as in a queue worked out by hand; as many have to wait as M/M/c says."""
    engine = Engine(ttft="exponential:1", max_num_seqs=servers, seed=1)
    customers = [
        (at, engine.plan(number.to_bytes(4, "big")).first)
        for number, at in enumerate(islice(arrivals(use * servers, 7), 12_000))
    ]

    async def simulate():
        loop = asyncio.get_running_loop()
        start = loop.time()
        async with asyncio.TaskGroup() as group:
            tasks = []
            for number, (at, _) in enumerate(customers):
                await asyncio.sleep(start + at - loop.time())
                tasks.append(group.create_task(engine.serve(number.to_bytes(4, "big"))))
        return [task.result().queued for task in tasks]

    waits, _ = run_virtual(simulate())
    assert waits == pytest.approx(queue_by_hand(customers, servers), abs=1e-6)
    rate, service = len(customers) / customers[-1][0], fmean(service for _, service in customers)
    assert fmean(wait > 1e-9 for wait in waits) == pytest.approx(erlang_c(servers, rate * service), rel=0.05)
    assert (engine.running, engine.waiting) == (0, 0)


@pytest.mark.parametrize(("servers", "use"), CROWDS)
def test_queueing_is_that_of_theory(servers, use):
    """With random arrivals and the engine's times, the mean wait of that queue agrees with M/M/c within 5 percent."""
    times = distribution("exponential:1")
    drawn = random.Random(5)
    customers = [(at, times.quantile(drawn.random())) for at in islice(arrivals(use * servers, 6), 400_000)]
    expected = erlang_c(servers, use * servers) / (servers * (1 - use))
    assert fmean(queue_by_hand(customers, servers)) == pytest.approx(expected, rel=0.05)


def test_latency_grows_with_load(run_virtual):
    """Two answers at a time: of six that come together the later ones wait, first come, first served."""
    app = MockApp(MockConfig(ttft=1, token_time=0.1, max_num_seqs=2, response_len=(11, 11)))

    async def burst():
        return await asyncio.gather(*(exchange(app, chat(f"{number}")) for number in range(6)))

    streams, elapsed = run_virtual(burst())
    assert [sent[0][0] for sent in streams] == pytest.approx([1, 1, 3, 3, 5, 5])
    assert elapsed == pytest.approx(6)


def test_whole_answer_takes_as_long_as_its_stream(run_virtual):
    """A single answer comes when the last token of its stream would; the delay comes on top."""
    app = MockApp(MockConfig(ttft=1, token_time=0.1, delay=5, response_len=(11, 11)))
    whole, _ = run_virtual(exchange(app, chat("Hello", stream=False)))
    stream, _ = run_virtual(exchange(app, chat("Hello")))
    assert whole[0][0] == pytest.approx(7)
    assert (stream[0][0], stream[-1][0]) == pytest.approx((6, 7))


def test_token_rate_paces_the_engine_too(run_virtual):
    """Where only places are limited, tokens come at the token rate."""
    app = MockApp(MockConfig(token_rate=10, max_num_seqs=1, response_len=(11, 11)))
    stream, _ = run_virtual(exchange(app, chat("Hello")))
    assert stream[-1][0] == pytest.approx(1)


@pytest.mark.parametrize("leave_after", [0.5, 2.5])
def test_client_that_leaves_gives_its_place_back(run_virtual, leave_after):
    """Whether it was in the queue or had a place, the next one gets it."""
    app = MockApp(MockConfig(ttft=1, token_time=1, max_num_seqs=1, response_len=(3, 3)))

    async def three():
        leaving = 1 if leave_after < 1 else 0
        asked = [exchange(app, chat(f"{at}"), leave_after=leave_after if at == leaving else None) for at in range(3)]
        return await asyncio.gather(*asked)

    streams, elapsed = run_virtual(three())
    assert app.log.stats().cancelled == 1
    assert elapsed == pytest.approx(6 if leave_after < 1 else 8.5)
    assert streams[2][-1][1].endswith(b"[DONE]\n\n")


def test_cancelled_simulation_leaves_nothing(run_virtual):
    """A caller of `serve` that is cancelled frees its place or its turn."""
    engine = Engine(ttft=10, max_num_seqs=1)

    async def simulate():
        tasks = [asyncio.create_task(engine.serve(bytes((number,)))) for number in range(3)]
        await asyncio.sleep(1)
        seen = engine.running, engine.waiting
        tasks[1].cancel()
        tasks[0].cancel()
        timing = await tasks[2]
        return seen, timing

    (seen, timing), elapsed = run_virtual(simulate())
    assert seen == (1, 2)
    assert (timing.queued, timing.total, elapsed) == pytest.approx((1, 11, 11))
    assert (engine.running, engine.waiting) == (0, 0)


def test_prefill_takes_time_for_each_prompt_token(run_virtual):
    """A longer prompt makes the first token later, by its tokens over the rate."""
    app = MockApp(MockConfig(prefill_rate=1000, ttft=0.5))
    for words in (10, 1000):
        body = chat("word " * words, stream=False)
        [(at, answer)], _ = run_virtual(exchange(app, body))
        assert at == pytest.approx(0.5 + json.loads(answer)["usage"]["prompt_tokens"] / 1000)


TURNS = [
    [{"role": "system", "content": "You are a careful assistant. " * 50}],
    [{"role": "user", "content": "First question? " * 20}, {"role": "assistant", "content": "An answer. " * 20}],
    [{"role": "user", "content": "Second question? " * 20}],
]


def test_prefix_cache_knows_the_beginning_of_a_conversation(run_virtual):
    """What was sent before is cached, in blocks, counted in the usage, and takes no prefill; a new beginning is not."""
    app = MockApp(MockConfig(prefill_rate=100, prefix_cache=100_000))

    def ask(messages):
        [(at, answer)], _ = run_virtual(exchange(app, {"model": "mock", "messages": messages}))
        usage = json.loads(answer)["usage"]
        cached = usage["prompt_tokens_details"]["cached_tokens"]
        assert at == pytest.approx((usage["prompt_tokens"] - cached) / 100)
        return usage["prompt_tokens"], cached

    opening = [*TURNS[0], TURNS[1][0]]
    total, cached = ask(opening)
    assert (total > 400, cached) == (True, 0)
    repeated, cached = ask(opening)
    assert repeated - 16 < cached < repeated
    assert cached % 16 == 0
    _, longer = ask([*TURNS[0], *TURNS[1], *TURNS[2]])
    assert total - 48 < longer <= total
    assert ask([{"role": "user", "content": "Another beginning"}, *opening])[1] == 0
    app.reset()
    assert ask(opening)[1] == 0


def test_prefix_cache_in_the_usage_of_other_vendors(run_virtual):
    """Gemini counts cached content; Claude reads what it knows up to the last breakpoint, and writes the rest."""
    app = MockApp(MockConfig(prefix_cache=100_000))
    gemini = {"contents": [{"role": "user", "parts": [{"text": "Long text. " * 500}]}]}
    path = "/v1beta/models/mock:generateContent"
    usages = [json.loads(run_virtual(exchange(app, gemini, path))[0][0][1])["usageMetadata"] for _ in range(2)]
    assert "cachedContentTokenCount" not in usages[0]
    assert 0 < usages[0]["promptTokenCount"] - usages[1]["cachedContentTokenCount"] <= 32
    marked = [{"type": "text", "text": "Long text. " * 500, "cache_control": {"type": "ephemeral"}}]
    claude = {"model": "m", "max_tokens": 9, "system": marked, "messages": [{"role": "user", "content": "Hi"}]}
    usages = [json.loads(run_virtual(exchange(app, claude, "/v1/messages"))[0][0][1])["usage"] for _ in range(2)]
    assert usages[0]["cache_read_input_tokens"] == 0
    assert usages[1]["cache_read_input_tokens"] > 1000
    assert len({usage["cache_read_input_tokens"] + usage["cache_creation_input_tokens"] for usage in usages}) == 1


def test_prefix_cache_forgets_the_least_recently_used(run_virtual):
    """A cache of one prompt's size holds the one that was sent last."""
    app = MockApp(MockConfig(prefix_cache=640))

    def cached(text):
        [(_, answer)], _ = run_virtual(exchange(app, chat(text * 400, stream=False)))
        return json.loads(answer)["usage"]["prompt_tokens_details"]["cached_tokens"]

    assert [cached(text) for text in ("abcd", "abcd", "wxyz", "abcd")] == [0, 400, 0, 240]


def test_faults_and_limits_work_with_the_engine(run_virtual):
    """An error takes no place; a broken answer takes its time and gives its place back."""
    rules = [FaultRule(status=500, times=1), FaultRule(alter="cut_stream", times=1)]
    app = MockApp(MockConfig(ttft=1, max_num_seqs=1, rpm=2), rules)

    async def four():
        return [await exchange(app, chat("Hello")) for _ in range(4)]

    answers, elapsed = run_virtual(four())
    assert elapsed == pytest.approx(2)
    assert b"[DONE]" not in answers[1][-1][1]
    assert b"rate_limit" in answers[3][-1][1]


@pytest.mark.parametrize(
    ("given", "read"),
    [
        (0.5, Distribution("fixed", 0.5)),
        ("0.5", Distribution("fixed", 0.5)),
        ("0.1-0.3", Distribution("range", 0.1, 0.3)),
        ("normal:1,0.5", Distribution("normal", 1, 0.5)),
        ("lognormal:0.2,0.5", Distribution("lognormal", 0.2, 0.5)),
        ("exponential:2", Distribution("exponential", 2)),
        (Distribution("fixed", 1), Distribution("fixed", 1)),
    ],
)
def test_forms_of_distributions(given, read):
    """Numbers and texts name distributions."""
    assert distribution(given) == read


@pytest.mark.parametrize(
    "given", ["fast", "normal", "normal:1", "normal:1,2,3", "gamma:1,2", "-1", "0.3-0.1", "lognormal:0,1", "inf", "nan"]
)
def test_wrong_distributions_are_explained(given):
    """What is no distribution is refused with the forms that there are, and with the name of the option."""
    with pytest.raises(ValueError, match="lognormal"):
        distribution(given)
    with pytest.raises(ValueError, match="ttft"):
        MockConfig(ttft=given)


@pytest.mark.parametrize(
    ("options", "name"),
    [({"prefill_rate": 0}, "prefill_rate"), ({"max_num_seqs": 0}, "max_num_seqs"), ({"ttft": -1.0}, "0 or more")],
)
def test_wrong_engines_are_explained(options, name):
    """An engine that cannot work is refused."""
    with pytest.raises(ValueError, match=name):
        Engine(**options)


@pytest.mark.parametrize(
    ("form", "mean"),
    [("normal:0.01,1", None), ("0.2-0.2", 0.2), ("normal:0.3,0", 0.3), ("lognormal:0.3,0", 0.3), ("0.4", 0.4)],
)
def test_no_time_is_negative_and_no_spread_is_fixed(form, mean):
    """A normal time that would be negative is 0; a distribution without spread always gives its value."""
    engine = Engine(ttft=form)
    firsts = [engine.plan(number.to_bytes(2, "big")).first for number in range(200)]
    assert min(firsts) >= 0
    assert mean is None or set(firsts) == {mean}
