"""YAML files that may be hostile: bounded in depth and nodes, aliases counted as often as they are used.

PyYAML's own errors for bad values (an impossible date, a number of thousands of digits) and for deep
nesting are no YAMLErrors; here every one of them is a ConfigError.
"""

from __future__ import annotations

from typing import Any

import yaml

from flexllm_core.errors import ConfigError
from flexllm_core.redact import redact

MAX_DEPTH = 50
MAX_NODES = 50_000
"""Keys and values together: a thousand models are some ten thousand."""

_MAX_NUMBER = 100  # characters; PyYAML takes quadratic time for long numbers to base 60
_MERGE_TAG = "tag:yaml.org,2002:merge"
_NUMBER_TAGS = ("tag:yaml.org,2002:int", "tag:yaml.org,2002:float")


class _TooComplex(yaml.YAMLError):
    """The document is over a limit."""


class _BoundedLoader(yaml.SafeLoader):
    """Refuses a document over the limits while it is read, before the memory is spent."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self._nodes = 0
        self._depth = 0

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        self._nodes += 1
        if self._nodes > MAX_NODES:
            raise _TooComplex(f"more than {MAX_NODES} keys and values")
        if self._depth >= MAX_DEPTH:
            raise _TooComplex(f"nested in more than {MAX_DEPTH} levels")
        self._depth += 1
        try:
            node: yaml.Node | None = super().compose_node(parent, index)
        finally:
            self._depth -= 1
        return node


def parse_yaml(text: str, where: str) -> Any:
    """The value of a YAML document, None for an empty one.

    Raises:
        ConfigError: It is not valid YAML or over the limits; the message has `where`, line and column.
    """
    try:
        loader = _BoundedLoader(text)
        node = loader.get_single_node()
        if node is None:
            return None
        _expanded_size(node, {})
        return loader.construct_document(node)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        place = f", line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        problem = redact(str(getattr(error, "problem", None) or error).partition("\n")[0])
        raise ConfigError(f"{where}{place}: not valid YAML: {problem}") from None
    except (ValueError, TypeError, OverflowError) as error:
        raise ConfigError(f"{where}: not valid YAML: {error}") from None


def _refuse_doubles(node: yaml.MappingNode) -> None:
    """Refuse a key that stands twice, of which PyYAML would silently drop the first one."""
    seen: set[tuple[str, str]] = set()
    for key, _value in node.value:
        if isinstance(key, yaml.ScalarNode) and key.tag != _MERGE_TAG:
            if (key.tag, key.value) in seen:
                raise yaml.MarkedYAMLError(
                    problem=f"the key {key.value[:80]!r} stands twice", problem_mark=key.start_mark
                )
            seen.add((key.tag, key.value))


def _expanded_size(node: yaml.Node, sizes: dict[int, int]) -> int:
    """How many nodes `node` stands for once its aliases are written out; `sizes` remembers by identity."""
    known = sizes.get(id(node))
    if known is not None:
        if known == 0:
            raise _TooComplex("an alias stands inside what it names")
        return known
    sizes[id(node)] = 0
    children: list[yaml.Node] = []
    if isinstance(node, yaml.MappingNode):
        _refuse_doubles(node)
        children = [part for pair in node.value for part in pair]
    elif isinstance(node, yaml.SequenceNode):
        children = node.value
    elif node.tag in _NUMBER_TAGS and len(node.value) > _MAX_NUMBER:
        raise _TooComplex(f"a number of more than {_MAX_NUMBER} characters")
    size = 1 + sum(_expanded_size(child, sizes) for child in children)
    if size > MAX_NODES:
        raise _TooComplex(f"its aliases stand for more than {MAX_NODES} keys and values")
    sizes[id(node)] = size
    return size
