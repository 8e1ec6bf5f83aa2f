"""Prices, in US dollars per token: the user's own, then genai-prices, else unknown."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from flexllm_core.endpoint import Price
from flexllm_core.results import Usage

_MILLION = Decimal(1_000_000)
_PROBE = 1_000


@dataclass(frozen=True, slots=True)
class Rates:
    """US dollars for one token of each kind, and where they come from."""

    input: Decimal
    output: Decimal
    cached: Decimal
    cache_write: Decimal
    source: str

    def cost(self, usage: Usage) -> Decimal:
        """The cost of a call. Cached tokens and cache writes are part of the input tokens."""
        plain = max(0, usage.prompt_tokens - usage.cached_tokens - usage.cache_write_tokens)
        return (
            plain * self.input
            + usage.cached_tokens * self.cached
            + usage.cache_write_tokens * self.cache_write
            + usage.completion_tokens * self.output
        )


def rates_from_price(price: Price) -> Rates:
    """The rates of a price in the configuration."""

    def rate(value: float | None, default: float) -> Decimal:
        return Decimal(str(default if value is None else value)) / _MILLION

    return Rates(
        input=rate(price.input, 0),
        output=rate(price.output, 0),
        cached=rate(price.cached, price.input),
        cache_write=rate(price.cache_write, price.input),
        source="config",
    )


class Pricer:
    """Prices the calls of one endpoint; each model is looked up once.

    Args:
        price: The user's own price, for every model of the endpoint.
        base_url: By which the table finds the provider.
    """

    def __init__(self, price: Price | None, base_url: str | None) -> None:
        self._own = rates_from_price(price) if price else None
        self._base_url = base_url
        self._known: dict[str, Rates | None] = {}

    def cost(self, asked: str | None, answered: str | None, usage: Usage) -> tuple[Decimal, str] | None:
        """Cost and source of a call to the model `asked` that the model `answered`; None when unknown."""
        if self._own is not None:
            return self._own.cost(usage), self._own.source
        for model in (answered, asked):
            if not model:
                continue
            if model not in self._known:
                self._known[model] = look_up(model, self._base_url)
            rates = self._known[model]
            if rates is not None:
                return rates.cost(usage), rates.source
        return None


def look_up(model: str, base_url: str | None) -> Rates | None:
    """The rates of a model by genai-prices, None when it does not know the model.

    Prices there may rise with the length of the prompt; these are the rates of short prompts.
    """
    import genai_prices  # its table takes 150 ms and 40 MB, only for those who ask for costs

    def price(**tokens: int) -> Any:
        usage = genai_prices.Usage(**tokens)
        if base_url:
            try:
                return genai_prices.calc_price(usage, model_ref=model, provider_api_url=base_url)
            except LookupError:
                pass
        return genai_prices.calc_price(usage, model_ref=model)

    try:
        plain = price(input_tokens=_PROBE, output_tokens=_PROBE)
        read = price(input_tokens=_PROBE, output_tokens=0, cache_read_tokens=_PROBE)
        write = price(input_tokens=_PROBE, output_tokens=0, cache_write_tokens=_PROBE)
    except (LookupError, ValueError):
        return None
    return Rates(
        input=plain.input_price / _PROBE,
        output=plain.output_price / _PROBE,
        cached=read.input_price / _PROBE,
        cache_write=write.input_price / _PROBE,
        source="genai-prices",
    )
