"""LLMClient: one endpoint with limits, retries, costs and batches; the client that most people want."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Self

from flexllm_batch.batch_methods import BatchMethods
from flexllm_batch.cache.build import with_cache
from flexllm_batch.cache.config import ResponseCacheConfig
from flexllm_batch.cost.metered import Metered
from flexllm_batch.cost.tracking import CostTrackerConfig, cost_tracking
from flexllm_batch.endpoint_stack import DEFAULT_CONCURRENCY, endpoint_stack
from flexllm_core.config import load_config
from flexllm_core.endpoint import EndpointConfig, endpoint_from, endpoint_with_key
from flexllm_core.errors import ConfigError
from flexllm_core.resolve import resolve_endpoint
from flexllm_providers.retry import Retrying, RetryPolicy, retry_policy_of

_CLIENT_ARGUMENTS = ("retry_policy", "track_cost", "cost_tracker", "transport", "cache")
"""What `LLMClient` takes beside the settings of its endpoint."""


class LLMClient(BatchMethods):
    """A client of one endpoint.

    Args:
        model: The model's id.
        base_url: Up to and including the version, such as `https://api.openai.com/v1`.
        api_key: The key; by default the environment variable of the endpoint's vendor.
        provider: `auto` finds it from the base URL.
        concurrency_limit: Requests in flight at most.
        max_qps: Requests per second at most.
        max_tpm: Tokens per minute at most, input and output together.
        adaptive: Learn lower limits from the endpoint's answers; on by default.
        timeout: Seconds for each attempt.
        retry_times: Retries after the first attempt of a call.
        retry_policy: How failed calls are retried, in detail.
        track_cost: Put a cost on each answer.
        cache: Keep answers and give them again to the same question: a `ResponseCacheConfig`, or True.
        cost_tracker: The same with more to say: `CostTrackerConfig.with_budget(5.0)` limits what all calls of
            this client may cost together.
        transport: Sends the requests, as in `ProviderClient`.
        endpoint: Everything above in one value, instead of the single arguments.
        settings: Any other field of `EndpointConfig`.

    Raises:
        ConfigError: A setting is unknown or unusable.
    """

    def __init__(
        self,
        model: str | None = None,
        base_url: str | None = None,
        api_key: str | None = None,
        *,
        provider: str = "auto",
        concurrency_limit: int | None = None,
        max_qps: float | None = None,
        max_tpm: float | None = None,
        adaptive: bool | None = None,
        timeout: float | None = None,
        retry_times: int | None = None,
        retry_policy: RetryPolicy | None = None,
        track_cost: bool = False,
        cache: ResponseCacheConfig | bool | None = None,
        cost_tracker: CostTrackerConfig | None = None,
        transport: Any = None,
        endpoint: EndpointConfig | None = None,
        **settings: Any,
    ) -> None:
        given = {
            "model": model,
            "base_url": base_url,
            "api_key": api_key,
            "provider": None if provider == "auto" else provider,
            "concurrency_limit": concurrency_limit,
            "max_qps": max_qps,
            "max_tpm": max_tpm,
            "adaptive": adaptive,
            "timeout": timeout,
            "retry_times": retry_times,
        }
        given = {name: value for name, value in given.items() if value is not None} | settings
        if endpoint is None:
            endpoint = endpoint_with_key(endpoint_from(given, "LLMClient"))
        elif given:
            raise ConfigError(f"LLMClient: {', '.join(given)} belong into the endpoint that is given beside them")
        self.endpoint = endpoint
        self.endpoints = (endpoint,)
        self.concurrency = endpoint.concurrency_limit or DEFAULT_CONCURRENCY
        tracking = cost_tracking(cost_tracker, track_cost=track_cost)
        self.budget = tracking.make_budget()
        self.stack = endpoint_stack(endpoint, transport=transport, budget=self.budget)
        self.labels = (self.stack.provider_client.target.label,)
        self.pricer = self.stack.pricer
        self.budgeted = (self.stack.budgeted,) if self.stack.budgeted is not None else ()
        self.limited = (self.stack.limited,)
        policy = retry_policy_of(retry_policy, endpoint.retry_times)
        retrying = Retrying(self.stack.limited, policy)
        self.meter = Metered(retrying, self.pricer, self.budget) if tracking.enabled else None
        chat_model = with_cache(self.meter or retrying, cache, [self.stack.provider_client])
        super().__init__(
            chat_model,
            model=endpoint.model,
            params=endpoint.params,
            read=self.stack.provider_client.read,
            counter=Retrying(self.stack.counter, policy),
        )

    @classmethod
    def from_config(cls, model: str | None = None, *, path: str | Path | None = None, **settings: Any) -> Self:
        """A client of a model of the configuration file, the default one when none is named.

        Args:
            model: Name or id of an entry.
            path: The file; by default the user's own.
            settings: Any argument of `LLMClient`; it wins over the file.

        Raises:
            NotConfiguredError: There is no such model or file.
            ConfigError: The file or a setting is unusable.
        """
        where = {name: settings.pop(name, None) for name in ("base_url", "api_key", "provider")}
        endpoint = resolve_endpoint(load_config(path), model=model, **where)
        own = {name: settings.pop(name) for name in list(settings) if name not in _CLIENT_ARGUMENTS}
        if own:
            endpoint = endpoint_from({**endpoint.model_dump(exclude_unset=True), **own}, "LLMClient.from_config")
        return cls(endpoint=endpoint, **settings)
