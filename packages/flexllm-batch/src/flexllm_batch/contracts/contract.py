"""Row contracts: what an answer must be like, and what is asked when it is not. Pure functions over values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from functools import reduce
from operator import add
from typing import Any, Literal

from flexllm_batch.contracts.schema_check import SchemaCheck, schema_check
from flexllm_core.errors import ConfigError
from flexllm_core.requests import ChatRequest
from flexllm_core.results import ChatCompletionResult, Usage

DEFAULT_CORRECTIONS = 1

BreachKind = Literal["truncated", "schema"]


@dataclass(frozen=True, slots=True)
class Breach:
    """How an answer breaks a contract.

    Attributes:
        kind: `truncated`: cut off by the token limit; `schema`: not as the schema wants it.
        problem: What is wrong, for the model and for people.
        text: The answer in question, which is one of several when the request asked for several.
    """

    kind: BreachKind
    problem: str
    text: str | None


@dataclass(frozen=True, slots=True)
class Contract:
    """What each answer of a batch must be like.

    Attributes:
        schema: Checks the text; None for no schema. Answers that call tools have no text to check.
        no_truncated: An answer that was cut off by the token limit breaks the contract; with a schema it always does.
        max_corrections: How often a row is asked again with what is wrong with its answer; only with a schema.
        grow_max_tokens: Before that, an answer that was cut off is asked for once more with so many `max_tokens`.
    """

    schema: SchemaCheck | None = None
    no_truncated: bool = False
    max_corrections: int = DEFAULT_CORRECTIONS
    grow_max_tokens: int | None = None

    def breach(self, result: ChatCompletionResult) -> Breach | None:
        """How an answer breaks the contract; None if it keeps it."""
        if result.finish_reason == "length" and (self.no_truncated or self.schema is not None):
            return Breach("truncated", "it was cut off by the token limit", result.content)
        if self.schema is None or result.tool_calls:
            return None
        for text in result.choices if len(result.choices) > 1 else (result.content,):
            problem = self.schema.problem(text or "")
            if problem is not None:
                return Breach("schema", problem, text)
        return None

    def keeps(self, result: ChatCompletionResult) -> bool:
        """Whether an answer keeps the contract."""
        return self.breach(result) is None

    def grows(self, request: ChatRequest) -> bool:
        """Whether `grow_max_tokens` is more than a request asks for already."""
        if self.grow_max_tokens is None:
            return False
        present = request.params.get("max_tokens")
        return not isinstance(present, int) or present < self.grow_max_tokens


def make_contract(
    schema: object = None,
    *,
    no_truncated: bool = False,
    max_corrections: int | None = None,
    grow_max_tokens: int | None = None,
) -> Contract | None:
    """The contract that the options of a batch ask for; None if they ask for none.

    Raises:
        ConfigError: An option is unusable, or has no effect without another.
        MissingExtraError: A JSON schema needs a library that is not installed.
    """
    for name, number, least in (("max_corrections", max_corrections, 0), ("grow_max_tokens", grow_max_tokens, 1)):
        if number is not None and (type(number) is not int or number < least):
            raise ConfigError(f"{name} is {number!r}; expected a whole number, at least {least}")
    if schema is None and max_corrections is not None:
        raise ConfigError("max_corrections has no effect without a schema, whose errors the model is told")
    if schema is None and not no_truncated:
        if grow_max_tokens is not None:
            raise ConfigError("grow_max_tokens has no effect without no_truncated or a schema")
        return None
    corrections = DEFAULT_CORRECTIONS if max_corrections is None else max_corrections
    check = schema_check(schema) if schema is not None else None
    return Contract(check, no_truncated, corrections if check else 0, grow_max_tokens)


def params_under(contract: Contract | None, params: Mapping[str, Any]) -> dict[str, Any]:
    """The params of a batch with the schema as `response_format`, unless they have one of their own."""
    if contract is None or contract.schema is None:
        return {**params}
    return {"response_format": contract.schema.response_format, **params}


def correction(request: ChatRequest, result: ChatCompletionResult, breach: Breach) -> ChatRequest:
    """The request that shows the model its answer and says what is wrong with it."""
    messages = [*request.messages]
    if breach.text:
        whole = result.assistant_message if breach.text == result.content else None
        messages.append(whole or {"role": "assistant", "content": breach.text})
    shorter = "; be short enough to finish" if breach.kind == "truncated" else ""
    told = (
        f"Your answer is not valid: {breach.problem}. "
        f"Answer again, with nothing but JSON that satisfies the schema{shorter}."
    )
    messages.append({"role": "user", "content": told})
    return replace(request, messages=messages)


def summed(answers: Sequence[ChatCompletionResult]) -> ChatCompletionResult:
    """The last answer with the attempts, usage, cost and latency of all; what one lacks is unknown for all."""
    last = answers[-1]
    if len(answers) == 1:
        return last
    usages = [each.usage for each in answers]
    costs = [each.cost for each in answers]
    latencies = [each.latency for each in answers]
    cost: Decimal | None = _sum(costs)
    estimated = any(each.cost_source == "estimated" for each in answers)
    source = "estimated" if estimated else last.cost_source
    usage: Usage | None = _sum(usages)
    return replace(
        last,
        attempts=sum(each.attempts for each in answers),
        corrections=len(answers) - 1,
        usage=usage,
        cost=cost,
        cost_source=source if cost is not None else None,
        latency=_sum(latencies),
    )


def _sum(values: Sequence[Any]) -> Any:
    return None if any(value is None for value in values) else reduce(add, values)
