"""The balance of a key: where a key may be sent, typed errors, honest refusals."""

from __future__ import annotations

import pickle

import pytest

from flexllm_core.endpoint import EndpointConfig
from flexllm_core.errors import (
    AuthenticationError,
    ConfigError,
    FlexLLMError,
    LLMConnectionError,
    LLMHTTPError,
    LLMResponseError,
    LLMTimeoutError,
    RateLimitError,
    ServerError,
)
from flexllm_providers.credits.fetch import CreditsUnavailableError, fetch_credits

KEY = "sk-or-v1-0123456789abcdef0123456789abcdef"
DEEPSEEK = {"is_available": True, "balance_infos": [{"currency": "CNY", "total_balance": "110.00"}]}


def endpoint(base_url, **more):
    """An endpoint with a key."""
    return EndpointConfig(base_url=base_url, api_key=KEY, **more)


@pytest.mark.parametrize(
    ("base_url", "url"),
    [
        ("https://openrouter.ai/api/v1", "https://openrouter.ai/api/v1/key"),
        ("https://eu.openrouter.ai/api/v1", "https://eu.openrouter.ai/api/v1/key"),
        ("https://api.siliconflow.cn/v1", "https://api.siliconflow.cn/v1/user/info"),
        ("https://api.siliconflow.com/v1", "https://api.siliconflow.com/v1/user/info"),
        ("https://api.deepseek.com/v1", "https://api.deepseek.com/user/balance"),
        ("https://api.deepseek.com", "https://api.deepseek.com/user/balance"),
        ("https://api.deepseek.com:8443/beta", "https://api.deepseek.com:8443/user/balance"),
        ("https://api.aimlapi.com/v1", "https://api.aimlapi.com/v1/billing/balance"),
        ("https://API.OPENAI.COM/v1", "https://api.openai.com/v1/dashboard/billing/credit_grants"),
    ],
)
async def test_the_question_goes_to_the_endpoints_own_host(fake_transport, answers, base_url, url):
    """One GET with the key in a header, to the host of the endpoint's URL, for ten seconds."""
    transport = fake_transport(answers.json({}, 500))
    with pytest.raises(ServerError):
        await fetch_credits(endpoint(base_url), transport=transport)
    (request,) = transport.requests
    assert (request.method, request.url, request.body) == ("GET", url, b"")
    assert request.headers["authorization"] == f"Bearer {KEY}"
    assert KEY not in request.url
    assert transport.timeouts[0].total == 10.0


@pytest.mark.parametrize(
    "base_url",
    [
        "https://evil-openrouter.ai/api/v1",
        "https://openrouter.ai.evil.example/api/v1",
        "https://evil.example/openrouter.ai/api/v1",
        "https://openai.com.evil.example/v1",
        "https://platform.openai.com/v1",
        "https://my-siliconflow.cn/v1",
        "https://xn--deepsek-r4a.com",
    ],
)
async def test_a_host_that_only_looks_like_a_vendors_gets_no_key(fake_transport, answers, base_url):
    """Hosts are matched exactly or as a dot-suffix; for others nothing is sent."""
    transport = fake_transport(answers.json({}))
    with pytest.raises(CreditsUnavailableError, match="no API for the balance is known"):
        await fetch_credits(endpoint(base_url), transport=transport)
    assert transport.requests == []


@pytest.mark.parametrize(
    ("base_url", "vendor", "hint"),
    [
        ("https://api.anthropic.com/v1", "Anthropic", "admin key"),
        ("https://api.x.ai/v1", "xAI", "management key"),
        ("https://api.together.xyz/v1", "Together AI", "no public API"),
        ("https://api.groq.com/openai/v1", "Groq", "no public API"),
        ("https://api.mistral.ai/v1", "Mistral", "no public API"),
        ("https://generativelanguage.googleapis.com/v1beta", "Google", "no API"),
        ("https://us-central1-aiplatform.googleapis.com", "Google", "no API"),
        ("https://ollama.com/v1", "Ollama", "no public API"),
    ],
)
async def test_vendors_without_a_balance_are_refused_with_a_reason(fake_transport, answers, base_url, vendor, hint):
    """One sentence says why and where to look; nothing is sent."""
    transport = fake_transport(answers.json({}))
    with pytest.raises(CreditsUnavailableError, match=hint) as caught:
        await fetch_credits(endpoint(base_url), transport=transport)
    assert isinstance(caught.value, FlexLLMError)
    assert caught.value.vendor == vendor
    assert "see https://" in str(caught.value)
    assert transport.requests == []


