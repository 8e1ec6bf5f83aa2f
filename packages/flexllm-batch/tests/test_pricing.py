"""Where prices come from: the user, our own table, genai-prices; by the endpoint, never by the model's name alone."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest

from flexllm_batch.cost import genai_table, price_table
from flexllm_batch.cost.pricing import Pricer, price_context, price_of, pricer_for
from flexllm_batch.cost.rates import Rates, highest
from flexllm_core.endpoint import EndpointConfig, Price
from flexllm_core.requests import ChatRequest
from flexllm_core.results import Usage

OPENAI = "https://api.openai.com/v1"
ANTHROPIC = "https://api.anthropic.com"
GOOGLE = "https://generativelanguage.googleapis.com/v1beta"
QWEN = "https://dashscope-intl.aliyuncs.com/compatible-mode/v1"


def rates(**values: Any) -> Rates:
    plain = {"input": Decimal(1), "output": Decimal(2), "cached": Decimal(1), "cache_write": Decimal(1)}
    return Rates(**{**plain, "source": "test", **values})


@pytest.mark.parametrize(
    "base_url",
    [
        "http://localhost:8000/v1",
        "http://127.0.0.1:11434/v1",
        "http://gpu1:8000/v1",
        "http://10.0.0.7/v1",
        "https://gateway.example.com/v1",
        "https://api.openai.com.example/v1",
        "https://dashscope.aliyuncs.com/compatible-mode/v1",
        "https://api.siliconflow.cn/v1",
        None,
    ],
)
@pytest.mark.parametrize("model", ["gpt-4o-mini", "qwen-plus", "deepseek-ai/DeepSeek-V3"])
def test_a_name_alone_has_no_price(base_url: str | None, model: str) -> None:
    """The same model costs something else elsewhere, nothing on a machine of one's own, and yuan in China."""
    assert price_of(model, base_url) is None


def test_a_price_says_where_it_is_from() -> None:
    """Source, provider and date; the kinds are dollars per million tokens."""
    qwen = price_of("Qwen-Plus", QWEN)
    assert qwen is not None
    assert (qwen.source, qwen.provider, qwen.as_of) == ("flexllm", "dashscope-intl", "2026-07-02")
    assert qwen.per_million()["input"] == Decimal("0.4")
    claude = price_of("claude-sonnet-4-20250514", ANTHROPIC)
    assert claude is not None
    assert (claude.source, claude.provider) == ("genai-prices", "anthropic")
    assert claude.as_of
    assert claude.per_million() == {
        "input": 3,
        "output": 15,
        "cached": Decimal("0.3"),
        "cache_write": Decimal("3.75"),
        "cache_write_1h": 6,
    }
    own = price_of("anything", "http://localhost:8000/v1", price=Price(input=1, output=2))
    assert own is not None
    assert (own.source, own.provider, own.as_of) == ("config", None, None)


def test_an_endpoint_without_a_url_is_its_providers() -> None:
    """The default base URL is what prices it."""
    for provider, model in (("claude", "claude-sonnet-4-5"), ("gemini", "gemini-2.5-flash"), ("openai", "gpt-4o")):
        assert pricer_for(EndpointConfig(provider=provider, model=model)).rates(model) is not None  # type: ignore[arg-type]


def test_long_prompts_have_prices_of_their_own() -> None:
    """From one token above the threshold on, for every token of the call."""
    found = price_of("claude-sonnet-4-5", ANTHROPIC)
    assert found is not None
    short, long = Usage(200_000, 10, 200_010), Usage(200_001, 10, 200_011)
    assert found.cost(short) == (200_000 * 3 + 10 * 15) / Decimal(1_000_000)
    assert found.cost(long) == (200_001 * 6 + 10 * Decimal("22.5")) / Decimal(1_000_000)
    qwen = price_of("qwen3-max", QWEN)
    assert qwen is not None
    assert [qwen.cost(Usage(tokens, 0, tokens)) / tokens * 1_000_000 for tokens in (32_000, 32_001, 128_001)] == [
        Decimal("1.2"),
        Decimal("2.4"),
        Decimal(3),
    ]


