"""How Gemini's models are told to think, one row of data per family.

Models of the 2.5 family take a budget of tokens, later ones a level; both together, or the wrong one,
are refused by the server. Source: Google Cloud's page on thinking (November 2026). Which family a model
is of is known by its name's beginning; an endpoint can name the family itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from flexllm_core.errors import ConfigError
from flexllm_core.options import unknown_name_message
from flexllm_core.thinking import Effort, Thinking
from flexllm_providers.wire_warnings import warn_once

BUDGET = "thinkingBudget"
LEVEL = "thinkingLevel"
_THOUGHTS = "includeThoughts"
_AUTOMATIC = -1


@dataclass(frozen=True, slots=True)
class ThinkingFamily:
    """What the models of one family can be asked for.

    Attributes:
        name: What configuration calls it.
        models: Beginnings of the models' names; the longest that fits decides.
        budgets: Least and most tokens; None where there are levels.
        off: Whether a budget of 0 turns thinking off.
        levels: From the lowest to the highest; empty where there are budgets.
        on: Knobs that turn thinking on, where the model's default is not to think.
    """

    name: str
    models: tuple[str, ...]
    budgets: tuple[int, int] | None = None
    off: bool = False
    levels: tuple[str, ...] = ()
    on: Mapping[str, Any] = field(default_factory=dict)

    @property
    def needs_signatures(self) -> bool:
        """Whether function calls in the history must be signed: so it is for all models with levels."""
        return bool(self.levels)


_FROM_MINIMAL = ("MINIMAL", "LOW", "MEDIUM", "HIGH")
_FROM_LOW = ("LOW", "MEDIUM", "HIGH")

FAMILIES: tuple[ThinkingFamily, ...] = (
    ThinkingFamily("none", ("gemini-1", "gemini-2.0", "gemini-2.5-flash-image", "gemma")),
    ThinkingFamily("2.5-pro", ("gemini-2.5-pro",), budgets=(128, 32768)),
    ThinkingFamily("2.5-flash", ("gemini-2.5-flash",), budgets=(1, 24576), off=True),
    ThinkingFamily(
        "2.5-flash-lite", ("gemini-2.5-flash-lite",), budgets=(512, 24576), off=True, on={BUDGET: _AUTOMATIC}
    ),
    ThinkingFamily("3-pro", ("gemini-3-pro",), levels=("LOW", "HIGH")),
    ThinkingFamily("3-flash", ("gemini-3-flash",), levels=_FROM_MINIMAL),
    ThinkingFamily("3.5-flash", ("gemini-3.5-flash", "gemini-3.6-flash"), levels=_FROM_MINIMAL),
    ThinkingFamily("3.5-flash-lite", ("gemini-3.5-flash-lite",), levels=_FROM_MINIMAL, on={LEVEL: "MEDIUM"}),
    ThinkingFamily("levels", ("gemini-3.1-pro", "gemini-3.7-flash", "gemini-3.8-flash"), levels=_FROM_LOW),
)
"""The known families; `levels` holds what every model since 3.1 takes, and is used for unknown names."""

_BY_NAME = {family.name: family for family in FAMILIES}
_BY_LINE = {line: family for family in FAMILIES for line in family.models}
_UNKNOWN = _BY_NAME["levels"]

_EFFORT_LEVELS: Mapping[Effort, str] = {
    "minimal": "MINIMAL",
    "low": "LOW",
    "medium": "MEDIUM",
    "high": "HIGH",
    "xhigh": "XHIGH",
    "max": "XHIGH",
}
_LEVEL_ORDER = ("MINIMAL", "LOW", "MEDIUM", "HIGH", "XHIGH")
_EFFORT_BUDGETS: Mapping[Effort, int] = {"minimal": 1024, "low": 1024, "medium": 8192, "high": 24576}
"""As Google's own OpenAI-compatible endpoint maps them; the efforts above are the family's most."""


def find_family(model: str, name: str | None = None) -> ThinkingFamily:
    """The family called `name`, or else that of a model.

    Raises:
        ConfigError: There is no family of that name.
    """
    if name:
        if name not in _BY_NAME:
            raise ConfigError(f"dialect.family: {unknown_name_message('family', name, _BY_NAME)}")
        return _BY_NAME[name]
    return _BY_LINE.get(model_line(model) or "", _UNKNOWN)


@lru_cache(maxsize=256)
def model_line(model: str) -> str | None:
    """The known beginning of a model's name, such as `gemini-3.8-flash`; None where it is not known."""
    model = model.rpartition("/")[2].lower()
    return max((line for line in _BY_LINE if model.startswith(line)), key=len, default=None)


def thinking_config(thinking: Thinking, family: ThinkingFamily, label: str) -> dict[str, Any]:
    """The `thinkingConfig` that asks for a thinking mode; empty where nothing is to be said.

    What can only be done nearly is done so, with one warning behind `label`, the endpoint's.

    Raises:
        ConfigError: The family cannot do it; the message names the endpoint and what can be done.
    """
    if thinking is None:
        return {}
    if thinking is False:
        return _off(family, label)
    if family.budgets is None and not family.levels:
        raise ConfigError(f"{label} (Gemini family {family.name}) cannot do thinking={thinking!r}; it takes off")
    if thinking is True:
        return {_THOUGHTS: True, **family.on}
    if isinstance(thinking, int):
        return {_THOUGHTS: True, BUDGET: _budget(thinking, family, label)}
    if family.budgets is not None:
        least, most = family.budgets
        return {_THOUGHTS: True, BUDGET: max(least, min(most, _EFFORT_BUDGETS.get(thinking, most)))}
    return {_THOUGHTS: True, LEVEL: _level(thinking, family, label)}


def _off(family: ThinkingFamily, label: str) -> dict[str, Any]:
    if family.off:
        return {BUDGET: 0}
    least: dict[str, Any] = {}
    if family.budgets is not None:
        least = {BUDGET: family.budgets[0]}
    elif family.levels:
        least = {LEVEL: family.levels[0]}
    for knob, value in least.items():
        warn_once(label, f"cannot turn thinking off (Gemini family {family.name}); it is asked for {knob} {value}")
    return least


def _budget(tokens: int, family: ThinkingFamily, label: str) -> int:
    if family.budgets is None:
        takes = f"off, on, or an effort ({', '.join(family.levels)})"
        raise ConfigError(f"{label} (Gemini family {family.name}) cannot do thinking={tokens}; it takes {takes}")
    least, most = family.budgets
    nearest = max(least, min(most, tokens))
    if nearest != tokens:
        warn_once(label, f"cannot think for {tokens} tokens (Gemini family {family.name}); it is asked for {nearest}")
    return nearest


def _level(effort: Effort, family: ThinkingFamily, label: str) -> str:
    """The level for an effort: the next higher one that there is, else the highest."""
    wanted = _EFFORT_LEVELS[effort]
    higher = [level for level in family.levels if _LEVEL_ORDER.index(level) >= _LEVEL_ORDER.index(wanted)]
    level = higher[0] if higher else family.levels[-1]
    if level != wanted and effort != "max":
        warn_once(label, f"cannot think at {effort!r} (Gemini family {family.name}); it is asked for level {level}")
    return level
