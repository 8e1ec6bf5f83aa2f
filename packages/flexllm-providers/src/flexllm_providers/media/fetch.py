"""Fetches media over http(s), only from public addresses: the address that was checked is the one that is connected to.

Requests go straight to the server, never through a proxy: a proxy looks names up itself, and what it reaches
cannot be checked from here. Redirects are not followed.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from flexllm_core.errors import ConfigError, InputError, LLMRequestError
from flexllm_providers.http import HttpRequest, Timeouts, origin_of
from flexllm_providers.media.addresses import Network, is_allowed
from flexllm_providers.transport.h1 import H1Transport
from flexllm_providers.transport.h1_connect import Address
from flexllm_providers.transport.request_head import split_url
from flexllm_providers.transport.tls import Verify

CONNECT_TIMEOUT = 10.0
IDLE_TIMEOUT = 10.0
_HEADERS = {"accept": "*/*", "user-agent": "flexllm"}


class MediaFetcher:
    """Fetches files with one set of connections; for one event loop.

    Args:
        allowed: Networks that may be connected to although they are not public.
        allow_http: Whether URLs without TLS are fetched.
        max_bytes: Of one file.
        timeout: Seconds for one file.
        verify: Which certificates are trusted (`flexllm_providers.transport.tls.Verify`).
    """

    def __init__(
        self,
        *,
        allowed: Sequence[Network] = (),
        allow_http: bool = False,
        max_bytes: int,
        timeout: float,
        verify: Verify = True,
    ) -> None:
        self._allow_http = allow_http
        self._timeouts = Timeouts(connect=CONNECT_TIMEOUT, idle=IDLE_TIMEOUT, total=timeout)
        self._transport = H1Transport(
            verify=verify, max_response_bytes=max_bytes, check_addresses=partial(_check_public, allowed=allowed)
        )

    async def fetch(self, url: str) -> bytes:
        """The file at a URL.

        Raises:
            InputError: The URL or its address is refused, or there is no file: an error status, a redirect,
                a compressed or too large body, a timeout. The message never shows more of the URL than its
                origin: a query may be a credential.
        """
        try:
            if split_url(url).origin.scheme != "https" and not self._allow_http:
                raise InputError("http:// is refused, only https:// is fetched")
            response = await self._transport.send(HttpRequest("GET", url, _HEADERS), self._timeouts)
        except (LLMRequestError, ConfigError) as error:
            raise InputError(str(error)) from None
        if 300 <= response.status < 400:
            raise InputError(f"{origin_of(url)} redirects, which is not followed; give the final URL")
        if response.status != 200:
            raise InputError(f"{origin_of(url)} answered HTTP {response.status}")
        return response.body

    async def aclose(self) -> None:
        """Close every connection."""
        await self._transport.aclose()


def _check_public(host: str, addresses: Sequence[Address], allowed: Sequence[Network]) -> None:
    """Refuse a host that is not on the public internet; one address that is not, among others, is no accident either.

    Raises:
        InputError: It may not be connected to.
    """
    if not all(is_allowed(str(address[4][0]), allowed) for address in addresses):
        raise InputError(f"{host[:80]!r} is not on the public internet, or partly not; it is not fetched from")
