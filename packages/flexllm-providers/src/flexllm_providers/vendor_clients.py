"""OpenAIClient, ClaudeClient and GeminiClient: one endpoint with retries, for programs that need no batch."""

from __future__ import annotations

from typing import Any

from flexllm_core.endpoint import endpoint_from, endpoint_with_key
from flexllm_core.errors import ConfigError
from flexllm_providers.client import ProviderClient
from flexllm_providers.methods import ChatMethods
from flexllm_providers.retry import Retrying, RetryPolicy, retry_policy_of
from flexllm_providers.token_counter import TokenCounter


class VendorClient(ChatMethods):
    """A client of one endpoint that speaks a given wire.

    Args:
        model: The model's id.
        base_url: Up to and including the version; the vendor's own by default.
        api_key: The key; by default the environment variable of the endpoint's vendor.
        retry_policy: How failed calls are retried.
        transport: As in `ProviderClient`.
        settings: Any other field of `EndpointConfig`: `timeout`, `retry_times`, `proxy`, `verify`,
            `headers`, `params`, `api_version`, `dialect`.

    Raises:
        ConfigError: A setting is unknown or unusable.
    """

    provider = "openai"

    def __init__(
        self,
        model: str | None = None,
        base_url: str | None = None,
        api_key: str | None = None,
        *,
        retry_policy: RetryPolicy | None = None,
        transport: Any = None,
        **settings: Any,
    ) -> None:
        given = {"model": model, "base_url": base_url, "api_key": api_key, **settings, "provider": self.provider}
        self.endpoint = endpoint_with_key(endpoint_from(given, type(self).__name__))
        policy = retry_policy_of(retry_policy, self.endpoint.retry_times)
        provider = ProviderClient(self.endpoint, transport=transport)
        self._label = provider.target.label
        super().__init__(
            Retrying(provider, policy),
            model=self.endpoint.model,
            params=self.endpoint.params,
            read=provider.read,
            counter=Retrying(TokenCounter(provider), policy),
        )

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._label!r}, model={self.model!r})"


class OpenAIClient(VendorClient):
    """A client of one OpenAI-compatible endpoint; arguments as in `VendorClient`."""


class ClaudeClient(VendorClient):
    """A client of Anthropic's Messages API; arguments as in `VendorClient`."""

    provider = "claude"


class GeminiClient(VendorClient):
    """A client of Google's Gemini: the Developer API with a key, or Vertex AI with Google's credentials.

    Args:
        model: The model's id.
        base_url: Instead of Google's own.
        api_key: The key of the Developer API.
        use_vertex_ai: Use Vertex AI, with the application default credentials (extra `vertex`).
        project_id: The Google Cloud project; by default GOOGLE_CLOUD_PROJECT.
        location: The region, `global`, or a multi-region; by default GOOGLE_CLOUD_LOCATION or `global`.
        retry_policy: How failed calls are retried.
        transport: As in `ProviderClient`.
        settings: Any other field of `EndpointConfig`.

    Raises:
        ConfigError: A setting is unknown or unusable.
    """

    provider = "gemini"

    def __init__(
        self,
        model: str | None = None,
        base_url: str | None = None,
        api_key: str | None = None,
        *,
        use_vertex_ai: bool = False,
        project_id: str | None = None,
        location: str | None = None,
        retry_policy: RetryPolicy | None = None,
        transport: Any = None,
        **settings: Any,
    ) -> None:
        place = {k: v for k, v in (("project_id", project_id), ("location", location)) if v is not None}
        if place and not use_vertex_ai:
            raise ConfigError(
                f"GeminiClient: {', '.join(place)} belong to Vertex AI; give use_vertex_ai=True with them"
            )
        if use_vertex_ai:
            self.provider = "vertex"
        super().__init__(model, base_url, api_key, retry_policy=retry_policy, transport=transport, **settings, **place)
