"""Reads what OpenAI's older endpoints take as input: texts, or tokens."""

from __future__ import annotations

from typing import Any

from flexllm_mock.asgi import ApiRequest
from flexllm_mock.identity import content_digest
from flexllm_mock.jsontext import read_object
from flexllm_mock.openai.parameters import invalid, missing
from flexllm_mock.tokens import content_tokens

_MAX_INPUTS = 2048

Input = str | list[int]
"""A text, or its tokens."""


def read_inputs(payload: dict[str, Any], name: str) -> list[Input]:
    """Read texts: a text, a list of them, a list of tokens, or a list of such lists. Raises ApiError 400."""
    given = payload.get(name)
    if given is None:
        raise missing(name)
    inputs: Any = [given] if isinstance(given, str) or _is_tokens(given) else given
    if not isinstance(inputs, list) or not 1 <= len(inputs) <= _MAX_INPUTS:
        raise invalid(name, f"a text, tokens, or a list of 1 to {_MAX_INPUTS} of them", given)
    for each in inputs:
        if not (isinstance(each, str) or _is_tokens(each)):
            raise invalid(name, "texts or lists of tokens", each)
    return inputs


def input_tokens(content: Input) -> int:
    """Count the tokens of a text, or of a list of tokens."""
    return content_tokens(content) if isinstance(content, str) else len(content)


def _is_tokens(value: object) -> bool:
    return isinstance(value, list) and value != [] and all(item.__class__ is int and item >= 0 for item in value)


def identify(request: ApiRequest, asked: str, default_model: str | None = None) -> dict[str, Any]:
    """Parse the body and identify its content, the model and what stands under `asked`; the body's object."""
    payload = request.payload = read_object(request.body)
    model = payload.get("model", default_model)
    if isinstance(model, str):
        request.model = model
    request.digest = content_digest({asked: payload.get(asked), "model": model})
    return payload
