"""BatchSettings: how a batch is run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from flexllm_batch.contracts.contract import Contract
from flexllm_batch.inputs.records import Record, RowShape
from flexllm_batch.outputs.output import OutputFormat
from flexllm_batch.planning.plan import OnBadRow, ResumeMode
from flexllm_batch.stop_rules import FailureLimit
from flexllm_core.fingerprint import Fingerprints, request_fingerprint
from flexllm_core.options import SaveInput
from flexllm_core.requests import ChatRequest


@dataclass(frozen=True, slots=True)
class BatchSettings:
    """How a batch is run.

    Attributes:
        model: Model of rows that name none.
        params: Default params of every row.
        extra_headers: HTTP headers of every row.
        skip_cache: Leave the response cache alone.
        sample: Sample number of rows that have none (`ChatRequest.sample`).
        window: Rows in flight.
        output: The output file, None for none.
        save_input: What output lines keep of the input.
        return_usage: Write token counts into the output lines.
        resume: What to do with an output that has answers.
        overwrite: Replace whatever output is there.
        on_bad_row: What to do with rows that cannot be asked.
        limit: Only the first so many rows.
        shape: How rows are read.
        max_failures: When to stop because of failures.
        track_cost: Count rows of unknown cost.
        flush_interval: Seconds between syncs of the output.
        contract: What each answer must be like; None for nothing in particular.
        output_format: The lines of the output: flexllm's own, or those of OpenAI's batch API.
    """

    model: str | None = None
    params: Mapping[str, Any] = field(default_factory=dict)
    extra_headers: Mapping[str, str] = field(default_factory=dict)
    skip_cache: bool = False
    sample: int = 0
    window: int = 50
    output: str | Path | None = None
    save_input: SaveInput = True
    return_usage: bool = True
    resume: ResumeMode = "auto"
    overwrite: bool = False
    on_bad_row: OnBadRow = "fail"
    limit: int | None = None
    shape: RowShape = field(default_factory=RowShape)
    max_failures: FailureLimit = field(default_factory=FailureLimit)
    track_cost: bool = False
    flush_interval: float = 1.0
    output_format: OutputFormat = "jsonl"
    contract: Contract | None = None
    _fingerprints: Fingerprints = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_fingerprints", Fingerprints(self.model, self.params, self.sample))

    def request(self, record: Record) -> ChatRequest:
        """The request of a record: its own model and params over the run's."""
        return ChatRequest(
            record.messages,
            record.model or self.model,
            self._params(record) if record.params else self.params,
            extra_headers=self.extra_headers,
            sample=record.sample or self.sample,
            skip_cache=self.skip_cache,
        )

    def fingerprint(self, record: Record) -> str:
        """The fingerprint of that request, without making it: an output is resumed by those of all its rows.

        Raises:
            InputError: It holds something that JSON cannot.
        """
        if not (record.params or record.model or record.sample):
            return self._fingerprints.of(record.messages)
        return request_fingerprint(
            record.messages, record.model or self.model, self._params(record), record.sample or self.sample
        )

    def _params(self, record: Record) -> Mapping[str, Any]:
        return {**self.params, **record.params} if record.params else self.params