def test_prices_agree_with_the_library_they_come_from() -> None:
    """For every model of four providers, short and long prompts, cached tokens, cache writes and sound."""
    import genai_prices
    from genai_prices.data_snapshot import get_snapshot

    usages = [
        Usage(1000, 500, 1500),
        Usage(300_000, 500, 300_500, cached_tokens=1000),
        Usage(2000, 500, 2500, cached_tokens=1500, cache_write_tokens=300, cache_write_1h_tokens=100),
        Usage(2000, 500, 2500, audio_tokens=1000),
    ]
    compared = 0
    for provider in get_snapshot().providers:
        base_url = {"anthropic": ANTHROPIC, "openai": OPENAI, "google": GOOGLE, "x-ai": "https://api.x.ai/v1"}.get(
            provider.id
        )
        for model in provider.models if base_url else ():
            now = datetime.now(tz=UTC)
            found = genai_table.look_up(model.id, base_url, now=now)
            for usage in usages if found is not None else ():
                theirs = genai_prices.Usage(
                    input_tokens=usage.prompt_tokens,
                    output_tokens=usage.completion_tokens,
                    cache_read_tokens=usage.cached_tokens,
                    cache_write_tokens=usage.cache_write_tokens,
                    cache_write_1h_tokens=usage.cache_write_1h_tokens,
                    input_audio_tokens=usage.audio_tokens,
                )
                try:
                    expected = genai_prices.calc_price(
                        theirs, model.id, provider_api_url=base_url, genai_request_timestamp=now
                    )
                except (LookupError, ValueError):
                    continue
                assert found is not None
                assert found[0].cost(usage) == expected.total_price, (provider.id, model.id, usage)
                compared += 1
    assert compared > 300


def test_a_service_tier_has_its_own_price() -> None:
    """Priority costs more; where its price is not known, there is none that would be true."""
    plain, priority = (price_of("gpt-4o", OPENAI, context=context) for context in ({}, {"service_tier": "priority"}))
    assert plain is not None
    assert priority is not None
    assert priority.input > plain.input
    assert price_of("gpt-4o", OPENAI, context={"service_tier": "scale"}) is None
    assert price_of("gpt-4o", OPENAI, context={"service_tier": "flex"}) == plain


def test_what_decides_a_price_is_read_from_the_request() -> None:
    """From params and extra_body; the standard tiers are none."""
    assert price_context(ChatRequest([], "m", {"max_tokens": 5})) == ()
    assert price_context(ChatRequest([], "m", {"service_tier": "auto"})) == ()
    assert price_context(ChatRequest([], "m", {"service_tier": "priority"})) == (("service_tier", "priority"),)
    request = ChatRequest([], "m", {"extra_body": {"service_tier": "flex", "speed": "fast", "other": 1}})
    assert price_context(request) == (("service_tier", "flex"), ("speed", "fast"))


def test_models_that_make_pictures_have_no_price() -> None:
    """Their usage does not say how many of the tokens were picture, which cost a multiple."""
    assert price_of("gemini-2.5-flash-image", GOOGLE) is None


def test_prices_that_change_with_the_hour_are_reserved_at_the_highest() -> None:
    """DeepSeek's off-peak price is no promise for the next hour."""
    for model in ("deepseek-chat", "deepseek-v4-flash"):
        pricer = Pricer(None, "https://api.deepseek.com/v1")
        hours = [
            genai_table.look_up(model, "https://api.deepseek.com/v1", now=datetime.now(tz=UTC).replace(hour=hour))
            for hour in range(24)
        ]
        worst = pricer.worst_rates(model)
        assert worst is not None
        assert all(each is not None and each[0].output <= worst.output for each in hours)
        assert all(each is not None and each[0].input <= worst.input for each in hours)


def test_a_hostile_server_cannot_fill_the_memory_with_names() -> None:
    """What is known of models is forgotten when there are too many."""
    pricer = Pricer(None, "http://localhost:1/v1")
    for number in range(2500):
        assert pricer.cost(None, f"model-{number}", Usage(1, 1, 2)) is None
    assert len(pricer._known) <= 1000


def test_an_answer_that_thought_may_cost_more_as_a_whole() -> None:
    """Qwen's hybrid models: the thinking price holds for the whole output."""
    qwen = price_of("qwen-plus", QWEN)
    assert qwen is not None
    assert qwen.cost(Usage(0, 1_000_000, 0)) == Decimal("1.2")
    assert qwen.cost(Usage(0, 1_000_000, 0, reasoning_tokens=1)) == 4


