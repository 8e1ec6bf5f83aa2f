"""Rate limits: what is admitted when, and how each vendor tells it."""

from __future__ import annotations

import asyncio
import json
import re
from datetime import UTC, datetime

import pytest

from flexllm_mock import FaultRule, MockApp, MockConfig
from flexllm_mock.physics.limit_replies import duration
from flexllm_mock.physics.limits import Limiter


def ask_claude(client, **headers):
    body = {"model": "mock", "max_tokens": 100, "messages": [{"role": "user", "content": "Hello"}]}
    return client.post("/v1/messages", body, **{"anthropic-version": "2023-06-01"}, **headers)


def test_bucket_admits_a_burst_and_then_the_rate():
    """A full bucket lets its content through at once, and afterwards one for each that flows in."""
    account = Limiter(rpm=60, burst=10).account("k", 0.0)
    assert [account.admit(0, 0, 0.0) is None for _ in range(12)] == [True] * 10 + [False] * 2
    excess = account.admit(0, 0, 0.25)
    assert (excess.limit, excess.allowed, excess.requested) == ("requests", 60, 1)
    assert excess.retry_in == pytest.approx(0.75)
    assert account.admit(0, 0, 0.25 + excess.retry_in) is None
    admitted = sum(account.admit(0, 0, second / 10) is None for second in range(20, 620))
    assert admitted in (60, 61)


def test_refused_requests_cost_nothing():
    """A request that one bucket refuses leaves the others as they are."""
    account = Limiter(rpm=100, input_tpm=1000).account("k", 0.0)
    assert account.admit(900, 5, 0.0) is None
    assert account.admit(200, 5, 0.0).limit == "input_tokens"
    assert account.buckets["requests"].remaining == 99
    assert account.admit(100, 5, 0.0) is None


def test_output_can_get_into_debt():
    """The output of a request is not known in advance: it may exceed what is left, and the next one waits for that."""
    account = Limiter(output_tpm=60).account("k", 0.0)
    assert account.admit(1, 100, 0.0) is None
    excess = account.admit(1, 1, 0.0)
    assert (excess.limit, excess.retry_in) == ("output_tokens", pytest.approx(41))
    assert account.admit(1, 1, 41.0) is None


def test_what_never_fits_has_no_time():
    """A prompt that is larger than its bucket is refused without a time to come back."""
    excess = Limiter(input_tpm=100).account("k", 0.0).admit(101, 1, 0.0)
    assert (excess.limit, excess.retry_in) == ("input_tokens", None)


def test_accounts_are_limited_in_number():
    """A client with a new key for each request does not fill the memory."""
    limiter = Limiter(rpm=1)
    for key in range(20_000):
        limiter.account(key, 0.0)
    assert len(limiter._accounts) == 10_000


def test_openai_tells_its_limits(serve):
    """Every answer has the six headers, and the 429 the message and when to come back."""
    client = serve(rpm=2, input_tpm=6000, output_tpm=60_000)
    first = client.chat()
    prompt = first.json["usage"]["prompt_tokens"]
    shown = {name: value for name, value in first.headers.items() if name.startswith("x-ratelimit")}
    assert shown.pop("x-ratelimit-reset-requests").startswith(("30s", "29."))
    assert re.fullmatch(r"\d+ms", shown.pop("x-ratelimit-reset-tokens"))
    assert shown == {
        "x-ratelimit-limit-requests": "2",
        "x-ratelimit-remaining-requests": "1",
        "x-ratelimit-limit-tokens": "6000",
        "x-ratelimit-remaining-tokens": str(6000 - prompt),
    }
    assert client.chat(stream=True).status == 200
    refused = client.chat()
    assert refused.status == 429
    assert (refused.error["type"], refused.error["code"]) == ("requests", "rate_limit_exceeded")
    assert refused.error["message"].startswith("Rate limit reached for mock on requests per min (RPM): Limit 2, Used 2")
    assert 29 <= int(refused.headers["retry-after"]) <= 30
    assert refused.headers["x-ratelimit-remaining-requests"] == "0"
    large = client.post(
        "/v1/chat/completions",
        {"model": "mock", "messages": [{"role": "user", "content": "x" * 40_000}]},
        authorization="Bearer other",
    )
    assert (large.status, large.error["type"], "retry-after" in large.headers) == (429, "tokens", False)
    assert large.error["message"].startswith("Request too large for mock")


