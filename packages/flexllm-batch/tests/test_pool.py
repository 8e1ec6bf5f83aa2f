"""LLMClientPool: its settings, its methods, and what its rows are known by."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from flexllm_batch.client import LLMClient
from flexllm_batch.cost.tracking import CostTrackerConfig
from flexllm_batch.pool import LLMClientPool
from flexllm_core.endpoint import EndpointConfig, Price
from flexllm_core.errors import BudgetExceededError, ConfigError, LLMConnectionError, NoEndpointAvailableError
from flexllm_providers.retry import NO_RETRY

A, B, C = "http://a.test/v1", "http://b.test/v1", "http://c.test/v1"


class Hosts:
    """Several endpoints inside the process: `replies` maps a host's first letter to a status, text or error."""

    def __init__(self, **replies: Any) -> None:
        self.replies = replies
        self.asked: list[tuple[str, dict[str, Any]]] = []
        self.transport = httpx.MockTransport(self.handle)

    async def handle(self, request: httpx.Request) -> httpx.Response:
        host, body = request.url.host[0], json.loads(request.content)
        self.asked.append((host, body))
        reply = self.replies.get(host, "answer")
        if isinstance(reply, Exception):
            raise reply
        if isinstance(reply, int):
            return httpx.Response(reply, json={"error": {"message": f"HTTP {reply} of {host}"}})
        if body.get("stream"):
            chunks: list[Any] = [{"choices": [{"index": 0, "delta": {"content": text}}]} for text in reply.split()]
            chunks.append({"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]})
            text = "".join(f"data: {json.dumps(chunk)}\n\n" for chunk in chunks) + "data: [DONE]\n\n"
            return httpx.Response(200, headers={"content-type": "text/event-stream"}, text=text)
        choice = {"index": 0, "message": {"role": "assistant", "content": reply}, "finish_reason": "stop"}
        usage = {"prompt_tokens": 1000, "completion_tokens": 1000, "total_tokens": 2000}
        return httpx.Response(200, json={"id": "1", "model": body["model"], "choices": [choice], "usage": usage})

    def pool(self, *endpoints: Any, **options: Any) -> LLMClientPool:
        members = endpoints or ({"base_url": A, "model": "m"}, {"base_url": B, "model": "m"})
        return LLMClientPool(members, transport=self.transport, **{"retry_policy": NO_RETRY, **options})

    @property
    def counts(self) -> dict[str, int]:
        hosts = [host for host, _ in self.asked]
        return {host: hosts.count(host) for host in sorted(set(hosts))}


@pytest.fixture
def hosts() -> Callable[..., Hosts]:
    """The Hosts class."""
    return Hosts


async def test_a_call_that_fails_at_one_member_is_answered_by_another(hosts: Any) -> None:
    """At once, and the result says who answered and in how many requests."""
    server = hosts(a=500)
    async with server.pool(load_balance="fallback") as pool:
        result = await pool.chat("hi")
    assert (result.content, result.endpoint, result.attempts) == ("answer", B, 2)
    assert server.counts == {"a": 1, "b": 1}


async def test_without_fallback_a_failed_call_stays_failed(hosts: Any) -> None:
    """`fallback=False` sends it nowhere else."""
    server = hosts(a=500)
    async with server.pool(load_balance="fallback", fallback=False) as pool:
        with pytest.raises(Exception, match="HTTP 500 of a"):
            await pool.chat("hi")
    assert server.counts == {"a": 1}


def test_every_method_of_a_client_works_on_a_pool(hosts: Any) -> None:
    """The sync methods; the others are under them."""
    with hosts(a=503).pool() as pool:
        assert pool.chat_completions_sync("x") == "answer"
        assert pool.chat_sync("x").content == "answer"
        assert list(pool.chat_completions_stream_sync("x")) == ["answer"]
        assert pool.chat_completions_batch_sync(["x", "y"], distribute=True) == ["answer", "answer"]
        assert pool.chat_batch_sync(["x"]).contents == ["answer"]
        raw = pool.chat_completions_sync("x", return_raw=True).raw
        assert pool.parse_thoughts(raw) == {"thought": "", "answer": "answer"}


async def test_a_stream_fails_over_before_its_first_event(hosts: Any) -> None:
    """The texts are those of the second member alone."""
    server = hosts(a=httpx.ConnectError("refused"), b="one two")
    async with server.pool(load_balance="fallback") as pool:
        events = [event async for event in pool.chat_stream("hi")]
    assert [event.text for event in events] == ["one", "two", ""]
    assert events[-1].result is not None
    assert events[-1].result.attempts == 2
    assert [stats.failed for stats in pool.stats] == [1, 0]


async def test_each_member_is_asked_for_its_own_model_and_params(hosts: Any) -> None:
    """Mixed models in one pool; a call's own params win."""
    server = hosts()
    members = [
        {"base_url": A, "model": "small", "params": {"temperature": 0.1, "top_p": 0.5}},
        {"base_url": B, "model": "large", "params": {"temperature": 0.9, "top_p": 0.5}},
    ]
    async with server.pool(*members, load_balance="round_robin") as pool:
        for _ in range(2):
            await pool.chat("hi", seed=1)
        await pool.chat("hi", temperature=0.3)
    sent = {host: (body["model"], body["temperature"], body["top_p"]) for host, body in server.asked[:2]}
    assert sent == {"a": ("small", 0.1, 0.5), "b": ("large", 0.9, 0.5)}
    assert server.asked[2][1]["temperature"] == 0.3


async def test_a_row_that_names_a_model_goes_to_a_member_that_has_it(hosts: Any) -> None:
    """Whatever the load says."""
    server = hosts()
    async with server.pool({"base_url": A, "model": "x"}, {"base_url": B, "model": "y"}) as pool:
        for _ in range(4):
            assert (await pool.chat("hi", model="y")).endpoint == B
    assert server.counts == {"b": 4}


async def test_rows_are_known_by_the_models_of_the_pool_whoever_answers(hosts: Any, tmp_path: Path) -> None:
    """A resumed batch asks nothing again when the members' order or health has changed; with other models it does."""
    output = tmp_path / "out.jsonl"
    x, y = {"base_url": A, "model": "x"}, {"base_url": B, "model": "y"}
    async with hosts(a=500).pool(x, y, load_balance="fallback") as pool:
        await pool.chat_completions_batch(["1", "2", "3"], output_jsonl=output)
    again = hosts()
    async with again.pool(y, x) as pool:
        assert await pool.chat_completions_batch(["1", "2", "3"], output_jsonl=output) == ["answer"] * 3
    assert again.counts == {}
    keys = {json.loads(line)["key"] for line in output.read_text().splitlines()}
    async with hosts().pool(x, {"base_url": C, "model": "z"}) as pool:
        assert {pool.request(text).fingerprint() for text in "123"}.isdisjoint(keys)


async def test_a_pool_of_one_model_knows_rows_as_a_client_of_it_does(hosts: Any) -> None:
    """A batch may go on with a pool where a single client began it."""
    client = LLMClient(model="m", base_url=A)
    async with hosts().pool() as pool:
        assert pool.request("hi").fingerprint() == client.request("hi").fingerprint()
    await client.aclose()


async def test_settings_of_an_endpoint_win_over_those_of_the_pool(hosts: Any) -> None:
    """And those of the pool over the defaults."""
    members = [{"base_url": A, "model": "m", "concurrency_limit": 7, "max_qps": 5}, {"base_url": B, "model": "m"}]
    async with hosts().pool(*members, concurrency_limit=3, max_qps=9, timeout=11) as pool:
        found = [(one.concurrency_limit, one.max_qps, one.timeout) for one in pool.endpoints]
    assert found == [(7, 5, 11), (3, 9, 11)]
    assert pool.concurrency == 10


async def test_members_may_be_clients(hosts: Any) -> None:
    """With all that they were made with; they are closed with the pool."""
    server = hosts()
    clients = [LLMClient(model="m", base_url=url, transport=server.transport) for url in (A, B)]
    async with LLMClientPool(clients=clients, load_balance="round_robin") as pool:
        await pool.chat_batch(["1", "2"])
    assert server.counts == {"a": 1, "b": 1}


async def test_two_keys_of_one_endpoint_are_two_members(hosts: Any) -> None:
    """Told apart by name."""
    one, two = ({"base_url": A, "model": "m", "api_key": key} for key in ("k1", "k2"))
    async with hosts().pool(one, two, load_balance="round_robin") as pool:
        found = {(await pool.chat("hi")).endpoint for _ in range(2)}
    assert found == {A, f"{A} (2)"} == {stats.name for stats in pool.stats}


async def test_members_are_told_apart_by_name(hosts: Any) -> None:
    """Two models of one provider at its own address; two clients of one address are refused without names."""
    pool = LLMClientPool([{"provider": "gemini", "model": model, "api_key": "k"} for model in ("x", "y")])
    first, second = (stats.name for stats in pool.stats)
    assert second == f"{first} (2)"
    await pool.aclose()
    with pytest.raises(ConfigError, match="two members are called"):
        LLMClientPool(clients=[LLMClient(model="m", base_url=A) for _ in range(2)])
    named = [LLMClient(model="m", base_url=A, name=name) for name in ("one", "two")]
    async with LLMClientPool(clients=named) as pool:
        assert [stats.name for stats in pool.stats] == ["one", "two"]


async def test_a_call_that_is_too_long_goes_to_a_member_with_a_larger_context(hosts: Any) -> None:
    """Where it is configured, and only such a call; otherwise it fails at once."""
    too_long = {"error": {"message": "maximum context length is 8 tokens", "code": "context_length_exceeded"}}

    class Small(Hosts):
        async def handle(self, request: httpx.Request) -> httpx.Response:
            response = await super().handle(request)
            return httpx.Response(400, json=too_long) if request.url.host[0] in "ac" else response

    members = [
        {"base_url": A, "model": "m"},
        {"base_url": C, "model": "m"},
        {"base_url": B, "model": "m", "name": "big"},
    ]
    server = Small()
    async with server.pool(*members, load_balance="fallback", context_fallback=["big"]) as pool:
        assert (await pool.chat("long")).endpoint == "big"
    assert server.counts == {"a": 1, "b": 1}
    server = Small()
    async with server.pool(*members, load_balance="fallback") as pool:
        with pytest.raises(Exception, match="maximum context length"):
            await pool.chat("long")
    assert server.counts == {"a": 1}


async def test_answers_are_priced_by_the_member_that_gave_them(hosts: Any) -> None:
    """1,000 tokens in and out at 1 and at 3 dollars per million."""
    members = [
        EndpointConfig(base_url=A, model="x", price=Price(input=1, output=1)),
        EndpointConfig(base_url=B, model="y", price=Price(input=3, output=3)),
    ]
    async with hosts().pool(*members, load_balance="round_robin", track_cost=True) as pool:
        costs = {result.endpoint: float(result.cost or 0) for result in [await pool.chat("hi"), await pool.chat("ho")]}
    assert costs == {A: 0.002, B: 0.006}
    assert float(pool.cost_report.total_cost) == 0.008


async def test_one_budget_holds_for_all_members_together(hosts: Any) -> None:
    """D2: no more is billed than the limit, failovers included; a refusal is no member's fault."""
    server = hosts(c=500)
    members = [{"base_url": url, "model": "m", "price": {"input": 1, "output": 1}} for url in (A, B, C)]
    tracker = CostTrackerConfig.with_budget(0.0115)  # five and a half calls of 0.002 dollars, and their prompts
    async with server.pool(*members, cost_tracker=tracker) as pool:
        batch = await pool.chat_batch([f"row {n}" for n in range(60)], max_tokens=1000)
    billed = server.counts.get("a", 0) + server.counts.get("b", 0)
    assert 0.002 * billed <= 0.0115
    assert batch.stats.ok == billed >= 4
    assert any(isinstance(item.error, BudgetExceededError) for item in batch)
    assert all(stats.state == "closed" for stats in pool.stats[:2])


async def test_no_endpoint_left_is_an_error_with_each_ones_reason(hosts: Any) -> None:
    """All keys are wrong: the first call says the last error, the next ones that nobody is left."""
    async with hosts(a=401, b=403).pool() as pool:
        with pytest.raises(Exception, match="HTTP 40"):
            await pool.chat("hi")
        with pytest.raises(NoEndpointAvailableError, match=r"a\.test.*HTTP 401 of a.*b\.test.*HTTP 403 of b") as caught:
            await pool.chat("hi")
    assert len(caught.value.errors) == 2


async def test_a_batch_stops_when_no_endpoint_is_left(hosts: Any) -> None:
    """With the exit rule of the reason, after a handful of requests."""
    server = hosts(a=401, b=401)
    async with server.pool() as pool:
        batch = await pool.chat_batch([str(n) for n in range(500)])
    assert batch.stats.ok == 0
    assert batch.stats.stopped is not None
    assert len(server.asked) <= 6


async def test_stats_say_how_each_member_stands(hosts: Any) -> None:
    """Counts, health, latency and the last fault."""
    async with hosts(a=httpx.ConnectError("refused")).pool(failure_threshold=1, load_balance="fallback") as pool:
        await pool.chat("hi")
        first, second = pool.stats
    assert (first.state, first.requests, first.ok, first.failed, first.in_flight) == ("open", 1, 0, 1, 0)
    assert first.error is not None
    assert LLMConnectionError.__name__ in first.error
    assert (second.state, second.requests, second.ok, second.failed, second.error) == ("closed", 1, 1, 0, None)
    assert second.latency is not None


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"endpoints": []}, "at least one of `endpoints` or `clients`"),
        ({"load_balance": "fastest"}, "load_balance is 'fastest'; expected one of 'least_loaded'"),
        ({"failure_threshold": 0}, "failure_threshold is 0"),
        ({"recovery_time": 0}, "recovery_time is 0"),
        ({"patience": -1}, "patience is -1"),
        ({"context_fallback": ["big"]}, "context_fallback names 'big'"),
        ({"endpoints": [{"base_url": A, "modle": "m"}]}, r"endpoints\[0\]: unknown key 'modle'"),
        ({"concurrency_limit": 0}, r"endpoints\[0\]: concurrency_limit"),
    ],
)
def test_bad_settings_are_refused_with_their_name(arguments: dict[str, Any], message: str) -> None:
    """Before anything is sent."""
    with pytest.raises(ConfigError, match=message):
        LLMClientPool(**{"endpoints": [{"base_url": A, "model": "m"}], **arguments})


