"""The plan: before anything is sent, which rows have an answer, which are asked, and which cannot be."""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal

from flexllm_batch.inputs.records import Record
from flexllm_batch.outputs.answers import NO_OFFSET, AnswerIndex
from flexllm_batch.outputs.lines import stands
from flexllm_batch.planning.survey import Survey
from flexllm_core.errors import InputError
from flexllm_core.options import SaveInput

OnBadRow = Literal["fail", "skip", "record"]
ResumeMode = Literal["auto", "strict", "never"]

_SHOWN_BAD_ROWS = 20
_GROWTH = 4096  # rows


class RowOffsets:
    """Where the line of each row stands in the output, 8 bytes a row.

    A line that was kept from an earlier run may be marked as moved: it must be rewritten, because the
    row's index, input or metadata is not what it was.
    """

    def __init__(self) -> None:
        self._values = array("Q")  # 0, or the offset plus 1, shifted by one bit for the mark
        self.any_moved = False
        self.count = 0

    def set(self, index: int, offset: int, *, moved: bool = False) -> None:
        """Say where a row's line is."""
        values = self._room_for(index)
        if not values[index]:
            self.count += 1
        values[index] = (offset + 1) << 1 | moved
        if moved:
            self.any_moved = True

    def set_all(self, indices: Sequence[int], offset: int, sizes: Iterable[int]) -> None:
        """Say where the lines of many rows are, which stand behind one another from an offset on."""
        values = self._room_for(max(indices, default=0))
        for index, size in zip(indices, sizes, strict=True):
            if not values[index]:
                self.count += 1
            values[index] = (offset + 1) << 1
            offset += size

    def _room_for(self, index: int) -> array[int]:
        values = self._values
        if index >= len(values):
            values.frombytes(bytes(8 * (index + _GROWTH - len(values))))
        return values

    def get(self, index: int) -> int:
        """The offset of a row's line, or NO_OFFSET."""
        return (self._values[index] >> 1) - 1 if index < len(self._values) else NO_OFFSET

    def known(self) -> Iterator[tuple[int, int, bool]]:
        """Each row that has a line, in order: its index, the line's offset, and whether it must be rewritten."""
        for index, value in enumerate(self._values):
            if value:
                yield index, (value >> 1) - 1, bool(value & 1)

    def in_order(self) -> bool:
        """Whether the lines stand in the order of the rows."""
        last = 0
        for value in self._values:
            if value:
                if value <= last:
                    return False
                last = value
        return True


@dataclass(slots=True)
class Plan:
    """What a run will do.

    Attributes:
        total: Rows within the limit.
        todo: Rows that are asked.
        kept: Rows within the limit whose answer is there already.
        bad: Rows that cannot be asked.
        bad_rows: The first of them, for the message.
        kinds: Rows of each format.
        offsets: Lines of the rows whose answer is there.
        stale: Offsets of answers that belong to no row.
    """

    total: int = 0
    todo: int = 0
    kept: int = 0
    bad: int = 0
    bad_rows: list[InputError] = field(default_factory=list)
    kinds: Counter[str] = field(default_factory=Counter)
    offsets: RowOffsets = field(default_factory=RowOffsets)
    stale: array[int] = field(default_factory=lambda: array("Q"))


def make_plan(
    records: Iterable[Record],
    answers: AnswerIndex,
    fingerprint: Callable[[Record], str],
    read_line: Callable[[int], bytes],
    *,
    limit: int | None,
    save_input: SaveInput,
    survey: Survey | None = None,
) -> Plan:
    """Read all records once and match them with the answers; a survey looks at each row within the limit.

    Rows beyond the limit are read only as long as there are answers that may be theirs: a short trial
    after a long run throws nothing away.
    """
    plan = Plan()
    matching = len(answers) > 0
    for record in records:
        within = limit is None or record.index < limit
        if not within and not (matching and answers.unclaimed()):
            break
        if within:
            plan.total += 1
        if record.error is not None:
            _count_bad(plan, record.error, within)
            continue
        offset, key = NO_OFFSET, ""
        try:
            if matching or survey is not None:
                key = fingerprint(record)
            if matching:
                offset = answers.claim(key)
        except InputError as error:
            _count_bad(plan, InputError(f"{_place(record)}: {error}"), within)
            continue
        if offset != NO_OFFSET:
            moved = not stands(read_line(offset), record, save_input)
            plan.offsets.set(record.index, offset, moved=moved)
        if within:
            plan.kinds[record.kind] += 1
            if offset != NO_OFFSET:
                plan.kept += 1
            else:
                plan.todo += 1
            if survey is not None:
                survey.add(record, key, kept=offset != NO_OFFSET)
    plan.stale = answers.unclaimed_offsets()
    return plan


def _place(record: Record) -> str:
    return f"line {record.line}" if record.line else f"row {record.index}"


def _count_bad(plan: Plan, error: InputError, within: bool) -> None:
    if within:
        plan.bad += 1
        if len(plan.bad_rows) < _SHOWN_BAD_ROWS:
            plan.bad_rows.append(error)
