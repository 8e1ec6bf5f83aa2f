"""The balance of an API key: asked of the vendors that tell it, refused with a reason for the others.

A key is sent to its endpoint's own host and to no other, over https.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from flexllm_core.credentials import host_matches
from flexllm_core.endpoint import EndpointConfig
from flexllm_core.errors import ConfigError, LLMHTTPError
from flexllm_core.json_codec import decode_json
from flexllm_core.options import unknown_name_message
from flexllm_providers.claude import target as claude_target
from flexllm_providers.credits import decode as credit_decode
from flexllm_providers.credits.report import CreditLine, CreditReport, CreditsUnavailableError
from flexllm_providers.gemini.urls import DEVELOPER_HOST, VERTEX_HOST
from flexllm_providers.http import HttpRequest, HttpResponse, Timeouts, origin_of
from flexllm_providers.openai import wire as openai_wire
from flexllm_providers.single_request import NO_CHAT, send, transport_for
from flexllm_providers.target import Target, target_from
from flexllm_providers.transport.proxies import is_loopback
from flexllm_providers.wire_errors import unusable

__all__ = ["VENDORS", "CreditLine", "CreditReport", "CreditsUnavailableError", "Vendor", "fetch_credits"]

TIMEOUT = 10.0
"""Seconds for the whole question."""


@dataclass(frozen=True, slots=True)
class Vendor:
    """A vendor that tells the balance of a key.

    Attributes:
        name: By which a caller names it.
        title: For a person.
        hosts: By which it is recognised, exactly or as a dot-suffix.
        path: Of the question, on the endpoint's own host.
        decode: Reads the answer; raises UnreadableBalanceError for one that does not say the balance.
        currency: Of amounts that come without one.
        elsewhere: What to do where the vendor refuses to tell; set for what it does not document.
    """

    name: str
    title: str
    hosts: tuple[str, ...]
    path: str
    decode: Callable[[Mapping[str, Any], str], credit_decode.Decoded]
    currency: str = "USD"
    elsewhere: str | None = None


VENDORS: tuple[Vendor, ...] = (
    Vendor("openrouter", "OpenRouter", ("openrouter.ai",), "/api/v1/key", credit_decode.decode_openrouter),
    Vendor(
        "siliconflow",
        "SiliconFlow",
        ("siliconflow.cn",),
        "/v1/user/info",
        credit_decode.decode_siliconflow,
        currency="CNY",
    ),
    Vendor(
        "siliconflow-com",
        "SiliconFlow",
        ("siliconflow.com",),
        "/v1/user/info",
        credit_decode.decode_siliconflow,
    ),
    Vendor("deepseek", "DeepSeek", ("deepseek.com",), "/user/balance", credit_decode.decode_deepseek, currency="CNY"),
    Vendor("aimlapi", "AI/ML API", ("aimlapi.com",), "/v1/billing/balance", credit_decode.decode_aimlapi),
    Vendor(
        "openai",
        "OpenAI",
        ("api.openai.com",),
        "/v1/dashboard/billing/credit_grants",
        credit_decode.decode_openai,
        elsewhere="OpenAI does not tell this key its balance; see https://platform.openai.com/settings/organization/billing",
    ),
)

_BY_NAME = {vendor.name: vendor for vendor in VENDORS}

_SILENT: tuple[tuple[str, tuple[str, ...], str], ...] = (
    (
        "Anthropic",
        ("anthropic.com", "claude.com"),
        "Anthropic tells costs only to an admin key; see https://console.anthropic.com/settings/billing",
    ),
    ("xAI", ("x.ai",), "xAI tells the balance only to a management key; see https://console.x.ai"),
    (
        "Together AI",
        ("together.xyz", "together.ai"),
        "Together AI has no public API for the balance; see https://api.together.ai/settings/billing",
    ),
    ("Groq", ("groq.com",), "Groq has no public API for the balance; see https://console.groq.com/settings/billing"),
    (
        "Mistral",
        ("mistral.ai",),
        "Mistral has no public API for the balance; see https://console.mistral.ai/billing",
    ),
    (
        "Google",
        ("googleapis.com",),
        "Google has no API that tells a key's balance; see https://console.cloud.google.com/billing",
    ),
    ("Ollama", ("ollama.com",), "Ollama has no public API for the balance; see https://ollama.com/settings"),
)
"""Vendors without a balance that a key may ask for: title, hosts, why and where to look."""

_OLLAMA_PORT = 11434

_DEFAULT_URLS = {
    "claude": claude_target.DEFAULT_BASE_URL,
    "gemini": DEVELOPER_HOST,
    "vertex": VERTEX_HOST,
}


async def fetch_credits(endpoint: EndpointConfig, *, vendor: str | None = None, transport: Any = None) -> CreditReport:
    """Ask for the balance of an endpoint's key, for 10 seconds at most.

    Args:
        endpoint: Whose key is asked about; its host decides which vendor that is.
        vendor: Name of the row in `VENDORS` for an endpoint on this machine, such as a mock server; by default the
            `kind` of its dialect, if that is such a name.
        transport: Sends the request instead of one of our own, as for `ProviderClient`; it stays open.

    Raises:
        CreditsUnavailableError: The vendor does not tell the balance to such a key, or is not known.
        LLMRequestError: There is no answer, or none that says the balance; `AuthenticationError` ... by status.
        ConfigError: There is no key, the URL is not https, or `vendor` does not fit the endpoint.
    """
    base_url = endpoint.base_url or _DEFAULT_URLS.get(endpoint.provider, openai_wire.DEFAULT_BASE_URL)
    row = _find_vendor(base_url, vendor, endpoint.dialect.get("kind"))
    if endpoint.api_key is None:
        raise ConfigError(f"{endpoint.label}: no API key to ask {row.title} about")
    # Another wire's dialect settings mean nothing here.
    target = target_from(endpoint.model_copy(update={"dialect": {}}), base_url)
    async with transport_for(endpoint, base_url, transport) as opened:
        response = await send(opened, encode_credits(row, target), target, Timeouts(total=TIMEOUT))
    return decode_credits(response, row, target, time.time())


def encode_credits(vendor: Vendor, target: Target) -> HttpRequest:
    """The question, to the host of the target's own URL."""
    return HttpRequest("GET", origin_of(target.base_url) + vendor.path, target.bearer_headers)


