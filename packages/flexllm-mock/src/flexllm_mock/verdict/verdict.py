"""The verdict on a client: rules over the facts that the request log has gathered, each with a limit."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from difflib import get_close_matches
from typing import Any, TypedDict, Unpack

from flexllm_mock.verdict.conduct import Example, Facts


@dataclass(frozen=True, slots=True)
class Rule:
    """What is measured, and the limit above which the rule has failed; None: it is only reported."""

    name: str
    limit: int | None
    measure: Callable[[Facts], int]
    describe: Callable[[Facts], str]


RULES = (
    Rule(
        "requests",
        None,
        lambda facts: facts.requests,
        lambda facts: f"requests, of {facts.distinct} different contents",
    ),
    Rule(
        "duplicates",
        0,
        lambda facts: facts.duplicates,
        lambda facts: "requests whose content (model and messages) was answered already, or was just being answered",
    ),
    Rule(
        "retries_per_failure",
        10,
        lambda facts: facts.most_retries,
        lambda facts: f"retries of one content at most; {facts.retries} retries after {facts.failed} failures in all",
    ),
    Rule(
        "retry_after_ignored",
        0,
        lambda facts: facts.retry_after_ignored,
        lambda facts: "retries sooner than the answer had told",
    ),
    Rule(
        "shared_pause_ignored",
        None,
        lambda facts: facts.shared_pause_ignored,
        lambda facts: "other requests of the same key and model while it was told to wait",
    ),
    Rule(
        "retry_storm",
        5,
        lambda facts: facts.retry_burst,
        lambda facts: "retries of one content within a second at most, with no answer that asked for them",
    ),
    Rule(
        "truncated_accepted",
        0,
        lambda facts: facts.truncated_accepted,
        lambda facts: f"answers that were cut off and never asked for again, of {facts.cut} that were cut off",
    ),
    Rule("key_in_url", 0, lambda facts: facts.key_in_url, lambda facts: "requests with a key in their URL"),
    Rule("connections", None, lambda facts: facts.connections, lambda facts: "connections that carried requests"),
    Rule("peak_concurrency", None, lambda facts: facts.peak_concurrency, lambda facts: "requests in flight at most"),
    Rule("rate_peak", None, lambda facts: facts.rate_peak, lambda facts: "requests in the busiest second"),
)
"""All rules, in the order in which they are shown."""


class Limits(TypedDict, total=False):
    """Limits by rule: the largest count that passes; None for a rule that shall only be reported."""

    requests: int | None
    duplicates: int | None
    retries_per_failure: int | None
    retry_after_ignored: int | None
    shared_pause_ignored: int | None
    retry_storm: int | None
    truncated_accepted: int | None
    key_in_url: int | None
    connections: int | None
    peak_concurrency: int | None
    rate_peak: int | None


@dataclass(frozen=True, slots=True)
class RuleResult:
    """What one rule found. `limit` is None when the rule is only reported; then it has passed."""

    rule: str
    passed: bool
    count: int
    limit: int | None
    text: str
    examples: tuple[Example, ...]

    def with_limits(self, limits: Mapping[str, int | None]) -> RuleResult:
        """Return the same count judged by the limit that is given for the rule, if there is one."""
        limit = limits.get(self.rule, self.limit)
        return replace(self, limit=limit, passed=limit is None or self.count <= limit)

    def __str__(self) -> str:
        mark = "    " if self.limit is None else "ok  " if self.passed else "FAIL"
        limit = "" if self.limit is None else f" (limit {self.limit})"
        lines = [f"{mark}  {self.rule}: {self.count} {self.text}{limit}"]
        if not self.passed:
            lines += [f"        request {each.ordinal}: {each.note}" for each in self.examples]
        return "\n".join(lines)


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a client did, judged by every rule. `str()` is a report of a line per rule."""

    rules: tuple[RuleResult, ...]

    @property
    def passed(self) -> bool:
        """Whether no rule has failed."""
        return not self.failed

    @property
    def failed(self) -> tuple[RuleResult, ...]:
        """The rules that have failed."""
        return tuple(rule for rule in self.rules if not rule.passed)

    def __getitem__(self, rule: str) -> RuleResult:
        """Return the result of a rule. Raises KeyError with the names that there are."""
        for result in self.rules:
            if result.rule == rule:
                return result
        raise KeyError(unknown_rule(rule))

    def check(self, **limits: Unpack[Limits]) -> None:
        """Raise AssertionError when a rule has failed; `limits` replace those that the verdict was asked with.

        The message names each rule that has failed, with its count, its limit and the requests that broke it. Raises
        ValueError for a rule that does not exist or a limit that is no count.
        """
        chosen = checked_limits(limits)
        judged = (rule.with_limits(chosen) for rule in self.rules)
        failed = [rule for rule in judged if not rule.passed]
        if failed:
            listed = "\n".join(map(str, failed))
            raise AssertionError(f"the mock server's verdict on the client: {len(failed)} failed\n{listed}")

    def as_dict(self) -> dict[str, Any]:
        """Return the verdict as JSON values: `passed`, and `rules` with rule, passed, count, limit, text, examples."""
        return {"passed": self.passed, "rules": [asdict(rule) for rule in self.rules]}

    def __str__(self) -> str:
        return "\n".join(str(rule) for rule in self.rules)


