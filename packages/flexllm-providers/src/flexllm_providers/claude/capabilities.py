"""What each family of Claude models can do, one row of data per family.

The facts are in Anthropic's model pages and migration guides, and in the types of the anthropic SDK
(November 2026). They change with every release, so a row can be overridden for one endpoint by the
`dialect` key of its configuration (`kind` names another row), and `GET /v1/models` tells most of it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from functools import lru_cache
from typing import Any

from flexllm_core.errors import ConfigError
from flexllm_core.options import unknown_name_message

_THREE = frozenset({"low", "medium", "high"})
_FOUR = _THREE | {"max"}
_ALL = _FOUR | {"xhigh"}


@dataclass(frozen=True, slots=True)
class ClaudeModel:
    """One family of models.

    Attributes:
        name: What the family is called in configuration and messages.
        ids: Beginnings of the model ids; a date, a version of a cloud, or `-latest` may follow.
        max_tokens: The most that a request may ask for, in tokens.
        adaptive: Takes thinking of the type `adaptive`: the model decides how much.
        budget: Takes thinking of the type `enabled` with a number of tokens.
        disabled: Takes thinking of the type `disabled`.
        between_tools: Takes thinking of the type `between_tools`, in place of `disabled`.
        thinks: Thinks when the request does not say.
        efforts: The words that `output_config.effort` takes.
        sampling: Takes temperature, top_p and top_k.
        prefill: Goes on from an assistant message at the end.
        forced_tools: Takes a tool_choice that forces a call.
        structured: Takes a JSON schema for the answer.
    """

    name: str
    ids: tuple[str, ...] = ()
    max_tokens: int = 128_000
    adaptive: bool = True
    budget: bool = False
    disabled: bool = True
    between_tools: bool = False
    thinks: bool = False
    efforts: frozenset[str] = _ALL
    sampling: bool = False
    prefill: bool = False
    forced_tools: bool = True
    structured: bool = True


_EARLIER = ClaudeModel(
    "earlier", adaptive=False, budget=True, efforts=frozenset(), sampling=True, prefill=True, structured=False
)
_UNTHINKING = replace(_EARLIER, budget=False)
_ALWAYS = ClaudeModel("always", disabled=False, thinks=True)

CLAUDE_MODELS: tuple[ClaudeModel, ...] = (
    replace(
        _UNTHINKING,
        name="claude-3",
        ids=("claude-3-opus", "claude-3-sonnet", "claude-3-haiku"),
        max_tokens=4096,
    ),
    replace(_UNTHINKING, name="claude-3-5", ids=("claude-3-5-sonnet", "claude-3-5-haiku"), max_tokens=8192),
    replace(_EARLIER, name="claude-3-7", ids=("claude-3-7-sonnet",), max_tokens=64_000),
    replace(
        _EARLIER,
        name="claude-opus-4",
        ids=("claude-opus-4", "claude-opus-4-0", "claude-4-opus", "claude-opus-4-1"),
        max_tokens=32_000,
    ),
    replace(
        _EARLIER,
        name="claude-sonnet-4",
        ids=("claude-sonnet-4", "claude-sonnet-4-0", "claude-4-sonnet"),
        max_tokens=64_000,
    ),
    replace(
        _EARLIER,
        name="claude-4-5",
        ids=("claude-sonnet-4-5", "claude-haiku-4-5"),
        max_tokens=64_000,
        structured=True,
    ),
    replace(
        _EARLIER,
        name="claude-opus-4-5",
        ids=("claude-opus-4-5",),
        max_tokens=64_000,
        structured=True,
        efforts=_THREE,
    ),
    ClaudeModel("claude-4-6", ids=("claude-opus-4-6", "claude-sonnet-4-6"), budget=True, efforts=_FOUR, sampling=True),
    ClaudeModel("claude-opus-4-7", ids=("claude-opus-4-7", "claude-opus-4-8")),
    ClaudeModel("claude-5", ids=("claude-opus-5", "claude-sonnet-5"), thinks=True),
    ClaudeModel("claude-haiku-5-5", ids=("claude-haiku-5-5",), thinks=True),
    ClaudeModel(
        "claude-sonnet-5-5",
        ids=("claude-sonnet-5-5",),
        disabled=False,
        between_tools=True,
        thinks=True,
        forced_tools=False,
    ),
    replace(_ALWAYS, name="claude-opus-5-5", ids=("claude-opus-5-5",), forced_tools=False),
    replace(_ALWAYS, name="claude-fable-5", ids=("claude-fable-5", "claude-mythos-5")),
    replace(
        _ALWAYS,
        name="claude-fable-5-1",
        # 5.2 is in the SDK's list of models without a page yet: taken to be as 5.1.
        ids=("claude-fable-5-1", "claude-mythos-5-1", "claude-fable-5-2", "claude-mythos-5-2"),
        forced_tools=False,
    ),
    replace(_ALWAYS, name="claude-mythos-preview", ids=("claude-mythos-preview",), efforts=_FOUR),
    ClaudeModel(
        "unknown", max_tokens=1_000_000, budget=True, between_tools=True, thinks=True, sampling=True, prefill=True
    ),
)
"""The known families; the last one is for ids that are not recognised: all is passed on, and the server judges."""

_BY_NAME = {model.name: model for model in CLAUDE_MODELS}
UNKNOWN = _BY_NAME["unknown"]
_BY_ID = sorted(((prefix, model) for model in CLAUDE_MODELS for prefix in model.ids), key=lambda pair: -len(pair[0]))
_OVERRIDABLE = frozenset(f.name for f in fields(ClaudeModel)) - {"name", "ids"}
_ANOTHER_VERSION = re.compile(r"[a-z]|-\d{1,2}(?!\d)|\d")
"""What may not follow the beginning of an id: `claude-opus-4-9` is not a `claude-opus-4`."""


@lru_cache(maxsize=256)
def find_model(model_id: str) -> ClaudeModel:
    """The row of a model id, in any vendor's spelling; `unknown` where there is none.

    >>> find_model("anthropic.claude-opus-4-5-20251101-v1:0").name, find_model("claude-opus-9").name
    ('claude-opus-4-5', 'unknown')
    """
    start = model_id.lower().rfind("claude-")
    name = model_id[start:].lower().replace(".", "-") if start >= 0 else ""
    for prefix, model in _BY_ID:
        if name.startswith(prefix) and not _ANOTHER_VERSION.match(name, len(prefix)):
            return model
    return UNKNOWN


def model_with(model_id: str, overrides: Mapping[str, Any]) -> ClaudeModel:
    """The row of a model id with checked overrides (`check_overrides`), of which `kind` names another row."""
    if not overrides:
        return find_model(model_id)
    values = dict(overrides)
    kind = values.pop("kind", None)
    return replace(_BY_NAME[kind] if kind else find_model(model_id), **values)


def check_overrides(overrides: Mapping[str, Any]) -> dict[str, Any]:
    """Overrides of a row, from a configuration, in the types of the row.

    Raises:
        ConfigError: A key is unknown or a value of the wrong type.
    """
    out: dict[str, Any] = {}
    for key, value in overrides.items():
        if key == "kind":
            if not isinstance(value, str) or value not in _BY_NAME:
                raise ConfigError(f"dialect.kind: {unknown_name_message('kind', value, _BY_NAME)}")
            out[key] = value
        elif key not in _OVERRIDABLE:
            raise ConfigError(
                f"dialect: {unknown_name_message('key', key, _OVERRIDABLE | {'kind', 'version', 'auth'})}"
            )
        else:
            out[key] = _checked(key, value)
    return out


def _checked(key: str, value: object) -> object:
    default = getattr(UNKNOWN, key)
    if isinstance(default, frozenset):
        words = frozenset(value) if isinstance(value, list | tuple | set | frozenset) else frozenset({None})
        if not words <= _ALL:
            raise ConfigError(f"dialect.{key}: expected a list of {', '.join(sorted(_ALL))}")
        return words
    if type(value) is not type(default) or (type(value) is int and value < 1):
        raise ConfigError(
            f"dialect.{key}: expected {type(default).__name__}, found {type(value).__name__} {value!r:.40}"
        )
    return value
