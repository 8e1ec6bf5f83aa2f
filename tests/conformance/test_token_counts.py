"""`count_tokens` asks each vendor's own call, in the vendor's own shape; where there is none, it says so."""

from __future__ import annotations

import asyncio
import json

import pytest

from flexllm import AuthenticationError, ConfigError, LLMClientPool, ServerError

PIXEL = "data:image/png;base64,iVBORw0KGgo="
TOOL = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "The weather of a city",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
    },
}
CONVERSATION = [
    {"role": "system", "content": "Be brief"},
    {"role": "user", "content": [{"type": "text", "text": "What is it?"}, {"type": "text", "text": "Now?"}]},
    {"role": "assistant", "content": "It is a stone"},
    {"role": "user", "content": "Are you sure about that?"},
]
ANSWERING = {"max_tokens": 50, "temperature": 0.5, "top_p": 0.9, "stop": ["END"], "user": "u", "service_tier": "auto"}
"""Options that say how to answer, and are no part of the prompt."""


@pytest.fixture(params=["claude", "gemini", "vertex", "vertex-claude"])
def provider(request):
    """The providers that count."""
    return request.param.partition("-")[0]


@pytest.fixture
def settings(request):
    """The model that is asked: Vertex AI has two kinds."""
    kind = request.node.callspec.params.get("provider", "")
    return {"model": "claude-sonnet-4-5"} if kind == "vertex-claude" else {}


def count(harness, messages, settings=None, **options):
    """The count in the harness's way of calling."""
    if harness.mode == "sync":
        with harness.client(**settings or {}) as client:
            return client.count_tokens_sync(messages, **options)

    async def call():
        async with harness.client(**settings or {}) as client:
            return await client.count_tokens(messages, **options)

    return asyncio.run(call())


@pytest.mark.parametrize("messages", ["Hello", CONVERSATION], ids=["text", "conversation"])
def test_the_count_is_what_an_answer_is_billed_for(harness, settings, messages):
    """The same number as in the usage of an answer; nothing is answered for it."""
    counted = count(harness, messages, settings, **ANSWERING)
    [asked] = harness.server.requests
    assert "count" in asked.path.lower()
    assert counted == harness.chat(messages, settings=settings, max_tokens=50).usage.prompt_tokens > 0


def test_tools_and_pictures_count(harness, settings):
    """They are part of the prompt."""
    parts = [{"type": "text", "text": "Hello"}, {"type": "image_url", "image_url": {"url": PIXEL}}]
    assert count(harness, [{"role": "user", "content": parts}], settings) > count(harness, "Hello", settings)
    with_tools = count(harness, "Hello", settings, tools=[TOOL], tool_choice="auto")
    assert with_tools == harness.chat("Hello", settings=settings, tools=[TOOL]).usage.prompt_tokens


@pytest.mark.parametrize("mode", ["sync"], indirect=True)
@pytest.mark.parametrize("transport", ["h1"], indirect=True)
def test_the_request_is_what_the_sdk_would_send(harness, settings):
    """No key that the vendor's types of a count do not have; nothing of a key in the URL."""
    types = pytest.importorskip("anthropic.types", reason="the anthropic SDK is not installed")
    genai = pytest.importorskip("google.genai.types", reason="google-genai is not installed")
    count(harness, CONVERSATION, settings, tools=[TOOL], thinking=2048, **{**ANSWERING, "max_tokens": 4000})
    request = harness.server.requests[-1]
    body = json.loads(request.body)
    if "messages" in body:
        known = types.message_count_tokens_params.MessageCountTokensParams.__annotations__.keys()
        assert set(body) - {"anthropic_version"} <= known
        assert body["model"] == "claude-sonnet-4-5"
        return
    if harness.provider == "gemini":
        body = body.pop("generateContentRequest")
        assert body.pop("model") == "models/gemini-2.5-flash"
    for content in body.pop("contents"):
        genai.Content.model_validate(content)
    if harness.provider == "vertex":
        assert set(body) <= {"systemInstruction", "tools", "generationConfig"}
    genai.GenerateContentConfig.model_validate({**body.pop("generationConfig", {}), **body})


def test_errors_are_those_of_chats(harness, settings):
    """Typed by status, with the endpoint's name; what passes is tried again."""
    with pytest.raises(AuthenticationError) as caught:
        count(harness, "Hello", {**settings, "api_key": "sk-wrong-wrong-wrong"})
    assert harness.server.url in str(caught.value.endpoint)
    harness.fault(status=500, times=1)
    with pytest.raises(ServerError):
        count(harness, "Hello", settings)
    harness.fault(status=500, times=1)
    assert count(harness, "Hello", {**settings, "retry_times": 2}) > 0


@pytest.mark.parametrize("provider", ["openai"], indirect=True)
def test_openai_compatible_endpoints_have_no_such_call(harness):
    """A clear error, and nothing is sent."""
    with pytest.raises(ConfigError, match="no call that counts tokens"):
        count(harness, "Hello")
    assert not harness.server.requests


@pytest.mark.parametrize("provider", ["claude"], indirect=True)
@pytest.mark.parametrize("transport", ["h1"], indirect=True)
def test_a_pool_counts_by_the_members_that_can(harness):
    """Those that cannot are left out; members of several models want to be told which."""
    openai = {"provider": "openai", "model": "gpt-test", "base_url": harness.server.url + "/v1"}
    claude = {"provider": "claude", "model": "claude-sonnet-4-5", "base_url": harness.server.url}
    gemini = {"provider": "gemini", "model": "gemini-2.5-flash", "base_url": harness.server.url + "/v1beta"}
    key = {"api_key": harness.client().endpoint.api_key.get_secret_value()}
    alone = count(harness, "Hello")
    with LLMClientPool([{**one, **key} for one in (openai, claude)]) as pool:
        assert pool.count_tokens_sync("Hello") == alone
    with LLMClientPool([{**one, **key} for one in (gemini, claude)], retry_times=0) as pool:
        with pytest.raises(ConfigError, match=r"several models \(claude-sonnet-4-5, gemini-2.5-flash\)"):
            pool.count_tokens_sync("Hello")
        assert pool.count_tokens_sync("Hello", model="claude-sonnet-4-5") == alone
    with (
        LLMClientPool([{**openai, **key}, {**openai, **key}]) as pool,
        pytest.raises(ConfigError, match="no call that counts tokens"),
    ):
        pool.count_tokens_sync("Hello")
