"""One endpoint with its prices, budget and limits: what a client has one of, and a pool several."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from flexllm_batch.cost.budget import Budget
from flexllm_batch.cost.budgeted import Budgeted
from flexllm_batch.cost.pricing import Pricer
from flexllm_batch.limits.limited import Limited, limited_by
from flexllm_core.endpoint import EndpointConfig
from flexllm_core.protocol import ChatModel
from flexllm_providers.client import ProviderClient
from flexllm_providers.token_counter import TokenCounter

DEFAULT_CONCURRENCY = 50


@dataclass(frozen=True, slots=True)
class EndpointStack:
    """The wrappers around one endpoint, up to its limits.

    Attributes:
        endpoint: Its settings.
        provider_client: Sends the requests.
        pricer: Its prices.
        budgeted: Keeps the budget, where there is one.
        limited: The outermost: whatever is sent passes the limits.
        counter: Counts tokens instead of answering. Vendors limit these calls apart from chats, and so it has a gate
            of its own, of the same width.
    """

    endpoint: EndpointConfig
    provider_client: ProviderClient
    pricer: Pricer
    budgeted: Budgeted | None
    limited: Limited
    counter: Limited


def endpoint_stack(endpoint: EndpointConfig, *, transport: Any = None, budget: Budget | None = None) -> EndpointStack:
    """Put the wrappers around an endpoint.

    Args:
        endpoint: Its settings.
        transport: As in `ProviderClient`.
        budget: What its calls are paid from.

    Raises:
        ConfigError: The settings are unusable.
    """
    provider_client = ProviderClient(endpoint, transport=transport)
    pricer = Pricer(endpoint.price, provider_client.target.base_url)
    budgeted: Budgeted | None = None
    if budget is not None:
        budgeted = Budgeted(
            provider_client,
            budget,
            pricer,
            output_limit=provider_client.output_limit,
            model=endpoint.model,
            label=endpoint.label,
        )
    attempt: ChatModel = budgeted or provider_client
    concurrency = endpoint.concurrency_limit or DEFAULT_CONCURRENCY
    limited = limited_by(endpoint, attempt, concurrency, provider_client.rate_limits)
    counter = Limited(TokenCounter(provider_client), concurrency=concurrency, max_qps=endpoint.max_qps)
    return EndpointStack(endpoint, provider_client, pricer, budgeted, limited, counter)
