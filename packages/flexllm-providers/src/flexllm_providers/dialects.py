"""How endpoints that speak OpenAI's chat completions differ from each other, one row of data per kind.

The facts are in the vendors' and servers' documentation and sources (November 2026). A row can be
overridden for one endpoint by the `dialect` key of its configuration.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any
from urllib.parse import urlsplit

from flexllm_core.credentials import host_matches
from flexllm_core.errors import ConfigError
from flexllm_core.options import unknown_name_message
from flexllm_core.thinking import EFFORTS, Thinking

EFFORT = "$effort"
BUDGET = "$budget"

Patch = Mapping[str, Any]
"""Keys to merge into the JSON body; the texts `$effort` and `$budget` stand for the value asked for."""


@dataclass(frozen=True, slots=True)
class ThinkingRules:
    """How thinking is asked for. None: this endpoint cannot do it.

    `efforts` maps our words to the endpoint's; a word that is missing there cannot be asked for.
    """

    off: Patch | None = None
    on: Patch | None = None
    effort: Patch | None = None
    efforts: Mapping[str, str] = field(default_factory=dict)
    budget: Patch | None = None


@dataclass(frozen=True, slots=True)
class Dialect:
    """One kind of endpoint.

    Attributes:
        name: What the kind is called in configuration and messages.
        hosts: Hosts by which it is recognised, exactly or as a dot-suffix.
        ports: Ports by which a local server is recognised.
        max_tokens: The key that limits the completion.
        stream_options: Whether `stream_options.include_usage` is accepted.
        refused: Params that the endpoint refuses or ignores: left out, with a warning that names them.
        think_tags: Reasoning stands in `<think>` tags inside the content.
        thinking: How thinking is asked for.
        extra_body: Keys that every request gets.
        thinking_is_limited: The limit of tokens counts the thinking too; otherwise only the answer behind it.
    """

    name: str
    hosts: tuple[str, ...] = ()
    ports: tuple[int, ...] = ()
    max_tokens: str = "max_tokens"
    stream_options: bool = True
    refused: frozenset[str] = frozenset()
    think_tags: bool = False
    thinking: ThinkingRules = ThinkingRules()
    extra_body: Mapping[str, Any] = field(default_factory=dict)
    thinking_is_limited: bool = True


_SAME: dict[str, str] = {effort: effort for effort in EFFORTS}
_REASONING_EFFORT = {"reasoning_effort": EFFORT}
_TEMPLATE_OFF = {"chat_template_kwargs": {"enable_thinking": False, "thinking": False}}
_TEMPLATE_ON = {"chat_template_kwargs": {"enable_thinking": True, "thinking": True}}
_TEMPLATE_RULES = ThinkingRules(
    off=_TEMPLATE_OFF,
    on=_TEMPLATE_ON,
    effort=_REASONING_EFFORT,
    efforts=_SAME,
    budget={**_TEMPLATE_ON, "thinking_token_budget": BUDGET},
)

DIALECTS: tuple[Dialect, ...] = (
    Dialect(
        "openai",
        hosts=("api.openai.com",),
        max_tokens="max_completion_tokens",
        refused=frozenset({"top_k"}),
        thinking=ThinkingRules(off={"reasoning_effort": "none"}, on={}, effort=_REASONING_EFFORT, efforts=_SAME),
    ),
    Dialect(
        "deepseek",
        hosts=("deepseek.com",),
        refused=frozenset({"top_k", "seed"}),
        thinking=ThinkingRules(
            off={"thinking": {"type": "disabled"}},
            on={"thinking": {"type": "enabled"}},
            effort={"thinking": {"type": "enabled"}, "reasoning_effort": EFFORT},
            efforts={
                "minimal": "low",
                "low": "low",
                "medium": "high",
                "high": "high",
                "xhigh": "high",
                "max": "max",
            },
        ),
    ),
    Dialect(
        "dashscope",
        hosts=(
            "dashscope.aliyuncs.com",
            "dashscope-intl.aliyuncs.com",
            "dashscope-us.aliyuncs.com",
            "maas.aliyuncs.com",
        ),
        thinking_is_limited=False,
        thinking=ThinkingRules(
            off={"enable_thinking": False},
            on={"enable_thinking": True},
            effort={"enable_thinking": True, "reasoning_effort": EFFORT},
            efforts=_SAME,
            budget={"enable_thinking": True, "thinking_budget": BUDGET},
        ),
    ),
    Dialect(
        "siliconflow",
        hosts=("siliconflow.cn", "siliconflow.com"),
        thinking_is_limited=False,
        thinking=ThinkingRules(
            off={"enable_thinking": False},
            on={"enable_thinking": True},
            budget={"enable_thinking": True, "thinking_budget": BUDGET},
        ),
    ),
    Dialect("vllm", thinking=_TEMPLATE_RULES),
    Dialect(
        "sglang",
        thinking=ThinkingRules(off=_TEMPLATE_OFF, on=_TEMPLATE_ON, effort=_REASONING_EFFORT, efforts=_SAME),
    ),
    Dialect(
        "ollama",
        hosts=("ollama.com",),
        ports=(11434,),
        refused=frozenset({"n", "logit_bias", "user", "tool_choice"}),
        thinking=ThinkingRules(
            off={"reasoning_effort": "none"},
            on={},
            effort=_REASONING_EFFORT,
            efforts={**_SAME, "minimal": "low", "xhigh": "max"},
        ),
    ),
    Dialect(
        "openrouter",
        hosts=("openrouter.ai",),
        extra_body={"usage": {"include": True}},
        thinking=ThinkingRules(
            off={"reasoning": {"enabled": False}},
            on={"reasoning": {"enabled": True}},
            effort={"reasoning": {"effort": EFFORT}},
            efforts={**_SAME, "max": "xhigh"},
            budget={"reasoning": {"max_tokens": BUDGET}},
        ),
    ),
    Dialect(
        "xai",
        hosts=("x.ai",),
        refused=frozenset({"presence_penalty", "frequency_penalty", "stop", "top_k"}),
        thinking=ThinkingRules(
            off={"reasoning_effort": "none"},
            on={},
            effort=_REASONING_EFFORT,
            efforts={
                "minimal": "low",
                "low": "low",
                "medium": "medium",
                "high": "high",
                "xhigh": "high",
                "max": "high",
            },
        ),
    ),
    Dialect("compatible", thinking=_TEMPLATE_RULES),
)
"""The known kinds; the last one is for hosts that are not recognised, most of which run vLLM."""

_BY_NAME = {dialect.name: dialect for dialect in DIALECTS}
COMPATIBLE = _BY_NAME["compatible"]
_CONFIGURABLE = frozenset(f.name for f in fields(Dialect)) - {"name", "hosts", "ports", "thinking"} | {"kind"}


def find_dialect(base_url: str, overrides: Mapping[str, Any] | None = None) -> Dialect:
    """The row for a base URL, with the configuration's overrides (`kind` names another row).

    Raises:
        ConfigError: An override is unknown or of the wrong type.
    """
    overrides = dict(overrides or {})
    kind = overrides.pop("kind", None)
    if kind is not None and (not isinstance(kind, str) or kind not in _BY_NAME):
        raise ConfigError(f"dialect.kind: {unknown_name_message('kind', kind, _BY_NAME)}")
    dialect = _recognise(base_url) if kind is None else _BY_NAME[kind]
    for key, value in overrides.items():
        if key not in _CONFIGURABLE:
            raise ConfigError(f"dialect: {unknown_name_message('key', key, _CONFIGURABLE)}")
        default = getattr(COMPATIBLE, key)
        if isinstance(default, frozenset) and isinstance(value, list | tuple | set | frozenset):
            if not all(isinstance(name, str) for name in value):
                raise ConfigError(f"dialect.{key}: expected a list of names of params")
            overrides[key] = frozenset(value)
        elif not isinstance(value, type(default)):
            raise ConfigError(f"dialect.{key}: expected {type(default).__name__}, found {type(value).__name__}")
    return replace(dialect, **overrides)


def _recognise(base_url: str) -> Dialect:
    parts = urlsplit(base_url)
    host = parts.hostname or ""
    for dialect in DIALECTS:
        if any(host_matches(host, suffix) for suffix in dialect.hosts) or parts.port in dialect.ports:
            return dialect
    return COMPATIBLE


def thinking_patch(thinking: Thinking, dialect: Dialect, endpoint: str) -> dict[str, Any]:
    """The body keys that ask `endpoint` for a thinking mode.

    Raises:
        ConfigError: The endpoint cannot do it; the message names it and what it can do.
    """
    rules = dialect.thinking
    patch: Patch | None
    value: Any = None
    if thinking is None:
        return {}
    if thinking is False:
        patch = rules.off
    elif thinking is True:
        patch = rules.on
    elif isinstance(thinking, int):
        patch, value = rules.budget, thinking
    else:
        value = rules.efforts.get(thinking)
        patch = rules.effort if value is not None else None
    if patch is None:
        can = [name for name in ("off", "on", "effort", "budget") if getattr(rules, name) is not None]
        takes = ", ".join(can) or "no thinking mode"
        raise ConfigError(f"{endpoint} ({dialect.name}) cannot do thinking={thinking!r}; it takes {takes}")
    return _fill(patch, value)


def _fill(patch: Patch, value: Any) -> dict[str, Any]:
    return {
        key: _fill(item, value) if isinstance(item, Mapping) else value if item in (EFFORT, BUDGET) else item
        for key, item in patch.items()
    }


def merge_body(body: dict[str, Any], patch: Mapping[str, Any]) -> None:
    """Merge `patch` into `body`, mappings key by key and everything else by replacement."""
    for key, value in patch.items():
        present = body.get(key)
        if isinstance(value, Mapping) and isinstance(present, dict):
            merged = dict(present)
            merge_body(merged, value)
            body[key] = merged
        else:
            body[key] = value
