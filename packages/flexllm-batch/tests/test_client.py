"""LLMClient over a transport that answers in the process: every example of the documents, and what goes wrong."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from flexllm_batch.client import LLMClient
from flexllm_batch.pool import LLMClientPool
from flexllm_core.endpoint import EndpointConfig
from flexllm_core.errors import (
    ConfigError,
    NotConfiguredError,
)
from flexllm_core.results import ChatCompletionResult
from flexllm_providers.retry import NO_RETRY
from flexllm_providers.vendor_clients import OpenAIClient

KEY = "sk-very-secret-0123456789"
URL = "https://api.example.com/v1"
HELLO = [{"role": "user", "content": "Hello"}]
ReadLines = Callable[[Path], list[dict[str, Any]]]


async def test_single_calls_as_documented(server: Any) -> None:
    """chat_completions gives the text, with return_usage or return_raw the whole result."""
    async with server.client() as client:
        assert await client.chat_completions(HELLO) == "re: Hello"
        result = await client.chat_completions(HELLO, return_usage=True)
        assert isinstance(result, ChatCompletionResult)
        assert result.usage is not None
        assert result.usage.total_tokens == 1500
        result = await client.chat_completions(HELLO, thinking=True, return_raw=True)
        assert result.data["id"] == "c1"
        assert (await client.chat("Hello", temperature=0.5)).content == "re: Hello"
    assert server.bodies[-1]["temperature"] == 0.5
    assert server.headers[0]["authorization"] == f"Bearer {KEY}"


async def test_streams_as_documented(server: Any) -> None:
    """chat_completions_stream gives pieces of text."""
    async with server.client() as client:
        assert [chunk async for chunk in client.chat_completions_stream(HELLO)] == ["re:", "Hello"]
        events = [event async for event in client.chat_stream(HELLO)]
    assert events[-1].type == "done"


def test_sync_calls_as_documented(server: Any) -> None:
    """Without a context manager, with one, and for batches."""
    client = server.client()
    assert client.chat_completions_sync([{"role": "user", "content": "Hello!"}]) == "re: Hello!"
    assert client.chat_completions_batch_sync(["a", "b"]) == ["re: a", "re: b"]
    assert client.chat_batch_sync(["a"]).contents == ["re: a"]
    client.close()
    with server.client() as client:
        assert list(client.chat_completions_stream_sync(HELLO)) == ["re:", "Hello"]


async def test_sync_calls_work_inside_a_running_loop(server: Any) -> None:
    """As in a notebook."""
    client = server.client()
    assert client.chat_completions_sync(HELLO) == "re: Hello"
    assert client.chat_completions_batch_sync(["a", "b"]) == ["re: a", "re: b"]
    client.close()


async def test_an_option_that_does_not_exist_suggests_one_that_does(server: Any) -> None:
    """In single calls, batches and the constructor."""
    async with server.client() as client:
        with pytest.raises(ConfigError, match="unknown option 'temprature'; did you mean 'temperature'"):
            await client.chat("a", temprature=1)
        with pytest.raises(ConfigError, match="unknown option 'output_json'; did you mean 'output_jsonl'"):
            await client.chat_batch(["a"], output_json="x")
    with pytest.raises(ConfigError, match="unknown key 'concurency_limit'; did you mean 'concurrency_limit'"):
        server.client(concurency_limit=1)
    assert server.bodies == []


CONFIG = """
default: local
models:
  - id: qwen
    name: local
    base_url: http://localhost:8000/v1
    api_key: ${TEST_KEY_OF_LOCAL}
    max_qps: 7
  - id: gpt-4o-mini
    base_url: https://api.example.com/v1
    api_key: sk-very-secret-0123456789
"""


def test_a_client_from_the_configuration(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The default entry or a named one; arguments win over the file."""
    path = tmp_path / "config.yaml"
    path.write_text(CONFIG)
    monkeypatch.setenv("TEST_KEY_OF_LOCAL", KEY)
    client = LLMClient.from_config(path=path)
    assert (client.model, client.endpoint.max_qps, client.concurrency) == ("qwen", 7, 50)
    client = LLMClient.from_config("local", path=path, concurrency_limit=3, temperature=0.5, retry_policy=NO_RETRY)
    assert (client.concurrency, client.endpoint.max_qps, client.params) == (3, 7, {"temperature": 0.5})
    assert client.endpoint.api_key is not None
    assert client.endpoint.api_key.get_secret_value() == KEY
    assert LLMClient.from_config("gpt-4o-mini", path=path, track_cost=True).model == "gpt-4o-mini"
    with pytest.raises(NotConfiguredError):
        LLMClient.from_config("missing", path=path)
    with pytest.raises(ConfigError, match="did you mean 'timeout'"):
        LLMClient.from_config(path=path, timout=5)


def test_the_key_of_the_configuration_does_not_go_to_another_host(tmp_path: Path) -> None:
    """A base URL given beside the entry is another place."""
    path = tmp_path / "config.yaml"
    path.write_text(CONFIG)
    client = LLMClient.from_config("gpt-4o-mini", path=path, base_url="https://elsewhere.example/v1")
    assert (client.endpoint.base_url, client.endpoint.api_key) == ("https://elsewhere.example/v1", None)


