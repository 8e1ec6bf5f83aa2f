"""ChatRequest: what is asked."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Self

from flexllm_core.fingerprint import request_fingerprint
from flexllm_core.messages import Messages

NO_MAPPING: Mapping[str, Any] = {}

_FLOATS = ("temperature", "top_p", "presence_penalty", "frequency_penalty")


@dataclass(frozen=True, slots=True)
class ChatRequest:
    """One chat completion to be asked.

    Attributes:
        messages: The conversation, checked by `normalize_messages`.
        model: The model's id on the wire; None takes the endpoint's own.
        params: Everything else that decides the answer, by OpenAI's names (`temperature`, `max_tokens`,
            `tools`, `response_format` ...), plus `thinking` and `extra_body`. No value is None.
        extra_headers: HTTP headers for this call; never part of the fingerprint.
        keep_raw: Put the server's JSON into the result; never part of the fingerprint.
        sample: Which of several answers to the same question this asks for, from 0. It is never sent; it
            tells samples apart in the response cache.
        skip_cache: Neither read nor write the response cache; never part of the fingerprint.
    """

    messages: Messages = field(repr=False)
    model: str | None = None
    params: Mapping[str, Any] = field(default_factory=lambda: NO_MAPPING)
    extra_headers: Mapping[str, str] = field(default_factory=lambda: NO_MAPPING, repr=False)
    keep_raw: bool = False
    sample: int = 0
    skip_cache: bool = False
    _fingerprint: str | None = field(default=None, init=False, repr=False, compare=False)

    def fingerprint(self) -> str:
        """BLAKE2b-128, in hex, of the canonical JSON of messages, model and params.

        Canonical JSON here: keys sorted, no white space, ASCII only, so the same request gives the
        same fingerprint whatever the order of its keys, on any machine. It is worked out once: journal
        and cache both ask for it.

        Raises:
            InputError: The request holds something that JSON cannot (NaN, a set, an object).
        """
        if self._fingerprint is not None:
            return self._fingerprint
        found = request_fingerprint(self.messages, self.model, self.params, self.sample)
        object.__setattr__(self, "_fingerprint", found)
        return found

    def known_as(self, fingerprint: str) -> Self:
        """The request itself, whose fingerprint was worked out before it was made (`request_fingerprint`)."""
        object.__setattr__(self, "_fingerprint", fingerprint)
        return self

    def with_params(self, **params: Any) -> ChatRequest:
        """A copy with some params replaced; a value of None removes the param."""
        return replace(self, params=clean_params({**self.params, **params}))


def clean_params(params: Mapping[str, Any]) -> dict[str, Any]:
    """Params without those that are None, with sampling values as floats.

    The same setting must give the same fingerprint wherever it was written: `1` in a YAML file and
    `1.0` from the command line are one temperature.
    """
    out = {name: value for name, value in params.items() if value is not None}
    for name in _FLOATS:
        value = out.get(name)
        if type(value) is int:
            with contextlib.suppress(OverflowError):  # absurd, and the endpoint's to refuse
                out[name] = float(value)
    return out
