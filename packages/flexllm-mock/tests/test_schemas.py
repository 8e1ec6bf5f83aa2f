"""Values for JSON schemas."""

from __future__ import annotations

import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from flexllm_mock.scalars import SchemaError
from flexllm_mock.schemas import instance

KEYS = [number.to_bytes(2, "big") for number in range(40)]
NAMES = st.sampled_from(["a", "b", "c", "d"])


def scalars():
    limits = st.integers(-50, 50)
    numbers = st.builds(
        lambda kind, low, span, step: {"type": kind, "minimum": low, "maximum": low + span, **step},
        st.sampled_from(["integer", "number"]),
        limits,
        st.integers(10, 60),
        st.sampled_from([{}, {"multipleOf": 5}, {"multipleOf": 2.5}]),
    )
    strings = st.builds(
        lambda least, span: {"type": "string", "minLength": least, "maxLength": least + span},
        st.integers(0, 60),
        st.integers(0, 30),
    )
    return st.one_of(
        numbers,
        strings,
        st.sampled_from([{"type": "boolean"}, {"type": "null"}, {}, True, {"const": {"x": [1]}}]),
        st.sampled_from([{"enum": [1, "two", None, [3]]}, {"type": ["string", "null"]}, {"exclusiveMinimum": 0}]),
    )


def composed(inner):
    objects = st.builds(
        lambda properties, required, extra: {
            "type": "object",
            "properties": properties,
            "required": [name for name in required if name in properties],
            "additionalProperties": extra,
        },
        st.dictionaries(NAMES, inner, max_size=4),
        st.lists(NAMES, unique=True, max_size=3),
        st.one_of(st.booleans(), inner),
    )
    arrays = st.builds(
        lambda items, prefix, least, span: {
            "type": "array",
            "items": items,
            "prefixItems": prefix,
            "minItems": least,
            "maxItems": least + span,
        },
        inner,
        st.lists(inner, max_size=2),
        st.integers(0, 3),
        st.integers(0, 3),
    )
    unions = st.builds(lambda parts, name: {name: parts}, st.lists(inner, min_size=1, max_size=3), st.just("anyOf"))
    return st.one_of(objects, arrays, unions)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(schema=st.recursive(scalars(), composed, max_leaves=12), key=st.binary(max_size=8))
def test_values_satisfy_any_schema(broken_by, schema, key):
    """Whatever the schema is made of, the value satisfies it, and the same key gives the same value."""
    value = instance(schema, key)
    assert broken_by(schema, value) == []
    assert json.loads(json.dumps(value)) == value
    assert instance(schema, key) == value


NODE = {
    "type": "object",
    "properties": {
        "value": {"type": "integer"},
        "left": {"anyOf": [{"$ref": "#/$defs/node"}, {"type": "null"}]},
        "kids": {"type": "array", "items": {"$ref": "#/$defs/node"}},
    },
    "required": ["value", "left", "kids"],
    "additionalProperties": False,
}
EXPRESSION = {
    "$ref": "#/definitions/e",
    "definitions": {
        "e": {
            "oneOf": [
                {
                    "type": "object",
                    "properties": {
                        "op": {"enum": ["+", "-"]},
                        "left": {"$ref": "#/definitions/e"},
                        "right": {"$ref": "#/definitions/e"},
                    },
                    "required": ["op", "left", "right"],
                },
                {"type": "object", "properties": {"number": {"type": "number"}}, "required": ["number"]},
            ]
        }
    },
}


@pytest.mark.parametrize(
    "schema",
    [
        {"$ref": "#/$defs/node", "$defs": {"node": NODE}},
        EXPRESSION,
        {"$ref": "#/x~1y/a~0b", "x/y": {"a~b": {"const": 1}}},
    ],
)
def test_references_and_recursion(broken_by, schema):
    """Local references are followed, and recursive schemas get finite values."""
    for key in KEYS:
        value = instance(schema, key)
        assert broken_by(schema, value) == []
        assert len(json.dumps(value)) < 100_000


