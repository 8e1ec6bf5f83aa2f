"""Which failed attempts a provider may charge for: told by the error, so that a budget can count them."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import httpx
import pytest

from flexllm_core.endpoint import EndpointConfig
from flexllm_core.errors import LLMRequestError, LLMTimeoutError
from flexllm_core.requests import ChatRequest
from flexllm_providers.client import ProviderClient

REQUEST = ChatRequest([{"role": "user", "content": "hi"}], "m")


async def failure(reply: Any, **endpoint: Any) -> LLMRequestError:
    settings = {"base_url": "http://localhost:1/v1", "model": "m", "api_key": "k", **endpoint}
    transport = httpx.MockTransport(reply) if reply is not None else None
    client = ProviderClient(EndpointConfig(**settings), transport=transport)
    try:
        with pytest.raises(LLMRequestError) as caught:
            await client.complete(REQUEST)
    finally:
        await client.aclose()
    return caught.value


@pytest.mark.parametrize("status", [400, 401, 402, 404, 422, 429, 500, 502, 503, 529])
async def test_a_refusal_costs_nothing(status: int) -> None:
    """The server said no before it generated anything."""
    assert not (await failure(lambda _: httpx.Response(status, json={"error": {"message": "no"}}))).may_be_billed


@pytest.mark.parametrize("status", [408, 504, 520, 524])
async def test_a_gateway_that_gave_up_tells_nothing_of_the_server(status: int) -> None:
    """The model behind it may have worked on."""
    assert (await failure(lambda _: httpx.Response(status))).may_be_billed


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b"not JSON", True),
        (b'{"choices": []}', True),
        (b'{"error": {"message": "broke off", "code": 500}}', True),
        (b'{"error": {"message": "broke off"}}', True),
        (b'{"error": {"message": "slow down", "code": 429}}', False),
        (b'{"error": {"message": "no money", "code": "insufficient_quota"}}', False),
    ],
)
async def test_a_200_without_an_answer_may_be_billed(body: bytes, expected: bool) -> None:
    """Except where it is a refusal in disguise."""
    assert (await failure(lambda _: httpx.Response(200, content=body))).may_be_billed is expected


@pytest.mark.parametrize(
    ("provider", "body", "expected"),
    [
        ("claude", {"type": "error", "error": {"type": "api_error", "message": "x"}}, True),
        ("claude", {"type": "error", "error": {"type": "rate_limit_error", "message": "x"}}, False),
        ("gemini", {"error": {"code": 500, "status": "INTERNAL", "message": "x"}}, True),
        ("gemini", {"error": {"code": 429, "status": "RESOURCE_EXHAUSTED", "message": "x"}}, False),
        ("gemini", {"promptFeedback": {"blockReason": "SAFETY"}}, True),
    ],
)
async def test_the_other_wires_say_the_same(provider: str, body: dict[str, Any], expected: bool) -> None:
    """In their own words."""
    model = {"claude": "claude-sonnet-4-5", "gemini": "gemini-2.5-flash"}[provider]
    error = await failure(lambda _: httpx.Response(200, json=body), provider=provider, model=model)
    assert error.may_be_billed is expected, json.dumps(body)


async def test_what_was_never_sent_costs_nothing() -> None:
    """A port where nobody listens."""
    server = await asyncio.start_server(lambda *_: None, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    server.close()
    await server.wait_closed()
    assert not (await failure(None, base_url=f"http://127.0.0.1:{port}/v1")).may_be_billed


async def test_a_timeout_after_the_request_was_sent_may_be_billed() -> None:
    """The server may answer when nobody listens any more."""

    async def never(_: httpx.Request) -> httpx.Response:
        await asyncio.sleep(60)
        return httpx.Response(200)

    error = await failure(never, timeout=0.02)
    assert isinstance(error, LLMTimeoutError)
    assert error.may_be_billed
    assert (await failure(lambda _: (_ for _ in ()).throw(httpx.ReadError("cut")))).may_be_billed
    assert not (await failure(lambda _: (_ for _ in ()).throw(httpx.ConnectTimeout("slow")))).may_be_billed
