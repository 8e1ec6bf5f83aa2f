"""Rates: US dollars for one token of each kind, what a call cost by them, and what one may cost at most."""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal
from functools import cached_property

from flexllm_core.endpoint import Price
from flexllm_core.results import Usage

MILLION = Decimal(1_000_000)
_Worst = tuple[Decimal, Decimal, Decimal, Decimal]
_KINDS = ("input", "output", "cached", "cache_write", "cache_write_1h", "reasoning", "audio", "output_audio")


@dataclass(frozen=True)
class Rates:
    """US dollars for one token of each kind, and where they come from.

    Attributes:
        input, output: Of plain tokens.
        cached: Of input that the vendor's prompt cache had.
        cache_write: Of input that was written to it.
        source: `config`, `flexllm` (our own table) or `genai-prices`.
        cache_write_1h: Of input that was written to it for an hour; None for the same.
        reasoning: Of thinking; None for the same as other output.
        audio, output_audio: Of sound; None for the same as other input and output.
        thinking_output: Of the whole output of an answer that holds thinking, where that costs more.
        request: US dollars for each request, whatever its tokens.
        tiers: Other rates for the whole call where its input has more tokens than a number, in rising order.
        provider: Whose price it is, by the name that the source has for it.
        as_of: When the source was right: a date, or the version of its data.
    """

    input: Decimal
    output: Decimal
    cached: Decimal
    cache_write: Decimal
    source: str
    cache_write_1h: Decimal | None = None
    reasoning: Decimal | None = None
    audio: Decimal | None = None
    output_audio: Decimal | None = None
    thinking_output: Decimal | None = None
    request: Decimal = Decimal(0)
    tiers: tuple[tuple[int, Rates], ...] = field(default=(), repr=False)
    provider: str | None = None
    as_of: str | None = None

    def cost(self, usage: Usage) -> Decimal:
        """The cost of a call. Cached tokens, cache writes and sound are part of the input, thinking of the output."""
        if self.tiers and (rates := self._for_input(usage.prompt_tokens)) is not self:
            return rates.cost(usage)
        if not (usage.cached_tokens or usage.cache_write_tokens or usage.reasoning_tokens or usage.audio_tokens):
            cost = usage.prompt_tokens * self.input + usage.completion_tokens * self.output
        else:
            cost = self._input_cost(usage) + self._output_cost(usage)
        if usage.output_audio_tokens and self.output_audio is not None:
            cost += usage.output_audio_tokens * (self.output_audio - self.output)
        return cost + self.request if self.request else cost

    def _for_input(self, tokens: int) -> Rates:
        """The rates of a call with so many input tokens."""
        found = self
        for start, rates in self.tiers:
            if tokens > start:
                found = rates
        return found

    def _input_cost(self, usage: Usage) -> Decimal:
        plain = max(0, usage.prompt_tokens - usage.cached_tokens - usage.cache_write_tokens)
        audio = min(plain, usage.audio_tokens) if self.audio is not None else 0
        hours = min(usage.cache_write_tokens, usage.cache_write_1h_tokens) if self.cache_write_1h is not None else 0
        cost = (
            (plain - audio) * self.input
            + usage.cached_tokens * self.cached
            + (usage.cache_write_tokens - hours) * self.cache_write
        )
        if audio and self.audio is not None:
            cost += audio * self.audio
        if hours and self.cache_write_1h is not None:
            cost += hours * self.cache_write_1h
        return cost

    def _output_cost(self, usage: Usage) -> Decimal:
        if usage.reasoning_tokens and self.thinking_output is not None:
            return usage.completion_tokens * self.thinking_output
        if usage.reasoning_tokens and self.reasoning is not None:
            thought = min(usage.reasoning_tokens, usage.completion_tokens)
            return thought * self.reasoning + (usage.completion_tokens - thought) * self.output
        return usage.completion_tokens * self.output

    def worst_cost(self, input_tokens: int, output_tokens: int, *, any_kind: bool) -> Decimal:
        """US dollars that a call costs at most.

        Args:
            input_tokens: At most so many.
            output_tokens: At most so many.
            any_kind: The input may be of every kind, such as sound or writes to the cache for an hour;
                otherwise it is text, of which a vendor may put into its cache what it likes.
        """
        steps = self._worst_steps
        text, every, output, request = steps[0][1]
        if len(steps) > 1:
            text, every, output, request = next(
                step for start, step in reversed(steps) if input_tokens > start or not start
            )
        cost = input_tokens * (every if any_kind else text) + output_tokens * output
        return cost + request if request else cost

    def worst_line(self, output_tokens: int) -> tuple[Decimal, Decimal, Decimal] | None:
        """`worst_cost` by the input alone: US dollars for a token of text, for one of any kind, and for all the rest.

        None if the rates depend on how much input there is.
        """
        if self.tiers:
            return None
        text, every, output, request = self._worst_steps[0][1]
        return text, every, output_tokens * output + request

    @cached_property
    def _worst_steps(self) -> tuple[tuple[int, _Worst], ...]:
        """From so many input tokens on: the highest rates that a call may have."""
        steps: list[tuple[int, _Worst]] = []
        for start, rates in ((0, self), *self.tiers):
            own = _worst(rates)
            before = steps[-1][1] if steps else own
            steps.append((start, (*map(max, before, own),)))  # type: ignore[arg-type]
        return tuple(steps)

    def per_million(self) -> dict[str, Decimal]:
        """US dollars for a million tokens of each kind that has a rate of its own."""
        rates = {kind: getattr(self, kind) for kind in (*_KINDS, "thinking_output")}
        return {kind: rate * MILLION for kind, rate in rates.items() if rate is not None}


def _worst(rates: Rates) -> _Worst:
    """The highest rate of text, of any input and of output, and the fee."""
    text = max(rates.input, rates.cached, rates.cache_write)
    outputs = (rates.reasoning, rates.thinking_output, rates.output_audio)
    return (
        text,
        max(text, *(rate for rate in (rates.cache_write_1h, rates.audio) if rate is not None), text),
        max(rates.output, *(rate for rate in outputs if rate is not None), rates.output),
        rates.request,
    )


def rates_from_price(price: Price) -> Rates:
    """The rates of a price in the configuration."""

    def rate(value: float | None, default: float) -> Decimal:
        return per_token(default if value is None else value)

    hour = price.cache_write_1h
    return Rates(
        input=rate(price.input, 0),
        output=rate(price.output, 0),
        cached=rate(price.cached, price.input),
        cache_write=rate(price.cache_write, price.input),
        source="config",
        cache_write_1h=None if hour is None else per_token(hour),
    )


def per_token(per_million: float | str) -> Decimal:
    """US dollars for a token, from those for a million."""
    return Decimal(str(per_million)) / MILLION


def highest(first: Rates, *others: Rates) -> Rates:
    """Rates of which each is the highest of several rates; their tiers are not looked at."""
    every = (first, *others)

    def most(name: str) -> Decimal | None:
        found = [rate for rates in every if (rate := getattr(rates, name)) is not None]
        return max(found) if found else None

    return Rates(
        input=max(rates.input for rates in every),
        output=max(rates.output for rates in every),
        cached=max(rates.cached for rates in every),
        cache_write=max(rates.cache_write for rates in every),
        source=first.source,
        request=max(rates.request for rates in every),
        provider=first.provider,
        as_of=first.as_of,
        cache_write_1h=most("cache_write_1h"),
        reasoning=most("reasoning"),
        audio=most("audio"),
        output_audio=most("output_audio"),
        thinking_output=most("thinking_output"),
    )
