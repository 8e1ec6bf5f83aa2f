"""Reads a Claude messages request: what it must hold, what is wrong with it, and what it asks for."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from flexllm_mock.answers import ECHO_MODEL, AnswerRequest
from flexllm_mock.asgi import ApiError
from flexllm_mock.claude.content import Block, SignatureCheck, Turn, as_blocks, check_text_blocks, read_turns
from flexllm_mock.claude.errors import invalid, missing, wrong
from flexllm_mock.claude.tokens import PromptUsage, prompt_usage
from flexllm_mock.claude.tools import offer_tools
from flexllm_mock.scripted import ScriptedAnswer

STRICT_SAMPLING_VERSION = "2026-10-21"
"""From this `anthropic-version` on, sampling parameters are refused."""

_VERSION = re.compile(r"\d{4}-\d{2}-\d{2}|vertex-2023-10-16")
_SAMPLING = {"temperature": 1.0, "top_p": 1.0, "top_k": None}
_EFFORTS = ("low", "medium", "high", "xhigh", "max")
_DISPLAYS = ("summarized", "omitted")
_LEAST_BUDGET = 1024
_KNOWN = frozenset(
    {"model", "messages", "max_tokens", "system", "stream", "stop_sequences", "metadata", "thinking", "tools"}
    | {"tool_choice", "output_config", "cache_control", "service_tier", "speed", "inference_geo", "container"}
    | {"context_management", "mcp_servers", "diagnostics", "user_profile_id", "workspace_id", "billing_policy"}
    | {"compaction", "fallbacks", "fallback_credit_token", "thread", "anthropic_beta"}
    | _SAMPLING.keys()
)

_NOT_COUNTED = frozenset(("max_tokens", "stream", "stop_sequences", "metadata", *_SAMPLING))


@dataclass(slots=True)
class MessagesCall:
    """A messages request that is valid. `shows_thinking` is false when thinking blocks come without their text."""

    model: str
    question: AnswerRequest
    usage: PromptUsage
    stream: bool = False
    shows_thinking: bool = True

    def follow(self, script: ScriptedAnswer | None) -> None:
        """Report the model and the prompt's tokens that a script prescribes."""
        if script is None:
            return
        self.model = script.model or self.model
        usage = script.usage
        if usage.prompt_tokens is not None:
            new = max(0, usage.prompt_tokens - usage.cached_tokens - usage.cache_write_tokens)
            self.usage = PromptUsage(new, usage.cached_tokens, usage.cache_write_tokens)


def parse_messages(
    payload: dict[str, Any],
    version: object,
    response_len: tuple[int, int],
    made_here: SignatureCheck,
    *,
    counting: bool = False,
) -> MessagesCall:
    """Read the body of a request under an `anthropic-version`.

    With `counting` only the prompt matters, and no limit is needed. Raises ApiError 400 that names what is wrong.
    """
    _check_version(payload, version)
    for name in payload:
        if name not in _KNOWN or (counting and name in _NOT_COUNTED):
            raise invalid(name, "Extra inputs are not permitted")
    model = payload.get("model")
    if not isinstance(model, str) or not model:
        raise missing("model") if model is None else wrong("model", "a valid string", model)
    limit = None if counting else _limit(payload)
    turns = read_turns(payload.get("messages"), made_here)
    system = _system(payload)
    question = AnswerRequest(b"", response_len, max_tokens=limit, stop=_stops(payload))
    call = MessagesCall(model, question, PromptUsage(0), stream=_flag(payload, "stream"))
    _read_thinking(payload, call, turns)
    user_text = _last_user_text(turns)
    offer_tools(payload, question, user_text, after_result=bool(turns[-1].of_type("tool_result")))
    _read_output(payload, question)
    if model == ECHO_MODEL:
        question.literal = user_text
    call.usage = prompt_usage(payload, system, turns)
    return call


def _check_version(payload: dict[str, Any], version: object) -> None:
    """Check the version, and the sampling parameters, which not every version has."""
    if version is None:
        raise ApiError(400, "anthropic-version: header is required")
    if not isinstance(version, str) or not _VERSION.fullmatch(version):
        raise ApiError(400, f"anthropic-version: {version!r} is not a valid version")
    for name, most in _SAMPLING.items():
        value = payload.get(name)
        if value is None:
            continue
        if not version.startswith("vertex") and version >= STRICT_SAMPLING_VERSION:
            raise invalid(name, "this parameter is not supported")
        if isinstance(value, bool) or not isinstance(value, int | float) or value < 0 or (most and value > most):
            raise wrong(name, "a number from 0 to 1" if most else "a number of 0 or more", value)


