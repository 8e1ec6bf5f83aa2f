"""Answers against JSON schemas and pydantic models: what is found, and that nothing is fetched."""

from __future__ import annotations

import socket
import sys
from typing import Any

import pytest
from pydantic import BaseModel

from flexllm_batch.contracts.schema_check import schema_check
from flexllm_core.errors import ConfigError, MissingExtraError

pytest.importorskip("jsonschema", reason="the extra `schema`")

SCHEMA = {
    "type": "object",
    "properties": {"city": {"type": "string"}, "size": {"$ref": "#/$defs/size"}},
    "required": ["city"],
    "$defs": {"size": {"type": "integer", "minimum": 0}},
}


class City(BaseModel):
    """A model class as users write them."""

    city: str
    size: int = 0


@pytest.mark.parametrize("schema", [SCHEMA, City])
def test_an_answer_that_fits_has_no_problem(schema: Any) -> None:
    """Local references included."""
    assert schema_check(schema).problem('{"city": "Bern", "size": 3}') is None


@pytest.mark.parametrize("schema", [SCHEMA, City])
@pytest.mark.parametrize(
    "answer",
    [
        "",
        "Bern",
        "[]",
        "{}",
        '{"city": 1}',
        '{"city": "Bern", "size": "big"}',
        '{"city": "Bern"',
        '```json\n{"city": "Bern"}\n```',
        '{"city": "Bern", "size": NaN}',
        '{"city": "Bern"} and more',
        '{"city": ' + "[" * 100_000,
        "\ud83d",
    ],
)
def test_an_answer_that_does_not_fit_has_one(schema: Any, answer: str) -> None:
    """Whatever a model writes: a text of bounded length, and no exception."""
    problem = schema_check(schema).problem(answer)
    assert problem
    assert len(problem) < 2000


def test_the_problem_says_where_and_what() -> None:
    """For the model to mend it; several at once."""
    problem = schema_check(SCHEMA).problem('{"city": 1, "size": -1}')
    assert problem is not None
    assert "$.city: 1 is not of type 'string'" in problem
    assert "$.size: -1 is less than the minimum of 0" in problem
    problem = schema_check(City).problem('{"size": "big"}')
    assert problem is not None
    assert "$.city: Field required" in problem
    assert "$.size: " in problem


def test_a_huge_value_is_not_quoted_whole() -> None:
    """The message goes into a prompt."""
    problem = schema_check({"type": "integer"}).problem('"' + "x" * 1_000_000 + '"')
    assert problem is not None
    assert len(problem) < 400


@pytest.mark.parametrize(
    ("kind", "good", "bad"),
    [
        ("date", "2026-02-28", "2026-02-30"),
        ("date-time", "2026-02-28T10:00:00Z", "2026-02-28"),
        ("email", "a@b.example", "nobody"),
        ("ipv4", "127.0.0.1", "127.0.0.256"),
        ("uuid", "123e4567-e89b-12d3-a456-426614174000", "123"),
    ],
)
def test_formats_are_checked(kind: str, good: str, bad: str) -> None:
    """Those that need no further library."""
    check = schema_check({"type": "string", "format": kind})
    assert check.problem(f'"{good}"') is None
    assert check.problem(f'"{bad}"') is not None


@pytest.mark.parametrize("reference", ["http://127.0.0.1:1/x.json", "file:///etc/passwd", "other.json", "#/$defs/none"])
def test_a_reference_to_what_is_not_there_is_refused(reference: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before anything is sent; nothing is fetched or read."""

    def never(*_: object) -> None:
        raise AssertionError("it tried to reach somebody")

    monkeypatch.setattr(socket.socket, "connect", never)
    with pytest.raises(ConfigError, match="never fetched"):
        schema_check({"type": "object", "properties": {"a": {"$ref": reference}}})


def test_a_name_that_only_looks_like_a_reference_is_none() -> None:
    """`$ref` as a property's name, or inside data."""
    schema = {"properties": {"$ref": {"type": "string"}}, "enum": [{"$ref": "http://example.com"}]}
    assert schema_check(schema).problem('{"$ref": "http://example.com"}') is None


def test_schemas_that_end_nowhere_end() -> None:
    """A reference to itself is a problem of the answer, not a crash."""
    assert schema_check({"$ref": "#"}).problem("1") == "it is nested too deeply"


@pytest.mark.parametrize("schema", [{"type": "text"}, {"pattern": "("}, "{}", 3, [], int])
def test_what_is_no_schema_is_refused(schema: Any) -> None:
    """With what is wrong with it."""
    with pytest.raises(ConfigError, match="schema is"):
        schema_check(schema)


def test_the_schema_is_asked_for_strictly_only_where_it_is_strict() -> None:
    """Servers refuse `strict` for schemas that leave something open."""
    strict = {
        "type": "object",
        "properties": {"a": {"type": "array", "items": {"type": "integer"}}},
        "required": ["a"],
        "additionalProperties": False,
    }
    assert schema_check(strict).response_format["json_schema"] == {"name": "answer", "schema": strict, "strict": True}
    assert "strict" not in schema_check(SCHEMA).response_format["json_schema"]
    inner = {**strict, "properties": {"a": {"type": "object", "properties": {"b": {}}}}}
    assert "strict" not in schema_check(inner).response_format["json_schema"]
    assert schema_check(City).response_format["json_schema"]["name"] == "City"


def test_a_json_schema_without_the_library_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    """A model class needs none."""
    monkeypatch.setitem(sys.modules, "jsonschema", None)
    with pytest.raises(MissingExtraError, match=r"flexllm-batch\[schema\]"):
        schema_check(SCHEMA)
    assert schema_check(City).problem("{}") is not None
