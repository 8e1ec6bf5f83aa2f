"""JSON in and out: strict reading of bodies, the canonical form behind digests, fast writing of strings."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any

from flexllm_mock.asgi import ApiError


def _refuse_constant(name: str) -> float:
    raise ValueError(f"{name} is not JSON")


_decode = json.JSONDecoder(parse_constant=_refuse_constant).decode
# What the encoders call for a string, without the way there: a stream has a string for each token.
_ascii_string = json.encoder.encode_basestring_ascii
_unicode_string = json.encoder.encode_basestring

_unicode_value = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode
_ascii_value = json.JSONEncoder(separators=(",", ":")).encode
_canonical = json.JSONEncoder(sort_keys=True, separators=(",", ":")).encode


def canonical(value: object) -> bytes:
    """Write a value with sorted keys, no spaces and ASCII only, so that equal values have equal bytes."""
    return _canonical(value).encode()


def canonical_chat(messages: object, model: object) -> bytes | None:
    """Write `messages` and `model` as `canonical` writes an object of them; None when a message is not a plain one.

    A plain message has a role and a text, and nothing else. Most have, and writing them costs a fifth this way.
    """
    if messages.__class__ is not list or model.__class__ is not str:
        return None
    assert isinstance(messages, list)
    assert isinstance(model, str)
    texts: list[str] = []
    for message in messages:
        if message.__class__ is not dict or len(message) != 2:
            return None
        role, content = message.get("role"), message.get("content")
        if role.__class__ is not str or content.__class__ is not str:
            return None
        texts.append(f'{{"content":{_ascii_string(content)},"role":{_ascii_string(role)}}}')
    return f'{{"messages":[{",".join(texts)}],"model":{_ascii_string(model)}}}'.encode()


def read_object(body: bytes) -> dict[str, Any]:
    """Parse a request body, which must be a JSON object in UTF-8.

    Raises ApiError 400, and RecursionError when the JSON nests too deeply for Python.
    """
    try:
        value = _decode(body.decode())
    except ValueError as error:  # a JSONDecodeError, a UnicodeDecodeError, or a number with too many digits
        raise ApiError(400, f"We could not parse the JSON body of your request: {error}") from None
    if value.__class__ is not dict:
        raise ApiError(400, f"The JSON body of your request must be an object, not {_json_kind(value)}.")
    return value


def string(text: str) -> str:
    """Write a JSON string, as UTF-8 where it can be: a lone surrogate has no UTF-8, so it is escaped."""
    if text.isascii():
        return _ascii_string(text)
    try:
        text.encode()
    except UnicodeEncodeError:
        return _ascii_string(text)
    return _unicode_string(text)


def written(value: object) -> str:
    """Write a value without spaces, as UTF-8 where it can be."""
    text = _unicode_value(value)
    try:
        text.encode()
    except UnicodeEncodeError:
        return _ascii_value(value)
    return text


def strings(texts: Sequence[str]) -> Iterable[str]:
    """Write many JSON strings, each as `string` does."""
    return map(_ascii_string if "".join(texts).isascii() else string, texts)


def are_plain(texts: Sequence[str]) -> bool:
    """Tell whether every text stands in a JSON string as it is: ASCII without quotes, backslashes and controls."""
    text = "".join(texts)
    return text.isascii() and len(_ascii_string(text)) == len(text) + 2


def is_json(text: str) -> bool:
    """Tell whole JSON from a part of it."""
    try:
        json.loads(text)
    except ValueError:
        return False
    return True


def _json_kind(value: object) -> str:
    names = {list: "an array", str: "a string", bool: "a boolean", int: "a number", float: "a number"}
    return names.get(type(value), "null")