def test_an_endpoint_and_single_arguments_are_not_mixed() -> None:
    """One of them would be ignored in silence."""
    endpoint = EndpointConfig(model="m", base_url=URL)
    assert LLMClient(endpoint=endpoint).endpoint is endpoint
    for extra in ({"model": "n"}, {"max_qps": 5.0}, {"headers": {"a": "b"}}, {"provider": "claude"}):
        with pytest.raises(ConfigError, match="belong into the endpoint"):
            LLMClient(endpoint=endpoint, **extra)


def test_the_key_is_in_no_repr(server: Any) -> None:
    """Neither of the client nor of what it is made of."""
    client = server.client(headers={"x-api-key": KEY})
    parts = [client, client.endpoint, client.chat_model, vars(client), client.chat_model.__dict__]
    assert not any(KEY in repr(part) for part in parts)


async def test_the_key_is_in_no_error_or_line(make_server: Any, tmp_path: Path) -> None:
    """A server that echoes it in its error does not bring it into the output."""
    server = make_server(lambda _: httpx.Response(400, json={"error": {"message": f"bad key Bearer {KEY} in header"}}))
    output = tmp_path / "out.jsonl"
    async with server.client() as client:
        batch = await client.chat_batch(["a"], output_jsonl=output)
    assert "bad key" in str(batch[0].error)
    assert KEY not in str(batch[0].error)
    assert KEY not in repr(batch)
    assert KEY.encode() not in output.read_bytes()


def test_the_public_names_are_all_there() -> None:
    """Everything in __all__ can be imported, and the list is sorted."""
    import flexllm_batch

    assert [getattr(flexllm_batch, name).__name__ for name in flexllm_batch.__all__] == flexllm_batch.__all__
    assert flexllm_batch.__all__ == sorted(flexllm_batch.__all__) == dir(flexllm_batch)


@pytest.mark.parametrize("from_file", [False, True])
async def test_a_project_on_vertex_is_a_setting_like_others(tmp_path: Path, from_file: bool) -> None:
    """As an argument, or in a model's entry of the configuration file."""
    asked: list[str] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(f"{request.url} {request.headers['authorization']}")
        parts = [{"text": "Hi"}]
        return httpx.Response(200, json={"candidates": [{"content": {"parts": parts}, "finishReason": "STOP"}]})

    transport = httpx.MockTransport(answer)
    if from_file:
        file = tmp_path / "config.yaml"
        entry = "{name: mine, id: gemini-3.8-flash, provider: vertex, api_key: token-0000"
        file.write_text(f"models:\n  - {entry}, project_id: 12345, location: eu, api_version: v1beta1}}\n")
        client = LLMClient.from_config("mine", path=file, transport=transport)
    else:
        client = LLMClient(
            model="gemini-3.8-flash",
            provider="vertex",
            api_key="token-0000",
            project_id="12345",
            location="eu",
            api_version="v1beta1",
            transport=transport,
        )
    async with client:
        assert (await client.chat("Hello")).content == "Hi"
    (only,) = asked
    assert only == (
        "https://aiplatform.eu.rep.googleapis.com/v1beta1/projects/12345/locations/eu"
        "/publishers/google/models/gemini-3.8-flash:generateContent Bearer token-0000"
    )


@pytest.mark.parametrize(
    ("argument", "value", "expected"),
    [
        ("cost_tracker", 5.0, "a CostTrackerConfig"),
        ("retry_policy", 3, "a RetryPolicy"),
        ("transport", "http", "a Transport or an httpx.AsyncBaseTransport"),
        ("transport", httpx.HTTPTransport(), "a Transport or an httpx.AsyncBaseTransport"),
        ("transport", httpx.AsyncClient(), "a Transport or an httpx.AsyncBaseTransport"),
        ("cache", "yes", "a ResponseCacheConfig, True or False"),
    ],
)
def test_an_argument_of_the_wrong_kind_is_refused_at_once(argument: str, value: Any, expected: str) -> None:
    """With its name and what is expected, when the client is made and not somewhere inside its first call."""
    with pytest.raises(ConfigError, match=f"{argument} is a {type(value).__name__}; expected {expected}"):
        LLMClient("m", "http://localhost:1/v1", **{argument: value})


def test_a_client_shows_where_it_asks() -> None:
    """In a notebook or a log; never its key."""
    client = LLMClient("m", "http://gpu1:8000/v1", "sk-very-secret-0123456789")
    assert repr(client) == "LLMClient('http://gpu1:8000/v1', model='m')"
    endpoints = [
        {"base_url": "http://gpu1:8000/v1", "model": "m"},
        {"name": "b", "base_url": "http://gpu2/v1", "model": "n"},
    ]
    assert repr(LLMClientPool(endpoints)) == "LLMClientPool('http://gpu1:8000/v1', 'b', model='m|n')"
    slim = OpenAIClient("m", api_key="sk-very-secret-0123456789")
    assert repr(slim) == "OpenAIClient('https://api.openai.com/v1', model='m')"
