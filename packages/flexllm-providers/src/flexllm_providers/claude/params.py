"""The params of a request, by OpenAI's names, as keys of a body of Claude's Messages API."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from flexllm_core.errors import ConfigError
from flexllm_providers.claude.capabilities import ClaudeModel
from flexllm_providers.claude.thinking import plan_thinking
from flexllm_providers.claude.tools import encode_tool_choice, encode_tools
from flexllm_providers.wire_warnings import warn_left_out, warn_once

JSON_PROMPT = "Answer with one JSON object and nothing else: no text before or after it, no code fence."
"""What asks for `response_format: {"type": "json_object"}`. Claude has schemas but no JSON mode without one."""

_REFUSED = (
    "seed",
    "presence_penalty",
    "frequency_penalty",
    "logit_bias",
    "logprobs",
    "top_logprobs",
    "verbosity",
)
_SAMPLING = ("temperature", "top_p", "top_k")
_SERVICE_TIERS = {"auto": "auto", "default": "standard_only", "standard_only": "standard_only"}


def encode_params(params: Mapping[str, Any], model: ClaudeModel, who: str, *, sampling: bool) -> dict[str, Any]:
    """The keys of the body, without `extra_body`; what Claude does not have is left out with one warning.

    Args:
        params: Of the request.
        model: The model's row.
        who: Endpoint and model, for messages.
        sampling: Whether the API version takes sampling params.

    Raises:
        ConfigError: The model cannot do what a param asks for.
    """
    max_tokens = params.get("max_tokens")
    if max_tokens is not None and type(max_tokens) is not int:
        raise ConfigError(f"{who}: max_tokens: expected a whole number of tokens, found {max_tokens!r:.40}")
    plan = plan_thinking(params.get("thinking"), max_tokens, model, who)
    body: dict[str, Any] = {"max_tokens": plan.max_tokens}
    left_out = [name for name in _REFUSED if name in params]
    if params.get("n", 1) != 1:
        left_out.append("n")
    # Budgets of thinking go with the default temperature only, and the newest models with nothing else at all.
    takes_sampling = sampling and model.sampling and not plan.is_on
    for name in _SAMPLING:
        if name in params and takes_sampling:
            body[name] = params[name]
        elif name in params:
            left_out.append(name + (" while it thinks" if sampling and model.sampling else ""))
    _add_plain(body, params, left_out)
    _add_tools(body, params, model, who)
    body.update(plan.body)
    output_format = _output_format(params.get("response_format"), model, who)
    if output_format:
        body["output_config"] = {**body.get("output_config", {}), "format": output_format}
    if left_out:
        warn_left_out(who, left_out)
    return body


def _add_plain(body: dict[str, Any], params: Mapping[str, Any], left_out: list[str]) -> None:
    """The params that Claude has by another name."""
    if "stop" in params:
        stop = params["stop"]
        body["stop_sequences"] = [stop] if isinstance(stop, str) else stop
    if "user" in params:
        body["metadata"] = {"user_id": params["user"]}
    if "service_tier" in params:
        tier = params["service_tier"]
        if isinstance(tier, str) and tier in _SERVICE_TIERS:
            body["service_tier"] = _SERVICE_TIERS[tier]
        else:
            left_out.append(f"service_tier {tier!r:.40}")


def _add_tools(body: dict[str, Any], params: Mapping[str, Any], model: ClaudeModel, who: str) -> None:
    if not params.get("tools"):
        return  # a choice without tools is refused
    body["tools"] = encode_tools(params["tools"], who)
    choice = encode_tool_choice(params.get("tool_choice"), params.get("parallel_tool_calls"), model, who)
    if choice:
        body["tool_choice"] = choice


def wants_json_prompt(params: Mapping[str, Any], who: str) -> bool:
    """Whether the request asks for JSON without a schema, which the system prompt has to ask for."""
    given = params.get("response_format")
    if not isinstance(given, Mapping) or given.get("type") != "json_object":
        return False
    warn_once(who, "there is no JSON mode without a schema; the system prompt asks for JSON, which is no guarantee")
    return True


def _output_format(given: object, model: ClaudeModel, who: str) -> dict[str, Any] | None:
    if given is None or (isinstance(given, Mapping) and given.get("type") in ("text", "json_object")):
        return None
    holder = given.get("json_schema") if isinstance(given, Mapping) and given.get("type") == "json_schema" else None
    schema = holder.get("schema") if isinstance(holder, Mapping) else None
    if not isinstance(schema, Mapping):
        raise ConfigError(
            f"{who}: response_format: expected {{'type': 'json_schema', 'json_schema': {{'schema': ...}}}}, "
            "json_object or text"
        )
    if not model.structured:
        raise ConfigError(f"{who} cannot do response_format json_schema; expected json_object or text")
    return {"type": "json_schema", "schema": dict(schema)}
