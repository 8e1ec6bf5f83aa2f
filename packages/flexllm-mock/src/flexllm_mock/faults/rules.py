"""Scripted faults: rules that say which requests fail, how, and how often."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from functools import cached_property
from typing import Any, get_args

from flexllm_mock.asgi import ApiRequest, Stage
from flexllm_mock.faults.kinds import KINDS, Alteration

_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_HEADER_VALUE = re.compile(r"[\t\x20-\x7e\x80-\xff]*")
_FRAMING = ("content-length", "transfer-encoding", "connection")
_STAGES = get_args(Stage)
_ALTERATIONS = get_args(Alteration)
_MAX_SIZE = 1 << 30


@dataclass(frozen=True)
class FaultMatch:
    """Which requests a rule concerns; what is None does not matter.

    contains: text that the request body holds, as it is or as JSON escapes it. model: the model's exact name.
    path: the end of the request's path.
    """

    contains: str | None = None
    model: str | None = None
    path: str | None = None

    @cached_property
    def _spellings(self) -> tuple[bytes, ...]:
        text = self.contains or ""
        escaped = json.dumps(text)[1:-1], json.dumps(text, ensure_ascii=False)[1:-1]
        return tuple({spelling.encode("utf-8", "surrogatepass") for spelling in (text, *escaped)})

    def matches(self, request: ApiRequest) -> bool:
        """Tell whether the rule concerns a request whose body has been read."""
        if self.model is not None and request.model != self.model:
            return False
        if self.path is not None and not request.path.endswith(self.path):
            return False
        return self.contains is None or any(spelling in request.body for spelling in self._spellings)


@dataclass(frozen=True, kw_only=True)
class FaultRule:
    """What happens to the requests that match: the first rule that applies decides.

    status: HTTP status; an error status alone is answered with the vendor's error body.
    headers: sent with the answer (not content-length, transfer-encoding or connection).
    body: JSON value to answer with. raw_body: text or bytes to answer with as they are. answer: text that the model
    gives instead of its own; it is not cut by max_tokens or stop. At most one of the three.
    as_list: put the error body into a list of one, as Google does for some streams.
    retry_after: seconds that an error tells the client to wait, in the vendor's way. code: the error's code, for
    instance "insufficient_quota".
    alter: what is wrong with an answer that is otherwise ordinary (see the README). size: bytes that "oversized" adds.
    delay: seconds before anything is sent. disconnect: close the connection "before" the answer, "mid_headers",
    "after_headers" or "mid_body", with a TCP reset if `reset`. stall: send nothing more from one of these stages on,
    for stall_seconds, or until the client leaves. refuse: seconds for which the server refuses new connections.
    times: how many requests the rule applies to, None for all. every: apply to each N-th matching request.
    match: which requests; None for all.

    Raises ValueError that names the field that is wrong.
    """

    status: int | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    body: Any = None
    raw_body: str | bytes | None = None
    answer: str | None = None
    as_list: bool = False
    delay: float = 0.0
    retry_after: float | None = None
    code: str | None = None
    alter: Alteration | None = None
    size: int = 100 * 1024 * 1024
    disconnect: Stage | None = None
    reset: bool = False
    stall: Stage | None = None
    stall_seconds: float | None = None
    refuse: float = 0.0
    times: int | None = None
    every: int = 1
    match: FaultMatch | None = None

    def __post_init__(self) -> None:
        for wrong, problem in (
            (not (self.status is None or _is_int(self.status, 200, 599)), "status must be 200 to 599"),
            (not (self.times is None or _is_int(self.times, 1)), "times must be an integer of 1 or more"),
            (not _is_int(self.every, 1), "every must be an integer of 1 or more"),
            (not _is_seconds(self.delay), "delay must be a number of seconds"),
            (self.disconnect not in (None, *_STAGES), f"disconnect must be one of {_STAGES}"),
            (self.stall not in (None, *_STAGES), f"stall must be one of {_STAGES}"),
            (self.alter not in (None, *_ALTERATIONS), f"alter must be one of {_ALTERATIONS}"),
            (not _is_int(self.size, 1, _MAX_SIZE), f"size must be 1 to {_MAX_SIZE} bytes"),
            (
                not (self.retry_after is None or _is_seconds(self.retry_after)),
                "retry_after must be a number of seconds",
            ),
            (
                not (self.stall_seconds is None or _is_seconds(self.stall_seconds)),
                "stall_seconds must be a number of seconds",
            ),
            (self.stall_seconds is not None and self.stall is None, "stall_seconds needs stall"),
            (not _is_seconds(self.refuse), "refuse must be a number of seconds"),
            (not isinstance(self.code, str | None), "code must be a string"),
            (not isinstance(self.reset, bool), "reset must be true or false"),
            (self.reset and self.disconnect is None, "reset needs disconnect"),
            (not isinstance(self.answer, str | None), "answer must be a string"),
            (not isinstance(self.raw_body, str | bytes | None), "raw_body must be a string"),
            (not isinstance(self.as_list, bool), "as_list must be true or false"),
            (not isinstance(self.match, FaultMatch | None), "match must be an object"),
            (not isinstance(self.headers, Mapping), "headers must be an object"),
            (
                [self.body, self.raw_body, self.answer].count(None) < 2,
                "only one of body, raw_body and answer can be given",
            ),
        ):
            if wrong:
                raise ValueError(problem)
        self._check_headers()

    def _check_headers(self) -> None:
        given: Iterable[tuple[object, object]] = self.headers.items()
        for name, value in given:
            if not isinstance(name, str) or not _HEADER_NAME.fullmatch(name) or name.lower() in _FRAMING:
                raise ValueError(f"headers cannot hold {name!r}")
            if not isinstance(value, str) or not _HEADER_VALUE.fullmatch(value):
                raise ValueError(f"the header {name!r} must be a line of Latin-1 text")

    @classmethod
    def from_json(cls, value: object) -> FaultRule:
        """Build a rule from parsed JSON, with `match` as a nested object. Raises ValueError."""
        options = _with_kind(_known_fields(cls, value, "a fault rule", "kind"))
        if options.get("match") is not None:
            match = _known_fields(FaultMatch, options["match"], "match")
            if not all(isinstance(text, str | None) for text in match.values()):
                raise ValueError("contains, model and path of match must be strings")
            options["match"] = FaultMatch(**match)
        return cls(**{name: given for name, given in options.items() if given is not None})

    @classmethod
    def of(cls, kind: str, **options: Any) -> FaultRule:
        """Build a rule of one of the kinds that have a name, such as "rate_limit" or "cut_stream".

        `options` are fields that are added to those of the kind or replace them. Raises ValueError.
        """
        return cls(**_with_kind({"kind": kind, **options}))

    @cached_property
    def raw_headers(self) -> tuple[tuple[bytes, bytes], ...]:
        """The headers as they are sent."""
        return tuple((name.lower().encode(), value.encode("latin-1")) for name, value in self.headers.items())

    @cached_property
    def whole_body(self) -> bytes | None:
        """The body that the rule prescribes, None when it prescribes none."""
        if isinstance(self.raw_body, str):
            return self.raw_body.encode("utf-8", "surrogatepass")
        if self.raw_body is None and self.body is not None:
            return json.dumps(self.body).encode()
        return self.raw_body


class FaultScript:
    """The rules of a server and how often each was used."""

    def __init__(self, rules: Iterable[FaultRule] = ()) -> None:
        self._initial = tuple(rules)
        self.reset()

    def reset(self) -> None:
        """Return to the rules of the start, all unused."""
        self._armed = [_Armed(rule) for rule in self._initial]

    def add(self, rule: FaultRule) -> None:
        """Put a rule behind the others."""
        self._armed.append(_Armed(rule))

    def clear(self) -> int:
        """Take all rules away, until the next reset; how many there were."""
        count = len(self._armed)
        self._armed = []
        return count

    def pick(self, request: ApiRequest) -> FaultRule | None:
        """Return the rule for a request and count its use."""
        for armed in self._armed:
            if armed.takes(request):
                return armed.rule
        return None

    def __bool__(self) -> bool:
        return bool(self._armed)


@dataclass(slots=True)
class _Armed:
    rule: FaultRule
    seen: int = 0
    used: int = 0

    def takes(self, request: ApiRequest) -> bool:
        rule = self.rule
        if rule.times is not None and self.used >= rule.times:
            return False
        if rule.match is not None and not rule.match.matches(request):
            return False
        self.seen += 1
        if self.seen % rule.every:
            return False
        self.used += 1
        return True


def _is_int(value: object, least: int, most: int | None = None) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= least and (most is None or value <= most)


def _is_seconds(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < float("inf")


def _with_kind(options: dict[str, Any]) -> dict[str, Any]:
    """Replace `kind` by the fields that it stands for."""
    if "kind" not in options:
        return options
    kind = options.pop("kind")
    if kind not in KINDS:
        raise ValueError(f"there is no kind of fault {kind!r}; there are {', '.join(KINDS)}")
    return {**KINDS[kind], **options}


def _known_fields(kind: type[FaultRule | FaultMatch], value: object, what: str, *more: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ValueError(f"{what} must be an object")  # noqa: TRY004 wrong data, not a wrong call
    known = [*more, *(each.name for each in fields(kind))]
    for name in value:
        if name not in known:
            raise ValueError(f"{what} has no field {name!r}; it has {', '.join(known)}")
    return value.copy()
