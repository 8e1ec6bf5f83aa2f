"""Prices that no library has: Qwen on Alibaba's DashScope, and SiliconFlow. US dollars per million tokens.

The facts are those of Alibaba's and SiliconFlow's international price lists, as the open catalogue
models.dev had them on the day `AS_OF`. Prices of cached tokens, of writes to the cache and of long prompts
are those of Alibaba's own list of models (`/api/v1/models` of the international endpoint), as read a week
before. Only rows on which both agree are here: a model whose price is in doubt has none. They hold for the
international endpoints alone, which bill in US dollars. The endpoints in China (`dashscope.aliyuncs.com`,
`siliconflow.cn`) have other prices and bill in yuan: what a call costs there in dollars depends on the day,
so it is unknown unless the user says it.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from urllib.parse import urlsplit

from flexllm_batch.cost.rates import Rates, per_token
from flexllm_core.credentials import host_matches

AS_OF = "2026-07-02"
SOURCE = "flexllm"


@dataclass(frozen=True, slots=True)
class _Row:
    """One model: input and output, and what differs from that.

    `thinking` is the price of the whole output of an answer that thought. `tiers` are other rows, for calls whose
    input has more tokens than a number.
    """

    input: float
    output: float
    cached: float | None = None
    cache_write: float | None = None
    thinking: float | None = None
    tiers: tuple[tuple[int, _Row], ...] = ()


_QWEN = {
    "qwen-max": _Row(1.6, 6.4, 0.32),
    "qwen-plus": _Row(0.4, 1.2, 0.08, 0.5, 4, tiers=((256_000, _Row(1.2, 3.6, 0.24, 1.5, 12)),)),
    "qwen-flash": _Row(0.05, 0.4, 0.01, 0.063, tiers=((256_000, _Row(0.25, 2, 0.05, 0.313)),)),
    "qwen-turbo": _Row(0.05, 0.2, 0.01, thinking=0.5),
    "qwen3-max": _Row(1.2, 6, 0.24, 1.5, tiers=((32_000, _Row(2.4, 12, 0.48, 3)), (128_000, _Row(3, 15, 0.6, 3.75)))),
    "qwen3.5-plus": _Row(0.4, 2.4, 0.04, 0.5, tiers=((256_000, _Row(0.5, 3, 0.05, 0.625)),)),
    "qwen3.6-plus": _Row(0.5, 3, 0.05, 0.625, tiers=((256_000, _Row(2, 6, 0.2, 2.5)),)),
    "qwen3.7-max": _Row(2.5, 7.5, 0.5, 3.125),
    "qwq-plus": _Row(0.8, 2.4),
    "qwen-vl-max": _Row(0.8, 3.2, 0.16),
    "qwen-vl-plus": _Row(0.21, 0.63, 0.042),
    "qwen3-235b-a22b": _Row(0.7, 2.8, thinking=8.4),
    "qwen3-14b": _Row(0.35, 1.4, thinking=4.2),
    "qwen3-8b": _Row(0.18, 0.7, thinking=2.1),
}

_SILICONFLOW = {
    "deepseek-ai/deepseek-v3": _Row(0.25, 1),
    "deepseek-ai/deepseek-v3.1": _Row(0.27, 1),
    "deepseek-ai/deepseek-v3.1-terminus": _Row(0.27, 1),
    "deepseek-ai/deepseek-v3.2": _Row(0.27, 0.42),
    "deepseek-ai/deepseek-v4-flash": _Row(0.14, 0.28, 0.028),
    "deepseek-ai/deepseek-v4-pro": _Row(1.74, 3.48, 0.145),
    "deepseek-ai/deepseek-r1": _Row(0.5, 2.18),
    "qwen/qwen2.5-72b-instruct": _Row(0.59, 0.59),
    "qwen/qwen2.5-7b-instruct": _Row(0.05, 0.05),
    "qwen/qwen3-8b": _Row(0.06, 0.06),
    "qwen/qwen3-14b": _Row(0.07, 0.28),
    "qwen/qwen3-32b": _Row(0.14, 0.57),
    "qwen/qwen3-30b-a3b-instruct-2507": _Row(0.09, 0.3),
    "qwen/qwen3-235b-a22b-thinking-2507": _Row(0.13, 0.6),
    "qwen/qwen3-coder-30b-a3b-instruct": _Row(0.07, 0.28),
    "qwen/qwen3-coder-480b-a35b-instruct": _Row(0.25, 1),
    "moonshotai/kimi-k2.5": _Row(0.45, 2.25, 0.07),
    "moonshotai/kimi-k2.6": _Row(0.77, 4, 0.2),
    "zai-org/glm-4.5-air": _Row(0.14, 0.86),
    "zai-org/glm-5": _Row(0.95, 2.55, 0.2),
    "zai-org/glm-5.1": _Row(1.4, 4.4, 0.26),
    "openai/gpt-oss-120b": _Row(0.05, 0.45),
    "openai/gpt-oss-20b": _Row(0.04, 0.18),
}

_TABLES = (
    ("dashscope-intl.aliyuncs.com", "dashscope-intl", _QWEN),
    ("siliconflow.com", "siliconflow", _SILICONFLOW),
)
"""Host, the provider's name, and its models by their ids in small letters."""


def look_up(model: str, base_url: str | None) -> Rates | None:
    """The rates of a model, None where the endpoint or the model is not in the table; ids must be the same."""
    host = urlsplit(base_url or "").hostname or ""
    for suffix, provider, rows in _TABLES:
        if host_matches(host, suffix):
            row = rows.get(model.lower())
            return _rates(row, provider) if row is not None else None
    return None


def at_each_provider(model: str) -> list[tuple[str, Rates]]:
    """The id and the rates of a model at each provider of the table; the maker's part of an id may be left out."""
    wanted = model.lower()
    return [
        (name, _rates(row, provider))
        for _, provider, rows in _TABLES
        for name, row in rows.items()
        if wanted in (name, name.rpartition("/")[2])
    ]


def model_names() -> set[str]:
    """The ids of all models of the table."""
    return {name for _, _, rows in _TABLES for name in rows}


def _rates(row: _Row, provider: str) -> Rates:
    def rate(value: float | None) -> Decimal:
        return per_token(row.input if value is None else value)

    return Rates(
        input=per_token(row.input),
        output=per_token(row.output),
        cached=rate(row.cached),
        cache_write=rate(row.cache_write),
        source=SOURCE,
        thinking_output=per_token(row.thinking) if row.thinking is not None else None,
        provider=provider,
        as_of=AS_OF,
        tiers=tuple((start, _rates(tier, provider)) for start, tier in row.tiers),
    )