def decode_credits(response: HttpResponse, vendor: Vendor, target: Target, now: float) -> CreditReport:
    """The balance in a response. `now` is wall-clock seconds since 1970.

    Raises:
        CreditsUnavailableError: The vendor does not tell it to this kind of key.
        LLMRequestError: An error status, or a body that does not say the balance.
    """
    if not 200 <= response.status < 300:
        error = openai_wire.decode_error(response, NO_CHAT, target, now)
        raise _not_told(error, vendor) or error
    try:
        data = decode_json(response.body)
    except ValueError:
        raise unusable(target, NO_CHAT, "the balance is not JSON", response.body) from None
    if not isinstance(data, dict):
        raise unusable(target, NO_CHAT, "the balance is not a JSON object", response.body)
    if openai_wire.is_error(data):
        raise openai_wire.error_in_body(data, response.body, response.headers, NO_CHAT, target, now)
    try:
        lines, details = vendor.decode(data, vendor.currency)
    except credit_decode.UnreadableBalanceError as problem:
        # Without an excerpt: beside the balance some vendors send name and address of the account.
        raise unusable(target, NO_CHAT, f"the balance cannot be read: {problem}", kind="refused") from None
    return CreditReport(vendor.title, lines, unofficial=vendor.elsewhere is not None, details=details)


def _not_told(error: LLMHTTPError, vendor: Vendor) -> CreditsUnavailableError | None:
    """The refusal that an undocumented API gives to keys which are good for everything else."""
    if vendor.elsewhere is None:
        return None
    if error.status_code in (403, 404) or (error.status_code == 401 and "session key" in error.message):
        return CreditsUnavailableError(vendor.elsewhere, vendor=vendor.title)
    return None


def _find_vendor(base_url: str, name: str | None, kind: object) -> Vendor:
    """The row for a URL, over which a key may be sent; for a server of this machine by what it is said to be."""
    parts = urlsplit(base_url)
    host = (parts.hostname or "").rstrip(".")
    if name is not None:
        return _named_vendor(name, host)
    row = next((row for row in VENDORS if any(host_matches(host, suffix) for suffix in row.hosts)), None)
    if row is None and isinstance(kind, str) and kind in _BY_NAME and is_loopback(host):
        return _BY_NAME[kind]
    if row is None:
        raise _refusal(host, parts.port)
    if parts.scheme != "https":
        raise ConfigError(f"{origin_of(base_url)}: the key is sent over https only; correct the base_url")
    return row


def _named_vendor(name: str, host: str) -> Vendor:
    if name not in _BY_NAME:
        raise ConfigError(f"{unknown_name_message('vendor', name, _BY_NAME)}: give one of {', '.join(_BY_NAME)}")
    if not is_loopback(host):
        raise ConfigError(f"vendor {name!r} can be given only for an endpoint on this machine, not for {host}")
    return _BY_NAME[name]


def _refusal(host: str, port: int | None) -> CreditsUnavailableError:
    for title, hosts, why in _SILENT:
        if any(host_matches(host, suffix) for suffix in hosts):
            return CreditsUnavailableError(why, vendor=title)
    if port == _OLLAMA_PORT or is_loopback(host):
        return CreditsUnavailableError(f"{host} is a server of your own, which has no balance; see its own logs")
    return CreditsUnavailableError(f"no API for the balance is known for {host}; see its vendor's dashboard")