def _limit(payload: dict[str, Any]) -> int:
    limit = payload.get("max_tokens")
    if limit is None:
        raise missing("max_tokens")
    if limit.__class__ is not int:
        raise wrong("max_tokens", "a valid integer", limit)
    if limit < 0:
        raise invalid("max_tokens", "Input should be greater than or equal to 0")
    assert isinstance(limit, int)
    return limit


def _system(payload: dict[str, Any]) -> list[Block]:
    if payload.get("system") in (None, ""):
        return []
    blocks = as_blocks(payload["system"], "system")
    check_text_blocks(blocks, "system")
    return blocks


def _stops(payload: dict[str, Any]) -> tuple[str, ...]:
    stops = payload.get("stop_sequences")
    if stops is None:
        return ()
    if not isinstance(stops, list) or not all(isinstance(text, str) for text in stops):
        raise wrong("stop_sequences", "a list of strings", stops)
    if not all(text.strip() for text in stops):
        raise invalid("stop_sequences", "each stop sequence must contain non-whitespace")
    return tuple(stops)


def _read_thinking(payload: dict[str, Any], call: MessagesCall, turns: list[Turn]) -> None:
    thinking = _mapping(payload, "thinking")
    if not thinking:
        return
    kind = thinking.get("type")
    if kind == "enabled":
        _check_budget(thinking.get("budget_tokens"), call.question.max_tokens)
    elif kind not in ("adaptive", "disabled", "between_tools"):
        raise wrong("thinking.type", "'enabled', 'adaptive', 'disabled' or 'between_tools'", kind)
    display = thinking.get("display")
    if display is not None and (not isinstance(display, str) or display not in _DISPLAYS):
        raise wrong("thinking.display", "'summarized' or 'omitted'", display)
    call.question.reasoning = kind in ("enabled", "adaptive") or (
        kind == "between_tools" and bool(turns[-1].of_type("tool_result"))
    )
    call.shows_thinking = display != "omitted"
    forced = _mapping(payload, "tool_choice").get("type") in ("any", "tool")
    if forced and kind in ("enabled", "adaptive"):
        raise ApiError(400, "Thinking may not be enabled when tool_choice forces tool use.")


def _check_budget(budget: object, limit: int | None) -> None:
    place = "thinking.enabled.budget_tokens"
    if budget is None:
        raise missing(place)
    if not isinstance(budget, int) or isinstance(budget, bool):
        raise wrong(place, "a valid integer", budget)
    if budget < _LEAST_BUDGET:
        raise invalid(place, f"Input should be greater than or equal to {_LEAST_BUDGET}")
    if limit is not None and budget >= limit:
        raise ApiError(400, "`max_tokens` must be greater than `thinking.budget_tokens`.", param=place)


def _read_output(payload: dict[str, Any], question: AnswerRequest) -> None:
    config = _mapping(payload, "output_config")
    effort = config.get("effort")
    if effort is not None and (not isinstance(effort, str) or effort not in _EFFORTS):
        raise wrong("output_config.effort", "'low', 'medium', 'high', 'xhigh' or 'max'", effort)
    wanted = config.get("format")
    if wanted is None:
        return
    if not isinstance(wanted, dict) or wanted.get("type") != "json_schema":
        raise wrong("output_config.format.type", "'json_schema'", wanted)
    if not isinstance(wanted.get("schema"), dict):
        raise missing("output_config.format.schema")
    question.wants_json, question.schema = True, wanted["schema"]


def _last_user_text(turns: list[Turn]) -> str:
    for turn in reversed(turns):
        if turn.role == "user" and turn.text:
            return turn.text
    return ""


def _mapping(payload: dict[str, Any], name: str) -> dict[str, Any]:
    value = payload.get(name)
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise wrong(name, "an object", value)
    return value


def _flag(payload: dict[str, Any], name: str) -> bool:
    value = payload.get(name)
    if value is not None and not isinstance(value, bool):
        raise wrong(name, "a valid boolean", value)
    return value is True
