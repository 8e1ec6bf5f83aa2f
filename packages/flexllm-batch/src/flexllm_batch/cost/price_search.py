"""Prices by a model's name alone, for people who look them up; calls are priced by their endpoint (`price_of`)."""

from __future__ import annotations

from dataclasses import dataclass
from difflib import get_close_matches

from flexllm_batch.cost import genai_table, price_table
from flexllm_batch.cost.rates import Rates

_MOST_SUGGESTIONS = 5
_LIKENESS = 0.5


@dataclass(frozen=True, slots=True)
class FoundPrice:
    """The price of a model at one provider.

    Attributes:
        model: The model's id in the table.
        rates: Its rates, with their source, provider and date.
    """

    model: str
    rates: Rates


def find_prices(model: str) -> list[FoundPrice]:
    """The prices of a model at every provider that is known, its maker first; empty where there are none."""
    found = [*genai_table.at_each_provider(model), *price_table.at_each_provider(model)]
    return [FoundPrice(name, rates) for name, rates in found]


def similar_models(model: str) -> list[str]:
    """Names of models with known prices that are like this one, the most alike first."""
    short: dict[str, str] = {}
    # An id may begin with its maker's name; where there is one without, that is the one to show.
    for name in sorted(genai_table.model_names() | price_table.model_names(), key=lambda name: ("/" in name, name)):
        short.setdefault(name.lower().rpartition("/")[2], name)
    wanted = model.lower().rpartition("/")[2]
    close = [short[name] for name in get_close_matches(wanted, short, n=_MOST_SUGGESTIONS, cutoff=_LIKENESS)]
    longer = sorted(whole for name, whole in short.items() if wanted and wanted in name and whole not in close)
    return [*close, *longer][:_MOST_SUGGESTIONS]


def fetch_newest_prices(url: str | None = None) -> None:
    """Fetch the newest prices of the genai-prices project; they hold for the rest of this process.

    Raises:
        LLMConnectionError: They cannot be fetched.
    """
    genai_table.fetch_newest(url)
