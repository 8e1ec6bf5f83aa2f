"""Dialects: each endpoint kind's way to think, its limits, and overrides from the configuration."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flexllm_core.errors import ConfigError
from flexllm_core.thinking import EFFORTS
from flexllm_providers.dialects import COMPATIBLE, DIALECTS, find_dialect, merge_body, thinking_patch

NAMES = {dialect.name: dialect for dialect in DIALECTS}


@pytest.mark.parametrize(
    ("base_url", "name"),
    [
        ("https://api.openai.com/v1", "openai"),
        ("https://eu.api.openai.com/v1", "openai"),
        ("https://api.deepseek.com", "deepseek"),
        ("https://dashscope.aliyuncs.com/compatible-mode/v1", "dashscope"),
        ("https://dashscope-intl.aliyuncs.com/compatible-mode/v1", "dashscope"),
        ("https://dashscope-us.aliyuncs.com/compatible-mode/v1", "dashscope"),
        ("https://my-workspace.maas.aliyuncs.com/v1", "dashscope"),
        ("https://api.siliconflow.cn/v1", "siliconflow"),
        ("https://api.siliconflow.com/v1", "siliconflow"),
        ("http://localhost:11434/v1", "ollama"),
        ("http://gpu:11434/v1", "ollama"),
        ("https://ollama.com/v1", "ollama"),
        ("https://openrouter.ai/api/v1", "openrouter"),
        ("https://api.x.ai/v1", "xai"),
        ("http://localhost:8000/v1", "compatible"),
        ("https://api.openai.com.evil.com/v1", "compatible"),
        ("https://evil-deepseek.com/v1", "compatible"),
        ("https://notx.ai/v1", "compatible"),
        ("https://evil.com/api.openai.com/v1", "compatible"),
        ("https://bucket.oss-cn-hangzhou.aliyuncs.com/v1", "compatible"),
    ],
)
def test_an_endpoint_is_recognised_by_its_host(base_url: str, name: str) -> None:
    """Exactly or as a dot-suffix, or by Ollama's port; never by a part of a word."""
    assert find_dialect(base_url).name == name


TEMPLATE_OFF = {"chat_template_kwargs": {"enable_thinking": False, "thinking": False}}
TEMPLATE_ON = {"chat_template_kwargs": {"enable_thinking": True, "thinking": True}}
NO: None = None

# kind: off, on, effort "high", effort "minimal", effort "max", budget 2048; None where it cannot
TABLE: dict[str, tuple[dict[str, Any] | None, ...]] = {
    "openai": (
        {"reasoning_effort": "none"},
        {},
        {"reasoning_effort": "high"},
        {"reasoning_effort": "minimal"},
        {"reasoning_effort": "max"},
        NO,
    ),
    "deepseek": (
        {"thinking": {"type": "disabled"}},
        {"thinking": {"type": "enabled"}},
        {"thinking": {"type": "enabled"}, "reasoning_effort": "high"},
        {"thinking": {"type": "enabled"}, "reasoning_effort": "low"},
        {"thinking": {"type": "enabled"}, "reasoning_effort": "max"},
        NO,
    ),
    "dashscope": (
        {"enable_thinking": False},
        {"enable_thinking": True},
        {"enable_thinking": True, "reasoning_effort": "high"},
        {"enable_thinking": True, "reasoning_effort": "minimal"},
        {"enable_thinking": True, "reasoning_effort": "max"},
        {"enable_thinking": True, "thinking_budget": 2048},
    ),
    "siliconflow": (
        {"enable_thinking": False},
        {"enable_thinking": True},
        NO,
        NO,
        NO,
        {"enable_thinking": True, "thinking_budget": 2048},
    ),
    "vllm": (
        TEMPLATE_OFF,
        TEMPLATE_ON,
        {"reasoning_effort": "high"},
        {"reasoning_effort": "minimal"},
        {"reasoning_effort": "max"},
        {**TEMPLATE_ON, "thinking_token_budget": 2048},
    ),
    "sglang": (
        TEMPLATE_OFF,
        TEMPLATE_ON,
        {"reasoning_effort": "high"},
        {"reasoning_effort": "minimal"},
        {"reasoning_effort": "max"},
        NO,
    ),
    "ollama": (
        {"reasoning_effort": "none"},
        {},
        {"reasoning_effort": "high"},
        {"reasoning_effort": "low"},
        {"reasoning_effort": "max"},
        NO,
    ),
    "openrouter": (
        {"reasoning": {"enabled": False}},
        {"reasoning": {"enabled": True}},
        {"reasoning": {"effort": "high"}},
        {"reasoning": {"effort": "minimal"}},
        {"reasoning": {"effort": "xhigh"}},
        {"reasoning": {"max_tokens": 2048}},
    ),
    "xai": (
        {"reasoning_effort": "none"},
        {},
        {"reasoning_effort": "high"},
        {"reasoning_effort": "low"},
        {"reasoning_effort": "high"},
        NO,
    ),
}
TABLE["compatible"] = TABLE["vllm"]
MODES: tuple[Any, ...] = (False, True, "high", "minimal", "max", 2048)
CELLS = [(name, mode, patch) for name, row in TABLE.items() for mode, patch in zip(MODES, row, strict=True)]


