"""GeminiTarget: an endpoint that speaks generateContent, with the settings that only such endpoints have."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any

from flexllm_core.endpoint import EndpointConfig
from flexllm_core.errors import ConfigError
from flexllm_core.options import unknown_name_message
from flexllm_core.requests import ChatRequest
from flexllm_providers.detect import detect_provider
from flexllm_providers.dialects import COMPATIBLE, find_dialect
from flexllm_providers.gemini.thinking import ThinkingFamily, find_family
from flexllm_providers.gemini.urls import developer_base_url, has_project, is_vertex, vertex_base_url
from flexllm_providers.target import Target, given_once, refuse_settings, target_from

_PLACES = ("api_version", "project_id", "location")
_SETTINGS = ("family", *_PLACES)
_DIALECT_KEYS = ("refused", "extra_body")
_PROJECT_VARIABLE = "GOOGLE_CLOUD_PROJECT"
_LOCATION_VARIABLE = "GOOGLE_CLOUD_LOCATION"


@dataclass(frozen=True)
class GeminiTarget(Target):
    """Where and how to send.

    `key` is an API key, or an access token where the base URL names a project on Vertex AI.

    Attributes:
        family: Name of the row in `thinking.py` for all models of the endpoint; None where each
            model's name says it.
    """

    family: str | None = None

    @cached_property
    def provider(self) -> str:
        """`vertex` or `gemini`, as results name it."""
        return "vertex" if is_vertex(self.base_url) else "gemini"

    @cached_property
    def api_headers(self) -> Mapping[str, str]:
        """The headers of every request: the key in one of its own, an access token as a bearer token."""
        name, value = ("authorization", "Bearer ") if has_project(self.base_url) else ("x-goog-api-key", "")
        return {
            "content-type": "application/json",
            **({name: value + self.key} if self.key else {}),
            "user-agent": "flexllm",
            **{name.lower(): value for name, value in self.headers.items()},
        }

    def model_of(self, request: ChatRequest) -> str:
        """The id of the model that a request asks.

        Raises:
            ConfigError: Neither the request nor the endpoint names one.
        """
        model = request.model or self.model
        if not model:
            raise ConfigError(f"{self.label}: no model; Gemini's URLs name one in every request")
        return model

    def family_of(self, model: str) -> ThinkingFamily:
        """What a model can be asked for at this endpoint."""
        return find_family(model, self.family)


def gemini_target(target: Target) -> GeminiTarget:
    """A target as this wire needs it; one that was made for another wire gets the defaults."""
    return target if isinstance(target, GeminiTarget) else GeminiTarget(**_values(target))


def gemini_target_from(endpoint: EndpointConfig, env: Mapping[str, str] = os.environ) -> GeminiTarget:
    """Work out the target of an endpoint.

    Its `dialect` may hold `family`, `refused` and `extra_body`; also `api_version`, `project_id` and `location`,
    which are fields of the endpoint. Project and location else come from GOOGLE_CLOUD_PROJECT and
    GOOGLE_CLOUD_LOCATION. On Vertex AI an endpoint with a key and without a project uses the key alone.

    Raises:
        ConfigError: A setting is wrong, a project is missing, or the key cannot stand in a header.
    """
    settings = _settings(endpoint)
    base_url = _base_url(endpoint, settings, env)
    family = settings.get("family")
    if family is not None:
        find_family("", family)
    target = target_from(endpoint.model_copy(update={"dialect": {}, "base_url": base_url}), base_url)
    # The row of OpenAI's wire is not for this one; of its keys these two mean the same here.
    own = {key: value for key, value in endpoint.dialect.items() if key in _DIALECT_KEYS}
    dialect = find_dialect("", {**own, "kind": COMPATIBLE.name})
    return GeminiTarget(**{**_values(target), "dialect": dialect}, family=family)


def _settings(endpoint: EndpointConfig) -> dict[str, str]:
    """What is set of `_SETTINGS`, wherever it stands."""
    known, dialect = (*_SETTINGS, *_DIALECT_KEYS), endpoint.dialect
    for key, value in dialect.items():
        if key not in known:
            raise ConfigError(f"dialect: {unknown_name_message('key', key, known)}")
        if key in _SETTINGS and not isinstance(value, str):
            raise ConfigError(f"dialect.{key}: expected a text, found {type(value).__name__}")
    values = {key: given_once(endpoint, key, dialect.get(key), f"dialect.{key}") for key in _PLACES}
    return {key: value for key, value in {**values, "family": dialect.get("family")}.items() if value}


def _base_url(endpoint: EndpointConfig, settings: Mapping[str, str], env: Mapping[str, str]) -> str:
    base_url, version = endpoint.base_url, settings.get("api_version")
    provider = endpoint.provider if endpoint.provider != "auto" else detect_provider(base_url)
    if provider != "vertex":
        refuse_settings(endpoint, "project_id", "location")
        return developer_base_url(base_url, version)
    project = settings.get("project_id") or ("" if endpoint.api_key else env.get(_PROJECT_VARIABLE, "").strip())
    if not project and not endpoint.api_key and not has_project(base_url or ""):
        raise ConfigError(f"{endpoint.label}: no Google Cloud project; set project_id or {_PROJECT_VARIABLE}")
    location = settings.get("location") or env.get(_LOCATION_VARIABLE, "").strip()
    return vertex_base_url(project or None, location or None, base_url, version)


def _values(target: Target) -> dict[str, Any]:
    return {f.name: getattr(target, f.name) for f in fields(Target)}
