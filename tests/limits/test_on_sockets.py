"""The limits over real connections."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from flexllm_batch import LLMClient, LLMClientPool
from flexllm_mock import FaultRule, MockServer
from flexllm_providers import HttpRequest, HttpResponse, Timeouts
from flexllm_providers.transport.h1 import H1Transport


def client_of(server: MockServer, **settings: object) -> LLMClient:
    return LLMClient(model="mock", base_url=server.base_url, api_key="EMPTY", proxy="", **settings)  # type: ignore[arg-type]


class NotesTimes(H1Transport):
    """Notes when each request is handed to the socket: a busy machine brings several to the server at once."""

    def __init__(self) -> None:
        super().__init__()
        self.times: list[float] = []

    async def send(self, request: HttpRequest, timeouts: Timeouts) -> HttpResponse:
        self.times.append(asyncio.get_running_loop().time())
        return await super().send(request, timeouts)


@pytest.mark.parametrize("max_qps", [20, 60])
async def test_no_second_has_more_requests_than_max_qps_with_retries(max_qps):
    """Every third request fails, so that there are retries."""
    rows, transport = int(max_qps * 1.2), NotesTimes()
    async with MockServer(faults=[FaultRule(status=500, every=3)]) as server:
        async with client_of(server, max_qps=max_qps, transport=transport) as client:
            result = await client.chat_batch([f"row {number}" for number in range(rows)], max_tokens=5)
        assert len(server.requests) == len(transport.times) > rows
    times = transport.times
    assert not [item.error for item in result if item.error]
    assert max(sum(start <= time < start + 1 for time in times) for start in times) <= max_qps


async def test_nobody_asks_during_a_pause_and_no_row_is_lost():
    """200 rows, 50 in flight, and a server that wants a pause in the middle of it."""
    async with MockServer(delay=0.05, faults=[]) as server:
        async with client_of(server) as client:
            await client.chat_batch([f"warm {number}" for number in range(60)], max_tokens=5)
            server.add_fault(FaultRule(status=429, headers={"retry-after": "1"}, times=3))
            result = await client.chat_batch([f"row {number}" for number in range(200)], max_tokens=5)
        requests = server.requests
    assert not [item.error for item in result if item.error]
    refused = [request for request in requests if request.status == 429]
    told_at = refused[-1].received_at + (refused[-1].seconds or 0.0)
    in_pause = [request for request in requests if told_at + 0.1 < request.received_at < told_at + 0.98]
    assert len(refused) == 3
    assert in_pause == []


async def test_a_key_that_has_little_left_of_its_quota_gets_few_calls():
    """1,000 of the 1,200 requests of one key are used up before the pool begins: nothing is refused."""
    async with MockServer(rpm=1200) as server:
        async with client_of(server, adaptive=False) as client:
            await client.chat_batch([f"before {number}" for number in range(1000)], max_tokens=5)
        keys = [
            {"base_url": server.base_url, "model": "mock", "api_key": key, "proxy": ""} for key in ("EMPTY", "other")
        ]
        async with LLMClientPool(keys, concurrency_limit=5) as pool:
            result = await pool.chat_batch([f"row {number}" for number in range(300)], max_tokens=5)
            spent, fresh = pool.stats
        statuses = server.stats().by_status
    assert not [item.error for item in result if item.error]
    assert statuses == {200: 1300}
    assert fresh.ok >= 5 * spent.ok


class TellsNothing(H1Transport):
    """Brings answers without what their headers say about limits, as from a server that keeps them to itself."""

    async def send(self, request: HttpRequest, timeouts: Timeouts) -> HttpResponse:
        response = await super().send(request, timeouts)
        told = ("x-ratelimit", "retry-after")
        headers = {name: value for name, value in response.headers.items() if not name.startswith(told)}
        return replace(response, headers=headers)


@pytest.mark.parametrize("limit", [{"rpm": 12_000}, {"output_tpm": 60_000}], ids=["requests", "tokens"])
async def test_a_hidden_limit_is_found_and_kept(limit):
    """200 requests of 5 tokens in a second, which nobody told: of the second half hardly any is refused."""
    async with MockServer(delay=0.05, limit_burst=0.2, **limit) as server:
        async with client_of(server, concurrency_limit=30, transport=TellsNothing()) as client:
            result = await client.chat_batch([f"row {number}" for number in range(600)], max_tokens=5)
            found = client.limited[0].gate.learned_qps
        statuses = [request.status for request in sorted(server.requests, key=lambda request: request.received_at)]
    assert not [item.error for item in result if item.error]
    assert statuses.count(200) == 600
    assert 429 in statuses
    assert statuses[len(statuses) // 2 :].count(429) <= 0.05 * len(statuses) / 2
    assert found is not None
    assert 150 <= found <= 300
