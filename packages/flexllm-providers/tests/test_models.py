"""The models of an endpoint: three kinds of lists, pages, and what servers leave out."""

from __future__ import annotations

import json
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest

from flexllm_core.endpoint import EndpointConfig
from flexllm_core.errors import (
    AuthenticationError,
    ConfigError,
    LLMConnectionError,
    LLMHTTPError,
    LLMResponseError,
    LLMTimeoutError,
    NotFoundError,
    ServerError,
)
from flexllm_providers import models
from flexllm_providers.models import ModelInfo, list_models

KEY = "sk-0123456789abcdef0123456789"
OPENAI = EndpointConfig(base_url="https://api.example.com/v1", api_key=KEY)
CLAUDE = EndpointConfig(provider="claude", api_key=KEY)
GEMINI = EndpointConfig(provider="gemini", api_key=KEY)


def query(request):
    """The query of a request's URL."""
    return {name: values[0] for name, values in parse_qs(urlsplit(request.url).query).items()}


async def test_openais_list(fake_transport, answers):
    """One GET of `{base}/models` with the key as a bearer token."""
    listed = {"id": "gpt-5.4-mini", "object": "model", "created": 1763600000, "owned_by": "system"}
    transport = fake_transport(answers.json({"object": "list", "data": [listed]}))
    assert await list_models(OPENAI, transport=transport) == [
        ModelInfo("gpt-5.4-mini", owned_by="system", created=1763600000)
    ]
    (request,) = transport.requests
    assert (request.method, request.url, request.body) == ("GET", "https://api.example.com/v1/models", b"")
    assert request.headers["authorization"] == f"Bearer {KEY}"


@pytest.mark.parametrize(
    ("item", "expected"),
    [
        ({"max_model_len": 32768, "owned_by": "vllm"}, ModelInfo("m", owned_by="vllm", context_length=32768)),
        (
            {"name": "The M", "context_length": 200000, "top_provider": {"max_completion_tokens": 8192}},
            ModelInfo("m", display_name="The M", context_length=200000, max_output_tokens=8192),
        ),
        (
            {"context_window": 131072, "max_completion_tokens": 32768},
            ModelInfo("m", context_length=131072, max_output_tokens=32768),
        ),
        ({"max_context_length": 128000, "name": None}, ModelInfo("m", context_length=128000)),
        (
            {"display_name": "M", "created": "yesterday", "context_length": "many", "owned_by": ["x"]},
            ModelInfo("m", display_name="M"),
        ),
        ({"max_model_len": True, "context_length": -1, "created": 1.5, "top_provider": 3}, ModelInfo("m")),
    ],
)
async def test_what_servers_add_is_read_as_far_as_it_goes(fake_transport, answers, item, expected):
    """vLLM, OpenRouter, Groq and Mistral say more, under different keys; nonsense is left out."""
    transport = fake_transport(answers.json({"data": [{"id": "m", **item}]}))
    assert await list_models(OPENAI, transport=transport) == [expected]


@pytest.mark.parametrize(
    ("body", "ids"),
    [
        ([{"id": "a"}, {"id": "b"}], ["a", "b"]),
        ({"object": "list", "data": None}, []),
        ({"data": []}, []),
        ({"data": [{"id": "a"}, {}, {"id": 7}, {"id": ""}, None, "b", ["c"], {"id": "d"}]}, ["a", "d"]),
    ],
)
async def test_odd_lists_are_read(fake_transport, answers, body, ids):
    """A bare list, none at all, and entries without an id."""
    assert [model.id for model in await list_models(OPENAI, transport=fake_transport(answers.json(body)))] == ids


@pytest.mark.parametrize(
    "body", [b"", b"<html>", b"{}", b'{"data": 7}', b'{"data": {"id": "m"}}', b"null", b"[" * 5000]
)
async def test_a_body_that_is_no_list_is_an_error(fake_transport, body):
    """Never an empty list: nothing would be read out of it."""
    with pytest.raises(LLMResponseError):
        await list_models(OPENAI, transport=fake_transport((200, {}, [body])))


