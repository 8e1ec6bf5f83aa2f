"""OpenAIClient: one OpenAI-compatible endpoint with retries, for programs that need no batch."""

from __future__ import annotations

from typing import Any

from flexllm_core.endpoint import endpoint_from, endpoint_with_key
from flexllm_providers.client import ProviderClient
from flexllm_providers.methods import ChatMethods
from flexllm_providers.retry import Retrying, RetryPolicy


class OpenAIClient(ChatMethods):
    """A client of one OpenAI-compatible endpoint.

    Args:
        model: The model's id.
        base_url: Up to and including the version; OpenAI's own by default.
        api_key: The key; by default the environment variable of the endpoint's vendor.
        retry_policy: How failed calls are retried.
        transport: As in `ProviderClient`.
        settings: Any other field of `EndpointConfig`: `timeout`, `retry_times`, `proxy`, `verify`,
            `headers`, `params`, `dialect`.

    Raises:
        ConfigError: A setting is unknown or unusable.
    """

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
        self.endpoint = endpoint_with_key(
            endpoint_from(
                {"model": model, "base_url": base_url, "api_key": api_key, **settings, "provider": "openai"},
                "OpenAIClient",
            )
        )
        policy = (retry_policy or RetryPolicy()).with_retry_times(self.endpoint.retry_times)
        provider = ProviderClient(self.endpoint, transport=transport)
        super().__init__(Retrying(provider, policy), model=self.endpoint.model, params=self.endpoint.params)
