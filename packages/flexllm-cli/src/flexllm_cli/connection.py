"""Which endpoint a command talks to, the embedded mock included."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from flexllm_cli.i18n import gettext as _
from flexllm_cli.i18n import translate_message
from flexllm_cli.terminal import say
from flexllm_core.config import BatchConfig, Config, load_config
from flexllm_core.endpoint import EndpointConfig, endpoint_from, endpoint_with_key
from flexllm_core.errors import MissingExtraError
from flexllm_core.resolve import resolve_endpoint, resolve_endpoints

if TYPE_CHECKING:
    from flexllm_batch.client import LLMClient
    from flexllm_batch.pool import LLMClientPool

EMBEDDED_MOCK = "mock"


@dataclass(frozen=True, slots=True)
class Connection:
    """What a command talks to, with the file's batch section.

    Attributes:
        endpoint: The endpoint; the first of several.
        batch: The section.
        others: The other endpoints of a pool.
    """

    endpoint: EndpointConfig
    batch: BatchConfig
    others: tuple[EndpointConfig, ...] = ()

    def client(self, *, track_cost: bool) -> LLMClient | LLMClientPool:
        """A client for single questions: of the endpoint, or of all of them as one."""
        from flexllm_batch.client import LLMClient  # their imports take a while

        if not self.others:
            return LLMClient(endpoint=self.endpoint, track_cost=track_cost)
        from flexllm_batch.pool import LLMClientPool

        return LLMClientPool(
            (self.endpoint, *self.others),
            load_balance=self.batch.load_balance,
            fallback=self.batch.fallback,
            track_cost=track_cost,
        )


def configuration(path: Path | None) -> Config:
    """The configuration file; its warnings are shown."""
    config = load_config(path)
    for warning in config.warnings:
        say(_("warning: {text}").format(text=translate_message(warning)))
    return config


@contextlib.contextmanager
def connect(
    *,
    config_path: Path | None,
    model: str | None,
    base_url: str | None = None,
    api_key: str | None = None,
    endpoints: Literal["one", "all", "batch"] = "one",
    **overrides: Any,
) -> Iterator[Connection]:
    """Resolve the endpoint of a command; `-m mock` starts the mock server inside, for as long as this lasts.

    Args:
        config_path: `--config`.
        model: `--model`.
        base_url: `--base-url`.
        api_key: `--api-key`.
        endpoints: Whether an entry's `endpoints` all count; for a `batch` those of the batch section go first.
        overrides: Fields of the endpoint from options; None leaves the file's.

    Raises:
        ConfigError: It cannot be resolved.
        MissingExtraError: The mock is asked for and not installed.
    """
    config = configuration(config_path)
    overrides = {name: value for name, value in overrides.items() if value is not None}
    if model == EMBEDDED_MOCK and not base_url and EMBEDDED_MOCK not in config.names():
        with _mock_server() as url:
            endpoint = endpoint_from({"model": EMBEDDED_MOCK, "name": EMBEDDED_MOCK, "base_url": url, "proxy": ""})
            yield Connection(endpoint.model_copy(update=overrides), config.batch)
        return
    if endpoints != "one" and not base_url and not api_key:
        found = resolve_endpoints(config, model=model, for_batch=endpoints == "batch")
    else:
        found = (resolve_endpoint(config, model=model, base_url=base_url, api_key=api_key),)
    first, *others = (endpoint.model_copy(update=overrides) for endpoint in found)
    yield Connection(first, config.batch, tuple(others))


@contextlib.contextmanager
def connect_to_host(
    *,
    config_path: Path | None,
    model: str | None,
    base_url: str | None,
    api_key: str | None,
    endpoints: Literal["one", "all"] = "one",
) -> Iterator[Connection]:
    """As `connect`, for commands that ask about a host and need no model: a base URL alone is enough.

    Raises:
        ConfigError: It cannot be resolved.
        MissingExtraError: The mock is asked for and not installed.
    """
    if base_url and not model:
        endpoint = endpoint_from({"base_url": base_url, **({"api_key": api_key} if api_key else {})}, "options")
        yield Connection(endpoint_with_key(endpoint), BatchConfig())
        return
    with connect(
        config_path=config_path, model=model, base_url=base_url, api_key=api_key, endpoints=endpoints
    ) as connection:
        yield connection


@contextlib.contextmanager
def _mock_server() -> Iterator[str]:
    try:
        from flexllm_mock import MockServer  # an extra, and only this command needs it
    except ModuleNotFoundError as error:
        if error.name != "flexllm_mock":
            raise
        raise MissingExtraError("the mock server is not installed: pip install 'flexllm-cli[mock]'") from None
    with MockServer() as server:
        yield server.base_url
