"""Reads a Gemini request: what it must hold, what is wrong with it, and what it asks for."""

from __future__ import annotations

import json
from dataclasses import dataclass, field

from flexllm_mock.answers import ECHO_MODEL, AnswerRequest
from flexllm_mock.asgi import ApiError
from flexllm_mock.gemini.content import SignatureCheck, Turn, check_signatures, count_tokens, read_parts, read_turns
from flexllm_mock.gemini.errors import invalid, wrong
from flexllm_mock.gemini.fields import Fields
from flexllm_mock.gemini.schema import json_schema
from flexllm_mock.gemini.tools import Declarations, read_tools
from flexllm_mock.scalars import SchemaError
from flexllm_mock.scripted import ScriptedAnswer
from flexllm_mock.tokens import MESSAGE_OVERHEAD, cached_part, content_tokens

_LEVELS = ("MINIMAL", "LOW", "MEDIUM", "HIGH", "XHIGH")
_MAX_CANDIDATES = 8
_MAX_STOPS = 5
_JSON_TYPE, _TEXT_TYPE = "application/json", "text/plain"
_NUMBERS = {
    "temperature": (0.0, 2.0),
    "topP": (0.0, 1.0),
    "topK": (0.0, float("inf")),
    "presencePenalty": (-2.0, 2.0),
    "frequencyPenalty": (-2.0, 2.0),
}


@dataclass(slots=True)
class GeminiCall:
    """A request that is valid. `prompt` is the prompt's tokens by modality."""

    model: str
    question: AnswerRequest
    prompt: dict[str, int] = field(default_factory=dict)
    cached_tokens: int = 0
    shows_thoughts: bool = False

    def follow(self, script: ScriptedAnswer | None) -> None:
        """Report the model and the prompt's tokens that a script prescribes."""
        if script is None:
            return
        self.model = script.model or self.model
        if script.usage.prompt_tokens is not None:
            self.prompt, self.cached_tokens = {"TEXT": script.usage.prompt_tokens}, script.usage.cached_tokens

    @property
    def prompt_tokens(self) -> int:
        """All tokens of the prompt."""
        return sum(self.prompt.values())


def parse_generate(payload: Fields, model: str, response_len: tuple[int, int], made_here: SignatureCheck) -> GeminiCall:
    """Read the body of a generateContent request, its names in camelCase. Raises ApiError that says what is wrong."""
    turns = read_turns(payload.get("contents"))
    strict = model.startswith("gemini-3")
    check_signatures(turns, made_here, required=strict)
    question = AnswerRequest(b"", response_len)
    call = GeminiCall(model, question)
    config = payload.get("generationConfig", {})
    _read_limits(config, question)
    _read_thinking(config.get("thinkingConfig", {}), call)
    declarations = read_tools(payload)
    text = _last_user_text(turns)
    answers_response = bool(turns[-1].of("functionResponse"))
    if declarations.tools and not (answers_response and not declarations.forced):
        question.offer(declarations.tools, text, parallel=True)
    _read_format(config, question)
    if model == ECHO_MODEL:
        question.literal = text
    _count(payload, turns, declarations, call)
    return call


def _count(payload: Fields, turns: list[Turn], declarations: Declarations, call: GeminiCall) -> None:
    contents = [turn.parts for turn in turns]
    call.prompt = count_tokens(contents)
    if "systemInstruction" in payload:
        instructions = count_tokens([read_parts(payload["systemInstruction"], "system_instruction")])
        call.cached_tokens = cached_part(sum(instructions.values()))
        for modality, tokens in instructions.items():
            call.prompt[modality] = call.prompt.get(modality, 0) + tokens
    if declarations.declared:
        call.prompt["TEXT"] += MESSAGE_OVERHEAD + content_tokens(json.dumps(declarations.declared))


def _read_limits(config: Fields, question: AnswerRequest) -> None:
    question.max_tokens = _integer(config, "maxOutputTokens", 1)
    question.n = _integer(config, "candidateCount", 1, _MAX_CANDIDATES) or 1
    _integer(config, "seed", -(2**31), 2**31 - 1)
    stops = config.get("stopSequences", [])
    if not isinstance(stops, list) or len(stops) > _MAX_STOPS or not all(isinstance(text, str) for text in stops):
        raise wrong("generation_config.stop_sequences", f"a list of up to {_MAX_STOPS} strings", stops)
    question.stop = tuple(text for text in stops if text)
    for name, (least, most) in _NUMBERS.items():
        value = config.get(name)
        if value is not None and (isinstance(value, bool) or not isinstance(value, int | float)):
            raise wrong(f"generation_config.{name}", "a number", value)
        if value is not None and not least <= value <= most:
            raise wrong(f"generation_config.{name}", f"a number from {least:g} to {most:g}", value)


def _read_thinking(config: Fields, call: GeminiCall) -> None:
    budget, level = config.get("thinkingBudget"), config.get("thinkingLevel")
    shows = config.get("includeThoughts", False)
    place = "generation_config.thinking_config"
    if not isinstance(shows, bool):
        raise wrong(f"{place}.include_thoughts", "a boolean", shows)
    if budget is not None and level is not None:
        raise ApiError(400, "You can only set only one of thinking budget and thinking level.", param=place)
    if budget is not None and (not isinstance(budget, int) or isinstance(budget, bool) or budget < -1):
        raise wrong(f"{place}.thinking_budget", "an integer of -1 or more", budget)
    if level is not None:
        if not isinstance(level, str) or level.upper() not in _LEVELS:
            raise wrong(f"{place}.thinking_level", ", ".join(_LEVELS), level)
        if call.model.startswith("gemini-2.5"):
            raise ApiError(400, "Thinking level is not supported for this model.", param=place)
    off = budget == 0 or (level is not None and level.upper() == "MINIMAL")
    call.question.reasoning = not off and (shows or budget is not None or level is not None)
    call.shows_thoughts = shows


def _read_format(config: Fields, question: AnswerRequest) -> None:
    kind = config.get("responseMimeType", _TEXT_TYPE)
    given = [name for name in ("responseSchema", "responseJsonSchema") if name in config]
    if kind not in (_JSON_TYPE, _TEXT_TYPE):
        raise wrong("generation_config.response_mime_type", f"{_TEXT_TYPE} or {_JSON_TYPE}", kind)
    if len(given) == 2:
        raise ApiError(400, "Only one of response_schema and response_json_schema can be set.", param=given[0])
    if kind == _TEXT_TYPE:
        if given:
            raise ApiError(400, f"A response schema requires the response_mime_type {_JSON_TYPE}.", param=given[0])
        return
    question.wants_json = True
    if not given:
        return
    question.schema = config[given[0]]
    if given[0] == "responseSchema":
        try:
            question.schema = json_schema(question.schema)
        except SchemaError as error:
            raise invalid("generation_config.response_schema", str(error)) from error


def _integer(config: Fields, name: str, least: int, most: int | None = None) -> int | None:
    value = config.get(name)
    if value is None:
        return None
    if isinstance(value, float) and value.is_integer():
        value = int(value)  # clients without integers write 5.0
    if not isinstance(value, int) or isinstance(value, bool) or value < least or (most is not None and value > most):
        limits = f"of {least} or more" if most is None else f"from {least} to {most}"
        raise wrong(f"generation_config.{name}", f"an integer {limits}", value)
    return value


def _last_user_text(turns: list[Turn]) -> str:
    for turn in reversed(turns):
        if turn.role == "user" and turn.of("text"):
            return turn.text
    return ""
