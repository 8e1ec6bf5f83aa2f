"""JSON in and out, fast for what is well formed and right for what is not.

orjson writes in a third of the time that pydantic-core takes, but only what is plain JSON; pydantic-core reads, as
orjson would round integers of more than 64 bits, and writes the rest. Neither takes lone surrogates, which servers do
produce when a limit cuts an emoji; such texts take the standard library's slower way, escaped.
"""

from __future__ import annotations

import json
import math
from typing import Any

import orjson
from pydantic_core import PydanticSerializationError, from_json, to_json

from flexllm_core.errors import InputError

_PLAIN = orjson.OPT_PASSTHROUGH_DATACLASS | orjson.OPT_PASSTHROUGH_DATETIME | orjson.OPT_PASSTHROUGH_SUBCLASS

MAX_DEPTH = 200
"""How deep decoded JSON may be nested: as deep as pydantic-core reads, so that it can be written again."""


def decode_json(data: bytes) -> Any:
    """Parse JSON. What it returns can always be written by `encode_json`.

    Raises:
        ValueError: It is not JSON, or nested deeper than `MAX_DEPTH`.
    """
    try:
        return from_json(data)
    except ValueError:
        return _decode_slowly(data)


def decode_finite_json(data: bytes) -> Any:
    """Parse JSON as `decode_json` does, with null for the NaN and the infinities that other tools write into it.

    Raises:
        ValueError: It is not JSON, or nested deeper than `MAX_DEPTH`.
    """
    try:
        return from_json(data, allow_inf_nan=False)
    except ValueError:
        return _finite(_decode_slowly(data))


def _decode_slowly(data: bytes) -> Any:
    try:
        value = json.loads(data)
    except RecursionError:
        raise ValueError("nested too deeply") from None
    if _deeper_than(value, MAX_DEPTH):
        raise ValueError("nested too deeply")
    return value


def encode_json(value: Any) -> bytes:
    """Write strict JSON as UTF-8: lone surrogates escaped, NaN and the infinities as null.

    Raises:
        InputError: The value holds something that JSON cannot.
    """
    try:
        return orjson.dumps(value, None, _PLAIN)
    except orjson.JSONEncodeError:
        return _encode_slowly(value)


def _encode_slowly(value: Any) -> bytes:
    """Write what orjson refuses: large integers, keys that are no texts, datetimes, surrogates ..."""
    try:
        return to_json(value, inf_nan_mode="null")
    except (PydanticSerializationError, UnicodeEncodeError):
        try:
            return json.dumps(_finite(value), allow_nan=False, separators=(",", ":")).encode()
        except (TypeError, ValueError, RecursionError) as error:
            hint = (
                "; bytes of media go in as a data URI (data:image/png;base64,...)" if "type bytes" in str(error) else ""
            )
            raise InputError(f"cannot be written as JSON: {error}{hint}") from None


def _finite(value: Any) -> Any:
    """A copy in which NaN and the infinities, which JSON does not have, are None."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return value


def _deeper_than(value: Any, limit: int) -> bool:
    """Whether lists and dicts are nested in more than `limit` levels; without recursion."""
    level = [value]
    for _ in range(limit):
        level = [
            item
            for parent in level
            if isinstance(parent, dict | list)
            for item in (parent.values() if isinstance(parent, dict) else parent)
        ]
        if not level:
            return False
    return True
