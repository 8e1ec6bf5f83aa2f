"""The prices of genai-prices, as rates that can be kept: the package works out each price anew, which takes longer.

It is loaded when the first price is looked up: its table takes 150 ms and 40 MB. Nothing is fetched.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from flexllm_batch.cost.rates import MILLION, Rates, highest

if TYPE_CHECKING:
    from genai_prices.types import ModelInfo, PriceCalculation

SOURCE = "genai-prices"

_DEARER = frozenset({"priority", "fast", "scale"})
"""Values of the context that cost more than the plain price; where the table has no price for them, there is none."""

_UNCOUNTED = ("output_image_mtok", "output_video_mtok")
"""Kinds of output that usage does not tell apart: a model that makes them has no price that would be true."""


def look_up(
    model: str, base_url: str | None, context: Mapping[str, str] | None = None, now: datetime | None = None
) -> tuple[Rates, bool] | None:
    """The rates of a model, and whether they may change with the time; None when they are not known.

    The provider is found by the URL alone: the same model may cost something else elsewhere, and a local
    server nothing.

    Args:
        model: As it is asked.
        base_url: Of the endpoint.
        context: What else decides the price, such as `service_tier`.
        now: The time of the call; by default this moment.
    """
    if not base_url:
        return None
    now = now or datetime.now(tz=UTC)
    found = _find(model.removeprefix("models/"), base_url, context, now)
    if found is None:
        return None
    if context and not _is_priced(found.model, context, now):
        return None
    rates = _rates(found.model_price, found.provider.id)
    return (rates, _changes(found.model)) if rates is not None else None


def worst(model: str, base_url: str, context: Mapping[str, str] | None = None) -> Rates | None:
    """The highest rates that a model has at any time of the day; None when they are not known."""
    now = datetime.now(tz=UTC)
    found = [look_up(model, base_url, context, now.replace(hour=hour, minute=30)) for hour in range(24)]
    rates = [each[0] for each in found if each is not None]
    if not rates:
        return None
    if all(each == rates[0] for each in rates):
        return rates[0]
    starts = sorted({start for each in rates for start, _ in each.tiers})
    tiers = tuple((start, highest(*(_at(each, start) for each in rates))) for start in starts)
    return replace(highest(*rates), tiers=tiers)


def _at(rates: Rates, start: int) -> Rates:
    """The rates just above a number of input tokens."""
    return next((tier for begin, tier in reversed(rates.tiers) if start >= begin), rates)


def _find(model: str, base_url: str, context: Mapping[str, str] | None, now: datetime) -> PriceCalculation | None:
    import genai_prices  # its table takes 150 ms and 40 MB, only for those who ask for costs

    try:
        found = genai_prices.calc_price(
            genai_prices.Usage(input_tokens=0, output_tokens=0),
            model_ref=model,
            provider_api_url=base_url,
            genai_request_timestamp=now,
            price_context=context,
        )
    except (LookupError, ValueError):
        return None
    # The patterns match beginnings, and `https://api.openai.com.example` begins like another one.
    whole = re.match(rf"(?:{found.provider.api_pattern})[a-z]*(?:[:/]|$)", base_url)
    return found if whole else None


def _is_priced(model: ModelInfo, context: Mapping[str, str], now: datetime) -> bool:
    """Whether the table knows what a context costs, or it cannot cost more than the plain price."""
    for key, value in context.items():
        priced = any(
            variant.when.get(key) == value and (variant.constraint is None or variant.constraint.active(now))
            for variant in model.price_variants or ()
        )
        if not priced and value in _DEARER:
            return False
    return True


def _changes(model: ModelInfo) -> bool:
    constrained = model.prices if isinstance(model.prices, list) else []
    return any(each.constraint is not None for each in [*constrained, *(model.price_variants or ())])


def _rates(prices: Any, provider: str) -> Rates | None:
    """The flat rates, and those of each tier. Above a tier's start its price holds for every token of the call."""
    starts = {tier.start for price in vars(prices).values() for tier in getattr(price, "tiers", ())}
    base = _flat(prices, provider, None)
    if base is None:
        return None
    tiers = tuple((start, each) for start in sorted(starts) if (each := _flat(prices, provider, start)) is not None)
    return replace(base, tiers=tiers)


