"""Makes connections: names, addresses raced by happy eyeballs, TLS, and errors that a person understands."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Callable, Sequence
from itertools import chain, zip_longest
from math import inf
from typing import Any, TypeVar

from flexllm_providers.http import Timeouts
from flexllm_providers.transport import errors as transport_errors
from flexllm_providers.transport.request_head import Origin
from flexllm_providers.transport.tls import Verify, client_context

HAPPY_EYEBALLS_DELAY = 0.25
"""Seconds that an address has before the next one is tried beside it (RFC 8305)."""

KEEPALIVE_IDLE = 60
"""Seconds of silence after which the kernel asks whether the peer is still there. Answers can take
minutes, and a gateway that forgets a silent connection would let a call wait for its whole deadline."""

Address = tuple[socket.AddressFamily, socket.SocketKind, int, str, Any]
"""One result of `getaddrinfo`: family, type, protocol, canonical name, socket address."""

CheckAddresses = Callable[[str, Sequence[Address]], None]
"""Called with a host and all its addresses before each connection; raises to refuse it. What was checked is what is
connected to: the host is not looked up again."""

ProtocolT = TypeVar("ProtocolT", bound=asyncio.Protocol)


class Connector:
    """Makes the connections of one transport on one event loop.

    Args:
        loop: The event loop.
        verify: Which certificates are trusted (`flexllm_providers.transport.tls.Verify`).
        check_addresses: Refuses hosts by their addresses; None connects to any.
    """

    def __init__(
        self, loop: asyncio.AbstractEventLoop, verify: Verify, check_addresses: CheckAddresses | None = None
    ) -> None:
        self._loop = loop
        self._verify = verify
        self._check_addresses = check_addresses
        self._context: ssl.SSLContext | None = None
        self._lookups: dict[tuple[str, int], asyncio.Task[Sequence[Address]]] = {}

    async def connect(
        self, origin: Origin, label: str, factory: Callable[[], ProtocolT], timeouts: Timeouts, total_at: float
    ) -> ProtocolT:
        """Connect to an origin, TLS included.

        Args:
            origin: Where to.
            label: The origin as messages show it.
            factory: Makes the protocol object.
            timeouts: `connect` is the limit here.
            total_at: Loop time at which the whole call ends; `inf` for never.

        Raises:
            LLMConnectionError: Name, network or TLS; of kind `refused` if the certificate is not trusted.
            LLMTimeoutError: Phase `connect` or `total`.
            Exception: Whatever `check_addresses` raises.
        """
        connect_at = inf if timeouts.connect is None else self._loop.time() + timeouts.connect
        deadline = min(connect_at, total_at)
        try:
            async with asyncio.timeout_at(None if deadline == inf else deadline) as scope:
                return await self._connect(origin, factory)
        except (OSError, UnicodeError) as error:  # UnicodeError: a host that is no DNS name at all
            if not scope.expired():
                raise transport_errors.connect_failed(label, error) from error
            if connect_at < total_at:
                raise transport_errors.timeout_error("connect", timeouts.connect, label) from None
            late = transport_errors.timeout_error("total", timeouts.total, label)
            late.may_be_billed = False  # nothing was sent
            raise late from None

    def close(self) -> None:
        """Give up the look-ups under way."""
        for lookup in self._lookups.values():
            lookup.cancel()

    async def _connect(self, origin: Origin, factory: Callable[[], ProtocolT]) -> ProtocolT:
        context = self._tls_context() if origin.scheme == "https" else None
        addresses = await self._resolve(origin.host, origin.port)
        if self._check_addresses is not None:
            self._check_addresses(origin.host, addresses)
        sock = await first_socket(self._loop, addresses)
        try:
            _, protocol = await self._loop.create_connection(
                factory, sock=sock, ssl=context, server_hostname=origin.host.partition("%")[0] if context else None
            )
        except BaseException:
            sock.close()
            raise
        return protocol

    def _tls_context(self) -> ssl.SSLContext:
        if self._context is None:
            self._context = client_context(self._verify)
        return self._context

    async def _resolve(self, host: str, port: int) -> Sequence[Address]:
        """The addresses of a host. Calls that wait for the same name share one look-up.

        A thousand calls that start together would otherwise queue for the few threads that look names up.
        """
        try:
            return socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)
        except socket.gaierror:
            pass  # a name, not an address
        key = (host, port)
        lookup = self._lookups.get(key)
        if lookup is None:
            lookup = self._lookups[key] = self._loop.create_task(self._look_up(host, port))
            lookup.add_done_callback(lambda task: self._looked_up(key, task))
        try:
            return await asyncio.shield(lookup)
        except asyncio.CancelledError:
            if lookup.cancelled():
                raise ConnectionAbortedError from None  # by `close`, not by who cancels this call
            raise

    async def _look_up(self, host: str, port: int) -> Sequence[Address]:
        return await self._loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)

    def _looked_up(self, key: tuple[str, int], task: asyncio.Task[Sequence[Address]]) -> None:
        del self._lookups[key]
        if not task.cancelled():
            task.exception()  # it is known, even if every call that waited has been cancelled


def interleave(addresses: Sequence[Address]) -> list[Address]:
    """The addresses with their families taking turns, each family in the order of the resolver."""
    families = list(dict.fromkeys(address[0] for address in addresses))
    lanes = [[address for address in addresses if address[0] == family] for family in families]
    return [address for address in chain.from_iterable(zip_longest(*lanes)) if address is not None]


async def first_socket(loop: asyncio.AbstractEventLoop, addresses: Sequence[Address]) -> socket.socket:
    """Connect to whichever address answers first; each has a short start before the next.

    The loops' own happy eyeballs would do, but uvloop has none.

    Raises:
        OSError: No address could be reached; the error of the first one that failed.
    """
    if len(addresses) == 1:
        return await _open_socket(loop, addresses[0])
    waiting = interleave(addresses)
    running: set[asyncio.Task[socket.socket]] = set()
    first_error: BaseException | None = None
    try:
        while waiting or running:
            if waiting:
                running.add(loop.create_task(_open_socket(loop, waiting.pop(0))))
            done, _ = await asyncio.wait(
                running, timeout=HAPPY_EYEBALLS_DELAY if waiting else None, return_when=asyncio.FIRST_COMPLETED
            )
            for task in done:
                running.discard(task)
                error = task.exception()
                if error is None:
                    return task.result()
                first_error = first_error or error
    finally:
        for task in running:
            task.add_done_callback(_close_loser)
            task.cancel()
    raise first_error or socket.gaierror(socket.EAI_NONAME, "no address")


def _close_loser(task: asyncio.Task[socket.socket]) -> None:
    if not task.cancelled() and task.exception() is None:
        task.result().close()


async def _open_socket(loop: asyncio.AbstractEventLoop, address: Address) -> socket.socket:
    family, kind, protocol, _, where = address
    sock = socket.socket(family, kind, protocol)
    try:
        sock.setblocking(False)
        _keep_alive(sock)
        await loop.sock_connect(sock, where)
    except BaseException:
        sock.close()
        raise
    return sock


def _keep_alive(sock: socket.socket) -> None:
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    # macOS has the same option under another name; where there is neither, the system's default stays.
    option = getattr(socket, "TCP_KEEPIDLE", None) or getattr(socket, "TCP_KEEPALIVE", None)
    if option is not None:
        sock.setsockopt(socket.IPPROTO_TCP, option, KEEPALIVE_IDLE)
