"""JSON values that satisfy a JSON schema, for structured output and tool arguments."""

from __future__ import annotations

from typing import Any
from urllib.parse import unquote

from flexllm_mock.faults.dice import Dice
from flexllm_mock.scalars import SchemaError, number_value, string_value
from flexllm_mock.words import phrase

# Optional properties are written and branches chosen freely down to this depth; below it everything is kept smallest.
_FREE_DEPTH = 4
_FREE_NODES = 300
_MAX_NODES = 20_000
_MAX_DEPTH = 60
_MAX_ITEMS = 10_000
_MAX_BRANCHES = 1_000
_ENDLESS = 10**9
_UNSUPPORTED = ("not", "if", "contains", "dependentRequired", "dependentSchemas", "dependencies", "$dynamicRef")
_LARGER = ("minimum", "exclusiveMinimum", "minLength", "minItems", "minProperties")
_SMALLER = ("maximum", "exclusiveMaximum", "maxLength", "maxItems", "maxProperties")
_ARRAY_KEYS = ("items", "prefixItems", "minItems", "maxItems", "uniqueItems")
_OBJECT_KEYS = ("properties", "required", "additionalProperties", "minProperties", "maxProperties")
_STRING_KEYS = ("pattern", "format", "minLength", "maxLength")
_NUMBER_KEYS = ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf")

_SHAPES: dict[str, tuple[type, ...]] = {
    **dict.fromkeys(("properties",), (dict,)),
    **dict.fromkeys(("required", "enum", "anyOf", "oneOf", "allOf", "prefixItems"), (list,)),
    **dict.fromkeys((*_LARGER, *_SMALLER), (int, float)),
    **dict.fromkeys(("exclusiveMinimum", "exclusiveMaximum"), (int, float, bool)),
}
_TYPES = {"object": dict, "array": list, "string": str, "boolean": bool, "null": type(None)}
_NOT_EMPTY = ("enum", "anyOf", "oneOf")

Schema = dict[str, Any]


def instance(schema: object, key: bytes) -> Any:
    """Return a JSON value that satisfies the schema; the same schema and key give the same value.

    Supports local `$ref`, `anyOf`, `oneOf`, `allOf`, `enum`, `const`, every type and its usual limits, recursive
    schemas, and additional properties. Of `oneOf`, one branch is satisfied; that no other is, is not checked.

    Raises SchemaError when the schema is not valid, has no finite value, or uses a keyword that is not supported.
    """
    return _Sampler(schema, Dice(key)).value(schema, 0)


class _TooLargeError(SchemaError):
    """The schema has used up the work that it may cause; trying other branches would cause more."""