def _flat(prices: Any, provider: str, above: int | None) -> Rates | None:
    """The rates of calls whose input is just above so many tokens; None for the shortest."""

    def rate(kind: str) -> Decimal | None:
        price = getattr(prices, kind, None)
        if price is None:
            return None
        if hasattr(price, "tiers"):
            reached = [tier.price for tier in price.tiers if above is not None and above >= tier.start]
            price = reached[-1] if reached else price.base
        return Decimal(price) / MILLION

    plain, output = rate("input_mtok"), rate("output_mtok")
    if plain is None or output is None or any(rate(kind) not in (None, output) for kind in _UNCOUNTED):
        return None
    cached, written, fee = (rate(kind) for kind in ("cache_read_mtok", "cache_write_mtok", "requests_kcount"))
    return Rates(
        input=plain,
        output=output,
        cached=plain if cached is None else cached,
        cache_write=plain if written is None else written,
        source=SOURCE,
        cache_write_1h=rate("cache_write_1h_mtok"),
        reasoning=rate("output_reasoning_mtok"),
        audio=rate("input_audio_mtok"),
        output_audio=rate("output_audio_mtok"),
        request=fee * 1000 if fee is not None else Decimal(0),
        provider=provider,
        as_of=_version(),
    )


def at_each_provider(model: str) -> list[tuple[str, Rates]]:
    """The id and the rates of a model at each provider that the table has it for, its maker first."""
    import genai_prices
    from genai_prices import data_snapshot

    now = datetime.now(tz=UTC)
    nothing = genai_prices.Usage(input_tokens=0, output_tokens=0)

    def find(provider: str | None) -> PriceCalculation | None:
        try:
            return genai_prices.calc_price(nothing, model_ref=model, provider_id=provider, genai_request_timestamp=now)
        except (LookupError, ValueError):
            return None

    maker = find(None)
    first = maker.provider.id if maker is not None else None
    found: list[tuple[str, Rates]] = []
    for provider in sorted(data_snapshot.get_snapshot().providers, key=lambda each: (each.id != first, each.id)):
        price = find(provider.id)
        if price is None or price.provider.id != provider.id:  # some providers borrow the models of others
            continue
        rates = _rates(price.model_price, provider.id)
        if rates is not None:
            found.append((price.model.id, rates))
    return found


def model_names() -> set[str]:
    """The ids of all models of the table."""
    from genai_prices import data_snapshot

    return {model.id for provider in data_snapshot.get_snapshot().providers for model in provider.models}


def fetch_newest(url: str | None = None) -> None:
    """Use the newest prices of the genai-prices project for the rest of this process.

    Args:
        url: Where they are, by default where genai-prices has them.

    Raises:
        LLMConnectionError: They cannot be fetched, or are no prices.
    """
    import httpx2  # genai-prices fetches with it
    from genai_prices import UpdatePrices, data_snapshot

    from flexllm_core.errors import LLMConnectionError

    source = UpdatePrices(url=url) if url else UpdatePrices()
    try:
        snapshot = source.fetch()
    except (httpx2.HTTPError, ValueError) as error:
        raise LLMConnectionError(f"the newest prices cannot be fetched from {source.url}: {error}") from None
    data_snapshot.set_custom_snapshot(snapshot)


def _version() -> str:
    """The version of the table, or the day on which a newer one was fetched."""
    import genai_prices
    from genai_prices import data_snapshot

    snapshot = data_snapshot.get_snapshot()
    return f"{snapshot.timestamp:%Y-%m-%d}" if snapshot.from_auto_update else genai_prices.__version__
