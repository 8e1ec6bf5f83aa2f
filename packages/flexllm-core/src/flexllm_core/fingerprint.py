"""Fingerprints: what journal and cache know a request by.

A large output is resumed by the fingerprint of each of its rows, and so is what the cache knows; most requests are a
few texts, and most requests of a run have the same model and params. So there is a quick way for these.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from hashlib import blake2b
from json.encoder import encode_basestring_ascii
from math import isfinite
from typing import Any

from flexllm_core.errors import InputError
from flexllm_core.messages import ROLES, Messages

_encode = json.JSONEncoder(
    check_circular=False, ensure_ascii=True, allow_nan=False, sort_keys=True, separators=(",", ":")
).encode
_PLAIN_KEYS = 2  # role and content


def request_fingerprint(messages: Messages, model: str | None, params: Mapping[str, Any], sample: int = 0) -> str:
    """The fingerprint of a request that is not made yet, as `ChatRequest.fingerprint` has it.

    Raises:
        InputError: It holds something that JSON cannot.
    """
    return Fingerprints(model, params, sample).of(messages)


class Fingerprints:
    """Fingerprints of many requests with the same model, params and sample number, whose JSON is written once.

    Args:
        model: As in `request_fingerprint`.
        params: The same; they must not change any more.
        sample: The same.
    """

    def __init__(self, model: str | None, params: Mapping[str, Any], sample: int = 0) -> None:
        self._model = model
        self._params = params
        self._sample = sample
        self._frame = _frame(model, params, sample)

    def of(self, messages: Messages) -> str:
        """The fingerprint of the request with these messages.

        Raises:
            InputError: It holds something that JSON cannot.
        """
        turns = _plain_turns(messages)
        if turns is None or self._frame is None:
            text = self._canonical(messages)
        else:
            start, end = self._frame
            text = f"{start}{turns}{end}"
        return blake2b(text.encode(), digest_size=16).hexdigest()

    def _canonical(self, messages: Messages) -> str:
        asked = [self._model, messages, self._params]
        try:
            return _encode([*asked, self._sample] if self._sample else asked)
        except (TypeError, ValueError, RecursionError) as error:
            raise InputError(f"the request cannot be written as JSON: {error}") from None


def _frame(model: str | None, params: Mapping[str, Any], sample: int) -> tuple[str, str] | None:
    """What `_encode` puts before and after the messages; None if the params are nothing for the quick way."""
    if type(params) is not dict or (model is not None and type(model) is not str):
        return None
    try:
        last = f"{_params_text(params)},{_encode(sample)}" if sample else _params_text(params)
    except (TypeError, ValueError, RecursionError):
        return None  # the slow way says what is wrong
    name = "null" if model is None else encode_basestring_ascii(model)
    return f"[{name},[", f"],{last}]"


def _plain_turns(messages: Messages) -> str | None:
    """What `_encode` makes of messages that are nothing but roles and texts, in a third of its time; else None."""
    if type(messages) is not list:
        return None
    turns = []
    for message in messages:
        if type(message) is not dict or len(message) != _PLAIN_KEYS:
            return None
        content, role = message.get("content"), message.get("role")
        if type(content) is not str or type(role) is not str or role not in ROLES:
            return None
        turns.append(f'{{"content":{encode_basestring_ascii(content)},"role":"{role}"}}')
    return ",".join(turns)


def _params_text(params: dict[str, Any]) -> str:
    """What `_encode` makes of params, most of which are a few numbers; to set it up takes longer than they do."""
    parts = []
    for name in sorted(params):
        value = params[name]
        kind = type(value)
        if type(name) is str and (kind is int or (kind is float and isfinite(value))):
            parts.append(f"{encode_basestring_ascii(name)}:{value!r}")
        else:
            return _encode(params)
    return f"{{{','.join(parts)}}}"
