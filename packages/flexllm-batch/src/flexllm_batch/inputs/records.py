"""From an input row to a record: which format it has is decided for each row on its own.

In this order: an OpenAI-batch line (`body` with `messages`), `messages`, `instruction` (with `input`
and `system`), one of `q`, `question`, `prompt`, `input`, `user` (with `system`). With field names given,
those are used instead. What is not recognised is the row's metadata.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from flexllm_core.errors import ConfigError, InputError
from flexllm_core.messages import normalize_messages
from flexllm_core.options import PARAM_NAMES, check_sample, params_from_options

USER_KEYS = ("q", "question", "prompt", "input", "user")
_FORMAT_KEYS = ("messages", "instruction", *USER_KEYS)
_SYSTEM_ROLES = ("system", "developer")


@dataclass(frozen=True, slots=True)
class RowShape:
    """How rows are read.

    Attributes:
        user_field: Name of the field with the user's text; None detects the format.
        system_field: Name of the field with the system prompt, with `user_field`.
        system: System prompt for every row; wins over the row's own. An empty text is none.
    """

    user_field: str | None = None
    system_field: str | None = None
    system: str | None = None


@dataclass(slots=True)
class Record:
    """One row, ready to be asked.

    Attributes:
        index: Position among the rows of the input, from 0; bad rows count, blank lines do not.
        messages: What is asked; empty when `error` is set.
        metadata: The row's other fields.
        params: The row's own params, over those of the run.
        model: The row's own model.
        sample: The row's own sample number, `params.sample`.
        error: Why the row cannot be asked.
        kind: Name of the format, for the plan.
        line: Line in the input, from 1; 0 where it has none.
    """

    index: int
    messages: list[dict[str, Any]]
    metadata: dict[str, Any] = field(default_factory=dict)
    params: Mapping[str, Any] = field(default_factory=dict)
    model: str | None = None
    sample: int = 0
    error: InputError | None = None
    kind: str = "messages"
    line: int = 0


def read_record(index: int, row: object, shape: RowShape) -> Record:
    """Read one row.

    Raises:
        InputError: The row cannot be asked; without file and line, which the caller knows.
    """
    if type(row) is not dict and not isinstance(row, Mapping):
        raise InputError(f"expected an object with fields, found {_kind(row)}")
    rest = dict(row)
    record = _custom(index, rest, shape) if shape.user_field or shape.system_field else _detected(index, rest)
    if shape.system:
        turns = [message for message in record.messages if message.get("role") not in _SYSTEM_ROLES]
        record.messages = [{"role": "system", "content": shape.system}, *turns]
    if isinstance(rest.get("params"), dict):
        _take_params(record, rest.pop("params"))
    record.metadata = rest
    return record


def _detected(index: int, rest: dict[str, Any]) -> Record:
    if rest.get("messages") is not None:
        return Record(index, normalize_messages(rest.pop("messages")))
    body = rest.get("body")
    if isinstance(body, dict) and "messages" in body and "messages" not in rest:
        return _openai_batch(index, rest)
    key = None
    for name in _FORMAT_KEYS:
        if name in rest:
            # In tables every row has every column; the ones that a row does not use are null.
            if rest[name] is not None:
                key = name
                break
            key = key or name
    if key == "messages":  # null, and there is nothing else
        return Record(index, normalize_messages(rest.pop("messages")))
    if key == "instruction":
        text = _text(rest.pop("instruction"), "instruction")
        more = rest.pop("input", None)
        if more:
            text = f"{text}\n\n{_text(more, 'input')}"
        return Record(index, _turns(rest, text, "system"), kind="alpaca")
    if key is not None:
        content = _content(rest.pop(key), key)
        return Record(index, _turns(rest, content, "system"), kind="simple")
    found = ", ".join(sorted(map(str, rest))[:8]) or "no fields"
    raise InputError(
        f"no known format: expected `messages`, `instruction` or one of {', '.join(USER_KEYS)}, found {found}; "
        "name the fields with --user-field and --system-field"
    )


def _custom(index: int, rest: dict[str, Any], shape: RowShape) -> Record:
    name = shape.user_field
    if name is None:
        name = next((key for key in USER_KEYS if key in rest), "user")
    if name not in rest:
        raise InputError(
            f"the row has no field {name!r}; it has {', '.join(sorted(map(str, rest))[:8]) or 'no fields'}"
        )
    content = _content(rest.pop(name), name)
    return Record(index, _turns(rest, content, shape.system_field or "system"), kind="custom")


def _openai_batch(index: int, rest: dict[str, Any]) -> Record:
    """A line of OpenAI's batch input: the body is the request, `custom_id` stays in the metadata."""
    body = dict(rest.pop("body"))
    rest.pop("method", None)
    rest.pop("url", None)
    record = Record(index, normalize_messages(body.pop("messages")), kind="openai_batch")
    model = body.pop("model", None)
    if model is not None and not isinstance(model, str):
        raise InputError(f"body.model: expected a text, found {_kind(model)}")
    for name in ("stream", "stream_options"):
        body.pop(name, None)  # how the answer travels is ours to say
    if "max_completion_tokens" in body:
        body["max_tokens"] = body.pop("max_completion_tokens")
    known = {name: body.pop(name) for name in list(body) if name in PARAM_NAMES}
    extra = known.get("extra_body")
    if body and (extra is None or isinstance(extra, dict)):
        known["extra_body"] = {**body, **(extra or {})}
    _take_params(record, known)
    record.model = model
    return record


def _take_params(record: Record, params: Mapping[str, Any]) -> None:
    if "extra_headers" in params:
        raise InputError("params: extra_headers are the caller's to set, not a row's")
    try:
        record.params = params_from_options({**record.params, **params})
        record.sample = check_sample(params.get("sample", 0))
    except ConfigError as error:
        raise InputError(f"params: {error}") from None
    model = params.get("model")
    if model is None:
        return
    if not isinstance(model, str):
        raise InputError(f"params.model: expected a text, found {_kind(model)}")
    record.model = model


def _turns(rest: dict[str, Any], content: Any, system_key: str) -> list[dict[str, Any]]:
    system = rest.pop(system_key, None)
    turns = [{"role": "system", "content": _text(system, system_key)}] if system else []
    turns.append({"role": "user", "content": content})
    return turns


def _content(value: object, name: str) -> Any:
    """The content of a user message: a text, or a list of parts."""
    if isinstance(value, list):
        return normalize_messages([{"role": "user", "content": value}])[0]["content"]
    return _text(value, name)


def _text(value: object, name: str) -> str:
    if isinstance(value, str):
        return value
    raise InputError(f"field {name!r}: expected a text, found {_kind(value)}")


def _kind(value: object) -> str:
    names = {type(None): "null", bool: "true or false", list: "a list", dict: "an object", str: "a text"}
    return names.get(type(value), "a number")
