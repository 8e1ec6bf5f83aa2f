"""The pytest plugin: fixtures with mock servers, and the marker `flexllm_mock` with their options.

It is imported in every test run where this package is installed, so it loads nothing until a fixture is used.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping
from contextlib import contextmanager
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, Protocol

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Unpack

    from flexllm_mock.config import MockOptions
    from flexllm_mock.faults.rules import FaultRule
    from flexllm_mock.server import MockServer

MARKER = "flexllm_mock"

_SESSION_SERVER = pytest.StashKey["MockServer"]()
_TEST_SERVER = pytest.StashKey["MockServer"]()


class ServerFactory(Protocol):
    """Starts a mock server that stops at the end of the test."""

    def __call__(self, *, faults: Iterable[FaultRule] = (), **options: Unpack[MockOptions]) -> MockServer:
        """Start a server with the given faults and `MockConfig` fields."""
        ...


@pytest.fixture(scope="session")
def flexllm_mock_options() -> Mapping[str, Any]:
    """Options of the servers of `flexllm_mock` and `flexllm_mock_session`, to be replaced in a conftest.py.

    They are the keywords of `MockServer`: `faults`, and the fields of `MockConfig`.
    """
    return {}


@pytest.fixture(scope="session")
def flexllm_mock_session(
    flexllm_mock_options: Mapping[str, Any], request: pytest.FixtureRequest
) -> Iterator[MockServer]:
    """Yield the mock server of the test run (with pytest-xdist, of the worker); it is reset before each test."""
    with _started(flexllm_mock_options) as server:
        request.config.stash[_SESSION_SERVER] = server
        yield server
        del request.config.stash[_SESSION_SERVER]


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
def flexllm_mock(flexllm_mock_options: Mapping[str, Any], request: pytest.FixtureRequest) -> Iterator[MockServer]:
    """Yield a fresh mock server on a free port of 127.0.0.1, with the options of the marker `flexllm_mock`."""
    options = {**flexllm_mock_options, **_marked(request.node)}
    options.pop("verdict", None)
    with _started(options) as server:
        request.node.stash[_TEST_SERVER] = server
        yield server


def pytest_configure(config: pytest.Config) -> None:
    """Make the marker known."""
    config.addinivalue_line(
        "markers",
        f"{MARKER}(faults=[...], verdict=True or a dict of limits, **options): the faults and options (of MockConfig) "
        "of the test's mock server; with `verdict` the test fails when the server's verdict on the client does.",
    )


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Let nothing of earlier tests be seen on the server of the whole run."""
    server = item.config.stash.get(_SESSION_SERVER, None)
    if server is not None:
        server.reset()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, object, object]:
    """Let a test that has passed fail when its marker asks for a verdict, and that is bad."""
    outcome = yield
    wanted = _marked(item).get("verdict")
    if wanted is not None and wanted is not False:
        _check(item, {} if wanted is True else wanted)
    return outcome


def _check(item: pytest.Item, limits: Any) -> None:
    server = item.stash.get(_TEST_SERVER, None) or item.config.stash.get(_SESSION_SERVER, None)
    if not isinstance(limits, Mapping):
        pytest.fail(f"{MARKER}: verdict must be True or a dict of limits by rule, not {limits!r}", pytrace=False)
    if server is None:
        pytest.fail(f"{MARKER}: the test asks for a verdict but uses no mock server", pytrace=False)
    problem = ""
    try:
        server.verdict().check(**limits)
    except (AssertionError, ValueError) as error:
        problem = str(error)
    if problem:  # outside of the handler, or pytest shows it twice
        pytest.fail(problem, pytrace=False)


def _marked(item: pytest.Item) -> dict[str, Any]:
    """Return the options of all markers on a test; those nearer to it win."""
    options: dict[str, Any] = {}
    for marker in reversed(list(item.iter_markers(MARKER))):
        if marker.args:
            pytest.fail(f"{MARKER}: give options as keywords, not {marker.args[0]!r}", pytrace=False)
        options.update(marker.kwargs)
    return options


@contextmanager
def _started(options: Mapping[str, Any]) -> Iterator[MockServer]:
    """Run a server with options that came from a marker or a fixture; what is wrong with them fails the test."""
    from flexllm_mock.server import MockServerError

    problem = ""
    try:
        server = _server_of(options)
        server.start()
    except (TypeError, ValueError, OSError, MockServerError) as error:
        problem = str(error)
    if problem:  # outside of the handler, or pytest shows it twice
        pytest.fail(f"{MARKER}: {problem}", pytrace=False)
    try:
        yield server
    finally:
        server.stop()


def _server_of(options: Mapping[str, Any]) -> MockServer:
    from flexllm_mock.config import MockOptions
    from flexllm_mock.faults.rules import FaultRule
    from flexllm_mock.server import MockServer

    rest = dict(options)
    faults = rest.pop("faults", ())
    known = ["faults", *MockOptions.__annotations__]
    for name in rest:
        if name not in known:
            near = get_close_matches(name, known, 1)
            hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(known)}"
            raise ValueError(f"there is no option {name!r}; {hint}")
    rules = [each if isinstance(each, FaultRule) else FaultRule.from_json(each) for each in faults]
    return MockServer(faults=rules, **rest)