@pytest.mark.parametrize(("name", "mode", "patch"), CELLS, ids=[f"{name}-{mode}" for name, mode, _ in CELLS])
def test_each_thinking_mode_of_each_kind(name: str, mode: Any, patch: dict[str, Any] | None) -> None:
    """The right keys, or an error that names the endpoint and what it can do; never silence."""
    dialect = NAMES[name]
    if patch is not None:
        assert thinking_patch(mode, dialect, "my-gpu") == patch
        return
    with pytest.raises(ConfigError, match=rf"my-gpu \({name}\) cannot do thinking=.*it takes off, on"):
        thinking_patch(mode, dialect, "my-gpu")


def test_the_table_has_every_kind() -> None:
    """A new kind needs its row here."""
    assert set(TABLE) == set(NAMES)


@pytest.mark.parametrize("effort", EFFORTS)
def test_deepseek_knows_three_efforts(effort: str) -> None:
    """The others go to the nearest that it has."""
    patch = thinking_patch(effort, NAMES["deepseek"], "e")  # type: ignore[arg-type]
    expected = {"minimal": "low", "low": "low", "medium": "high", "high": "high", "xhigh": "high", "max": "max"}
    assert patch["reasoning_effort"] == expected[effort]


@pytest.mark.parametrize("name", NAMES)
def test_no_mode_asks_for_nothing(name: str) -> None:
    """None is the endpoint's default."""
    assert thinking_patch(None, NAMES[name], "e") == {}


def test_a_patch_is_a_copy() -> None:
    """Whoever merges into it does not change the table."""
    before = copy.deepcopy(NAMES["vllm"].thinking)
    for mode in MODES:
        patch = thinking_patch(mode, NAMES["vllm"], "e")
        patch.setdefault("chat_template_kwargs", {})["x"] = 1
    assert NAMES["vllm"].thinking == before


@pytest.mark.parametrize(
    ("name", "max_tokens", "stream_options", "refused", "extra_body"),
    [
        ("openai", "max_completion_tokens", True, {"top_k"}, {}),
        ("deepseek", "max_tokens", True, {"top_k", "seed"}, {}),
        ("dashscope", "max_tokens", True, set(), {}),
        ("vllm", "max_tokens", True, set(), {}),
        ("ollama", "max_tokens", True, {"n", "logit_bias", "user", "tool_choice"}, {}),
        ("openrouter", "max_tokens", True, set(), {"usage": {"include": True}}),
        ("xai", "max_tokens", True, {"presence_penalty", "frequency_penalty", "stop", "top_k"}, {}),
    ],
)
def test_the_other_differences(
    name: str, max_tokens: str, stream_options: bool, refused: set[str], extra_body: dict[str, Any]
) -> None:
    """Which key limits the completion, what is refused, and what every request gets."""
    dialect = NAMES[name]
    assert (dialect.max_tokens, dialect.stream_options) == (max_tokens, stream_options)
    assert dialect.refused == refused
    assert dialect.extra_body == extra_body