class _Sampler:
    def __init__(self, root: object, dice: Dice) -> None:
        self.root = root
        self.dice = dice
        self.nodes = 0
        self.heights: dict[
            int, tuple[Schema, int]
        ] = {}  # by identity; each schema is kept so that its id stays its own

    # Reading the schema

    def resolve(self, schema: object) -> Schema:
        """Follow references and merge `allOf`, until the schema says itself what it allows."""
        for _ in range(_MAX_DEPTH):
            if schema is True:
                return {}
            if schema is False:
                raise SchemaError("`false` allows no value")
            if not isinstance(schema, dict):
                raise SchemaError(f"a schema must be an object or a boolean, not {type(schema).__name__}")
            if "$ref" in schema:
                target = self.target(schema["$ref"])
                rest = {name: value for name, value in schema.items() if name != "$ref"}
                schema = _merged(self.plain(target), rest) if rest else target
            elif "allOf" in schema:
                whole: Schema = {name: value for name, value in schema.items() if name != "allOf"}
                for part in schema["allOf"]:
                    whole = _merged(whole, self.plain(part))
                schema = whole
            else:
                return _checked(schema)
        raise SchemaError("references go round in a circle")

    def plain(self, schema: object) -> Schema:
        return {} if schema is True else _checked(schema) if isinstance(schema, dict) else self.resolve(schema)

    def target(self, reference: object) -> object:
        """Look up a local reference such as `#/$defs/item`."""
        if not isinstance(reference, str) or not reference.startswith("#"):
            raise SchemaError(f"only local references are supported, not {reference!r}")
        found: Any = self.root
        for step in unquote(reference[1:]).split("/")[1:]:
            name = step.replace("~1", "/").replace("~0", "~")
            try:
                found = found[int(name)] if isinstance(found, list) else found[name]
            except (KeyError, IndexError, TypeError, ValueError):
                raise SchemaError(f"the reference {reference!r} leads nowhere") from None
        return found

    def height(self, schema: object, above: frozenset[int] = frozenset()) -> int:
        """Return how deep the smallest value of a schema nests; `_ENDLESS` when there is none."""
        if schema is False or len(above) > _MAX_DEPTH:
            return _ENDLESS
        mark = id(schema)
        if mark in above or not isinstance(schema, dict):
            return _ENDLESS if mark in above else 0
        if mark not in self.heights:
            self.nodes += 1
            self.check_size()
            found = self.open_height(_checked(schema), above | {mark})
            if found >= _ENDLESS:
                return _ENDLESS  # perhaps only because of what is above, so this is not remembered
            self.heights[mark] = (schema, found)
        return self.heights[mark][1]

    def open_height(self, schema: Schema, above: frozenset[int]) -> int:
        parts = [0]
        if "$ref" in schema:
            parts.append(self.height(self.target(schema["$ref"]), above))
        parts += [self.height(part, above) for part in schema.get("allOf", [])]
        parts += [
            min(self.height(part, above) for part in schema[name]) for name in ("anyOf", "oneOf") if name in schema
        ]
        if "const" in schema or "enum" in schema:
            return max(parts)
        kinds = _kinds(schema)
        if kinds == ["object"]:
            properties = schema.get("properties", {})
            parts += [1 + self.height(properties.get(name, True), above) for name in schema.get("required", [])]
        elif kinds == ["array"] and schema.get("minItems", 0):
            parts += [1 + self.height(part, above) for part in (schema.get("items", True), *_prefix(schema))]
        return max(parts)

    def check_size(self) -> None:
        if self.nodes > _MAX_NODES:
            raise _TooLargeError("the schema is too large for the mock")

    # Writing a value

    def value(self, schema: object, depth: int) -> Any:
        self.nodes += 1
        self.check_size()
        if depth > _MAX_DEPTH:
            raise SchemaError("the schema nests too deeply, or for ever")
        schema = self.resolve(schema)
        for name in _UNSUPPORTED:
            if name in schema:
                raise SchemaError(f"the mock does not support the keyword `{name}`")
        for name in ("anyOf", "oneOf"):
            if name in schema:
                return self.union_value(schema, name, depth)
        if "const" in schema or "enum" in schema:
            return self.dice.pick(_listed(schema))
        return self.of_kind(self.kind(schema, depth), schema, depth)

    def free(self, depth: int) -> bool:
        return depth <= _FREE_DEPTH and self.nodes < _FREE_NODES

    def union_value(self, schema: Schema, name: str, depth: int) -> Any:
        """Write a value for one branch of `anyOf` or `oneOf` together with what stands beside it."""
        rest = {key: value for key, value in schema.items() if key != name}
        options = self.options(schema[name], depth)
        first = self.dice.below(len(options))
        problem: SchemaError | None = None
        for option in options[first:] + options[:first]:
            try:
                return self.value(_merged(rest, self.plain(option)), depth)
            except _TooLargeError:
                raise
            except SchemaError as error:  # this branch does not go with the rest; another may
                problem = problem or error
        assert problem is not None
        raise problem

    def options(self, branches: list[Any], depth: int) -> list[Any]:
        heights = [self.height(branch) for branch in branches]
        lowest = min(heights)
        if lowest >= _ENDLESS:
            raise SchemaError("no branch of the schema has a finite value")
        limit = _ENDLESS - 1 if self.free(depth) else lowest
        return [branch for branch, high in zip(branches, heights, strict=True) if high <= limit]

    def kind(self, schema: Schema, depth: int) -> str:
        kinds = _kinds(schema)
        if not self.free(depth):
            kinds = [kind for kind in kinds if kind not in ("object", "array")] or kinds
        return self.dice.pick(kinds)

    def of_kind(self, kind: str, schema: Schema, depth: int) -> Any:
        match kind:
            case "object":
                return self.object_value(schema, depth)
            case "array":
                return self.array_value(schema, depth)
            case "string":
                return string_value(schema, self.dice)
            case "integer" | "number":
                return number_value(schema, self.dice, whole=kind == "integer")
            case "boolean":
                return self.dice.below(2) == 1
            case "null":
                return None
        raise SchemaError(f"{kind!r} is not a type of JSON schema")

    def object_value(self, schema: Schema, depth: int) -> dict[str, Any]:
        properties, required = schema.get("properties", {}), schema.get("required", [])
        extra = schema.get("additionalProperties", True)
        least, most = _count(schema, "minProperties", 0), _count(schema, "maxProperties", _MAX_ITEMS)
        names = [name for name in properties if name in required]
        names += [name for name in required if name not in properties]
        if len(names) != len(set(names)):
            names = list(dict.fromkeys(names))
        for name in properties:
            wanted = self.free(depth) or len(names) < least
            if name not in names and wanted and len(names) < most and self.height(properties[name]) < _ENDLESS:
                names.append(name)
        filled = {name: self.value(properties.get(name, extra), depth + 1) for name in _in_order(names, properties)}
        if not properties and isinstance(extra, dict) and self.free(depth) and self.height(extra) < _ENDLESS:
            least = max(least, min(most, len(filled) + 2))
        if extra is False and len(filled) < least:
            raise SchemaError("`minProperties` is more than the properties that are allowed")
        while len(filled) < least:
            filled[phrase(self.dice.bits().to_bytes(8, "big"), 2).replace(" ", "_")] = self.value(extra, depth + 1)
        if len(filled) > most:
            raise SchemaError("`maxProperties` is less than the properties that are required")
        return filled

    def array_value(self, schema: Schema, depth: int) -> list[Any]:
        prefix, items = _prefix(schema), schema.get("items", True)
        if isinstance(items, list):  # the older spelling of prefixItems
            items = schema.get("additionalItems", True)
        least, most = _count(schema, "minItems", 0), _count(schema, "maxItems", _MAX_ITEMS)
        if least > min(most, _MAX_ITEMS):
            raise SchemaError(f"no array has {least} or more and {most} or fewer items here")
        wanted = max(least, len(prefix) or self.dice.between(1, 3)) if self.free(depth) else least
        unique, found = schema.get("uniqueItems") is True, list[Any]()
        for at in range(min(wanted, most)):
            part = prefix[at] if at < len(prefix) else items
            if self.height(part) >= _ENDLESS:
                break
            item = self.value(part, depth + 1)
            tries = 0
            while unique and item in found and tries < 200:
                item = self.value(part, depth + 1)
                tries += 1
            if unique and item in found:
                break
            found.append(item)
        if len(found) < least:
            raise SchemaError(f"the mock found only {len(found)} of {least} items for an array")
        return found