@pytest.mark.parametrize("endpoint", [OPENAI, CLAUDE, GEMINI])
@pytest.mark.parametrize(
    ("status", "error"),
    [(401, AuthenticationError), (403, AuthenticationError), (404, NotFoundError), (500, ServerError)],
)
async def test_error_statuses_are_typed_and_show_no_key(fake_transport, answers, endpoint, status, error):
    """At each kind of server, also where it echoes the key."""
    transport = fake_transport(answers.json({"error": {"message": f"not with {KEY}"}}, status))
    with pytest.raises(error) as caught:
        await list_models(endpoint, transport=transport)
    assert caught.value.status_code == status
    assert KEY not in f"{caught.value!r}{caught.value.body}{caught.value.to_dict()}"


@pytest.mark.parametrize("endpoint", [OPENAI, CLAUDE, GEMINI])
async def test_a_redirect_is_an_error(fake_transport, endpoint):
    """A key is not carried to another host."""
    transport = fake_transport((307, {"location": "https://evil.example/"}, [b""]))
    with pytest.raises(LLMHTTPError, match="redirect"):
        await list_models(endpoint, transport=transport)
    assert len(transport.requests) == 1


async def test_an_error_inside_a_200_is_an_error(fake_transport, answers):
    """As for chats."""
    with pytest.raises(AuthenticationError):
        await list_models(OPENAI, transport=fake_transport(answers.json({"error": {"message": "x", "code": 401}})))


async def test_claudes_list_is_read_page_by_page(fake_transport, answers):
    """`after_id` asks for the next page; key and version stand in Anthropic's headers."""
    first = {
        "data": [{"type": "model", "id": "claude-a", "display_name": "A", "lifecycle": "active", "max_tokens": 128000}],
        "has_more": True,
        "last_id": "claude-a",
    }
    second = {"data": [{"id": "claude-b", "max_input_tokens": 200000}], "has_more": False, "last_id": "claude-b"}
    transport = fake_transport(answers.json(first), answers.json(second))
    assert await list_models(CLAUDE, transport=transport) == [
        ModelInfo("claude-a", display_name="A", owned_by="anthropic", max_output_tokens=128000, lifecycle="active"),
        ModelInfo("claude-b", owned_by="anthropic", context_length=200000),
    ]
    one, two = transport.requests
    assert one.url.startswith("https://api.anthropic.com/v1/models?")
    assert one.headers["x-api-key"] == KEY
    assert one.headers["anthropic-version"]
    assert "authorization" not in one.headers
    assert query(two)["after_id"] == "claude-a"


async def test_geminis_list_is_read_page_by_page(fake_transport, answers):
    """`pageToken` asks for the next page; `models/` is stripped; the key stands in Google's header."""
    listed = {
        "name": "models/gemini-3.8-flash",
        "displayName": "Gemini 3.8 Flash",
        "inputTokenLimit": 1048576,
        "outputTokenLimit": 65536,
        "supportedGenerationMethods": ["generateContent", "countTokens"],
    }
    pages = [{"models": [listed], "nextPageToken": "t=1&x"}, {"models": [{"name": "models/g2"}], "nextPageToken": ""}]
    transport = fake_transport(*map(answers.json, pages))
    assert await list_models(GEMINI, transport=transport) == [
        ModelInfo(
            "gemini-3.8-flash",
            display_name="Gemini 3.8 Flash",
            owned_by="google",
            context_length=1048576,
            max_output_tokens=65536,
            methods=("generateContent", "countTokens"),
        ),
        ModelInfo("g2", owned_by="google"),
    ]
    one, two = transport.requests
    assert one.url.startswith("https://generativelanguage.googleapis.com/v1beta/models?")
    assert one.headers["x-goog-api-key"] == KEY
    assert KEY not in one.url
    assert query(two)["pageToken"] == "t=1&x"


@pytest.mark.parametrize(
    ("endpoint", "page"),
    [
        (CLAUDE, {"data": [{"id": "a"}], "has_more": True, "last_id": "a"}),
        (GEMINI, {"models": [{"name": "models/a"}], "nextPageToken": "again"}),
    ],
)
async def test_a_list_that_repeats_itself_ends(fake_transport, answers, endpoint, page):
    """A server that always gives the same next page is not asked for ever."""
    transport = fake_transport(answers.json(page))
    with pytest.raises(LLMResponseError, match="no end") as caught:
        await list_models(endpoint, transport=transport)
    assert not caught.value.retryable
    assert len(transport.requests) == 2


