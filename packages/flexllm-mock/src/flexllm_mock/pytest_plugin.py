"""The pytest plugin: the fixtures `flexllm_mock` and `flexllm_mock_server_factory`.

It is imported in every test run where this package is installed, so it loads nothing until a fixture is used.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Protocol

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Unpack

    from flexllm_mock.config import MockOptions
    from flexllm_mock.faults import FaultRule
    from flexllm_mock.server import MockServer


class ServerFactory(Protocol):
    """Starts a mock server that stops at the end of the test."""

    def __call__(self, *, faults: Iterable[FaultRule] = (), **options: Unpack[MockOptions]) -> MockServer:
        """Start a server with the given faults and `MockConfig` fields."""
        ...


@pytest.fixture
def flexllm_mock_server_factory() -> Iterator[ServerFactory]:
    """Return a function that starts mock servers; all of them stop at the end of the test."""
    from flexllm_mock.server import MockServer

    servers: list[MockServer] = []

    def start(*, faults: Iterable[FaultRule] = (), **options: Unpack[MockOptions]) -> MockServer:
        server = MockServer(faults=faults, **options)
        server.start()
        servers.append(server)
        return server

    yield start
    for server in servers:
        server.stop()


@pytest.fixture
def flexllm_mock(flexllm_mock_server_factory: ServerFactory) -> MockServer:
    """Return a fresh mock server that listens on a free port of 127.0.0.1."""
    return flexllm_mock_server_factory()
