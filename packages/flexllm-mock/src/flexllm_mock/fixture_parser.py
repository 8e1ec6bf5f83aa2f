"""Reads fixture rules from parsed JSON or YAML, and says everything that is wrong with them."""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Iterable
from dataclasses import dataclass, field, fields
from typing import Any, get_args

from flexllm_mock.asgi import Vendor
from flexllm_mock.conversation import read_conversation
from flexllm_mock.faults import FaultRule
from flexllm_mock.fixture_rules import AnswerTemplate, Counts, FixtureMatch, FixtureRule, FixtureStep, as_arguments
from flexllm_mock.scripted import ScriptedAnswer, ScriptedCall, ScriptedUsage
from flexllm_mock.templates import is_known, placeholders

Path = tuple[str | int, ...]
"""Where something stands in a rule: names and indexes, from the outside in."""

_OWN_FAULT_FIELDS = ("answer", "times", "every", "match")  # fixtures have their own ways of these
_FAULT_FIELDS = tuple(each.name for each in fields(FaultRule) if each.name not in _OWN_FAULT_FIELDS)
_STEP_FIELDS = ("answer", "error", *_FAULT_FIELDS)
_RULE_FIELDS = ("match", "sequence", "per", "times", "comment", *_STEP_FIELDS)
_MATCH_FIELDS = tuple(each.name for each in fields(FixtureMatch))
_ANSWER_FIELDS = ("text", "thinking", "tool_calls", "refusal", "finish_reason", "usage", "model", "verbatim")
_CALL_FIELDS = ("name", "arguments", "id", "type", "function")
_USAGE_FIELDS = (*(each.name for each in fields(ScriptedUsage)), "input_tokens", "output_tokens", "total_tokens")
_ERROR_FIELDS = ("message", "type", "param", "code")
_TEXT_MATCHES = ("model", "user", "user_contains", "system", "system_contains", "tool", "path")
_REASON = re.compile(r"[A-Za-z_]{1,64}")
_COUNTS = re.compile(r"(\d+)(?:(\+)|-(\d+))?")


@dataclass(frozen=True, slots=True)
class Problem:
    """Something wrong at a place of a rule."""

    path: Path
    message: str


