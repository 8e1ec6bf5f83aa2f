"""An output that is deleted or replaced while a run writes it: nothing that was paid for goes with it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from flexllm_batch.batch import Batch
from flexllm_batch.batch_settings import BatchSettings
from flexllm_batch.inputs.json_source import JsonLines
from flexllm_batch.progress import NoProgress
from flexllm_core.errors import JournalError

ROWS = 40
ReadLines = Callable[[Path], list[dict[str, Any]]]


class Listener(NoProgress):
    """Keeps what the user is told."""

    def __init__(self) -> None:
        self.notes: list[str] = []

    def note(self, text: str) -> None:
        self.notes.append(text)


@pytest.fixture
def run(tmp_path: Path, make_model: Any, write_rows: Any) -> Callable[..., Any]:
    """Run 40 rows, one a second; at the time given something happens to the output. Gives what was said."""
    source = write_rows(tmp_path / "in.jsonl", [{"q": f"row {number}"} for number in range(ROWS)])

    async def run(happening: Callable[[Path], object], at: float) -> list[str]:
        output, listener = tmp_path / "out.jsonl", Listener()
        settings = BatchSettings(model="m", output=output, window=1)
        batch = Batch(make_model(delay=1.0), JsonLines(source), settings, progress=listener)
        await batch.prepare()
        asyncio.get_running_loop().call_later(at, happening, output)
        await batch.run()
        return listener.notes

    return run


@pytest.mark.parametrize("at", [0.5, 20.5, 39.5, 39.999])
def test_a_deleted_output_is_put_back(
    run_virtual: Any, run: Any, tmp_path: Path, read_lines: ReadLines, at: float
) -> None:
    """The run goes on, says so, and ends with every line."""
    notes = run_virtual(run(Path.unlink, at))
    assert [line["index"] for line in read_lines(tmp_path / "out.jsonl")] == list(range(ROWS))
    assert len(notes) == 1
    assert "was deleted" in notes[0]


@pytest.mark.parametrize("at", [20.5, 39.5])
def test_a_replaced_output_is_left_alone(
    run_virtual: Any, run: Any, tmp_path: Path, read_lines: ReadLines, at: float
) -> None:
    """The run goes on beside the other file, and says at its end where its lines are."""
    other = tmp_path / "other"
    other.write_text("somebody's work")
    with pytest.raises(JournalError, match=r"another file took its place.*out.jsonl.rescued"):
        run_virtual(run(other.replace, at))
    assert (tmp_path / "out.jsonl").read_text() == "somebody's work"
    assert len(read_lines(tmp_path / "out.jsonl.rescued")) == ROWS


def test_no_earlier_rescue_is_written_over(run_virtual: Any, run: Any, tmp_path: Path, read_lines: ReadLines) -> None:
    """A second one gets a number."""
    (tmp_path / "out.jsonl.rescued").write_text("kept")
    other = tmp_path / "other"
    other.write_text("x")
    with pytest.raises(JournalError, match="rescued2"):
        run_virtual(run(other.replace, 5))
    assert (tmp_path / "out.jsonl.rescued").read_text() == "kept"
    assert len(read_lines(tmp_path / "out.jsonl.rescued2")) == ROWS


def test_an_output_whose_folder_is_gone_ends_the_run(run_virtual: Any, run: Any, tmp_path: Path) -> None:
    """It cannot be put back: the run stops instead of buying answers that nobody can keep."""

    def remove(output: Path) -> None:
        output.parent.rename(tmp_path.with_name(tmp_path.name + "-moved"))

    with pytest.raises(JournalError, match="cannot be put back"):
        run_virtual(run(remove, 10.5))
    moved = tmp_path.with_name(tmp_path.name + "-moved")
    kept = [json.loads(line) for line in (moved / "out.jsonl").read_bytes().splitlines()]
    assert 10 <= len(kept) <= 12
