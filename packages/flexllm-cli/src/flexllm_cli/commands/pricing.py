"""`flexllm pricing`: what a model costs."""

from __future__ import annotations

import os
from decimal import Decimal
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from flexllm_cli import options
from flexllm_cli.i18n import gettext as _
from flexllm_cli.table import aligned, padded
from flexllm_cli.terminal import say, write_result

if TYPE_CHECKING:
    from flexllm_batch.cost.price_search import FoundPrice
    from flexllm_batch.cost.rates import Rates
    from flexllm_core.config import Config


def kinds() -> dict[str, str]:
    """The kinds of tokens, and how they are called here."""
    return {
        "input": _("input"),
        "cached": _("cached input"),
        "cache_write": _("cache write"),
        "cache_write_1h": _("cache write, 1 hour"),
        "audio": _("audio input"),
        "output": _("output"),
        "reasoning": _("thinking"),
        "thinking_output": _("output with thinking"),
        "output_audio": _("audio output"),
    }


def pricing(
    model: Annotated[
        str | None, typer.Argument(help="A model's id, or the name of an entry.", autocompletion=options.model_names)
    ] = None,
    update: Annotated[
        bool, typer.Option("--update", help="Fetch the newest prices of genai-prices first, for this call.")
    ] = False,
    output_format: Annotated[Literal["text", "json"], typer.Option("--format", help="Text, or a JSON list.")] = "text",
    config: options.ConfigPath = None,
) -> None:
    """Show what a model costs, in US dollars per million tokens; without a name, what the configured models cost.

    The prices come from the configuration, from flexllm's own table, or from genai-prices; nothing is fetched
    unless --update asks for it.

    Examples: flexllm pricing gpt-4o · flexllm pricing · flexllm pricing claude-sonnet-4-5 --format json
    """
    import json

    from flexllm_batch.cost.price_search import fetch_newest_prices
    from flexllm_cli.connection import configuration

    if update:
        fetch_newest_prices()
    found = _without_keys(configuration(config))
    prices = _configured(found) if model is None else _of_model(model, found)
    if output_format == "json":
        write_result(json.dumps([_as_json(name, rates) for name, rates in prices], ensure_ascii=False) + "\n")
    elif model is None:
        write_result("".join(f"{line}\n" for line in _table(prices)))
    else:
        write_result("".join(f"{line}\n" for line in _details(prices)))


def _without_keys(config: Config) -> Config:
    """The configuration, of which no price needs a key: the variable of one may be missing here."""
    from dataclasses import replace

    entries = ({name: value for name, value in entry.items() if name != "api_key"} for entry in config.models)
    return replace(config, models=tuple(entries))


def _configured(config: Config) -> list[tuple[str, Rates | None]]:
    """The configured models, each with its endpoint's price."""
    from flexllm_core.errors import NotConfiguredError

    if not config.models:
        raise NotConfiguredError("no model is configured; run `flexllm init`, or name a model: flexllm pricing gpt-4o")
    return [(name, _own_price(name, config)) for name in config.names()]


def _own_price(name: str, config: Config) -> Rates | None:
    """The price of a configured model at its endpoint; None where it is unknown or the entry cannot be used."""
    from flexllm_batch.cost.pricing import pricer_for
    from flexllm_core.errors import ConfigError

    try:
        endpoint = config.find(name, os.environ)
    except ConfigError as error:
        say(f"warning: {error}")
        return None
    return pricer_for(endpoint).rates(endpoint.model) if endpoint is not None else None


def _of_model(model: str, config: Config) -> list[tuple[str, Rates | None]]:
    """The price of an entry of the configuration first, then that of the model at each provider."""
    from flexllm_batch.cost.price_search import find_prices, similar_models
    from flexllm_core.errors import NotConfiguredError

    own = _own_price(model, config) if model in config.names() else None
    everywhere: list[FoundPrice] = find_prices(model)
    prices: list[tuple[str, Rates | None]] = [(model, own)] if own is not None else []
    prices += [(found.model, found.rates) for found in everywhere if found.rates != own]
    if not prices:
        close = similar_models(model)
        if not close:
            raise NotConfiguredError(f"the price of {model!r} is not known: give it as `price` in the configuration")
        near = ", ".join(close)
        raise NotConfiguredError(
            f"the price of {model!r} is not known; see `flexllm pricing {close[0]}`; similar: {near}"
        )
    return prices


def _details(prices: list[tuple[str, Rates | None]]) -> list[str]:
    """The first price in full, and the others in a line each."""
    name, rates = prices[0]
    if rates is None:
        return [_("{name}: unknown").format(name=name)]
    lines = [f"{name} · {_origin(rates)}", _("US dollars per million tokens:")]
    per_million = rates.per_million()
    if rates.cache_write == rates.input:
        del per_million["cache_write"]  # no price of its own
    lines += [_price_line(label, per_million[kind]) for kind, label in kinds().items() if kind in per_million]
    for start, tier in rates.tiers:
        tokens = tier.per_million()
        text = _("above {count} tokens in: {input} input, {output} output")
        known = {"input": money(tokens["input"]), "output": money(tokens["output"])}
        lines.append("  " + text.format(count=f"{start:,}", **known))
    if rates.request:
        lines.append(_price_line(_("each request"), rates.request))
    if len(prices) > 1:
        lines += ["", _("elsewhere:")]
        lines += [f"  {line}" for line in _table(prices[1:])]
    return lines


def _table(prices: list[tuple[str, Rates | None]]) -> list[str]:
    """A line for each price: name, input, output, cached input, origin."""
    rows = [[_("model"), _("input"), _("output"), _("cached"), _("source")]]
    for name, rates in prices:
        if rates is None:
            rows.append([name, "-", "-", "-", _("unknown")])
            continue
        tokens = rates.per_million()
        rows.append([name, *(money(tokens[kind]) for kind in ("input", "output", "cached")), _origin(rates)])
    return aligned(rows, right=(1, 2, 3))


def _price_line(label: str, amount: Decimal) -> str:
    return f"  {padded(label, 21)} {money(amount):>10}"


def _origin(rates: Rates) -> str:
    """Whose price it is and where it is from, with its date or version."""
    source = f"{rates.source} {rates.as_of}" if rates.as_of else rates.source
    return f"{rates.provider} · {source}" if rates.provider else source


def money(amount: Decimal) -> str:
    """US dollars with two places, or as many as there are.

    >>> money(Decimal("2.5")), money(Decimal("0.0125")), money(Decimal("10"))
    ('$2.50', '$0.0125', '$10.00')
    """
    places = max(2, -int(amount.normalize().as_tuple().exponent))
    return f"${amount:,.{places}f}"


def _as_json(name: str, rates: Rates | None) -> dict[str, Any]:
    if rates is None:
        return {"model": name, "price": None}
    return {
        "model": name,
        "provider": rates.provider,
        "source": rates.source,
        "as_of": rates.as_of,
        "price": {kind: float(rate) for kind, rate in rates.per_million().items()},
        "tiers": [
            {"above_input_tokens": start, "price": {kind: float(rate) for kind, rate in tier.per_million().items()}}
            for start, tier in rates.tiers
        ],
        "per_request": float(rates.request),
    }