def test_claude_tells_its_limits(serve):
    """Every answer has the twelve headers with times in RFC 3339; the 429 has whole seconds."""
    client = serve(rpm=1, input_tpm=6000, output_tpm=3000)
    first = ask_claude(client)
    usage = first.json["usage"]
    left = {name: first.headers[f"anthropic-ratelimit-{name}-remaining"] for name in ("input-tokens", "output-tokens")}
    assert left == {
        "input-tokens": str(6000 - usage["input_tokens"]),
        "output-tokens": str(3000 - usage["output_tokens"]),
    }
    assert first.headers["anthropic-ratelimit-tokens-limit"] == "3000"
    reset = datetime.fromisoformat(first.headers["anthropic-ratelimit-requests-reset"])
    assert 0 < (reset - datetime.now(UTC)).total_seconds() <= 60
    refused = ask_claude(client)
    assert (refused.status, refused.claude_error["type"]) == (429, "rate_limit_error")
    assert "1 requests per minute" in refused.claude_error["message"]
    assert 58 <= int(refused.headers["retry-after"]) <= 60
    assert refused.headers["anthropic-ratelimit-requests-remaining"] == "0"
    assert len([name for name in refused.headers if name.startswith("anthropic-ratelimit-")]) == 12


def test_gemini_tells_its_limits_in_the_body(serve):
    """Gemini has no headers: the error names the quota and the delay."""
    client = serve(rpm=1)
    assert not [name for name in client.generate().headers if "limit" in name]
    refused = client.generate()
    assert (refused.status, refused.gemini_error["status"]) == (429, "RESOURCE_EXHAUSTED")
    quota, retry = refused.gemini_error["details"]
    assert quota["violations"][0]["quotaId"] == "GenerateRequestsPerMinutePerProjectPerModel"
    assert 58 < float(retry["retryDelay"].removesuffix("s")) <= 60
    assert "retry-after" not in refused.headers


def test_gemini_names_the_quota_of_tokens(serve):
    """A limit on input tokens is another quota."""
    client = serve(input_tpm=5)
    details = client.generate("Hello " * 50).gemini_error["details"]
    assert [detail["@type"].rpartition(".")[2] for detail in details] == ["QuotaFailure"]
    assert details[0]["violations"][0]["quotaId"] == "GenerateContentInputTokensPerModelPerMinute"


def test_each_key_has_its_own(serve):
    """One key's requests take nothing from another's; a reset gives all back."""
    client = serve(rpm=1)
    by_key = [ask_claude(client, **{"x-api-key": key}).status for key in ("a", "b", "a", "b")]
    assert by_key == [200, 200, 429, 429]
    client.server.reset()
    assert ask_claude(client, **{"x-api-key": "a"}).status == 200


def test_only_generated_answers_count(serve):
    """Lists of models, bad requests and faults with an error take nothing."""
    client = serve(rpm=1, faults=[FaultRule(status=500, times=1)])
    assert client.chat().status == 500
    assert client.get("/v1/models").status == 200
    assert client.post("/v1/chat/completions", b"{").status == 400
    assert [client.chat().status for _ in range(2)] == [200, 429]


def test_concurrency_is_limited(run_virtual):
    """While as many requests run as may, another one is refused; when one ends there is room again."""
    app = MockApp(MockConfig(max_concurrent=2, delay=1.0))
    body = json.dumps({"model": "mock", "messages": [{"role": "user", "content": "Hello"}]}).encode()

    async def ask(*, leave=False):
        sent, given = [], []

        async def receive():
            if not given:
                given.append(True)
                return {"type": "http.request", "body": body, "more_body": False}
            await (asyncio.sleep(0.1) if leave else asyncio.Event().wait())
            return {"type": "http.disconnect"}

        async def send(message):
            sent.append(message)

        await app({"type": "http", "method": "POST", "path": "/v1/chat/completions", "headers": []}, receive, send)
        return sent[0]["status"] if sent else None

    async def several():
        first = await asyncio.gather(ask(), ask(), ask())
        left = await asyncio.gather(ask(leave=True), ask(leave=True))
        return first, left, await asyncio.gather(ask(), ask())

    (first, left, last), _ = run_virtual(several())
    assert sorted(first) == [200, 200, 429]
    assert (left, last) == ([None, None], [200, 200])


def test_concurrency_has_words_of_its_own(serve, chat_bytes):
    """A 429 for concurrency tells no time, because nobody knows it."""
    client = serve(max_concurrent=1, faults=[FaultRule.of("stall_before", times=1)])
    with client.connect() as connection:
        connection.sendall(chat_bytes())
        while client.server.stats().in_flight == 0:
            pass
        refused = client.chat()
    assert (refused.status, "retry-after" in refused.headers) == (429, False)
    assert "concurrent" in refused.error["message"]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0s"), (0.02, "20ms"), (1, "1s"), (1.5, "1.5s"), (60, "1m0s"), (360, "6m0s"), (3661.25, "1h1m1.25s")],
)
def test_durations_are_written_as_go_does(seconds, text):
    """The form of OpenAI's reset headers."""
    assert duration(seconds) == text


@pytest.mark.parametrize("name", ["rpm", "input_tpm", "output_tpm", "max_concurrent", "limit_burst"])
def test_wrong_limits_are_named(name):
    """A limit that lets nothing through is refused."""
    with pytest.raises(ValueError, match=name):
        MockConfig(**{name: 0})
