"""Checks an answer against a schema: a JSON schema (extra `schema`), or a pydantic model class."""

from __future__ import annotations

import datetime
import itertools
import json
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, NoReturn, Protocol

from flexllm_core.errors import ConfigError, MissingExtraError
from flexllm_core.options import response_format_dict

if TYPE_CHECKING:
    from pydantic import BaseModel

_MAX_PROBLEMS = 5
_MAX_PROBLEM = 300  # characters: messages quote the value, which may be as long as an answer
_DATA_KEYWORDS = frozenset({"const", "enum", "default", "examples"})


class SchemaCheck(Protocol):
    """Tells what is wrong with an answer."""

    @property
    def response_format(self) -> dict[str, Any]:
        """The schema as OpenAI's `response_format` asks for it."""
        ...

    def problem(self, text: str) -> str | None:
        """What is wrong with an answer; None if it is as the schema wants it."""
        ...


def schema_check(schema: object) -> SchemaCheck:
    """The check of a JSON schema (a mapping) or of a pydantic model class.

    Raises:
        ConfigError: It is neither, no valid schema, or refers to another document, which is never fetched.
        MissingExtraError: It is a JSON schema, and `jsonschema` is not installed.
    """
    if isinstance(schema, type) and hasattr(schema, "model_validate_json"):
        return ModelCheck(schema)
    if isinstance(schema, Mapping):
        return JsonSchemaCheck(schema)
    found = schema.__name__ if isinstance(schema, type) else type(schema).__name__
    raise ConfigError(f"schema is {found}; expected a JSON schema as a mapping, or a pydantic model class")


class ModelCheck:
    """The check of a pydantic model class."""

    def __init__(self, model: type[BaseModel]) -> None:
        self._model = model
        self.response_format = response_format_dict(model)

    def problem(self, text: str) -> str | None:
        """What is wrong with an answer."""
        from pydantic import ValidationError

        try:
            self._model.model_validate_json(text)
        except ValidationError as error:
            details = error.errors(include_url=False, include_context=False, include_input=False)
            return _listed(f"{_path(each['loc'])}: {each['msg']}" for each in details)
        except RecursionError:
            return "it is nested too deeply"
        except UnicodeEncodeError:
            return "it holds half of a character (a lone surrogate)"
        return None


class JsonSchemaCheck:
    """The check of a JSON schema; the draft is the one that `$schema` names, else 2020-12."""

    def __init__(self, schema: Mapping[str, Any]) -> None:
        try:
            import jsonschema  # optional, and takes time to load
            from jsonschema_specifications import REGISTRY
        except ImportError:
            raise MissingExtraError(
                "a JSON schema needs the extra `schema`: pip install 'flexllm-batch[schema]'"
            ) from None
        validator = jsonschema.validators.validator_for(schema, default=jsonschema.Draft202012Validator)
        try:
            validator.check_schema(dict(schema))
        except jsonschema.SchemaError as error:
            raise ConfigError(f"the schema is not valid at {error.json_path}: {_cut(error.message)}") from None
        formats = jsonschema.FormatChecker(validator.FORMAT_CHECKER.checkers)
        formats.checks("date-time", ValueError)(_is_date_time)
        # With a registry of its own the library fetches nothing: only the schema itself and the drafts are known.
        self._validator = validator(schema, registry=REGISTRY, format_checker=formats)
        self._refuse_foreign_references(schema)
        self.response_format = _response_format(schema)

    def _refuse_foreign_references(self, schema: Mapping[str, Any]) -> None:
        from jsonschema_specifications import REGISTRY
        from referencing.exceptions import Unresolvable
        from referencing.jsonschema import specification_with

        dialect = str(self._validator.META_SCHEMA.get("$schema", ""))
        resource = specification_with(dialect).create_resource(schema)
        resolver = REGISTRY.with_resource(resource.id() or "", resource).crawl().resolver(resource.id() or "")
        for reference in _references(schema):
            try:
                resolver.lookup(reference)
            except (Unresolvable, ValueError):
                raise ConfigError(
                    f"the schema refers to {_cut(reference)!r}, which is not in it; other documents are never fetched: "
                    "put the definition into `$defs`"
                ) from None

    def problem(self, text: str) -> str | None:
        """What is wrong with an answer."""
        if not text.strip():
            return "it is empty"
        try:
            value = json.loads(text, parse_constant=_refuse_constant)
        except ValueError as error:
            return f"it is not JSON: {_cut(str(error))}"
        except RecursionError:
            return "it is nested too deeply"
        from referencing.exceptions import Unresolvable

        try:
            errors = self._validator.iter_errors(value)
            return _listed(f"{error.json_path}: {error.message}" for error in errors)
        except RecursionError:
            return "it is nested too deeply"
        except Unresolvable as error:
            raise ConfigError(f"the schema refers to what is not in it: {_cut(str(error))}") from None


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not in JSON")


def _is_date_time(value: object) -> bool:
    """RFC 3339, as far as the standard library reads it: a date, a time and an offset."""
    if not isinstance(value, str):
        return True
    return "T" in value.upper() and datetime.datetime.fromisoformat(value).tzinfo is not None


def _references(schema: object) -> Iterator[str]:
    """Every `$ref` of a schema, without values that are only data and documents in it with an `$id` of their own."""
    todo = [schema]
    while todo:
        part = todo.pop()
        if isinstance(part, list):
            todo += part
        elif isinstance(part, Mapping) and (part is schema or "$id" not in part):
            reference = part.get("$ref")
            if isinstance(reference, str):
                yield reference
            todo += [value for key, value in part.items() if key not in _DATA_KEYWORDS]


def _response_format(schema: Mapping[str, Any]) -> dict[str, Any]:
    """`strict` is asked for where the schema is already as it demands; otherwise servers would refuse it."""
    named: dict[str, Any] = {"name": "answer", "schema": dict(schema)}
    if _is_strict(schema):
        named["strict"] = True
    return {"type": "json_schema", "json_schema": named}


def _is_strict(schema: Mapping[str, Any]) -> bool:
    """Whether every object of a schema demands all its properties and admits no others."""
    if schema.get("type") != "object":
        return False
    todo: list[object] = [schema]
    while todo:
        part = todo.pop()
        if isinstance(part, list):
            todo += part
        if not isinstance(part, Mapping):
            continue
        properties = part.get("properties")
        if part.get("type") == "object" or properties is not None:
            if not isinstance(properties, Mapping) or part.get("additionalProperties") is not False:
                return False
            if set(part.get("required") or ()) != set(properties):
                return False
        todo += [value for key, value in part.items() if key not in _DATA_KEYWORDS]
    return True


def _path(location: Iterable[object]) -> str:
    """`('a', 0)` as `$.a[0]`."""
    return "$" + "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in location)


def _listed(problems: Iterable[str]) -> str | None:
    """The first problems in one text; None if there is none."""
    shown = [_cut(problem) for problem in itertools.islice(problems, _MAX_PROBLEMS)]
    return "; ".join(shown) or None


def _cut(text: str) -> str:
    return text if len(text) <= _MAX_PROBLEM else f"{text[:_MAX_PROBLEM]}..."
