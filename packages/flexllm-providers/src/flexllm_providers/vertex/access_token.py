"""Access tokens for Vertex AI, from Google's application default credentials."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Protocol
from weakref import WeakKeyDictionary

from flexllm_core.errors import AuthenticationError, ConfigError, FlexLLMError, LLMConnectionError, MissingExtraError
from flexllm_core.redact import redact

SCOPE = "https://www.googleapis.com/auth/cloud-platform"
MARGIN = 225.0
"""Seconds before its end at which a token is replaced. Google's metadata server gives a new one no earlier."""
PAUSE = 10.0
"""Seconds between two refreshes at least, should a new token be as short-lived as the old one."""
_EXCERPT = 500


class Credentials(Protocol):
    """What is used of `google.auth.credentials.Credentials`."""

    token: Any
    expiry: datetime | None
    """UTC without a time zone, as google-auth has it; None for a token without an end."""

    def refresh(self, request: Any) -> None:
        """Get a new token; blocks."""
        ...


class AccessToken:
    """Gives an access token that is valid now; one instance for all loops, threads and clients of an endpoint.

    Args:
        credentials: Instead of the application default credentials: any of google-auth's.
        make_request: Makes what `credentials.refresh` sends with; google-auth's own by default.
        now: Wall-clock seconds since 1970, as tokens expire by the clock on the wall.
    """

    def __init__(
        self,
        credentials: Credentials | None = None,
        *,
        make_request: Callable[[], Any] | None = None,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._credentials = credentials
        self._make_request = make_request or _google_request
        self._now = now
        self._lock = threading.Lock()
        self._token = ""
        self._stale_at = 0.0
        self._refreshing: WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Task[str]] = WeakKeyDictionary()

    def __repr__(self) -> str:
        return "AccessToken(***)"

    async def get(self) -> str:
        """The token, refreshed first where it must be: once for all who wait, in a thread.

        Raises:
            MissingExtraError: google-auth is not installed.
            ConfigError: This machine has no Google credentials.
            AuthenticationError: Google refuses the credentials.
            LLMConnectionError: Google could not be asked.
        """
        if self._now() < self._stale_at:
            return self._token
        loop = asyncio.get_running_loop()
        task = self._refreshing.get(loop)
        if task is None or task.done():
            task = self._refreshing[loop] = loop.create_task(asyncio.to_thread(self.get_blocking))
            task.add_done_callback(_retrieve)
        # Whoever stops waiting must not stop it for the others.
        return await asyncio.shield(task)

    def get_blocking(self) -> str:
        """The token, refreshed first where it must be; for threads without an event loop.

        Raises:
            FlexLLMError: As `get`.
        """
        with self._lock:
            if self._now() < self._stale_at:
                return self._token
            try:
                if self._credentials is None:
                    self._credentials = _default_credentials()
                if not self._credentials.token or self._end() - MARGIN <= self._now():
                    self._credentials.refresh(self._make_request())
            except FlexLLMError:
                raise
            except Exception as error:  # noqa: BLE001 (google-auth's own errors, and those of what it calls)
                raise _typed(error) from None
            return self._keep()

    def _keep(self) -> str:
        token = self._credentials.token if self._credentials is not None else None
        if not isinstance(token, str) or not token:
            raise AuthenticationError("Google's credentials gave no access token")
        end = self._end()
        self._token, self._stale_at = token, min(end, max(end - MARGIN, self._now() + PAUSE))
        return token

    def _end(self) -> float:
        expiry = self._credentials.expiry if self._credentials is not None else None
        if expiry is None:
            return float("inf")
        return (expiry if expiry.tzinfo else expiry.replace(tzinfo=UTC)).timestamp()


def _retrieve(task: asyncio.Task[str]) -> None:
    """Look at a failed refresh that nobody waits for any more, so that asyncio does not complain of it."""
    if not task.cancelled():
        task.exception()


def _default_credentials() -> Credentials:
    try:
        import google.auth  # optional, and slow to import
    except ImportError:
        raise _missing() from None
    credentials: Credentials = google.auth.default(scopes=[SCOPE])[0]
    return credentials


def _google_request() -> Any:
    try:
        from google.auth.transport.requests import Request  # optional, and slow to import
    except ImportError:
        raise _missing() from None
    return Request()


def _missing() -> MissingExtraError:
    return MissingExtraError("Vertex AI needs google-auth: pip install 'flexllm-providers[vertex]'")


def _typed(error: Exception) -> FlexLLMError:
    """Our error for one of google-auth's, known by name so that google-auth need not be there."""
    names = {cls.__name__ for cls in type(error).__mro__}
    said = " ".join(redact(str(error)).split())[:_EXCERPT]
    if "DefaultCredentialsError" in names:
        return ConfigError(f"no Google credentials: run `gcloud auth application-default login` ({said})")
    if "RefreshError" in names and getattr(error, "retryable", False) is not True:
        return AuthenticationError(f"Google refuses the credentials: {said}")
    if isinstance(error, OSError) or "GoogleAuthError" in names:
        return LLMConnectionError(f"no access token from Google: {said}")
    return AuthenticationError(f"no access token from Google ({type(error).__name__}): {said}")
