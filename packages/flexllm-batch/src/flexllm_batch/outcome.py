"""Outcome: a row on its way, and how it ended."""

from __future__ import annotations

from dataclasses import dataclass

from flexllm_batch.inputs.records import Record
from flexllm_core.requests import ChatRequest
from flexllm_core.results import ChatCompletionResult


@dataclass(slots=True)
class Outcome:
    """A row that is asked; in the end either `result` or `error` is set.

    Attributes:
        record: The row.
        request: What is asked; None when the row cannot be asked.
        key: The request's fingerprint, where it is needed.
        result: The answer.
        error: Why there is none.
    """

    record: Record
    request: ChatRequest | None = None
    key: str | None = None
    result: ChatCompletionResult | None = None
    error: Exception | None = None