def _checked(schema: Schema) -> Schema:
    """Return the schema if the keywords that the sampler reads have values of their kind."""
    for name in _SHAPES.keys() & schema.keys():
        value = schema[name]
        if not isinstance(value, _SHAPES[name]) or (isinstance(value, bool) and bool not in _SHAPES[name]):
            raise SchemaError(f"`{name}` cannot be {value!r}")
        if name in _NOT_EMPTY and not value:
            raise SchemaError(f"`{name}` must not be empty")
    if not all(isinstance(name, str) for name in schema.get("required", ())):
        raise SchemaError("`required` must be a list of names")
    return schema


def _listed(schema: Schema) -> list[Any]:
    """Return the values that `enum` and `const` allow and whose type is allowed."""
    values = [schema["const"]] if "const" in schema else schema["enum"]
    if "enum" in schema:
        values = [value for value in values if value in schema["enum"]]
    if "type" in schema:
        kinds = _kinds(schema)
        values = [value for value in values if any(_is_kind(value, kind) for kind in kinds)]
    if not values:
        raise SchemaError("no value of `enum` or `const` has the type that is asked for")
    return values


def _is_kind(value: object, kind: str) -> bool:
    match kind:
        case "integer":
            return isinstance(value, int | float) and not isinstance(value, bool) and value == int(value)
        case "number":
            return isinstance(value, int | float) and not isinstance(value, bool)
    return isinstance(value, _TYPES.get(kind, ()))


