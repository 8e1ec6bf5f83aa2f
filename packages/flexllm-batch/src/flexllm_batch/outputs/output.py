"""OutputFile: everything about the output of a run, from the lock to the compaction."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Literal

from flexllm_batch.inputs.records import Record
from flexllm_batch.outputs.answers import NO_OFFSET, AnswerIndex
from flexllm_batch.outputs.compaction import compact
from flexllm_batch.outputs.journal import Journal, in_thread
from flexllm_batch.outputs.lock import OutputLock
from flexllm_batch.outputs.openai_lines import write_openai_lines
from flexllm_batch.outputs.path import JOURNAL, check_output_path
from flexllm_batch.outputs.scan import Scan, is_output, repair, scan_output
from flexllm_batch.planning.plan import Plan, ResumeMode, RowOffsets
from flexllm_core.errors import JournalConflictError, JournalError
from flexllm_core.options import SaveInput

OutputFormat = Literal["jsonl", "openai"]
"""The lines of the output: flexllm's own, or those of OpenAI's batch API."""


class OutputFile:
    """The output of one run: locked, checked, mended, appended to, and compacted at the end.

    Args:
        output: The path that the user gave.
        inputs: Input files, which it must not be.
        resume: What to do with answers that are there.
        overwrite: Replace whatever file is there.
        save_input: What lines keep of their input.
        flush_interval: Seconds between syncs.
        output_format: With `openai` the run writes `<output>.journal`, from which a complete end makes the output.

    Raises:
        JournalConflictError: The path cannot be an output, or another run has it.
        JournalError: It cannot be opened.
    """

    def __init__(
        self,
        output: str | Path,
        *,
        inputs: list[Path],
        resume: ResumeMode = "auto",
        overwrite: bool = False,
        save_input: SaveInput = True,
        flush_interval: float = 1.0,
        output_format: OutputFormat = "jsonl",
    ) -> None:
        self.target = self.path = check_output_path(output, inputs)
        if output_format == "openai":
            self.path = check_output_path(self.path.with_name(self.path.name + JOURNAL), inputs)
        self._resume = resume
        self._overwrite = overwrite
        self._save_input = save_input
        self._flush_interval = flush_interval
        self._lock = OutputLock(self.target)
        self._journal: Journal | None = None
        self.scan = Scan()
        self.offsets = RowOffsets()
        self._stale: array[int] = array("Q")
        self.notes: list[str] = []

    def open(self) -> AnswerIndex:
        """Take the lock and read what is there; the answers that may be reused.

        Raises:
            JournalConflictError: Another run writes it, or another tool wrote it.
            JournalError: It cannot be read.
        """
        self._lock.acquire()
        try:
            if not self._overwrite:
                self._check_target()
                if self.path.exists():
                    self.scan = scan_output(self.path)
        except OSError as error:
            self._lock.release()
            raise JournalError(f"{self.path}: cannot be read: {error.strerror or error}") from error
        except BaseException:
            self._lock.release()
            raise
        return AnswerIndex() if self._resume == "never" else self.scan.answers

    def _check_target(self) -> None:
        """Refuse an output that was not made from its journal, and a journal's output as one of the other format."""
        journal = self.target.with_name(self.target.name + JOURNAL)
        if not self.target.exists():
            return
        if self.path != self.target and not self.path.exists():
            raise JournalConflictError(
                f"{self.target} is there, and {self.path.name}, from which this output format is made, is not. "
                "If it is the output of an earlier run without --output-format openai, rename it to that; "
                "else choose another output, or replace it with --overwrite (overwrite=True)"
            )
        if self.path == self.target and journal.exists() and not is_output(self.target):
            raise JournalConflictError(
                f"{self.target} was made from {journal.name} by --output-format openai; "
                "go on with that option, or choose another output"
            )

    def accept(self, plan: Plan, difference: Callable[[], str]) -> None:
        """Check the plan against what is there; changes nothing.

        Args:
            plan: What the run will do.
            difference: Looks for what differs from the earlier run; asked only when it must be told.

        Raises:
            JournalConflictError: What is there belongs to another run.
        """
        held = len(self.scan.answers)
        if self._resume == "never":
            plan.stale = self.scan.answers.unclaimed_offsets()
        elif held and len(plan.stale) == held:
            raise JournalConflictError(
                f"{self.path} holds {held} answers, and none of them belongs to this input, model and parameters"
                f"{difference()}. Nothing was sent. Choose another output, start afresh beside the old answers with "
                "--resume never (resume='never'), or replace them with --overwrite (overwrite=True)"
            )
        elif self._resume == "strict" and (plan.stale or plan.offsets.any_moved):
            raise JournalConflictError(
                f"{self.path} does not fit this input, model and parameters exactly ({len(plan.stale)} of its {held} "
                "answers belong to no row, or rows have moved), which --resume strict does not admit"
            )
        if plan.stale:
            self.notes.append(
                f"{len(plan.stale)} answers belong to no row of this run; "
                f"at its end they are moved to {self.path}.stale"
            )
        self.offsets = plan.offsets
        self._stale = plan.stale
        self.scan.answers = AnswerIndex()  # every answer has found its row or has none: the index can go

    def begin(self) -> None:
        """Open the file for the run, mended or emptied as the check decided; a second call does nothing.

        Raises:
            JournalError: It cannot be opened or mended.
        """
        if self._journal is not None:
            return
        try:
            if self._overwrite:
                self.path.unlink(missing_ok=True)
            self._journal = Journal(self.path, self._flush_interval)
            self._journal.note = self.notes.append
            self.notes += repair(self.path, self._journal.fd, self.scan)
        except OSError as error:
            raise JournalError(f"{self.path}: cannot be mended: {error.strerror or error}") from error
        self._journal.end = self.scan.end

    @property
    def journal(self) -> Journal:
        """The open journal."""
        if self._journal is None:
            raise JournalError(f"{self.path} is not open")
        return self._journal

    def read_line(self, offset: int) -> bytes:
        """The line at an offset."""
        return self.journal.read_line(offset)

    def is_answered(self, index: int) -> bool:
        """Whether a row has a line from an earlier run or from this one."""
        return self.offsets.get(index) != NO_OFFSET

    def write(self, index: int, line: bytes) -> None:
        """Append the line of a row.

        Raises:
            JournalError: It cannot be written.
        """
        self.offsets.set(index, self.journal.append(line))
        self.scan.lines += 1

    def write_all(self, indices: Sequence[int], lines: Sequence[bytes]) -> None:
        """Append the lines of many rows in one write.

        Raises:
            JournalError: They cannot be written; none of them is in the file then.
        """
        self.offsets.set_all(indices, self.journal.append(b"".join(lines)), map(len, lines))
        self.scan.lines += len(lines)

    def tell(self, say: Callable[[str], object]) -> None:
        """Say what was found so far, and from now on what happens to the file, through `say`."""
        for note in self.notes:
            say(note)
        if self._journal is not None:
            self._journal.note = say

    def start(self) -> None:
        """Begin to sync by group."""
        self.journal.start_syncing()

    async def finish(
        self, records: Callable[[], Iterable[Record]], fingerprint: Callable[[Record], str], *, complete: bool
    ) -> None:
        """Sync, and rewrite in input order if every row has its outcome and the file is not so already.

        Args:
            records: Reads the input again, for rows that have moved.
            fingerprint: That of a record's request.
            complete: Every row has its outcome.

        Raises:
            JournalError: It cannot be synced or rewritten.
        """
        if self._journal is None:
            return  # the run ended before it began to write
        await self._journal.stop_syncing()
        self._journal.close()  # where open files cannot be renamed over, this one would stand in the way
        if self._journal.displaced:
            raise JournalError(
                f"{self.path}: another file took its place while the run wrote it; "
                f"what the run has answered is in {self._journal.path}"
            )
        tidy = (
            not self._stale
            and not self.scan.bad
            and not self.offsets.any_moved
            and not self.scan.blank
            and self.scan.lines == self.offsets.count
            and self.offsets.in_order()
        )
        if complete and not tidy:
            await in_thread(
                compact,
                self.path,
                self.offsets,
                records() if self.offsets.any_moved else (),
                self._stale,
                fingerprint=fingerprint,
                save_input=self._save_input,
            )
        if complete and self.target != self.path and not (tidy and self._is_exported()):
            await in_thread(write_openai_lines, self.path, self.target)

    def _is_exported(self) -> bool:
        """Whether the output was made from the journal as it is."""
        return self.target.exists() and self.target.stat().st_mtime_ns >= self.path.stat().st_mtime_ns

    def close(self) -> None:
        """Close the file and free the lock; a second call does nothing."""
        if self._journal is not None:
            self._journal.close()
        self._lock.release()