@pytest.mark.parametrize(("provider", "vendor"), [("claude", "Anthropic"), ("gemini", "Google"), ("vertex", "Google")])
async def test_a_provider_without_a_url_is_known_by_its_default_one(provider, vendor):
    """Where only the provider is configured, its key is not sent to OpenAI."""
    with pytest.raises(CreditsUnavailableError) as caught:
        await fetch_credits(EndpointConfig(provider=provider, api_key=KEY))
    assert caught.value.vendor == vendor


@pytest.mark.parametrize("base_url", ["http://localhost:8000/v1", "http://127.0.0.1:11434/v1", "http://gpu7:11434/v1"])
async def test_a_server_of_ones_own_has_no_balance(base_url):
    """vLLM and Ollama are told apart from an unknown vendor."""
    with pytest.raises(CreditsUnavailableError, match="a server of your own"):
        await fetch_credits(endpoint(base_url))


async def test_a_key_is_not_sent_without_tls(fake_transport, answers):
    """A vendor's host over http is a mistake that is named."""
    transport = fake_transport(answers.json({}))
    with pytest.raises(ConfigError, match="https only"):
        await fetch_credits(endpoint("http://openrouter.ai/api/v1"), transport=transport)
    assert transport.requests == []


async def test_without_a_key_nothing_is_asked(fake_transport, answers):
    """The message says what is missing."""
    transport = fake_transport(answers.json({}))
    with pytest.raises(ConfigError, match="no API key"):
        await fetch_credits(EndpointConfig(base_url="https://api.deepseek.com"), transport=transport)
    assert transport.requests == []


@pytest.mark.parametrize(
    "base_url", ["https://evil.example/v1", "http://192.168.1.5/v1", "http://localhost.evil.example"]
)
async def test_the_vendor_cannot_be_chosen_for_another_machine(fake_transport, answers, base_url):
    """A configuration must not send a vendor's key to somebody else's host."""
    transport = fake_transport(answers.json({}))
    with pytest.raises(ConfigError, match="only for an endpoint on this machine"):
        await fetch_credits(endpoint(base_url), vendor="openrouter", transport=transport)
    assert transport.requests == []


async def test_a_server_of_this_machine_is_what_its_entry_says(fake_transport, answers):
    """By the kind of its dialect, as a mock server or a tunnel; that of another machine's server counts for nothing."""
    told = {"dialect": {"kind": "deepseek"}}
    transport = fake_transport(answers.json(DEEPSEEK))
    with pytest.raises(CreditsUnavailableError, match=r"gateway\.example"):
        await fetch_credits(endpoint("https://gateway.example/v1", **told), transport=transport)
    assert transport.requests == []
    report = await fetch_credits(endpoint("http://127.0.0.1:1/v1", **told), transport=transport)
    assert report.vendor == "DeepSeek"
    assert [request.url for request in transport.requests] == ["http://127.0.0.1:1/user/balance"]


async def test_an_unknown_vendor_is_named():
    """A typing mistake is answered with the nearest name."""
    with pytest.raises(ConfigError, match="did you mean 'openrouter'"):
        await fetch_credits(endpoint("http://127.0.0.1:1"), vendor="openruter")


@pytest.mark.parametrize(
    ("status", "error"),
    [(401, AuthenticationError), (403, AuthenticationError), (429, RateLimitError), (500, ServerError)],
)
async def test_error_statuses_are_typed_and_show_no_key(fake_transport, answers, status, error):
    """A server that echoes the key does not make us show it."""
    transport = fake_transport(answers.json({"error": {"message": f"bad key {KEY}", "code": KEY}}, status))
    with pytest.raises(error) as caught:
        await fetch_credits(endpoint("https://openrouter.ai/api/v1"), transport=transport)
    assert caught.value.status_code == status
    assert KEY not in f"{caught.value!r}{caught.value}{caught.value.body}{caught.value.code}{caught.value.to_dict()}"


