"""Compare two outputs row by row: which answers changed, what they cost, and which rows fail in one only.

Rows are aligned by an identity and how often it has occurred. The identity is the request (`key`); where
no two requests are the same, as with another model, the messages (`input`); where those were not saved,
the index. Memory is 25 bytes for each row of the first file and 8 for each of the second.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from hashlib import blake2b
from pathlib import Path
from typing import Literal, get_args

from flexllm_batch.outputs.answers import NO_OFFSET, AnswerIndex
from flexllm_batch.outputs.journal import read_line
from flexllm_batch.outputs.lines import is_key
from flexllm_batch.outputs.output_lines import Line, OutputLines, OutputTotals
from flexllm_core.json_codec import decode_json, encode_json

Identity = Literal["key", "input", "index"]
ChangeKind = Literal["changed", "broken", "mended"]
"""Another answer; an answer that became a failure; a failure that became an answer."""

IDENTITIES: tuple[Identity, ...] = get_args(Identity)


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
    old, new = OutputLines(before), OutputLines(after)
    old.check()
    new.check()
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


def _aligns(old: OutputLines, new: OutputLines, by: Identity) -> bool:
    """Whether any row of one output has the identity of a row of the other."""
    index = AnswerIndex()
    for offset, line in old.lines():
        if identity := _identity(line, by):
            index.add(identity, offset)
    identities = (_identity(line, by) for _, line in new.lines())
    return any(each is not None and index.claim(each) != NO_OFFSET for each in identities)


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