def _kinds(schema: Schema) -> list[str]:
    """Return the types that a schema allows, guessed from its keywords when it does not say."""
    kinds = schema.get("type")
    if isinstance(kinds, str):
        return [kinds]
    if isinstance(kinds, list) and kinds and all(isinstance(kind, str) for kind in kinds):
        return kinds
    if kinds is not None:
        raise SchemaError("`type` must be a name or a list of names")
    for kind, names in (("object", _OBJECT_KEYS), ("array", _ARRAY_KEYS), ("number", _NUMBER_KEYS)):
        if any(name in schema for name in names):
            return [kind]
    return ["string"]


def _prefix(schema: Schema) -> list[Any]:
    for name in ("prefixItems", "items"):
        if isinstance(found := schema.get(name), list):
            return found
    return []


def _count(schema: Schema, name: str, default: int) -> int:
    return int(schema.get(name, default))


def _in_order(names: list[str], properties: Schema) -> list[str]:
    """Sort the names as the schema lists them, as models do; names that it does not list come last."""
    return [name for name in properties if name in names] + [name for name in names if name not in properties]


def _merged(one: Schema, other: Schema) -> Schema:
    """Return a schema that allows what both allow, as far as keywords can say it."""
    merged = dict(one)
    for name, value in other.items():
        if name not in merged or merged[name] == value:
            merged[name] = value
        elif name == "properties":
            both = merged[name]
            merged[name] = both | {
                key: {"allOf": [both[key], part]} if key in both else part for key, part in value.items()
            }
        elif name in ("anyOf", "oneOf"):
            pairs = [{"allOf": [left, right]} for left in merged[name] for right in value]
            if len(pairs) > _MAX_BRANCHES:
                raise SchemaError(f"the mock cannot combine so many branches of `{name}`")
            merged[name] = pairs
        elif name in ("allOf", "$ref"):
            merged["allOf"] = [*merged.get("allOf", ()), *(value if name == "allOf" else [{name: value}])]
        else:
            merged[name] = _both(name, merged[name], value)
    return merged


def _both(name: str, one: Any, other: Any) -> Any:
    """Combine two values of one keyword."""
    if name == "required":
        return [*one, *(item for item in other if item not in one)]
    if name == "type":
        ones, others = _kinds({name: one}), _kinds({name: other})
        common = [kind for kind in ones if kind in others]
        if not common and {"integer", "number"} <= {*ones, *others}:
            common = ["integer"]
        if not common:
            raise SchemaError(f"no value has the type {one!r} and the type {other!r}")
        return common
    if name == "const":
        raise SchemaError(f"no value is both {one!r} and {other!r}")
    if name == "enum":
        return [value for value in one if value in other]
    if isinstance(one, bool) or isinstance(other, bool):
        return other  # the older spelling of an exclusive limit
    if name in _LARGER:
        return max(one, other)
    if name in _SMALLER:
        return min(one, other)
    if name in ("items", "additionalProperties"):
        return {"allOf": [one, other]}
    return other