async def test_a_redirect_is_an_error(fake_transport):
    """The key is not carried anywhere."""
    transport = fake_transport((302, {"location": "https://evil.example/"}, [b""]))
    with pytest.raises(LLMHTTPError, match="redirect"):
        await fetch_credits(endpoint("https://api.deepseek.com"), transport=transport)
    assert len(transport.requests) == 1


@pytest.mark.parametrize("status", [403, 404])
async def test_openais_refusal_says_where_to_look(fake_transport, answers, status):
    """An API key that OpenAI does not tell its balance is not a bad key."""
    transport = fake_transport(answers.json({"error": {"message": "Your request must be made with..."}}, status))
    with pytest.raises(CreditsUnavailableError, match=r"platform\.openai\.com"):
        await fetch_credits(EndpointConfig(api_key=KEY), transport=transport)


async def test_openais_wish_for_a_session_key_is_no_bad_key(fake_transport, answers):
    """OpenAI says 401 too to a good key that is not a browser's."""
    said = "Your request to GET /dashboard/billing/credit_grants must be made with a session key"
    transport = fake_transport(answers.json({"error": {"message": said}}, 401))
    with pytest.raises(CreditsUnavailableError):
        await fetch_credits(EndpointConfig(api_key=KEY), transport=transport)


async def test_a_wrong_key_at_openai_is_an_authentication_error(fake_transport, answers):
    """Other 401 mean what they say."""
    said = {"error": {"message": "Incorrect API key provided", "code": "invalid_api_key"}}
    with pytest.raises(AuthenticationError):
        await fetch_credits(EndpointConfig(api_key=KEY), transport=fake_transport(answers.json(said, 401)))


@pytest.mark.parametrize("error", [LLMConnectionError("no connection"), LLMTimeoutError("too slow")])
async def test_network_errors_name_the_endpoint(fake_transport, error):
    """The transport's error comes through, with the endpoint's label."""
    with pytest.raises(type(error)) as caught:
        await fetch_credits(endpoint("https://api.deepseek.com", name="ds"), transport=fake_transport(error))
    assert caught.value.endpoint == "ds"


async def test_a_transport_that_was_brought_stays_open(fake_transport, answers):
    """The caller may use it again."""
    transport = fake_transport(answers.json(DEEPSEEK))
    await fetch_credits(endpoint("https://api.deepseek.com"), transport=transport)
    assert transport.closed_in == []


async def test_a_dialect_of_another_wire_does_not_matter(fake_transport, answers):
    """Settings that only Claude's wire knows are no mistake here."""
    transport = fake_transport(answers.json(DEEPSEEK))
    config = endpoint("https://api.deepseek.com/anthropic", provider="claude", dialect={"auth": "bearer"})
    assert (await fetch_credits(config, transport=transport)).vendor == "DeepSeek"


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b"null", b"7", b'"text"', b"\xff\xfe"])
async def test_a_body_that_is_no_object_is_an_error(fake_transport, body):
    """Never a balance of nothing."""
    transport = fake_transport((200, {}, [body]))
    with pytest.raises(LLMResponseError):
        await fetch_credits(endpoint("https://openrouter.ai/api/v1"), transport=transport)


async def test_an_error_inside_a_200_is_an_error(fake_transport, answers):
    """As for chats."""
    transport = fake_transport(answers.json({"error": {"message": "no such key", "code": 401}}))
    with pytest.raises(AuthenticationError):
        await fetch_credits(endpoint("https://openrouter.ai/api/v1"), transport=transport)


def test_the_refusal_survives_pickling():
    """As other errors do between processes."""
    error = pickle.loads(pickle.dumps(CreditsUnavailableError("why", vendor="V")))
    assert (str(error), error.vendor) == ("why", "V")