@pytest.mark.parametrize(
    "schema",
    [
        {
            "allOf": [
                {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]},
                {"properties": {"a": {"minimum": 500}, "b": {"const": 1}}, "required": ["b"]},
            ]
        },
        {
            "type": "object",
            "properties": {"a": {"const": 1}, "b": {"const": 2}},
            "anyOf": [{"required": ["a"]}, {"required": ["b"]}],
        },
        {"allOf": [{"type": "number"}, {"type": "integer", "maximum": 3}, {"maximum": 9}]},
        {"allOf": [{"enum": [1, 2, 3]}, {"enum": [3, 4]}]},
        {"allOf": [{"anyOf": [{"const": 1}]}, {"anyOf": [{"const": 1}, {"const": 1}]}]},
        {"allOf": [{"anyOf": [{"const": 1}, {"const": 2}]}, {"oneOf": [{"const": 2}, {"const": 3}]}]},
        {"type": "string", "enum": [1, "two", None, "three"]},
        {"type": "integer", "enum": [1, 1.5, True]},
        {"anyOf": [{"not": {}}, {"type": "null"}]},
        {"$ref": "#/$defs/s", "minLength": 30, "$defs": {"s": {"type": "string", "minLength": 5}}},
        {"allOf": [{"items": {"type": "integer"}, "minItems": 2}, {"items": {"minimum": 7}}]},
    ],
)
def test_combined_schemas(broken_by, schema):
    """allOf, and keywords beside anyOf and $ref, all hold at once."""
    for key in KEYS:
        assert broken_by(schema, instance(schema, key)) == []


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "array", "items": {"enum": [1, 2, 3]}, "uniqueItems": True, "minItems": 3, "maxItems": 3},
        {"type": "array", "items": False, "prefixItems": [{"const": 1}, {"const": 2}]},
        {"type": "object", "minProperties": 3, "additionalProperties": {"type": "boolean"}},
        {"type": "object", "properties": {"a": True, "b": True, "c": True}, "maxProperties": 1, "required": ["c"]},
        {"type": "object", "required": ["zebra", "zebra"]},
        {"type": "integer", "exclusiveMinimum": 3, "exclusiveMaximum": 5},
        {"type": "number", "multipleOf": 0.01, "minimum": 0.015, "maximum": 0.02},
        {"type": "integer", "multipleOf": 2.5, "minimum": 1},
        {"type": "integer", "maximum": -1000},
        {"type": "integer", "minimum": 10**20},
        {"type": "number", "minimum": 0, "maximum": 0},
        {"minItems": 1},
        {"minLength": 3},
        {"properties": {"a": {"const": 1}}, "required": ["a"]},
        {"type": "string", "maxLength": 0},
        {"type": "string", "format": "uuid", "maxLength": 5},
    ],
)
def test_limits_hold(broken_by, schema):
    """Limits of numbers, strings, arrays and objects hold at their edges."""
    for key in KEYS:
        assert broken_by(schema, instance(schema, key)) == []


def test_old_spellings():
    """Drafts before 6 and before 2020 are understood: boolean exclusive limits, and items as a list."""
    for key in KEYS:
        assert 3 < instance({"type": "integer", "minimum": 3, "exclusiveMinimum": True, "maximum": 5}, key) <= 5
        pair = instance({"type": "array", "items": [{"const": "a"}, {"type": "null"}], "additionalItems": False}, key)
        assert pair == ["a", None]


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("date", r"\d{4}-\d\d-\d\d"),
        ("time", r"\d\d:\d\d:\d\dZ"),
        ("date-time", r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ"),
        ("duration", r"PT\d+M"),
        ("email", r"\w+@example\.com"),
        ("hostname", r"\w+\.example\.com"),
        ("ipv4", r"192\.0\.2\.\d+"),
        ("ipv6", r"2001:db8::[0-9a-f]+"),
        ("uri", r"https://example\.com/\w+"),
        ("uri-reference", r"/\w+"),
        ("uuid", r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-a[0-9a-f]{3}-[0-9a-f]{12}"),
        ("unheard-of", r"[\w ]+"),
    ],
)
def test_formats(name, shape):
    """The formats that JSON schema names give texts of their form."""
    import re

    for key in KEYS:
        assert re.fullmatch(shape, instance({"type": "string", "format": name}, key))


