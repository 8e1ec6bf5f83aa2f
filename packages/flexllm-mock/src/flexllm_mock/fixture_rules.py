"""Fixtures as values: which requests a rule matches, and what its steps answer."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from functools import cached_property
from typing import Any, Literal

from flexllm_mock.asgi import ApiError, ApiRequest, Vendor
from flexllm_mock.conversation import Conversation, read_conversation
from flexllm_mock.faults import FaultRule
from flexllm_mock.masking import masked
from flexllm_mock.scripted import ScriptedAnswer, ScriptedCall
from flexllm_mock.templates import fill
from flexllm_mock.vendor import vendor_of

Per = Literal["content", "rule"]


class Question:
    """A request as fixtures see it; what no rule looks at is never computed."""

    def __init__(self, request: ApiRequest) -> None:
        self.request = request

    @cached_property
    def conversation(self) -> Conversation:
        """Who says what."""
        return read_conversation(self.request.payload or {})

    @cached_property
    def last_user(self) -> str:
        """The text of the last user message."""
        return self.conversation.last_user

    @cached_property
    def key(self) -> bytes:
        """What identifies the conversation, whatever the vendor."""
        return self.conversation.key

    @cached_property
    def vendor(self) -> Vendor:
        """Whose API the request speaks."""
        path = self.request.path
        if path.endswith("/messages") or "/publishers/anthropic/" in path:
            return "claude"
        return "gemini" if "contents" in (self.request.payload or {}) else vendor_of(self.request)

    @cached_property
    def headers(self) -> dict[str, str]:
        """The headers, names in lower case, keys masked."""
        return masked(self.request.headers)


@dataclass(frozen=True, slots=True)
class Counts:
    """The n-th ones: from `low` to `high`, both included; `high` is None for all that follow."""

    low: int
    high: int | None = None

    def __contains__(self, number: int) -> bool:
        return number >= self.low and (self.high is None or number <= self.high)


@dataclass(frozen=True, slots=True, kw_only=True)
class FixtureMatch:
    """Which requests a rule answers; what is None does not matter.

    model, path, header: globs, that of the path for its end. user, system: the whole text of the last user message, of
    the instructions; `_contains` a part of it, `_regex` a pattern searched in it. tool: a name that is offered.
    vendor: openai, claude or gemini. messages: key of a conversation. call: the how-manieth request with this content.
    nth: the how-manieth request that fits the rest.
    """

    model: str | None = None
    user: str | None = None
    user_contains: str | None = None
    user_regex: re.Pattern[str] | None = None
    system: str | None = None
    system_contains: str | None = None
    system_regex: re.Pattern[str] | None = None
    tool: str | None = None
    header: Mapping[str, str] = field(default_factory=dict)
    vendor: Vendor | None = None
    path: str | None = None
    messages: bytes | None = None
    call: Counts | None = None
    nth: Counts | None = None

    def groups(self, question: Question, call: int) -> dict[str, str] | None:
        """Return the groups of the patterns, by number and name, when a request matches; None when it does not.

        `call` is how often the content has come, this time included. `nth` is for whoever counts to look at.
        """
        request = question.request
        if self.model is not None and not fnmatchcase(request.model or "", self.model):
            return None
        if self.path is not None and not fnmatchcase(request.path, f"*{self.path}"):
            return None
        if self.vendor is not None and question.vendor != self.vendor:
            return None
        if self.call is not None and call not in self.call:
            return None
        if self.tool is not None and self.tool not in question.conversation.tools:
            return None
        if self.messages is not None and self.messages != question.key:
            return None
        for name, glob in self.header.items():
            if name not in question.headers or not fnmatchcase(question.headers[name], glob):
                return None
        groups: dict[str, str] = {}
        if self._asks_system and not _fits(
            question.conversation.system, self.system, self.system_contains, self.system_regex, groups
        ):
            return None
        return groups if _fits(question.last_user, self.user, self.user_contains, self.user_regex, groups) else None

    @property
    def _asks_system(self) -> bool:
        return self.system is not None or self.system_contains is not None or self.system_regex is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class AnswerTemplate:
    """An answer whose texts may have placeholders; `arguments` are those of its calls, as JSON values or text."""

    answer: ScriptedAnswer
    arguments: tuple[Any, ...] = ()
    templated: bool = False

    def fill(self, question: Question, call: int, groups: Mapping[str, str]) -> ScriptedAnswer:
        """Return the answer to a request."""
        if not self.templated:
            return self.answer

        def look(name: str) -> str:
            family, _, rest = name.partition(".")
            match family:
                case "header":
                    return question.headers.get(rest.lower(), "")
                case "group":
                    return groups.get(rest, "")
                case "system":
                    return question.conversation.system
                case "vendor":
                    return question.vendor
                case "last_user":
                    return question.last_user
            return str(call) if name == "call" else str(getattr(question.request, name) or "")

        calls = [
            ScriptedCall(each.name, as_arguments(fill(value, look)), each.id)
            for each, value in zip(self.answer.tool_calls, self.arguments, strict=True)
        ]
        text, thinking = fill(self.answer.text, look), fill(self.answer.thinking, look)
        return replace(self.answer, text=text, thinking=thinking, tool_calls=tuple(calls))


@dataclass(frozen=True, slots=True, kw_only=True)
class FixtureStep:
    """What is done with one request: an answer, a fault, or both; `error` is what a fault's error says.

    With neither, the mock answers by itself. `times`: how many requests in a row it serves before the next step.
    """

    answer: AnswerTemplate | None = None
    fault: FaultRule | None = None
    error: Mapping[str, str] | None = None
    times: int = 1

    def problem(self) -> ApiError | None:
        """Return the error that the step prescribes in its own words."""
        if self.error is None or self.fault is None or self.fault.status is None:
            return None
        error = ApiError(
            self.fault.status,
            self.error["message"],
            kind=self.error.get("type"),
            param=self.error.get("param"),
            code=self.error.get("code"),
        )
        error.headers = self.fault.raw_headers
        return error


@dataclass(frozen=True, slots=True, kw_only=True)
class FixtureRule:
    """A rule: what it matches and the steps it goes through, the last of which is repeated.

    per: whether steps and `times` count for each content of its own, or for the rule as a whole. times: how many
    requests it answers, None for all. place: where it stands, for messages.
    """

    match: FixtureMatch
    steps: tuple[FixtureStep, ...]
    per: Per = "content"
    times: int | None = None
    place: str = ""

    @property
    def counts(self) -> bool:
        """Whether the rule has to remember how often it was used."""
        return len(self.steps) > 1 or self.times is not None

    def step(self, used: int) -> FixtureStep:
        """Return the step for a rule that was used so many times before."""
        for step in self.steps:
            used -= step.times
            if used < 0:
                return step
        return self.steps[-1]


def as_arguments(value: Any) -> str:
    """Write the arguments of a call; a text is JSON already, or is meant not to be."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _fits(
    text: str, whole: str | None, part: str | None, pattern: re.Pattern[str] | None, groups: dict[str, str]
) -> bool:
    if whole is not None and text != whole:
        return False
    if part is not None and part not in text:
        return False
    if pattern is None:
        return True
    found = pattern.search(text)
    if found is None:
        return False
    groups["0"] = found[0]
    groups.update({str(at): group or "" for at, group in enumerate(found.groups(), 1)})
    groups.update({name: group or "" for name, group in found.groupdict().items()})
    return True
