"""Compare two outputs row by row: which answers changed, what they cost, and which rows fail in one only.

Rows are aligned by an identity and how often it has occurred. The identity is the request (`key`); where
no two requests are the same, as with another model, the messages (`input`); where those were not saved,
the index. Memory is 25 bytes for each row of the first file and 8 for each of the second.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from decimal import Decimal
from hashlib import blake2b
from pathlib import Path
from typing import Any, Literal, get_args

from flexllm_batch.answers import NO_OFFSET, AnswerIndex
from flexllm_batch.journal import read_line
from flexllm_batch.lines import is_key, is_output_line
from flexllm_batch.plan import RowOffsets
from flexllm_core.errors import InputError
from flexllm_core.json_codec import decode_json, encode_json

Identity = Literal["key", "input", "index"]
ChangeKind = Literal["changed", "broken", "mended"]
"""Another answer; an answer that became a failure; a failure that became an answer."""

IDENTITIES: tuple[Identity, ...] = get_args(Identity)

Line = dict[str, Any]


@dataclass(slots=True)
class OutputTotals:
    """What one output holds.

    Attributes:
        rows, ok, failed: Its lines.
        unreadable: Lines that are no output lines.
        prompt_tokens, completion_tokens: Sums of the answers whose usage was kept.
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
        if line["status"] != "success":
            self.failed += 1
            return
        self.ok += 1
        usage = line.get("usage")
        if isinstance(usage, dict):
            self.prompt_tokens += _count(usage.get("prompt_tokens"))
            self.completion_tokens += _count(usage.get("completion_tokens"))
        cost = line.get("cost")
        if isinstance(cost, int | float):
            self.cost += Decimal(str(cost))
        else:
            self.unknown_cost += 1
        model = str(line.get("model"))
        if model in self.models or len(self.models) < 50:
            self.models[model] = self.models.get(model, 0) + 1


def _count(value: object) -> int:
    return value if isinstance(value, int) else 0


@dataclass(frozen=True, slots=True)
class Change:
    """A row that is in both outputs and not the same: its two lines."""

    kind: ChangeKind
    before: Line
    after: Line


@dataclass(slots=True)
class OutputDiff:
    """How two outputs differ.

    Attributes:
        by: What rows were aligned by.
        before, after: What each holds.
        same: Rows with the same answer in both.
        changed: Rows with another answer.
        broken: Rows that have an answer in the first and fail in the second.
        mended: The other way round.
        both_failed: Rows that fail in both.
        only_before, only_after: Rows of one output alone.
    """

    by: Identity
    before: OutputTotals = field(default_factory=OutputTotals)
    after: OutputTotals = field(default_factory=OutputTotals)
    same: int = 0
    changed: int = 0
    broken: int = 0
    mended: int = 0
    both_failed: int = 0
    only_before: int = 0
    only_after: int = 0

    @property
    def paired(self) -> int:
        """Rows that are in both."""
        return self.same + self.changed + self.broken + self.mended + self.both_failed

    @property
    def differs(self) -> bool:
        """Whether anything is not the same; the cost does not count."""
        return bool(self.changed or self.broken or self.mended or self.only_before or self.only_after)


def diff_outputs(
    before: Path, after: Path, *, by: Identity | None = None, on_change: Callable[[Change], object] | None = None
) -> OutputDiff:
    """Compare two outputs.

    Args:
        before: The first.
        after: The second.
        by: What rows are aligned by; by default the first of key, input and index that aligns any.
        on_change: Is called with each row that changed, in the order of the second output.

    Raises:
        InputError: One of them is no output of flexllm, or it cannot be aligned as `by` says.
        OSError: One of them cannot be read.
    """
    old, new = _Output(before), _Output(after)
    for output in (old, new):
        if output.unreadable and not output.offsets.count:
            raise InputError("is no output of flexllm batch", source=str(output.path))
    chosen = by if by is not None else next((each for each in IDENTITIES if _aligns(old, new, each)), IDENTITIES[-1])
    diff = OutputDiff(chosen)
    index = AnswerIndex()
    for offset, line in old.lines():
        diff.before.add(line)
        index.add(_identity(line, chosen) or _place(line, chosen), offset)
    with before.open("rb") as file:
        for _, line in new.lines():
            diff.after.add(line)
            offset = index.claim(_identity(line, chosen) or _place(line, chosen))
            if offset == NO_OFFSET:
                diff.only_after += 1
            else:
                _compare(diff, decode_json(read_line(file.fileno(), offset)), line, on_change)
    diff.only_before = index.unclaimed()
    diff.before.unreadable, diff.after.unreadable = old.unreadable, new.unreadable
    return diff


def _aligns(old: _Output, new: _Output, by: Identity) -> bool:
    """Whether any row of one output has the identity of a row of the other."""
    index = AnswerIndex()
    for offset, line in old.lines():
        if identity := _identity(line, by):
            index.add(identity, offset)
    identities = (_identity(line, by) for _, line in new.lines())
    return any(each is not None and index.claim(each) != NO_OFFSET for each in identities)


class _Output:
    """The rows of an output file, of each its last line: a run that was interrupted may have asked a row again."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.unreadable = 0
        self.offsets = RowOffsets()
        most = path.stat().st_size * 16  # rows that were skipped have an index and no line
        for offset, text in self._texts():
            line = _parsed(text)
            if line is not None and 0 <= line["index"] <= most:
                self.offsets.set(line["index"], offset)
            elif text.strip():
                self.unreadable += 1

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
            if line is not None and self.offsets.get(line["index"]) == offset:
                yield offset, line


def _parsed(text: bytes) -> Line | None:
    try:
        value = decode_json(text)
    except ValueError:
        return None
    return value if is_output_line(value) else None


def _identity(line: Line, by: Identity) -> str | None:
    """32 hex digits that rows have in common if they are the same; None where a row lacks what they come from."""
    if by == "index":
        return _place(line, by)
    if by == "key":
        key: str | None = line.get("key")
        return key if is_key(key) else None
    return _digest(encode_json(line["input"])) if line.get("input") else None


def _place(line: Line, by: Identity) -> str:
    """What stands for the identity of rows that have none: they are aligned by index, among themselves."""
    return _digest(f"{by} {line['index']}".encode())


def _digest(data: bytes) -> str:
    return blake2b(data, digest_size=16).hexdigest()


def _compare(diff: OutputDiff, before: Line, after: Line, on_change: Callable[[Change], object] | None) -> None:
    kind: ChangeKind | None = None
    were, are = before["status"] == "success", after["status"] == "success"
    if were and are:
        same = all(before.get(name) == after.get(name) for name in ("output", "tool_calls", "choices"))
        diff.same += same
        diff.changed += not same
        kind = None if same else "changed"
    elif were:
        diff.broken += 1
        kind = "broken"
    elif are:
        diff.mended += 1
        kind = "mended"
    else:
        diff.both_failed += 1
    if kind is not None and on_change is not None:
        on_change(Change(kind, before, after))
