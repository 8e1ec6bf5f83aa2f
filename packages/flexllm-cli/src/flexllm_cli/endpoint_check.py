"""Looks at an endpoint step by step: name, connection, TLS, key, model, and how fast an answer comes."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal
from urllib.parse import urlsplit

from flexllm_cli.remedies import remedy_for
from flexllm_core.endpoint import EndpointConfig
from flexllm_core.errors import (
    AuthenticationError,
    FlexLLMError,
    LLMConnectionError,
    LLMRequestError,
    LLMResponseError,
    NotFoundError,
    QuotaExceededError,
)
from flexllm_core.results import ChatCompletionResult
from flexllm_providers.client import ProviderClient
from flexllm_providers.methods import ChatMethods
from flexllm_providers.transport.errors import connect_failed
from flexllm_providers.transport.proxies import proxy_from_environment, proxy_label
from flexllm_providers.transport.request_head import split_url
from flexllm_providers.transport.tls import client_context

StepName = Literal["config", "DNS", "connection", "TLS", "key", "model", "speed"]
STEPS: tuple[StepName, ...] = ("config", "DNS", "connection", "TLS", "key", "model", "speed")
State = Literal["ok", "failed", "skipped"]

QUESTION = "Count from 1 to 20."
MOST_TOKENS = 200
DEFAULT_TIMEOUT = 30.0


@dataclass(frozen=True, slots=True)
class Step:
    """What one step came to.

    Attributes:
        name: The step.
        state: `skipped` where it says nothing about this endpoint, or one before it failed.
        detail: What was found.
        remedy: What to do where it failed.
    """

    name: StepName
    state: State
    detail: str = ""
    remedy: str = ""


@dataclass(slots=True)
class Check:
    """All steps of one endpoint.

    Attributes:
        label: The endpoint's name.
        address: Host and port of its base URL.
        steps: What was looked at, in order; the first that failed is the last one.
        error: Why it failed; None where all is well.
        first_token: Seconds from the request to the first token.
        token_rate: Tokens per second from there on.
    """

    label: str
    address: str = ""
    steps: list[Step] = field(default_factory=list)
    error: Exception | None = None
    first_token: float | None = None
    token_rate: float | None = None

    def ok(self, name: StepName, detail: str = "") -> None:
        """Note a step that is well."""
        self.steps.append(Step(name, "ok", detail))

    def skip(self, name: StepName, detail: str) -> None:
        """Note a step that says nothing here."""
        self.steps.append(Step(name, "skipped", detail))

    def fail(self, name: StepName, error: Exception, remedy: str = "") -> None:
        """Note the step that failed."""
        self.error = error
        self.steps.append(Step(name, "failed", str(error), remedy or remedy_for(error)))


async def check_endpoint(endpoint: EndpointConfig) -> Check:
    """Go through the steps until one fails; one short question is asked, without retries."""
    check = Check(endpoint.name or endpoint.model or endpoint.label)
    limited = endpoint.model_copy(update={"timeout": endpoint.timeout or DEFAULT_TIMEOUT})
    try:
        client = ProviderClient(limited)
    except FlexLLMError as error:
        check.fail("config", error)
        return check
    check.address = urlsplit(client.target.base_url).netloc.rpartition("@")[2]
    key = "with a key" if endpoint.api_key else "without a key"
    check.ok("config", f"{client.target.base_url} · {client.provider} · {endpoint.model or 'no model'} · {key}")
    try:
        if await _check_connection(client, limited, check):
            await _check_answer(client, check)
    finally:
        await client.aclose()
    return check


async def _check_connection(client: ProviderClient, endpoint: EndpointConfig, check: Check) -> bool:
    """Name, connection and TLS; whether to go on."""
    url = client.target.base_url
    proxy = endpoint.proxy if endpoint.proxy is not None else proxy_from_environment(url)
    if proxy:
        for name in STEPS[1:4]:
            check.skip(name, f"through the proxy {proxy_label(proxy)}")
        return True
    origin = split_url(url).origin
    loop = asyncio.get_running_loop()
    context = client_context(endpoint.verify) if origin.scheme == "https" else None
    step: StepName = "DNS"
    try:
        async with asyncio.timeout(endpoint.timeout):
            addresses = await loop.getaddrinfo(origin.host, origin.port)
            check.ok(step, ", ".join(dict.fromkeys(str(address[4][0]) for address in addresses)))
            step = "connection"
            started = loop.time()
            _, writer = await asyncio.open_connection(origin.host, origin.port)
            check.ok(step, f"port {origin.port}, {1000 * (loop.time() - started):.0f} ms")
            step = "TLS"
            with contextlib.closing(writer):
                if context is not None:
                    await writer.start_tls(context, server_hostname=origin.host)
                    check.ok(step, _tls_facts(writer))
                else:
                    check.skip(step, "http has none")
    except (OSError, TimeoutError) as error:
        where = f"{origin.scheme}://{origin.host}:{origin.port}"
        failure = connect_failed(where, error)
        if isinstance(error, TimeoutError):
            failure = LLMConnectionError(f"no connection to {where} within {endpoint.timeout:g} s", endpoint=where)
        check.fail(step, failure, _CONNECTION_REMEDIES[step])
        return False
    return True


_CONNECTION_REMEDIES: dict[StepName, str] = {
    "DNS": "check the host's name in the base URL, and that this machine can resolve names",
    "connection": "start the server, or check the host and port of the base URL, and firewalls in between",
    "TLS": "name the authority with SSL_CERT_FILE or `verify`; a server without TLS has a URL with http://",
}


def _tls_facts(writer: asyncio.StreamWriter) -> str:
    found = writer.get_extra_info("ssl_object")
    if not isinstance(found, ssl.SSLObject):
        return ""
    until = (found.getpeercert() or {}).get("notAfter")
    return f"{found.version()}, certificate until {until}" if until else f"{found.version()}, certificate not checked"


async def _check_answer(client: ProviderClient, check: Check) -> None:
    """Key, model and speed, by one short question."""
    if not client.endpoint.model:
        for name in STEPS[4:]:
            check.skip(name, "no model is named")
        return
    methods = ChatMethods(client, model=client.endpoint.model, params=client.endpoint.params, read=client.read)
    tokens: list[float] = []
    loop = asyncio.get_running_loop()
    result: ChatCompletionResult | None = None
    try:
        async with contextlib.aclosing(methods.chat_stream(QUESTION, max_tokens=MOST_TOKENS)) as events:
            async for event in events:
                tokens.append(loop.time())
                result = event.result or result
    except FlexLLMError as error:
        await _note_failure(client, check, error)
        return
    check.ok("key")
    check.ok("model", (result.model or "") if result else "")
    _note_speed(check, result, tokens)


async def _note_failure(client: ProviderClient, check: Check, error: FlexLLMError) -> None:
    """Say at which step an answer failed."""
    if isinstance(error, AuthenticationError | QuotaExceededError):
        check.fail("key", error)
        return
    if not isinstance(error, LLMRequestError) or error.status_code is None:
        check.fail("speed" if isinstance(error, LLMResponseError) else "model", error)
        return
    check.ok("key")
    remedy = await _nearest_models(client) if isinstance(error, NotFoundError) else ""
    check.fail("model", error, remedy)


async def _nearest_models(client: ProviderClient) -> str:
    """Which models the server has that are called alike; empty where it does not say."""
    from difflib import get_close_matches

    from flexllm_providers.models import list_models

    try:
        names = [info.id for info in await list_models(client.endpoint)]
    except FlexLLMError:
        return ""
    close = get_close_matches(client.endpoint.model or "", names, n=3) or names[:3]
    return f"the server has {', '.join(close)}; `flexllm models` lists all" if close else ""


def _note_speed(check: Check, result: ChatCompletionResult | None, times: list[float]) -> None:
    if result is None or result.time_to_first_token is None:
        check.skip("speed", "the answer had no tokens to measure")
        return
    check.first_token = result.time_to_first_token
    written = result.usage.completion_tokens if result.usage else 0
    seconds = times[-1] - times[0]
    if written > 1 and seconds > 0:
        check.token_rate = (written - 1) / seconds
    rate = f", {check.token_rate:,.0f} tokens/s" if check.token_rate is not None else ""
    check.ok("speed", f"first token after {check.first_token:.2f} s{rate}")


def failures(checks: list[Check]) -> Iterator[tuple[int, Step]]:
    """The steps that failed, each with the number of its endpoint's check."""
    for number, check in enumerate(checks):
        for step in check.steps:
            if step.state == "failed":
                yield number, step
