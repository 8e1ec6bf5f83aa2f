"""ClaudeTarget: an endpoint that speaks Anthropic's Messages API, with the settings that only such endpoints have."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from functools import cached_property
from typing import Any, Literal
from urllib.parse import quote

from flexllm_core.endpoint import EndpointConfig
from flexllm_core.errors import ConfigError
from flexllm_core.requests import ChatRequest
from flexllm_providers.claude.capabilities import ClaudeModel, check_overrides, model_with
from flexllm_providers.target import Target, given_once, refuse_settings, target_from

DEFAULT_BASE_URL = "https://api.anthropic.com/v1"
API_VERSION = "2023-06-01"
VERTEX_VERSION = "vertex-2023-10-16"
_NO_SAMPLING_FROM = "2026-10-21"
"""From this version on, every model refuses temperature, top_p and top_k."""

_KEY_VARIABLE = "ANTHROPIC_API_KEY"
_TOKEN_VARIABLE = "ANTHROPIC_AUTH_TOKEN"  # noqa: S105 (the name of a variable)

_VERSION = re.compile(r"(?:vertex-)?(\d{4}-\d{2}-\d{2})")
_VERSIONED = re.compile(r"/v\d+$")

Auth = Literal["x-api-key", "bearer"]


@dataclass(frozen=True)
class ClaudeTarget(Target):
    """Where and how to send.

    Attributes:
        version: The `anthropic-version`; None for `API_VERSION`, on Vertex for `VERTEX_VERSION`.
        auth: The header that carries the key: `x-api-key`, or `authorization` as a bearer token, which
            some proxies and Anthropic's own access tokens want.
        overrides: Of the models' rows, checked by `check_overrides`.
    """

    version: str | None = None
    auth: Auth = "x-api-key"
    overrides: Mapping[str, Any] = field(default_factory=dict)

    @cached_property
    def api_headers(self) -> Mapping[str, str]:
        """The headers of every request to Anthropic's API."""
        key = {"authorization": f"Bearer {self.key}"} if self.auth == "bearer" else {"x-api-key": self.key}
        return {
            "content-type": "application/json",
            **(key if self.key else {}),
            "anthropic-version": self.version or API_VERSION,
            "user-agent": "flexllm",
            **{name.lower(): value for name, value in self.headers.items()},
        }

    @cached_property
    def vertex_headers(self) -> Mapping[str, str]:
        """The headers of every request to Vertex: the key is an access token there, and no version."""
        return {
            "content-type": "application/json",
            **({"authorization": f"Bearer {self.key}"} if self.key else {}),
            "user-agent": "flexllm",
            **{name.lower(): value for name, value in self.headers.items()},
        }

    @cached_property
    def allows_sampling(self) -> bool:
        """Whether the API version takes temperature, top_p and top_k."""
        found = _VERSION.fullmatch(self.version or API_VERSION)
        return found is None or found[1] < _NO_SAMPLING_FROM

    def model_of(self, request: ChatRequest) -> str:
        """The id of the model that a request asks.

        Raises:
            ConfigError: Neither the request nor the endpoint names one.
        """
        model = request.model or self.model
        if not model:
            raise ConfigError(f"{self.label}: no model; Claude's API needs one in every request")
        return model

    def row_of(self, model: str) -> ClaudeModel:
        """What a model can do at this endpoint."""
        return model_with(model, self.overrides)


def claude_target(target: Target) -> ClaudeTarget:
    """A target as this wire needs it; one that was made for another wire gets the defaults."""
    return target if isinstance(target, ClaudeTarget) else ClaudeTarget(**_values(target))


def claude_target_from(
    endpoint: EndpointConfig, default_base_url: str = DEFAULT_BASE_URL, env: Mapping[str, str] = os.environ
) -> ClaudeTarget:
    """Work out the target of an endpoint.

    Its `dialect` may hold `version` (also `api_version` of the endpoint), `auth` and whatever `check_overrides`
    takes. Without `auth`, a key that is the value of ANTHROPIC_AUTH_TOKEN is a bearer token.

    Raises:
        ConfigError: A setting is wrong, or the key cannot stand in a header.
    """
    settings = dict(endpoint.dialect)
    refuse_settings(endpoint, "project_id", "location")
    version = given_once(endpoint, "api_version", settings.pop("version", None), "dialect.version")
    auth = settings.pop("auth", None) or _auth_of(endpoint, env)
    if version is not None and not (isinstance(version, str) and _VERSION.fullmatch(version)):
        where = "api_version" if endpoint.api_version else "dialect.version"
        raise ConfigError(f"{where}: expected a date such as {API_VERSION!r}, found {version!r:.40}")
    if auth not in ("x-api-key", "bearer"):
        raise ConfigError(f"dialect.auth: expected 'x-api-key' or 'bearer', found {auth!r:.40}")
    overrides = check_overrides(settings)
    target = target_from(endpoint.model_copy(update={"dialect": {}}), default_base_url)
    return ClaudeTarget(**_values(target), version=version, auth=auth, overrides=overrides)


def _auth_of(endpoint: EndpointConfig, env: Mapping[str, str]) -> Auth:
    """The header that a key goes by where nobody says: Anthropic's SDKs send ANTHROPIC_AUTH_TOKEN as a bearer token."""
    key = endpoint.api_key.get_secret_value() if endpoint.api_key else ""
    is_token = bool(key) and key == env.get(_TOKEN_VARIABLE, "").strip() != env.get(_KEY_VARIABLE, "").strip()
    return "bearer" if is_token else "x-api-key"


def _values(target: Target) -> dict[str, Any]:
    return {f.name: getattr(target, f.name) for f in fields(Target)}


def api_url(base_url: str, path: str) -> str:
    """The URL of a path of the API; the base may end in `/v1`, or in front of it as in Anthropic's SDKs.

    >>> api_url("https://api.anthropic.com", "messages")
    'https://api.anthropic.com/v1/messages'
    """
    return f"{base_url}/{path}" if _VERSIONED.search(base_url) else f"{base_url}/v1/{path}"


def vertex_url(base_url: str, model: str, *, stream: bool) -> str:
    """The URL of a Claude model on Vertex.

    Args:
        base_url: Up to and including the location, `.../v1/projects/{project}/locations/{location}`.
        model: Its id there, such as `claude-opus-4-5@20251101`.
        stream: Whether the answer is streamed.
    """
    method = "streamRawPredict" if stream else "rawPredict"
    return f"{base_url.rstrip('/')}/publishers/anthropic/models/{quote(model, safe='@')}:{method}"