def test_a_long_prompt_has_prices_of_its_own_for_every_kind_of_token() -> None:
    """Qwen above 256,000 tokens of input: of plain, cached and written input, of answers with and without thinking."""
    qwen = price_of("qwen-plus", QWEN)
    assert qwen is not None
    edge = qwen.cost(Usage(256_000, 1_000_000, 1_256_000))
    assert edge == Decimal("0.1024") + Decimal("1.2")
    assert qwen.cost(Usage(1_000_000, 1_000_000, 2_000_000)) == Decimal("1.2") + Decimal("3.6")
    assert qwen.cost(Usage(1_000_000, 1_000_000, 2_000_000, reasoning_tokens=1)) == Decimal("13.2")
    assert qwen.cost(Usage(1_000_000, 0, 1_000_000, cached_tokens=1_000_000)) == Decimal("0.24")
    assert qwen.cost(Usage(1_000_000, 0, 1_000_000, cache_write_tokens=1_000_000)) == Decimal("1.5")


def test_tiers_of_the_own_table_only_rise() -> None:
    """They are told apart by where they begin, so they stand in order; a longer prompt is never cheaper."""
    for rows in (price_table._QWEN, price_table._SILICONFLOW):
        for name, row in rows.items():
            starts = [start for start, _ in row.tiers]
            assert starts == sorted(starts), name
            steps = [row, *(tier for _, tier in row.tiers)]
            assert all(a.input <= b.input and a.output <= b.output for a, b in itertools.pairwise(steps)), name
            assert all(step.cached is None or step.cached < step.input for step in steps), name


def test_every_kind_is_priced_once() -> None:
    """Sound and cache writes of an hour are parts of others; fees are for each request."""
    every = rates(cache_write_1h=Decimal(7), reasoning=Decimal(5), audio=Decimal(3), output_audio=Decimal(11))
    usage = Usage(100, 50, 150, 10, 20, 30, cache_write_1h_tokens=5, audio_tokens=4, output_audio_tokens=2)
    assert every.cost(usage) == 66 * 1 + 4 * 3 + 10 * 1 + 15 * 1 + 5 * 7 + (30 * 5 + 20 * 2) + 2 * (11 - 2)
    assert rates(request=Decimal("0.5")).cost(Usage(1, 1, 2)) == Decimal("3.5")


def test_the_worst_cost_is_never_below_a_cost() -> None:
    """Of plain text with any share of it cached, of every kind where that may be, and on each side of a tier."""
    dear = rates(cached=Decimal(4), cache_write=Decimal(2), cache_write_1h=Decimal(9), audio=Decimal(8))
    tiered = rates(tiers=((100, rates(input=Decimal("0.5"), output=Decimal(6))),), thinking_output=Decimal(3))
    assert dear.worst_cost(10, 10, any_kind=False) == 10 * 4 + 10 * 2
    assert dear.worst_cost(10, 10, any_kind=True) == 10 * 9 + 10 * 2
    assert tiered.worst_cost(100, 1, any_kind=False) == 100 + 3
    assert tiered.worst_cost(101, 1, any_kind=False) == 101 + 6  # a shorter prompt would be dearer for each token
    assert rates(request=Decimal(1)).worst_cost(0, 0, any_kind=False) == 1


@pytest.mark.parametrize("any_kind", [False, True])
def test_the_worst_cost_by_the_input_alone_is_the_same(any_kind: bool) -> None:
    """What a run works out once for all its rows is what each of them would work out; not where input has tiers."""
    plain = rates(audio=Decimal(9), reasoning=Decimal(3), request=Decimal(5))
    line = plain.worst_line(7)
    assert line is not None
    for tokens in (0, 1, 1000):
        assert tokens * line[any_kind] + line[2] == plain.worst_cost(tokens, 7, any_kind=any_kind)
    assert rates(tiers=((100, rates(input=Decimal(8))),)).worst_line(7) is None


def test_only_rates_that_never_change_are_kept_for_a_run() -> None:
    """The user's own price lasts; one that is dearer at some hours is asked for at each call."""
    own = Pricer(Price(input=1, output=2), "http://localhost:1/v1")
    assert own.lasting_worst_rates("m") == own.worst_rates("m")
    changing = Pricer(None, "https://api.deepseek.com/v1")
    lasting = {model: changing.lasting_worst_rates(model) for model in ("deepseek-chat", "gpt-4o", None)}
    assert lasting["gpt-4o"] is lasting[None] is None
    found = genai_table.look_up("deepseek-chat", "https://api.deepseek.com/v1")
    assert found is not None
    assert (lasting["deepseek-chat"] is None) == found[1]


def test_the_highest_of_several_rates_is_taken_for_each_kind() -> None:
    """Also where only some have one."""
    found = highest(rates(output=Decimal(9), audio=Decimal(3)), rates(input=Decimal(5)))
    assert (found.input, found.output, found.audio, found.reasoning) == (5, 9, 3, None)
