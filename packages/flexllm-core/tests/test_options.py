"""Options of a call: known names, one form, and schemas that strict servers accept."""

from __future__ import annotations

from typing import Any, Generic, TypeVar

import pytest
from pydantic import BaseModel, Field

from flexllm_core.errors import ConfigError
from flexllm_core.options import (
    CHAT_OPTION_NAMES,
    params_from_options,
    request_from_options,
    response_format_dict,
    unknown_name_message,
)

T = TypeVar("T")


def test_an_unknown_option_is_refused_with_a_suggestion() -> None:
    """A typo in a script that is not type-checked does not pass silently."""
    with pytest.raises(ConfigError, match="unknown option 'temprature'; did you mean 'temperature'"):
        params_from_options({"temprature": 1})


def test_params_leave_out_what_is_no_param() -> None:
    """Model and headers are no params; None is no value."""
    options = {"model": "m", "extra_headers": {"a": "b"}, "temperature": 1, "seed": None, "thinking": "high"}
    assert params_from_options(options) == {"temperature": 1.0, "thinking": "high"}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("thinking", "hard"),
        ("thinking", 0),
        ("response_format", "json"),
        ("response_format", int),
        ("extra_body", [1]),
        ("extra_body", "x"),
        ("extra_headers", ["a"]),
        ("extra_headers", {"a": 1}),
    ],
)
def test_a_value_of_the_wrong_type_is_a_config_error_that_names_the_option(name: str, value: Any) -> None:
    """Options of rows and files are not type-checked by anybody else."""
    with pytest.raises(ConfigError, match=name):
        params_from_options({name: value})


def test_the_options_model_wins_over_the_clients() -> None:
    """And the client's is used where the options name none."""
    messages = [{"role": "user", "content": "hi"}]
    assert request_from_options(messages, {"model": "a"}, "b").model == "a"
    assert request_from_options(messages, {"model": None}, "b").model == "b"
    assert request_from_options(messages, {"extra_headers": {"a": "b"}}, None).extra_headers == {"a": "b"}


def test_every_option_is_accepted_by_name() -> None:
    """The list of names is the TypedDict's."""
    assert params_from_options(dict.fromkeys(CHAT_OPTION_NAMES)) == {}


class Inner(BaseModel):
    """A model used by reference."""

    default: str = "x"  # a property that is called like a keyword of JSON schema
    size: int | None = None


class Outer(BaseModel):
    """A model with everything that strict mode is particular about."""

    inner: Inner = Field(description="described")
    many: list[Inner] = []
    maybe: Inner | None = None
    properties: str = "y"


class Box(BaseModel, Generic[T]):
    """A generic model, whose name holds brackets."""

    item: T


def objects(schema: Any) -> list[dict[str, Any]]:
    """Every object schema inside `schema`, by JSON schema's own keywords."""
    found = [schema] if "properties" in schema else []
    for key in ("properties", "$defs"):
        for inner in schema.get(key, {}).values():
            found += objects(inner)
    for inner in (*schema.get("anyOf", ()), *([schema["items"]] if "items" in schema else ())):
        found += objects(inner)
    return found


def test_a_model_class_becomes_a_strict_schema() -> None:
    """Every property required, no others allowed, no defaults, at every level: strict servers refuse the rest."""
    out = response_format_dict(Outer)
    assert (out["type"], out["json_schema"]["name"], out["json_schema"]["strict"]) == ("json_schema", "Outer", True)
    schema = out["json_schema"]["schema"]
    found = objects(schema)
    assert len(found) == 2
    for each in found:
        assert each["required"] == list(each["properties"])
        assert each["additionalProperties"] is False
        assert all("default" not in inner for inner in each["properties"].values())
    assert schema["properties"]["inner"] == {"$ref": "#/$defs/Inner"}
    assert list(schema["$defs"]["Inner"]["properties"]) == ["default", "size"]


def test_the_name_of_a_schema_is_one_that_servers_accept() -> None:
    """Letters, digits, underscore and hyphen; 64 at most."""
    assert response_format_dict(Box[int])["json_schema"]["name"] == "Box_int_"
    long = type("A" * 100, (BaseModel,), {"__annotations__": {"a": int}, "__module__": __name__})
    assert response_format_dict(long)["json_schema"]["name"] == "A" * 64


def test_a_dict_is_passed_on_as_it_is() -> None:
    """Who writes the format out gets exactly that, in a copy."""
    given = {"type": "json_object"}
    assert response_format_dict(given) == given
    assert response_format_dict(given) is not given


@pytest.mark.parametrize(
    "name", [5, None, ("a",), pytest.param(10**5000, id="huge"), pytest.param("x" * 1000, id="long")]
)
def test_a_name_from_a_file_may_be_anything(name: Any) -> None:
    """The message stays short whatever stands there."""
    assert len(unknown_name_message("key", name, ["a"])) < 200


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("stream", "call chat_stream or chat_completions_stream instead"),
        ("timeout", "it is a setting of the client, not of a call"),
        ("api_key", "it is a setting of the client, not of a call"),
    ],
)
def test_an_option_that_belongs_elsewhere_says_where(name: str, hint: str) -> None:
    """Names that other libraries take in a call."""
    with pytest.raises(ConfigError, match=f"unknown option '{name}'; {hint}"):
        params_from_options({name: 1})
