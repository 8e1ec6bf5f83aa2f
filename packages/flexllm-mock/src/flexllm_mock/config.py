"""What a mock server can be told when it starts."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypedDict

from flexllm_mock.faults.kinds import KINDS
from flexllm_mock.physics.distributions import Distribution, distribution

API_KEY_VARIABLE = "FLEXLLM_MOCK_API_KEY"
"""The environment variable from which commands take the server's key."""

MAX_RESPONSE_TOKENS = 1_000_000
_ROUNDING = 1e-9


@dataclass(frozen=True, slots=True, kw_only=True)
class MockConfig:
    """Settings of one mock server.

    host: address to listen on (default 127.0.0.1). port: 0 (the default) takes any free port.
    delay: seconds before an answer or the first token of a stream. token_rate: tokens per second, 0 for no pacing;
    a single answer waits for the time that its tokens take.
    error_rate: share (0 to 1) of generation requests that fail with error_status; retry_after: seconds sent as
    `retry-after` with 429 and 503. fault_rates: share of generation requests that meet a fault, by the fault's kind.
    Which ones fail follows from the seed, the request's content, and how often that content came before.
    rpm, input_tpm, output_tpm: requests, input tokens and output tokens that each key may use per minute, None for no
    limit; limit_burst: seconds whose share may be used at once. max_concurrent: requests of a key that may run at once.
    ttft and token_time: how an engine takes its time, in seconds or as distributions ("0.1-0.3", "normal:0.2,0.05",
    "lognormal:0.2,0.5", "exponential:0.2"); prefill_rate: prompt tokens per second; max_num_seqs: how many answers it
    generates at once; prefix_cache: prompt tokens that it remembers (0: usage tells cached tokens by a fixed rule).
    models: names that the model list shows; other names are answered too unless strict_models.
    api_key: when set, requests with another key are refused. response_len: least and most tokens of a free answer.
    fixtures: a file or folder of fixtures, or a list of those and of rules (docs/mock-fixtures.md has their fields).
    qa: a file of questions and answers, or answers by question, for what no fixture answers.
    replay: a recording to answer from; replay_speed: how many times faster than recorded, 0 for at once (default 1);
    replay_fallback: let the mock answer what is not recorded, instead of 404.
    log_file: file that gets one JSON line per request received. max_body_bytes: larger requests get 413.
    batch_seconds: how long a vendor's batch takes, 0 (the default) for done at the first look. batch_window: seconds
    after which the rows of a batch that are not done expire (default a day).

    Raises ValueError for a value out of range.
    """

    host: str = "127.0.0.1"
    port: int = 0
    delay: float = 0.0
    token_rate: float = 0.0
    error_rate: float = 0.0
    error_status: int = 500
    retry_after: float | None = None
    fault_rates: Mapping[str, float] = field(default_factory=dict)
    rpm: float | None = None
    input_tpm: float | None = None
    output_tpm: float | None = None
    max_concurrent: int | None = None
    limit_burst: float = 60.0
    ttft: float | str | Distribution | None = None
    token_time: float | str | Distribution | None = None
    prefill_rate: float | None = None
    max_num_seqs: int | None = None
    prefix_cache: int = 0
    seed: int = 0
    models: tuple[str, ...] = ("mock",)
    strict_models: bool = False
    api_key: str | None = field(default=None, repr=False)
    response_len: tuple[int, int] = (12, 40)
    fixtures: str | os.PathLike[str] | Sequence[str | os.PathLike[str] | Mapping[str, Any]] = ()
    qa: str | os.PathLike[str] | Mapping[str, str] | None = None
    replay: str | os.PathLike[str] | None = None
    replay_speed: float = 1.0
    replay_fallback: bool = False
    log_file: str | os.PathLike[str] | None = None
    max_body_bytes: int = 100 * 1024 * 1024
    batch_seconds: float = 0.0
    batch_window: float = 86_400.0

    def __post_init__(self) -> None:
        low, high = self.response_len
        for wrong, problem in (
            (not 0 <= self.port <= 65535, f"port must be 0 to 65535, not {self.port}"),
            (not 0 <= self.delay < float("inf"), f"delay must be a number of seconds, not {self.delay}"),
            (not 0 <= self.token_rate < float("inf"), f"token_rate must be tokens per second, not {self.token_rate}"),
            (not 0 <= self.error_rate <= 1, f"error_rate must be between 0 and 1, not {self.error_rate}"),
            (not 400 <= self.error_status <= 599, f"error_status must be 400 to 599, not {self.error_status}"),
            (
                self.retry_after is not None and not 0 <= self.retry_after < float("inf"),
                f"retry_after must be a number of seconds, not {self.retry_after}",
            ),
            (
                not 1 <= low <= high <= MAX_RESPONSE_TOKENS,
                f"response_len must be 1 <= least <= most <= {MAX_RESPONSE_TOKENS}, not {low} and {high}",
            ),
            *(
                (not _is_positive(given), f"{name} must be a number above 0, not {given}")
                for name in ("rpm", "input_tpm", "output_tpm", "limit_burst", "prefill_rate")
                if (given := getattr(self, name)) is not None
            ),
            (self.max_concurrent is not None and self.max_concurrent < 1, "max_concurrent must be 1 or more"),
            (self.max_num_seqs is not None and self.max_num_seqs < 1, "max_num_seqs must be 1 or more"),
            (self.prefix_cache < 0, f"prefix_cache must be tokens, not {self.prefix_cache}"),
            (not -(2**63) <= self.seed < 2**63, f"seed must fit in 64 bits, not {self.seed}"),
            (not self.models, "models must name at least one model"),
            (self.api_key == "", "api_key must not be empty"),
            (
                not 0 <= self.replay_speed < float("inf"),
                f"replay_speed must be 1 for as recorded, more for faster, or 0 for at once, not {self.replay_speed}",
            ),
            (self.max_body_bytes < 1, f"max_body_bytes must be positive, not {self.max_body_bytes}"),
            (
                not 0 <= self.batch_seconds < float("inf"),
                f"batch_seconds must be a number of seconds, not {self.batch_seconds}",
            ),
            (
                not 0 < self.batch_window < float("inf"),
                f"batch_window must be more than 0 seconds, not {self.batch_window}",
            ),
        ):
            if wrong:
                raise ValueError(problem)
        self._check_fault_rates()
        for name in ("ttft", "token_time"):
            given = getattr(self, name)
            if given is not None:
                try:
                    distribution(given)
                except ValueError as error:
                    raise ValueError(f"{name}: {error}") from None

    def _check_fault_rates(self) -> None:
        for kind, rate in self.fault_rates.items():
            if kind not in KINDS:
                raise ValueError(f"fault_rates: there is no kind of fault {kind!r}; there are {', '.join(KINDS)}")
            if not 0 <= rate <= 1:
                raise ValueError(f"fault_rates: the rate of {kind} must be between 0 and 1, not {rate}")
        if sum(self.fault_rates.values()) + self.error_rate > 1 + _ROUNDING:
            raise ValueError("fault_rates and error_rate must not be more than 1 together")


def _is_positive(value: float) -> bool:
    return 0 < value < float("inf")


class MockOptions(TypedDict, total=False):
    """The fields of `MockConfig` as keyword arguments."""

    host: str
    port: int
    delay: float
    token_rate: float
    error_rate: float
    error_status: int
    retry_after: float | None
    fault_rates: Mapping[str, float]
    rpm: float | None
    input_tpm: float | None
    output_tpm: float | None
    max_concurrent: int | None
    limit_burst: float
    ttft: float | str | Distribution | None
    token_time: float | str | Distribution | None
    prefill_rate: float | None
    max_num_seqs: int | None
    prefix_cache: int
    seed: int
    models: tuple[str, ...]
    strict_models: bool
    api_key: str | None
    response_len: tuple[int, int]
    fixtures: str | os.PathLike[str] | Sequence[str | os.PathLike[str] | Mapping[str, Any]]
    qa: str | os.PathLike[str] | Mapping[str, str] | None
    replay: str | os.PathLike[str] | None
    replay_speed: float
    replay_fallback: bool
    log_file: str | os.PathLike[str] | None
    max_body_bytes: int
    batch_seconds: float
    batch_window: float
