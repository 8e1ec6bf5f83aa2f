"""Turns Gemini's schemas, a part of OpenAPI's, into JSON schemas."""

from __future__ import annotations

from typing import Any

from flexllm_mock.gemini.fields import camel_case
from flexllm_mock.scalars import SchemaError

_SAME = ("enum", "pattern", "minimum", "maximum", "required", "additionalProperties")
_COUNTS = ("minItems", "maxItems", "minLength", "maxLength", "minProperties", "maxProperties")
_TYPES = ("string", "number", "integer", "boolean", "array", "object", "null")
_FORMATS = ("date-time", "date", "time", "duration")
_MAX_DEPTH = 60


def json_schema(schema: object, depth: int = 0) -> Any:
    """Return the JSON schema for a Gemini schema.

    Types may be in upper or lower case, names in either spelling, and counts may be strings; `nullable` becomes a type.
    References (`ref`, `defs`) stay JSON schema's. Raises SchemaError.
    """
    if not isinstance(schema, dict):
        raise SchemaError(f"a schema must be an object, not {type(schema).__name__}")
    if depth > _MAX_DEPTH:
        raise SchemaError("the schema nests too deeply")
    given = {camel_case(name): value for name, value in schema.items() if value is not None}
    found: dict[str, Any] = {name: given[name] for name in _SAME if name in given}
    found |= {name: _count(given[name], name) for name in _COUNTS if name in given}
    if given.get("format") in _FORMATS:
        found["format"] = given["format"]
    if "type" in given:
        found["type"] = _type(given["type"])
    if "properties" in given:
        found["properties"] = _each(given["properties"], depth)
    if "items" in given:
        found["items"] = json_schema(given["items"], depth + 1)
    if "anyOf" in given:
        found["anyOf"] = [json_schema(branch, depth + 1) for branch in _branches(given["anyOf"])]
    for name, other in (("ref", "$ref"), ("$ref", "$ref")):
        if name in given:
            found[other] = given[name]
    for name in ("defs", "$defs"):
        if name in given:
            found["$defs"] = _each(given[name], depth)
    return _nullable(found) if given.get("nullable") is True else found


def _nullable(schema: dict[str, Any]) -> dict[str, Any]:
    return {"anyOf": [schema, {"type": "null"}]}


def _type(name: object) -> str:
    known = name.lower() if isinstance(name, str) else ""
    if known not in _TYPES:
        raise SchemaError(f"{name!r} is not a type")
    return known


def _count(value: object, name: str) -> int:
    # 64-bit integers are strings in Google's JSON.
    if isinstance(value, str) and value.isdecimal() and len(value) < 10:
        return int(value)
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    raise SchemaError(f"`{name}` must be an integer")


def _each(schemas: object, depth: int) -> dict[str, Any]:
    if not isinstance(schemas, dict):
        raise SchemaError("`properties` must be an object")
    return {name: json_schema(schema, depth + 1) for name, schema in schemas.items()}


def _branches(branches: object) -> list[Any]:
    if not isinstance(branches, list):
        raise SchemaError("`anyOf` must be a list")
    return branches