def test_a_pool_of_the_configuration_file(tmp_path: Path) -> None:
    """`batch.endpoints` with the section's defaults; a model's own `endpoints`; a single model."""
    path = tmp_path / "config.yaml"
    path.write_text(
        "models:\n"
        "  - {id: one, base_url: 'http://one.test/v1'}\n"
        "  - id: many\n"
        "    api_key: shared\n"
        "    max_qps: 3\n"
        "    endpoints:\n"
        "      - {base_url: 'http://m1.test/v1'}\n"
        "      - {base_url: 'http://m2.test/v1', max_qps: 4, model: other}\n"
        "batch:\n"
        "  concurrency: 10\n"
        "  max_qps: 100\n"
        "  min_concurrency: 4\n"
        "  timeout: 120\n"
        "  fallback: false\n"
        "  load_balance: round_robin\n"
        "  endpoints:\n"
        "    - {base_url: 'http://fast.test/v1', model: qwen, concurrency_limit: 50, max_qps: 500}\n"
        "    - {base_url: 'http://slow.test/v1', model: qwen, concurrency_limit: 5}\n"
    )
    pool = LLMClientPool.from_config(path=path)
    assert [(one.concurrency_limit, one.max_qps, one.timeout) for one in pool.endpoints] == [
        (50, 500, 120),
        (5, 100, 120),
    ]
    assert [one.min_concurrency for one in pool.endpoints] == [4, 4]
    assert not pool.balanced.fallback
    many = LLMClientPool.from_config("many", path=path)
    assert [(one.model, one.max_qps) for one in many.endpoints] == [("many", 3), ("other", 4)]
    assert all(one.api_key is not None for one in many.endpoints)
    assert [one.model for one in LLMClientPool.from_config("one", path=path).endpoints] == ["one"]