def test_a_kind_and_single_keys_can_be_overridden() -> None:
    """The configuration knows better than the host."""
    dialect = find_dialect(
        "https://api.openai.com/v1",
        {"kind": "vllm", "refused": ["seed", "n"], "think_tags": True, "stream_options": False, "extra_body": {"a": 1}},
    )
    assert (dialect.name, dialect.think_tags, dialect.stream_options) == ("vllm", True, False)
    assert (set(dialect.refused), dict(dialect.extra_body)) == ({"seed", "n"}, {"a": 1})
    assert find_dialect("http://h/v1", {"max_tokens": "max_completion_tokens"}).max_tokens == "max_completion_tokens"
    assert find_dialect("http://h/v1", {}) == COMPATIBLE


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        ({"kind": "vlm"}, "dialect.kind: unknown kind 'vlm'; did you mean 'vllm'"),
        ({"kind": ""}, "dialect.kind"),
        ({"kind": ["vllm"]}, "dialect.kind"),
        ({"kind": 5}, "dialect.kind"),
        ({"max_token": "x"}, "dialect: unknown key 'max_token'; did you mean 'max_tokens'"),
        ({"name": "x"}, "dialect: unknown key 'name'"),
        ({"hosts": ["x"]}, "dialect: unknown key 'hosts'"),
        ({"thinking": {}}, "dialect: unknown key 'thinking'"),
        ({5: 1}, "dialect: unknown key of type int"),
        ({"max_tokens": 5}, "dialect.max_tokens: expected str, found int"),
        ({"stream_options": "no"}, "dialect.stream_options: expected bool, found str"),
        ({"think_tags": 1}, "dialect.think_tags: expected bool, found int"),
        ({"refused": "seed"}, "dialect.refused: expected frozenset, found str"),
        ({"refused": [["seed"]]}, "dialect.refused: expected a list of names"),
        ({"refused": [1]}, "dialect.refused: expected a list of names"),
        ({"extra_body": [1]}, "dialect.extra_body: expected dict, found list"),
    ],
)
def test_a_wrong_override_is_a_config_error_that_names_the_key(overrides: Any, said: str) -> None:
    """Whatever its type."""
    with pytest.raises(ConfigError) as caught:
        find_dialect("http://h/v1", overrides)
    assert str(caught.value).startswith(said)


def test_merge_body_merges_mappings_and_replaces_the_rest() -> None:
    """And changes nothing but the body itself."""
    inner, patch = {"a": 1, "b": {"c": 2}}, {"x": {"b": {"d": 3}, "a": 5}, "y": [2], "z": {"n": 1}}
    body: dict[str, Any] = {"x": inner, "y": [1]}
    before = copy.deepcopy((inner, patch))
    merge_body(body, patch)
    assert body == {"x": {"a": 5, "b": {"c": 2, "d": 3}}, "y": [2], "z": {"n": 1}}
    assert (inner, patch) == before


TREES = st.recursive(
    st.integers(), lambda inner: st.dictionaries(st.sampled_from("abc"), inner, max_size=3), max_leaves=8
)
OBJECTS = st.dictionaries(st.sampled_from("abc"), TREES, max_size=3)


@given(OBJECTS, OBJECTS)
def test_the_patch_wins_and_nothing_else_is_lost(body: dict[str, Any], patch: dict[str, Any]) -> None:
    """Every leaf of the patch is in the result; so is every leaf of the body that the patch does not touch."""
    merged = copy.deepcopy(body)
    merge_body(merged, patch)
    again = copy.deepcopy(merged)
    merge_body(again, patch)
    assert again == merged
    for key, value in patch.items():
        if not isinstance(value, dict):
            assert merged[key] == value
    for key in body.keys() - patch.keys():
        assert merged[key] == body[key]