def judge(facts: Facts, limits: Mapping[str, object] | None = None) -> Verdict:
    """Judge facts by every rule, with the given limits instead of the usual ones.

    Raises ValueError for a rule that does not exist, and for a limit that is no count.
    """
    chosen = checked_limits(limits or {})
    results = []
    for rule in RULES:
        examples = facts.examples.get(rule.name, ())
        result = RuleResult(rule.name, True, rule.measure(facts), rule.limit, rule.describe(facts), examples)
        results.append(result.with_limits(chosen))
    return Verdict(tuple(results))


def verdict_from_json(value: Any) -> Verdict:
    """Return the verdict that `as_dict` gave. Raises ValueError when the value is none."""
    try:
        return Verdict(
            tuple(
                RuleResult(**{**each, "examples": tuple(Example(**example) for example in each["examples"])})
                for each in value["rules"]
            )
        )
    except (TypeError, KeyError, AttributeError) as error:
        raise ValueError(f"not a verdict: {error!r}") from None


def checked_limits(limits: Mapping[str, object]) -> dict[str, int | None]:
    """Return limits that are valid. Raises ValueError that names the wrong one."""
    checked: dict[str, int | None] = {}
    names = {rule.name for rule in RULES}
    for name, limit in limits.items():
        if name not in names:
            raise ValueError(unknown_rule(name))
        if limit is not None and (not isinstance(limit, int) or isinstance(limit, bool) or limit < 0):
            raise ValueError(f"the limit of {name} must be a whole number of 0 or more, or None, not {limit!r}")
        checked[name] = limit
    return checked


def limit_from_text(text: str) -> tuple[str, int | None]:
    """Read `RULE`, `RULE=N` or `RULE=none`; a rule without a number has its usual limit, or 0.

    Raises ValueError that says what is wrong.
    """
    name, equals, number = (part.strip() for part in text.partition("="))
    usual = {rule.name: rule.limit for rule in RULES}
    if name not in usual:
        raise ValueError(unknown_rule(name))
    if not equals:
        return name, usual[name] or 0
    if number.lower() == "none":
        return name, None
    if not number.isascii() or not number.isdigit() or len(number) > 15:
        raise ValueError(f"the limit of {name} must be a whole number of 0 or more, or none, not {number!r}")
    return name, int(number)


def only(limits: Mapping[str, int | None]) -> dict[str, int | None]:
    """Return limits by which no other rules than those given can fail."""
    return {**{rule.name: None for rule in RULES}, **limits}


def unknown_rule(name: str) -> str:
    """Say that there is no such rule, and which there are."""
    names = [rule.name for rule in RULES]
    close = get_close_matches(name, names, 1)
    hint = f"did you mean {close[0]}?" if close else f"there are {', '.join(names)}"
    return f"there is no rule {name!r}; {hint}"
