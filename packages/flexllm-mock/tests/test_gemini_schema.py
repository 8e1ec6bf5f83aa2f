"""Gemini's schemas as JSON schemas."""

from __future__ import annotations

import pytest

from flexllm_mock.gemini.schema import json_schema
from flexllm_mock.scalars import SchemaError
from flexllm_mock.schemas import instance


@pytest.mark.parametrize(
    ("schema", "expected"),
    [
        ({"type": "STRING", "maxLength": "5"}, {"type": "string", "maxLength": 5}),
        ({"type": "string", "format": "date-time"}, {"type": "string", "format": "date-time"}),
        ({"type": "STRING", "format": "enum", "enum": ["a"]}, {"type": "string", "enum": ["a"]}),
        ({"type": "INTEGER", "format": "int32", "title": "t", "example": 5}, {"type": "integer"}),
        ({"type": "STRING", "nullable": True}, {"anyOf": [{"type": "string"}, {"type": "null"}]}),
        ({"any_of": [{"type": "NUMBER"}, {"type": "NULL"}]}, {"anyOf": [{"type": "number"}, {"type": "null"}]}),
        ({"type": "ARRAY", "min_items": 1, "items": {}}, {"type": "array", "minItems": 1, "items": {}}),
        (
            {"type": "OBJECT", "properties": {"min_items": {"type": "BOOLEAN"}}, "required": ["min_items"]},
            {"type": "object", "properties": {"min_items": {"type": "boolean"}}, "required": ["min_items"]},
        ),
        (
            {"ref": "#/$defs/a", "defs": {"a": {"type": "NULL"}}},
            {"$ref": "#/$defs/a", "$defs": {"a": {"type": "null"}}},
        ),
    ],
)
def test_schema_is_translated(schema, expected):
    """Types, counts, null and spelling become JSON schema's; names of properties stay as they are."""
    assert json_schema(schema) == expected


def test_recursive_schema_has_a_value():
    """References within a translated schema lead somewhere."""
    node = {"type": "OBJECT", "properties": {"next": {"ref": "#/$defs/node", "nullable": True}}, "required": ["next"]}
    value = instance(json_schema({"ref": "#/$defs/node", "defs": {"node": node}}), b"key")
    while value is not None:
        assert set(value) == {"next"}
        value = value["next"]


def nested(depth):
    return {"items": nested(depth - 1)} if depth else {}


@pytest.mark.parametrize("schema", [5, None, {"type": 5}, {"minItems": True}, {"minItems": "-1"}, nested(70)])
def test_what_is_no_schema_is_refused(schema):
    """What cannot be a schema, or nests too deeply, is a SchemaError."""
    with pytest.raises(SchemaError):
        json_schema(schema)
