"""Access tokens: refreshed once for all who wait, in a thread, before they expire."""

from __future__ import annotations

import asyncio
import sys
import threading
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from flexllm_core.errors import AuthenticationError, ConfigError, LLMConnectionError, MissingExtraError
from flexllm_providers.vertex.access_token import MARGIN, PAUSE, AccessToken

START = 1_800_000_000.0


class Clock:
    """The clock on the wall."""

    def __init__(self) -> None:
        self.time = START

    def __call__(self) -> float:
        return self.time


class FakeCredentials:
    """Credentials as google-auth's, that count their refreshes."""

    def __init__(self, clock: Clock, life: float | None = 3600.0, fails: Exception | None = None) -> None:
        self.token: Any = None
        self.expiry: datetime | None = None
        self.refreshes: list[threading.Thread] = []
        self.may_go_on = threading.Event()
        self.may_go_on.set()
        self.fails = fails
        self._clock = clock
        self._life = life

    def refresh(self, request: Any) -> None:
        """A new token each time; `expiry` without a time zone."""
        assert request == "request"
        self.refreshes.append(threading.current_thread())
        assert self.may_go_on.wait(10)
        if self.fails is not None:
            raise self.fails
        self.token = f"token-{len(self.refreshes)}"
        if self._life is not None:
            end = datetime.fromtimestamp(self._clock.time, UTC) + timedelta(seconds=self._life)
            self.expiry = end.replace(tzinfo=None)


def access(credentials: FakeCredentials, clock: Clock) -> AccessToken:
    """The token of these credentials."""
    return AccessToken(credentials, make_request=lambda: "request", now=clock)


async def test_a_token_is_kept_until_shortly_before_its_end() -> None:
    """Then there is a new one."""
    clock = Clock()
    credentials = FakeCredentials(clock)
    token = access(credentials, clock)
    assert await token.get() == "token-1"
    clock.time += 3600 - MARGIN - 1
    assert await token.get() == "token-1"
    clock.time += 1
    assert await token.get() == "token-2"
    assert len(credentials.refreshes) == 2


async def test_all_who_wait_share_one_refresh_off_the_loop() -> None:
    """However many calls start at once, and the loop goes on meanwhile."""
    clock = Clock()
    credentials = FakeCredentials(clock)
    credentials.may_go_on.clear()
    token = access(credentials, clock)
    calls = [asyncio.create_task(token.get()) for _ in range(500)]
    for _ in range(10):
        await asyncio.sleep(0)
    assert not any(call.done() for call in calls)
    credentials.may_go_on.set()
    assert set(await asyncio.gather(*calls)) == {"token-1"}
    assert len(credentials.refreshes) == 1
    assert credentials.refreshes[0] is not threading.current_thread()


def test_threads_and_loops_share_one_refresh() -> None:
    """The lock is not bound to a loop."""
    clock = Clock()
    credentials = FakeCredentials(clock)
    credentials.may_go_on.clear()
    token = access(credentials, clock)
    found: list[str] = []
    work = [lambda: found.append(asyncio.run(token.get())), lambda: found.append(token.get_blocking())]
    threads = [threading.Thread(target=each) for each in work * 3]
    for thread in threads:
        thread.start()
    credentials.may_go_on.set()
    for thread in threads:
        thread.join(10)
    assert found == ["token-1"] * 6
    assert len(credentials.refreshes) == 1


async def test_who_stops_waiting_does_not_stop_the_others() -> None:
    """A cancelled call leaves the refresh to those who still want it."""
    clock = Clock()
    credentials = FakeCredentials(clock)
    credentials.may_go_on.clear()
    token = access(credentials, clock)
    first, second = (asyncio.create_task(token.get()) for _ in range(2))
    await asyncio.sleep(0)
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    credentials.may_go_on.set()
    assert await second == "token-1"


def test_a_loop_that_ends_while_it_waits_takes_nothing_from_the_next() -> None:
    """The thread goes on, and what it brings is kept."""
    clock = Clock()
    credentials = FakeCredentials(clock)
    credentials.may_go_on.clear()
    token = access(credentials, clock)

    async def leave() -> None:
        waiting = asyncio.create_task(token.get())
        while not credentials.refreshes:
            await asyncio.sleep(0.001)
        waiting.cancel()
        threading.Timer(0.01, credentials.may_go_on.set).start()

    asyncio.run(leave())
    assert asyncio.run(token.get()) == "token-1"
    assert len(credentials.refreshes) == 1


