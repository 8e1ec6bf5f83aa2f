"""Target: one endpoint as the wires see it, with everything that is the same for each request worked out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from flexllm_core.endpoint import EndpointConfig
from flexllm_core.errors import BODY_EXCERPT, ConfigError
from flexllm_core.redact import redact, secret_forms
from flexllm_providers.dialects import Dialect, find_dialect

_EXCERPT_BYTES = 4 * BODY_EXCERPT
"""As many bytes as the characters that an error keeps may take."""

_OWNERS = {"project_id": "vertex", "location": "vertex", "api_version": "gemini, vertex or claude"}
"""Fields of endpoints that only some providers have."""


@dataclass(frozen=True)
class Target:
    """Where and how to send.

    Attributes:
        label: How messages and results name the endpoint.
        base_url: Without a trailing slash.
        key: The key; empty when there is none. Never shown.
        dialect: The endpoint's kind.
        headers: The user's own additional headers.
        model: The endpoint's own model, for requests that name none.
    """

    label: str
    base_url: str
    key: str = field(repr=False)
    dialect: Dialect
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    model: str | None = None

    @cached_property
    def bearer_headers(self) -> Mapping[str, str]:
        """The headers of every request to an endpoint that takes a bearer token."""
        return {
            "content-type": "application/json",
            "authorization": f"Bearer {self.key or 'EMPTY'}",
            "user-agent": "flexllm",
            **{name.lower(): value for name, value in self.headers.items()},
        }

    def redact(self, text: str, more: Iterable[str] = ()) -> str:
        """`text` without this endpoint's key and headers, the secrets in `more`, and whatever else looks like a key."""
        return redact(text, (self.key, *self.headers.values(), *more))

    def excerpt(self, data: bytes, more: Iterable[str] = ()) -> str:
        """The beginning of a body as an error may keep it, redacted as by `redact`."""
        secrets = (self.key, *self.headers.values(), *more)
        text = redact(data[:_EXCERPT_BYTES].decode("utf-8", "replace").strip(), secrets)
        if len(data) > _EXCERPT_BYTES:
            # The cut may have left the beginning of a secret at the end, which nothing recognises any more.
            text = text[: -max(map(len, secret_forms(secrets)), default=1)]
        return text


def given_once(endpoint: EndpointConfig, key: str, other: object, place: str) -> Any:
    """A setting that is a field of an endpoint and also has an older place.

    Args:
        endpoint: The endpoint.
        key: Of its field.
        other: The value at the other place, None where there is none.
        place: What messages call the other place.

    Raises:
        ConfigError: The two differ.
    """
    own = getattr(endpoint, key)
    if own and other and own != other:
        raise ConfigError(f"{endpoint.label}: {key} and {place} differ; give one of them")
    return own or other


def refuse_settings(endpoint: EndpointConfig, *keys: str) -> None:
    """Refuse fields of an endpoint that its wire has no use for: whoever sets them expects them to do something.

    Raises:
        ConfigError: One of them is set.
    """
    for key in keys:
        if getattr(endpoint, key):
            raise ConfigError(f"{endpoint.label}: {key} is not for this provider; expected provider: {_OWNERS[key]}")


def target_from(endpoint: EndpointConfig, default_base_url: str) -> Target:
    """Work out the target of an endpoint.

    Raises:
        ConfigError: A dialect override is wrong, or the key cannot stand in a header.
    """
    key = endpoint.api_key.get_secret_value() if endpoint.api_key else ""
    if not key.isascii() or not key.isprintable():
        raise ConfigError(f"{endpoint.label}: api_key: the key holds characters that cannot stand in an HTTP header")
    base_url = endpoint.base_url or default_base_url
    return Target(
        label=endpoint.label if endpoint.name else base_url,
        base_url=base_url,
        key=key,
        dialect=find_dialect(base_url, endpoint.dialect),
        headers=endpoint.headers,
        model=endpoint.model,
    )
