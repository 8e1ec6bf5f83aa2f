"""What calls are priced by: the user's own price, then our own table, then genai-prices, else it is unknown."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from math import inf
from typing import Protocol

from flexllm_batch.cost import genai_table, price_table
from flexllm_batch.cost.rates import Rates, rates_from_price
from flexllm_core.endpoint import EndpointConfig, Price
from flexllm_core.requests import ChatRequest
from flexllm_core.results import ChatCompletionResult, Usage
from flexllm_providers.client import ProviderClient

Context = tuple[tuple[str, str], ...]
"""What decides a price beside the model: pairs of a name, such as `service_tier`, and its value."""

_CONTEXT_NAMES = ("service_tier", "speed")
_PLAIN_VALUES = frozenset({"auto", "default", "standard", "standard_only"})
_MOST_MODELS = 1000
"""Models that a pricer keeps the rates of: the names of those that answered are the server's to choose."""

_MOMENT = 60.0
"""Seconds after which a price that changes with the time of day is looked up again."""


class PricesAnswers(Protocol):
    """What knows the cost of answers: the prices of one endpoint, or of several."""

    def cost_of(self, request: ChatRequest, result: ChatCompletionResult) -> tuple[Decimal, str] | None:
        """Cost and source of an answer; None when it is unknown."""
        ...


def price_of(
    model: str, base_url: str | None, *, price: Price | None = None, context: Mapping[str, str] | None = None
) -> Rates | None:
    """The price of a model at an endpoint now, its source and date; None when it is unknown.

    Args:
        model: As it is asked.
        base_url: Of the endpoint.
        price: The user's own price, which wins.
        context: What else decides it: `service_tier`, `speed`.
    """
    return Pricer(price, base_url).rates(model, tuple(sorted((context or {}).items())))


def pricer_for(endpoint: EndpointConfig) -> Pricer:
    """The pricer of an endpoint, whose base URL may be its provider's own."""
    return Pricer(endpoint.price, ProviderClient(endpoint).target.base_url)


def price_context(request: ChatRequest) -> Context:
    """What a request asks for that may change its price; empty for most."""
    params = request.params
    extra = params.get("extra_body")
    if not extra and "service_tier" not in params:
        return ()
    found = {"service_tier": params.get("service_tier")}
    if isinstance(extra, Mapping):
        found.update((name, extra[name]) for name in _CONTEXT_NAMES if name in extra)
    return tuple(
        (name, value) for name, value in found.items() if isinstance(value, str) and value not in _PLAIN_VALUES
    )


@dataclass(slots=True)
class _Known:
    """What a look-up found, and until when that holds, in wall-clock seconds since 1970."""

    rates: Rates | None
    worst: Rates | None
    until: float = inf


class Pricer:
    """Prices the calls of one endpoint; each model is looked up once.

    Args:
        price: The user's own price, for every model of the endpoint.
        base_url: By which the tables find the provider. Local servers are in none: their calls have no
            price unless the user says one.
    """

    def __init__(self, price: Price | None, base_url: str | None) -> None:
        self._own = rates_from_price(price) if price else None
        self._base_url = base_url
        self._known: dict[tuple[str, Context], _Known] = {}

    def rates(self, model: str | None, context: Context = ()) -> Rates | None:
        """The rates of calls to a model now; None when they are unknown."""
        return self._own or (self._find(model, context).rates if model else None)

    def worst_rates(self, model: str | None, context: Context = ()) -> Rates | None:
        """The highest rates that calls to a model may have, at whatever time of the day."""
        return self._own or (self._find(model, context).worst if model else None)

    def lasting_worst_rates(self, model: str | None, context: Context = ()) -> Rates | None:
        """The same if they are the same at all times; None if they are not, or unknown."""
        if self._own is not None or not model:
            return self._own
        known = self._find(model, context)
        return known.worst if known.until == inf else None

    def cost(
        self, asked: str | None, answered: str | None, usage: Usage, context: Context = ()
    ) -> tuple[Decimal, str] | None:
        """Cost and source of a call to the model `asked` that the model `answered`; None when unknown."""
        rates = self._own or self.rates(answered, context) or self.rates(asked, context)
        return (rates.cost(usage), rates.source) if rates is not None else None

    def cost_of(self, request: ChatRequest, result: ChatCompletionResult) -> tuple[Decimal, str] | None:
        """Cost and source of an answer; None when it is unknown."""
        if result.usage is None:
            return None
        return self.cost(request.model, result.model, result.usage, price_context(request))

    def _find(self, model: str, context: Context) -> _Known:
        known = self._known.get((model, context))
        if known is None or (known.until != inf and known.until < time.time()):
            if len(self._known) >= _MOST_MODELS:
                self._known.clear()
            known = self._known[model, context] = _look_up(model, self._base_url, context)
        return known


def _look_up(model: str, base_url: str | None, context: Context) -> _Known:
    rates = price_table.look_up(model, base_url)
    if rates is not None:
        return _Known(rates, rates)
    found = genai_table.look_up(model, base_url, dict(context))
    if found is None or base_url is None:
        return _Known(None, None)
    rates, changes = found
    if not changes:
        return _Known(rates, rates)
    return _Known(rates, genai_table.worst(model, base_url, dict(context)), time.time() + _MOMENT)