async def test_credentials_with_a_good_token_are_not_refreshed() -> None:
    """Such as a user's own; one without an end never is."""
    clock = Clock()
    credentials = FakeCredentials(clock)
    credentials.token = "own"
    token = access(credentials, clock)
    clock.time += 10**9
    assert await token.get() == "own"
    assert not credentials.refreshes


async def test_a_short_lived_token_is_no_storm_of_refreshes() -> None:
    """Google gives the same one again until it is nearly over."""
    clock = Clock()
    credentials = FakeCredentials(clock, life=60.0)
    token = access(credentials, clock)
    for _ in range(20):
        await token.get()
    assert len(credentials.refreshes) == 1
    clock.time += PAUSE
    assert await token.get() == "token-2"


async def test_an_expired_token_is_never_given() -> None:
    """Even if it lives for less than the pause between refreshes."""
    clock = Clock()
    credentials = FakeCredentials(clock, life=2.0)
    token = access(credentials, clock)
    assert await token.get() == "token-1"
    clock.time += 2
    assert await token.get() == "token-2"


def google_error(*names: str, **values: Any) -> Exception:
    """An error whose class and bases are called as google-auth's are."""
    cls: type = Exception
    for name in names:
        cls = type(name, (cls,), values)
    error: Exception = cls("reason: Bearer ya29.very-secret-token")
    return error


@pytest.mark.parametrize(
    ("error", "cls"),
    [
        (google_error("GoogleAuthError", "DefaultCredentialsError"), ConfigError),
        (google_error("GoogleAuthError", "RefreshError", retryable=False), AuthenticationError),
        (google_error("GoogleAuthError", "RefreshError", "ReauthFailError"), AuthenticationError),
        (google_error("GoogleAuthError", "RefreshError", retryable=True), LLMConnectionError),
        (google_error("GoogleAuthError", "TransportError"), LLMConnectionError),
        (OSError("no route"), LLMConnectionError),
        (ValueError("broken key file"), AuthenticationError),
    ],
)
async def test_a_failed_refresh_is_a_typed_error(error: Exception, cls: type) -> None:
    """Retried where the network failed; without the secrets that google-auth writes; and tried anew next time."""
    clock = Clock()
    credentials = FakeCredentials(clock, fails=error)
    token = access(credentials, clock)
    with pytest.raises(cls) as caught:
        await token.get()
    assert type(caught.value) is cls
    assert "very-secret" not in f"{caught.value} {caught.value!r}"
    assert caught.value.__suppress_context__
    credentials.fails = None
    assert await token.get() == "token-2"


async def test_credentials_that_give_no_token() -> None:
    """Google's word for it is missing, so it is an account's error."""

    class Mute(FakeCredentials):
        def refresh(self, request: Any) -> None:
            """Nothing comes of it."""

    clock = Clock()
    with pytest.raises(AuthenticationError, match="gave no access token"):
        await access(Mute(clock), clock).get()


@pytest.mark.parametrize("credentials", [None, FakeCredentials(Clock())])
async def test_without_google_auth_the_extra_is_named(credentials: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both where credentials are looked for and where they are only refreshed."""
    for name in ("google", "google.auth", "google.auth.transport.requests"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(MissingExtraError, match=r"pip install 'flexllm-providers\[vertex\]'"):
        await AccessToken(credentials).get()


async def test_the_application_default_credentials_are_used(monkeypatch: pytest.MonkeyPatch) -> None:
    """With the scope of Google Cloud, and looked for once."""
    pytest.importorskip("google.auth", reason="google-auth is not installed")
    clock = Clock()
    credentials = FakeCredentials(clock)
    asked: list[Any] = []
    monkeypatch.setattr("google.auth.default", lambda **options: (asked.append(options), (credentials, "p"))[1])
    token = AccessToken(make_request=lambda: "request", now=clock)
    assert await token.get() == "token-1"
    clock.time += 3600
    assert await token.get() == "token-2"
    assert asked == [{"scopes": ["https://www.googleapis.com/auth/cloud-platform"]}]


async def test_googles_own_request_is_what_refreshes() -> None:
    """Where no other one is given."""
    requests = pytest.importorskip("google.auth.transport.requests", reason="google-auth is not installed")
    given: list[Any] = []

    class Real(FakeCredentials):
        def refresh(self, request: Any) -> None:
            """As google-auth's own credentials are asked."""
            given.append(request)
            super().refresh("request")

    clock = Clock()
    assert await AccessToken(Real(clock), now=clock).get() == "token-1"
    assert isinstance(given[0], requests.Request)


def test_the_token_is_not_in_the_repr() -> None:
    """It is a secret."""
    clock = Clock()
    token = access(FakeCredentials(clock), clock)
    assert token.get_blocking() not in repr(token)