@pytest.mark.parametrize(
    ("schema", "problem"),
    [
        (False, "no value"),
        (3, "must be an object or a boolean"),
        ({"$ref": "#/$defs/none"}, "leads nowhere"),
        ({"$ref": "https://example.com/x"}, "local references"),
        ({"$ref": "#"}, "circle"),
        ({"type": "object", "properties": {"a": {"$ref": "#"}}, "required": ["a"]}, "for ever"),
        ({"anyOf": [False]}, "no branch"),
        ({"anyOf": []}, "empty"),
        ({"anyOf": [{"type": "string"}], "type": "null"}, "the type"),
        ({"allOf": [{"const": 1}, {"const": 2}]}, "both 1 and 2"),
        ({"type": "string", "enum": [1]}, "`enum`"),
        ({"enum": []}, "empty"),
        ({"type": "any"}, "not a type"),
        ({"type": 5}, "`type`"),
        ({"required": [1]}, "names"),
        ({"required": True}, "`required`"),
        ({"properties": []}, "`properties`"),
        ({"minItems": "2"}, "`minItems`"),
        ({"not": {}}, "`not`"),
        ({"type": "integer", "minimum": 3, "maximum": 2}, "between the limits"),
        ({"type": "number", "exclusiveMinimum": 3, "maximum": 3}, "between the limits"),
        ({"type": "number", "multipleOf": 0}, "`multipleOf`"),
        ({"type": "number", "multipleOf": "x"}, "`multipleOf`"),
        ({"type": "string", "minLength": 3, "maxLength": 2}, "characters"),
        ({"type": "string", "minLength": 10**9}, "characters"),
        ({"type": "array", "minItems": 10**9}, "items"),
        ({"type": "array", "items": False, "minItems": 1}, "0 of 1"),
        ({"type": "array", "items": {"const": 1}, "uniqueItems": True, "minItems": 2}, "1 of 2"),
        ({"type": "object", "additionalProperties": False, "minProperties": 1}, "minProperties"),
        ({"type": "object", "required": ["a", "b"], "maxProperties": 1}, "maxProperties"),
        ({"allOf": [{"type": "string"}, {"type": "null"}]}, "the type"),
        ({"type": "string", "pattern": "("}, "pattern"),
        ({"type": "string", "pattern": 1}, "`pattern`"),
        ({"type": "string", "pattern": "^a$", "minLength": 2}, "pattern"),
    ],
)
def test_schema_without_a_value_says_why(schema, problem):
    """A schema that is wrong, unsatisfiable or unsupported raises an error that says why."""
    with pytest.raises(SchemaError) as caught:
        instance(schema, b"key")
    assert problem in str(caught.value)


def test_hostile_schema_ends_soon():
    """Schemas that branch without end are refused instead of keeping the server busy."""
    wide = {"type": "object", "properties": {f"p{n}": {"$ref": "#"} for n in range(50)}}
    assert isinstance(instance(wide, b"k"), dict)
    wide["required"] = list(wide["properties"])
    with pytest.raises(SchemaError):
        instance(wide, b"k")
    knot = {"$defs": {f"d{n}": {"anyOf": [{"$ref": f"#/$defs/d{m}"} for m in range(25)]} for n in range(25)}}
    with pytest.raises(SchemaError):
        instance({**knot, "$ref": "#/$defs/d0"}, b"k")
    large = {"type": "array", "minItems": 9000, "items": {"type": "array", "minItems": 9000}}
    with pytest.raises(SchemaError):
        instance(large, b"k")
    with pytest.raises(SchemaError):
        instance({"type": "string", "pattern": "((a{9999}){9999}){9999}"}, b"k")
