"""The wire of Gemini's generateContent, for Google's Developer API and for Vertex AI: the request.

Sources: the types and clients of the google-genai SDK, and Google's documentation. Answers are read in
`decode.py`, streams in `stream.py`, errors in `errors.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from flexllm_core.errors import ConfigError, InputError
from flexllm_core.json_codec import encode_json
from flexllm_core.requests import ChatRequest
from flexllm_providers.dialects import merge_body
from flexllm_providers.gemini.messages import encode_messages
from flexllm_providers.gemini.target import gemini_target
from flexllm_providers.gemini.thinking import BUDGET, FAMILIES, LEVEL, ThinkingFamily, model_line, thinking_config
from flexllm_providers.gemini.tools import encode_tool_choice, encode_tools
from flexllm_providers.gemini.urls import model_url
from flexllm_providers.http import HttpRequest
from flexllm_providers.target import Target
from flexllm_providers.wire_warnings import warn_left_out, warn_once

_GENERATION = {
    "temperature": "temperature",
    "top_p": "topP",
    "top_k": "topK",
    "max_tokens": "maxOutputTokens",
    "seed": "seed",
    "n": "candidateCount",
    "presence_penalty": "presencePenalty",
    "frequency_penalty": "frequencyPenalty",
    "logprobs": "responseLogprobs",
    "top_logprobs": "logprobs",
}
"""Params that are only called otherwise."""

_TIERS = {"auto": None, "default": "standard"}


def encode(request: ChatRequest, target: Target, *, stream: bool) -> HttpRequest:
    """The HTTP request that asks for a chat completion.

    Raises:
        ConfigError: There is no model, or it cannot do the thinking mode.
        InputError: The request cannot be said in Gemini's terms, or not be written as JSON.
    """
    gemini = gemini_target(target)
    method = "streamGenerateContent?alt=sse" if stream else "generateContent"
    url = model_url(gemini.base_url, gemini.model_of(request), method)
    headers = gemini.api_headers
    if request.extra_headers:
        headers = {**headers, **{name.lower(): value for name, value in request.extra_headers.items()}}
    return HttpRequest("POST", url, headers, encode_json(generate_body(request, gemini)))


def generate_body(request: ChatRequest, target: Target) -> dict[str, Any]:
    """The JSON of a GenerateContentRequest, as calls and batch files have it.

    Raises:
        ConfigError: As `encode`.
        InputError: As `encode`.
    """
    gemini = gemini_target(target)
    model = gemini.model_of(request)
    family, line = gemini.family_of(model), model_line(model)

    def takes_back(maker: str) -> bool:
        # Signatures hold for the model that made them. A name that is not known may be another name of it.
        return line is None or model_line(maker) in (None, line)

    body = encode_messages(request.messages, sign_calls=family.needs_signatures, takes_back=takes_back)
    if request.params.get("thinking") is not None and line is None and gemini.family is None:
        what = f"the model {model[:80]!r} is of no known family; thinking is asked for as of {family.name!r}"
        warn_once(gemini.label, f"{what} (set dialect.family: {', '.join(each.name for each in FAMILIES)})")
    if request.params or gemini.dialect.extra_body:
        _add_params(body, request.params, family, gemini)
    return body


def _add_params(body: dict[str, Any], params: Mapping[str, Any], family: ThinkingFamily, target: Target) -> None:
    generation: dict[str, Any] = {}
    left_out: list[str] = []
    for name, value in params.items():
        if name in target.dialect.refused:
            left_out.append(name)
        elif name in _GENERATION:
            generation[_GENERATION[name]] = value
        elif name in _SPECIAL:
            _SPECIAL[name](value, body, generation, target.label)
        elif name not in ("thinking", "extra_body"):
            left_out.append(name)
    if left_out:
        warn_left_out(target.label, left_out)
    if thinking := thinking_config(params.get("thinking"), family, target.label):
        generation["thinkingConfig"] = thinking
    if generation:
        body["generationConfig"] = generation
    for patch in (target.dialect.extra_body, params.get("extra_body") or {}):
        _merge(body, patch)
    if _knobs(body) == {BUDGET, LEVEL}:
        raise ConfigError(f"{target.label}: extra_body: {BUDGET} and {LEVEL} exclude each other")


def _merge(body: dict[str, Any], patch: Mapping[str, Any]) -> None:
    """Merge a patch, whose thinking knob takes the place of another one."""
    if _knobs(patch) and _knobs(body):
        generation = dict(body["generationConfig"])  # copies: what is in it may belong to the endpoint
        config = generation["thinkingConfig"]
        generation["thinkingConfig"] = {key: value for key, value in config.items() if key not in (BUDGET, LEVEL)}
        body["generationConfig"] = generation
    merge_body(body, patch)


def _knobs(body: Mapping[str, Any]) -> set[str]:
    """Which of the two knobs of thinking are set."""
    generation = body.get("generationConfig")
    config = generation.get("thinkingConfig") if isinstance(generation, Mapping) else None
    return {BUDGET, LEVEL} & config.keys() if isinstance(config, Mapping) else set()


def _stop(value: Any, _body: dict[str, Any], generation: dict[str, Any], _label: str) -> None:
    generation["stopSequences"] = [value] if isinstance(value, str) else value


def _tools(value: Any, body: dict[str, Any], _generation: dict[str, Any], label: str) -> None:
    if tools := encode_tools(value, label):
        body["tools"] = tools


def _tool_choice(value: Any, body: dict[str, Any], _generation: dict[str, Any], label: str) -> None:
    if config := encode_tool_choice(value, label):
        body["toolConfig"] = {"functionCallingConfig": config}


def _parallel_tool_calls(value: Any, _body: dict[str, Any], _generation: dict[str, Any], label: str) -> None:
    if not value:  # True is what Gemini does anyway
        warn_left_out(label, ["parallel_tool_calls"])


def _service_tier(value: Any, body: dict[str, Any], _generation: dict[str, Any], _label: str) -> None:
    tier = _TIERS.get(value, value) if isinstance(value, str) else value
    if tier is not None:
        body["serviceTier"] = tier


def _response_format(value: Any, _body: dict[str, Any], generation: dict[str, Any], _label: str) -> None:
    kind = value.get("type") if isinstance(value, Mapping) else None
    if kind == "text":
        return
    if kind not in ("json_object", "json_schema"):
        raise InputError(f"response_format: type {str(kind)[:40]!r} is unknown")
    generation["responseMimeType"] = "application/json"
    if kind == "json_schema":
        inner = value.get("json_schema")
        if not isinstance(inner, Mapping) or not isinstance(inner.get("schema"), Mapping):
            raise InputError("response_format: json_schema has no schema")
        generation["responseJsonSchema"] = inner["schema"]


_SPECIAL: Mapping[str, Callable[[Any, dict[str, Any], dict[str, Any], str], None]] = {
    "stop": _stop,
    "tools": _tools,
    "tool_choice": _tool_choice,
    "parallel_tool_calls": _parallel_tool_calls,
    "service_tier": _service_tier,
    "response_format": _response_format,
}
