"""The lines of an output file as they stand, read one by one, and their sums."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

from flexllm_batch.outputs.lines import is_output_line
from flexllm_batch.planning.plan import RowOffsets
from flexllm_core.errors import InputError
from flexllm_core.json_codec import decode_json

Line = dict[str, Any]

MAX_MODELS = 50
"""Models that are told apart; a file may name one in each line."""


class OutputLines:
    """The rows of an output file, of each its last line: a run that was interrupted may have asked a row again.

    Memory is 8 bytes for each row.

    Attributes:
        path: The file.
        unreadable: Lines that are no output lines.

    Raises:
        OSError: It cannot be read.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.unreadable = 0
        self._offsets = RowOffsets()
        most = path.stat().st_size * 16  # rows that were skipped have an index and no line
        for offset, text in self._texts():
            line = _parsed(text)
            if line is not None and 0 <= line["index"] <= most:
                self._offsets.set(line["index"], offset)
            elif text.strip():
                self.unreadable += 1

    def check(self) -> None:
        """Refuse a file that has lines, and none of them is an output line.

        Raises:
            InputError: That is so.
        """
        if self.unreadable and not self._offsets.count:
            raise InputError("is no output of flexllm batch", source=str(self.path))

    def _texts(self) -> Iterator[tuple[int, bytes]]:
        offset = 0
        with self.path.open("rb") as file:
            for text in file:
                yield offset, text
                offset += len(text)

    def lines(self) -> Iterator[tuple[int, Line]]:
        """The lines in the order of the file, with their offsets."""
        for offset, text in self._texts():
            line = _parsed(text)
            if line is not None and self._offsets.get(line["index"]) == offset:
                yield offset, line


def _parsed(text: bytes) -> Line | None:
    try:
        value = decode_json(text)
    except ValueError:
        return None
    return value if is_output_line(value) else None


@dataclass(slots=True)
class OutputTotals:
    """What an output holds.

    Attributes:
        rows, ok, failed: Its lines.
        unreadable: Lines that are no output lines.
        prompt_tokens, completion_tokens: Sums over the lines whose usage was kept; answers that broke a row's contract
            are in it.
        cost: US dollars of the answers whose cost is known.
        unknown_cost: Answers whose cost is unknown.
        models: Answers of each model.
    """

    rows: int = 0
    ok: int = 0
    failed: int = 0
    unreadable: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cost: Decimal = Decimal(0)
    unknown_cost: int = 0
    models: dict[str, int] = field(default_factory=dict)

    def add(self, line: Line) -> None:
        """Count a line."""
        self.rows += 1
        if line["status"] == "success":
            self.ok += 1
            model = str(line.get("model"))
            if model in self.models or len(self.models) < MAX_MODELS:
                self.models[model] = self.models.get(model, 0) + 1
        else:
            self.failed += 1
        if was_paid(line):
            prompt, completion = tokens_of(line)
            self.prompt_tokens += prompt
            self.completion_tokens += completion
            cost = cost_of(line)
            if cost is None:
                self.unknown_cost += 1
            else:
                self.cost += cost


def was_paid(line: Line) -> bool:
    """Whether a line has an answer, be it one that broke the row's contract."""
    return line["status"] == "success" or "rejected" in line


def number_of(value: object) -> float | None:
    """A number of a file that anybody may have written; None if it is none, negative or not finite."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if math.isfinite(number) and number >= 0 else None


def count_of(value: object) -> int:
    """A count of such a file; 0 if it is none."""
    return int(number_of(value) or 0)


def tokens_of(line: Line) -> tuple[int, int]:
    """The tokens that went in and came out, as far as the line says."""
    usage = line.get("usage")
    if not isinstance(usage, dict):
        return 0, 0
    return count_of(usage.get("prompt_tokens")), count_of(usage.get("completion_tokens"))


def cost_of(line: Line) -> Decimal | None:
    """US dollars; None when the line does not say."""
    cost = number_of(line.get("cost"))
    return None if cost is None else Decimal(str(cost))
