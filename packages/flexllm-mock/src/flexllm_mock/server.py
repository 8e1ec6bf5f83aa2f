"""`MockServer`: a mock server in a thread of this process, for tests."""

from __future__ import annotations

import asyncio
import errno
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import replace
from types import TracebackType
from typing import TYPE_CHECKING, Self, TypeVar, Unpack

from flexllm_mock.config import MockConfig, MockOptions
from flexllm_mock.faults.rules import FaultRule

if TYPE_CHECKING:
    import socket

    from flexllm_mock.app import MockApp
    from flexllm_mock.httpserver import HttpServer
    from flexllm_mock.requestlog import LoggedRequest, MockStats
    from flexllm_mock.verdict.verdict import Limits, Verdict

T = TypeVar("T")

_GRACE_SECONDS = 0.1
_CALL_SECONDS = 30.0


class MockServerError(RuntimeError):
    """The server could not start, for instance because its port is taken; or it is not running."""


class MockServer:
    """A mock LLM server for the length of a `with` or `async with` block.

    Options are the fields of `MockConfig`, given as keywords or as a config that the keywords override; the port is
    any free one unless one is given. `faults` are in force from the start and again after each `reset`.

    A server can be started again after it was stopped; it begins with a clean state. Raises ValueError for an option
    out of range, and MockServerError from `start` when the port is taken.
    """

    def __init__(
        self, config: MockConfig | None = None, *, faults: Iterable[FaultRule] = (), **options: Unpack[MockOptions]
    ) -> None:
        self.config = replace(config or MockConfig(), **options)
        self._faults = tuple(faults)
        self._app: MockApp | None = None
        self._url: str | None = None
        self._thread: threading.Thread | None = None
        self._ended: Future[None] = Future()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._server: HttpServer | None = None

    @property
    def url(self) -> str:
        """Where the server listens, for example `http://127.0.0.1:40123`. Raises MockServerError before the start."""
        if self._url is None:
            raise MockServerError("the mock server has not been started")
        return self._url

    @property
    def base_url(self) -> str:
        """The base URL for OpenAI clients: `url` and `/v1`."""
        return f"{self.url}/v1"

    @property
    def running(self) -> bool:
        """Whether the server is serving."""
        return self._thread is not None

    @property
    def requests(self) -> list[LoggedRequest]:
        """The last 1,000 requests, oldest first, with their bodies."""
        return self._call(self._state().log.recent)

    def stats(self) -> MockStats:
        """Return the totals since the start or the last reset; after a stop, the last ones."""
        return self._call(self._state().log.stats)

    def verdict(self, **limits: Unpack[Limits]) -> Verdict:
        """Judge what the client has done since the start or the last reset; `limits` replace the usual ones.

        Ask when the client has finished: who is still waiting before a retry seems to have given up. Raises ValueError
        for a rule that does not exist.
        """
        from flexllm_mock.verdict.verdict import judge

        return judge(self._call(self._state().log.facts), limits)

    def reset(self) -> None:
        """Forget requests and added faults, and begin random errors and the initial faults anew."""
        self._call(self._state().reset)

    def add_fault(self, rule: FaultRule) -> None:
        """Put a fault rule behind the present ones."""
        app = self._state()
        self._call(lambda: app.faults.add(rule))

    def start(self) -> None:
        """Start serving; returns when connections are accepted. Raises MockServerError."""
        self._launch().result()

    def stop(self) -> None:
        """Close all connections and wait until the thread has ended; does nothing when the server is not running."""
        thread = self._request_stop()
        if thread is not None:
            thread.join()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()

    async def __aenter__(self) -> Self:
        await asyncio.wrap_future(self._launch())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        thread = self._request_stop()
        if thread is not None:
            await asyncio.wrap_future(self._ended)  # so that this loop's clients can finish meanwhile
            thread.join()

    def _launch(self) -> Future[None]:
        if self._thread is not None:
            raise MockServerError("the mock server is running already")
        # These load uvicorn, which importing this module must not.
        from flexllm_mock.app import MockApp
        from flexllm_mock.httpserver import listen, url_of

        host, port = self.config.host, self.config.port
        try:
            listener = listen(host, port)
        except OSError as error:
            raise MockServerError(cannot_listen(host, port, error)) from error
        try:
            self._app = MockApp(self.config, self._faults)
        except BaseException:
            listener.close()
            raise
        self._url = url_of(listener)
        ready: Future[None] = Future()
        self._ended = Future()
        # A daemon, so that a server that nobody stops does not keep the interpreter from ending.
        self._thread = threading.Thread(
            target=self._run, args=(self._app, listener, ready, self._ended), name="flexllm-mock", daemon=True
        )
        self._thread.start()
        return ready

    def _run(self, app: MockApp, listener: socket.socket, ready: Future[None], ended: Future[None]) -> None:
        from flexllm_mock.httpserver import HttpServer, loop_factory

        async def serve() -> None:
            self._server = HttpServer(app, listener, grace=_GRACE_SECONDS, ready=lambda: ready.set_result(None))
            self._loop = asyncio.get_running_loop()
            await self._server.run_until_stopped()

        try:
            with asyncio.Runner(loop_factory=loop_factory()) as runner:
                runner.run(serve())
        except BaseException as error:
            if ready.done():
                raise
            self._thread = self._loop = self._server = None
            ready.set_exception(error)  # whoever starts the server gets it
        finally:
            listener.close()
            app.close()
            ended.set_result(None)

    def _request_stop(self) -> threading.Thread | None:
        thread, loop, server = self._thread, self._loop, self._server
        if thread is None or loop is None or server is None:
            return None
        self._thread = self._loop = self._server = None
        with suppress(RuntimeError):  # the loop is closed already when the server ended by an error of its own
            loop.call_soon_threadsafe(server.stop)
        return thread

    def _state(self) -> MockApp:
        if self._app is None:
            raise MockServerError("the mock server has not been started")
        return self._app

    def _call(self, read: Callable[[], T]) -> T:
        """Call a function in the server's loop, where nothing changes the state meanwhile."""
        loop = self._loop
        if loop is None:
            return read()
        done: Future[T] = Future()

        def run() -> None:
            try:
                done.set_result(read())
            except BaseException as error:  # noqa: BLE001 it belongs to the caller, in the other thread
                done.set_exception(error)

        loop.call_soon_threadsafe(run)
        return done.result(_CALL_SECONDS)


def cannot_listen(host: str, port: int, error: OSError) -> str:
    """Say in one line why an address cannot be used."""
    if error.errno == errno.EADDRINUSE:
        return f"port {port} on {host} is taken: another server listens there"
    return f"cannot listen on {host} port {port}: {error.strerror or error}"