async def test_a_list_without_end_ends(fake_transport, answers):
    """Neither is one that always gives another next page."""
    pages = [{"models": [{"name": f"models/{n}"}], "nextPageToken": f"t{n}"} for n in range(models.MAX_PAGES + 10)]
    transport = fake_transport(*map(answers.json, pages))
    with pytest.raises(LLMResponseError, match="no end"):
        await list_models(GEMINI, transport=transport)
    assert len(transport.requests) == models.MAX_PAGES


@pytest.mark.parametrize(
    ("endpoint", "start"),
    [
        (EndpointConfig(api_key=KEY), "https://api.openai.com/v1/models"),
        (EndpointConfig(base_url="https://api.anthropic.com", api_key=KEY), "https://api.anthropic.com/v1/models?"),
        (
            EndpointConfig(base_url="https://generativelanguage.googleapis.com/v1beta/openai", api_key=KEY),
            "https://generativelanguage.googleapis.com/v1beta/openai/models",
        ),
        (
            EndpointConfig(provider="vertex", api_key=KEY),
            "https://aiplatform.googleapis.com/v1beta1/publishers/google/models?",
        ),
    ],
)
async def test_the_kind_of_list_follows_provider_and_url(fake_transport, endpoint, start):
    """As for chats: the provider that was given, else what the URL says."""
    transport = fake_transport((500, {}, [b""]))
    with pytest.raises(ServerError):
        await list_models(endpoint, transport=transport)
    assert transport.requests[0].url.startswith(start)


async def test_a_project_on_vertex_uses_an_access_token(fake_transport, answers, monkeypatch):
    """Where no key is given, the token of Google's default credentials is sent as a bearer token."""

    class Token:
        async def get(self):
            return "ya29.token-of-the-machine"

    monkeypatch.setattr(models, "AccessToken", Token)
    endpoint = EndpointConfig(provider="vertex", dialect={"project_id": "p1", "location": "europe-west4"})
    listed = {"publisherModels": [{"name": "publishers/google/models/gemini-3.8-flash"}]}
    transport = fake_transport(answers.json(listed))
    assert [model.id for model in await list_models(endpoint, transport=transport)] == ["gemini-3.8-flash"]
    (request,) = transport.requests
    assert request.headers["authorization"] == "Bearer ya29.token-of-the-machine"
    assert urlsplit(request.url).hostname == "europe-west4-aiplatform.googleapis.com"


@pytest.mark.parametrize("error", [LLMConnectionError("no connection"), LLMTimeoutError("too slow")])
async def test_network_errors_name_the_endpoint(fake_transport, error):
    """The transport's error comes through, with the endpoint's label."""
    endpoint = EndpointConfig(name="mine", base_url="http://127.0.0.1:1/v1")
    with pytest.raises(type(error)) as caught:
        await list_models(endpoint, transport=fake_transport(error))
    assert caught.value.endpoint == "mine"


async def test_unusable_settings_are_told_before_anything_is_sent(fake_transport, answers):
    """As by the client."""
    transport = fake_transport(answers.json({}))
    with pytest.raises(ConfigError):
        await list_models(EndpointConfig(base_url="http://h/v1", dialect={"nonsense": 1}), transport=transport)
    assert transport.requests == []


async def test_the_timeout_is_the_endpoints(fake_transport, answers):
    """30 seconds where it has none; a transport that was brought stays open."""
    transport = fake_transport(answers.json({"data": []}))
    await list_models(OPENAI, transport=transport)
    await list_models(OPENAI.model_copy(update={"timeout": 3.0}), transport=transport)
    assert [timeouts.total for timeouts in transport.timeouts] == [30.0, 3.0]
    assert transport.closed_in == []


async def test_over_a_real_connection(serve):
    """The transport that is made for the question is closed after it."""

    async def script(connection):
        await connection.request()
        await connection.answer(json.dumps({"data": [{"id": "m"}]}).encode())
        await connection.closed()

    server = await serve(script)
    assert await list_models(EndpointConfig(base_url=f"{server.url}/v1")) == [ModelInfo("m")]
    await server.connections[0].over.wait()
    assert server.connections[0].requests[0][0].startswith(b"GET /v1/models HTTP/1.1\r\n")


async def test_any_httpx_transport_will_do():
    """As for `ProviderClient`: a mock, an ASGI app."""
    transport = httpx.MockTransport(lambda request: httpx.Response(200, json={"data": [{"id": request.url.path}]}))
    assert await list_models(OPENAI, transport=transport) == [ModelInfo("/v1/models")]