@dataclass(slots=True)
class RuleParser:
    """Reads one rule; `problems` says what is wrong with it."""

    problems: list[Problem] = field(default_factory=list)
    _groups: set[str] | None = None

    def parse(self, value: object, place: str = "") -> FixtureRule | None:
        """Return the rule, or None when there are problems."""
        rule = self._object(value, (), _RULE_FIELDS)
        if rule is None:
            return None
        match = self._match(rule.get("match"))
        steps = self._steps(rule)
        per, times = rule.get("per", "content"), rule.get("times")
        if per not in ("content", "rule"):
            self._wrong(("per",), f"must be content or rule, not {per!r}")
        if times is not None:
            self._integer(times, ("times",), 1)
        if self.problems or match is None:
            return None
        return FixtureRule(match=match, steps=tuple(steps), per=per, times=times, place=place)

    def _wrong(self, path: Path, message: str) -> None:
        self.problems.append(Problem(path, message))

    def _object(self, value: object, path: Path, known: Iterable[str]) -> dict[str, Any] | None:
        """Return the value if it is an object; unknown names in it are problems."""
        if not isinstance(value, dict):
            self._wrong(path, f"must be an object with some of {', '.join(known)}")
            return None
        for name in value:
            if name not in known:
                near = difflib.get_close_matches(str(name), list(known), 1)
                hint = f"did you mean {near[0]!r}?" if near else f"known are {', '.join(known)}"
                self._wrong((*path, name), f"unknown key {name!r}; {hint}")
        return {name: given for name, given in value.items() if given is not None}

    def _text(self, value: object, path: Path) -> str:
        if isinstance(value, str):
            return value
        hint = "" if isinstance(value, dict | list) else "; put it in quotes"
        self._wrong(path, f"must be a text, not {value!r}{hint}")
        return ""

    def _integer(self, value: object, path: Path, least: int) -> int:
        if isinstance(value, int) and not isinstance(value, bool) and value >= least:
            return value
        self._wrong(path, f"must be an integer of {least} or more, not {value!r}")
        return least

    # What a rule matches.

    def _match(self, value: object) -> FixtureMatch | None:
        given = self._object({} if value is None else value, ("match",), _MATCH_FIELDS)
        if given is None:
            return None
        read: dict[str, Any] = {
            name: self._text(given[name], ("match", name)) for name in _TEXT_MATCHES if name in given
        }
        for name in ("user_regex", "system_regex"):
            if name in given:
                read[name] = self._pattern(given[name], ("match", name))
        for name in ("call", "nth"):
            if name in given:
                read[name] = self._counts(given[name], ("match", name))
        if "header" in given:
            read["header"] = self._headers(given["header"])
        if "vendor" in given:
            read["vendor"] = given["vendor"]
            if given["vendor"] not in get_args(Vendor):
                self._wrong(("match", "vendor"), f"must be {', '.join(get_args(Vendor))}, not {given['vendor']!r}")
        if "messages" in given:
            read["messages"] = self._messages(given["messages"])
        return None if self.problems else FixtureMatch(**read)

    def _pattern(self, value: object, path: Path) -> re.Pattern[str] | None:
        source = self._text(value, path)
        try:
            pattern = re.compile(source)
        except (re.error, RecursionError, OverflowError) as error:
            self._wrong(path, f"bad regular expression {source!r}: {error}")
            return None
        self._groups = {*(self._groups or ()), *map(str, range(pattern.groups + 1)), *pattern.groupindex}
        return pattern

    def _counts(self, value: object, path: Path) -> Counts | None:
        found = _COUNTS.fullmatch(str(value)) if isinstance(value, int | str) and value is not True else None
        if found is None or int(found[1]) < 1 or (found[3] and int(found[3]) < int(found[1])):
            self._wrong(path, f"must be a number from 1 on, or such as '2-4' or '3+', not {value!r}")
            return None
        low = int(found[1])
        return Counts(low, None if found[2] else int(found[3] or low))

    def _headers(self, value: object) -> dict[str, str]:
        if not isinstance(value, dict):
            self._wrong(("match", "header"), "must be an object of names and globs")
            return {}
        return {str(name).lower(): self._text(each, ("match", "header", name)) for name, each in value.items()}

    def _messages(self, value: object) -> bytes | None:
        if not isinstance(value, list) or not all(isinstance(each, dict) for each in value):
            self._wrong(("match", "messages"), "must be a list of messages")
            return None
        return read_conversation({"messages": value}).key

    # What it does.

    def _steps(self, rule: dict[str, Any]) -> list[FixtureStep]:
        if "sequence" not in rule:
            return [self._step(rule, ())]
        for name in _STEP_FIELDS:
            if name in rule:
                self._wrong((name,), f"{name!r} beside a sequence: put it into a step of the sequence")
        sequence = rule["sequence"]
        if not isinstance(sequence, list) or not sequence:
            self._wrong(("sequence",), "must be a list of steps")
            return []
        steps: list[FixtureStep] = []
        for at, value in enumerate(sequence):
            step = self._object(value, ("sequence", at), (*_STEP_FIELDS, "times"))
            if step is not None:
                times = self._integer(step.get("times", 1), ("sequence", at, "times"), 1)
                steps.append(self._step(step, ("sequence", at), times))
        return steps

    def _step(self, step: dict[str, Any], path: Path, times: int = 1) -> FixtureStep:
        answer = self._answer(step["answer"], (*path, "answer")) if "answer" in step else None
        error = self._error(step["error"], (*path, "error")) if "error" in step else None
        given = {name: step[name] for name in _FAULT_FIELDS if name in step}
        fault = None
        if given:
            try:
                fault = FaultRule.from_json(given)
            except ValueError as problem:
                named = next((name for name in given if name in str(problem)), None)
                self._wrong((*path, named) if named else path, str(problem))
        if error is not None and (not isinstance(step.get("status"), int) or step["status"] < 400):
            self._wrong((*path, "error"), "needs a status of 400 or more beside it")
        if answer is not None and (given.keys() & {"body", "raw_body"} or error is not None):
            self._wrong((*path, "answer"), "only one of answer, error, body and raw_body can be given")
        return FixtureStep(answer=answer, fault=fault, error=error, times=times)

    def _error(self, value: object, path: Path) -> dict[str, str] | None:
        error = {"message": value} if isinstance(value, str) else self._object(value, path, _ERROR_FIELDS)
        if error is None:
            return None
        if "message" not in error:
            self._wrong(path, "must have a message")
        return {name: self._text(given, (*path, name)) for name, given in error.items()}

    def _answer(self, value: object, path: Path) -> AnswerTemplate | None:
        given = {"text": value} if isinstance(value, str) else self._object(value, path, _ANSWER_FIELDS)
        if given is None:
            return None
        texts = {
            name: self._text(given[name], (*path, name))
            for name in ("text", "thinking", "refusal", "finish_reason", "model")
            if name in given
        }
        if "text" in texts and "refusal" in texts:
            self._wrong((*path, "refusal"), "only one of text and refusal can be given")
        reason = texts.get("finish_reason")
        if reason is not None and not _REASON.fullmatch(reason):
            self._wrong((*path, "finish_reason"), f"must be a word, not {reason!r}")
        calls, arguments = self._calls(given.get("tool_calls", []), (*path, "tool_calls"))
        answer = ScriptedAnswer(
            text=texts.get("refusal", texts.get("text", "")),
            thinking=texts.get("thinking", ""),
            tool_calls=calls,
            refusal="refusal" in texts,
            finish_reason=reason,
            usage=self._usage(given.get("usage", {}), (*path, "usage")),
            model=texts.get("model"),
        )
        verbatim = given.get("verbatim", False)
        if not isinstance(verbatim, bool):
            self._wrong((*path, "verbatim"), f"must be true or false, not {verbatim!r}")
        if verbatim is True:
            return AnswerTemplate(answer=answer)
        return AnswerTemplate(
            answer=answer, arguments=arguments, templated=self._templated([*texts.values(), *arguments], path)
        )

    def _templated(self, texts: list[Any], path: Path) -> bool:
        """Tell whether there are placeholders in texts; those that cannot be replaced are problems."""
        names = list(placeholders(texts))
        for name in names:
            family, _, group = name.partition(".")
            if not is_known(name):
                self._wrong(path, f"unknown placeholder {{{{{name}}}}}; `verbatim: true` keeps texts as they are")
            elif family == "group" and group not in (self._groups or ()):
                self._wrong(path, f"{{{{{name}}}}}: no pattern of the rule's match has the group {group!r}")
        return bool(names)

    def _calls(self, value: object, path: Path) -> tuple[tuple[ScriptedCall, ...], tuple[Any, ...]]:
        if not isinstance(value, list):
            self._wrong(path, "must be a list of calls")
            return (), ()
        calls: list[ScriptedCall] = []
        arguments: list[Any] = []
        for at, each in enumerate(value):
            call = self._object(each, (*path, at), _CALL_FIELDS)
            if call is None:
                continue
            if "function" in call:  # as it stands in a message
                inner = self._object(call["function"], (*path, at, "function"), ("name", "arguments"))
                call = {**call, **(inner or {})}
            if "name" not in call:
                self._wrong((*path, at), "must have a name")
            arguments.append(call.get("arguments", {}))
            if not isinstance(arguments[-1], str | dict):
                self._wrong((*path, at, "arguments"), "must be an object, or JSON as a text")
            name, mark = self._text(call.get("name", ""), (*path, at, "name")), call.get("id", "")
            calls.append(ScriptedCall(name, as_arguments(arguments[-1]), self._text(mark, (*path, at, "id"))))
        return tuple(calls), tuple(arguments)

    def _usage(self, value: object, path: Path) -> ScriptedUsage:
        given = self._object(value, path, _USAGE_FIELDS)
        counts = {name: self._integer(each, (*path, name), 0) for name, each in (given or {}).items()}
        for name, standard in (("input_tokens", "prompt_tokens"), ("output_tokens", "completion_tokens")):
            if name in counts:
                counts[standard] = counts.pop(name)
        counts.pop("total_tokens", None)  # follows from the others
        return ScriptedUsage(**counts)


def show(path: Path) -> str:
    """Write a place as `match.user_regex` or `sequence[1].answer`."""
    shown = "".join([f"[{part}]" if isinstance(part, int) else f".{part}" for part in path])
    return shown.lstrip(".")


def canonical_text(value: object) -> str:
    """Write a value such that equal ones are equal texts."""
    return json.dumps(value, sort_keys=True, default=str)
