"""The plan: which rows have an answer, which are asked, and which cannot be, before anything is sent."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest

from flexllm_batch.batch import Batch
from flexllm_batch.batch_settings import BatchSettings
from flexllm_batch.inputs.json_source import JsonLines
from flexllm_batch.inputs.records import Record
from flexllm_batch.outputs.answers import AnswerIndex
from flexllm_batch.outputs.lines import success_line
from flexllm_batch.planning.plan import Plan, RowOffsets, make_plan
from flexllm_core.errors import InputError, JournalConflictError
from flexllm_core.requests import ChatRequest
from flexllm_core.results import ChatCompletionResult

WriteRows = Callable[[Path, Iterable[Any]], Path]
ReadLines = Callable[[Path], list[dict[str, Any]]]


def record(index: int, text: str, error: InputError | None = None, **metadata: Any) -> Record:
    return Record(index, [{"role": "user", "content": text}], metadata, error=error)


def fingerprint(row: Record) -> str:
    return ChatRequest(row.messages, "m").fingerprint()


def plan_of(rows: Iterable[Record], held: Iterable[Record], limit: int | None = None) -> tuple[Plan, AnswerIndex]:
    """The plan of `rows` over an output that holds the answers of `held`."""
    answers, data = AnswerIndex(), b""
    for row in held:
        answers.add(fingerprint(row), len(data))
        data += success_line(row, ChatCompletionResult("x"), fingerprint(row), save_input=True, return_usage=True)
    plan = make_plan(
        rows,
        answers,
        fingerprint,
        lambda offset: data[offset : data.index(b"\n", offset) + 1],
        limit=limit,
        save_input=True,
    )
    return plan, answers


def test_an_empty_output_leaves_everything_to_ask() -> None:
    """Rows are counted by their kinds, bad ones apart."""
    rows = [record(0, "a"), record(1, "b", InputError("bad")), record(2, "c")]
    plan, _ = plan_of(rows, [])
    assert (plan.total, plan.todo, plan.kept, plan.bad) == (3, 2, 0, 1)
    assert (plan.kinds, len(plan.bad_rows)) == ({"messages": 2}, 1)


def test_the_same_rows_are_all_kept_and_stand() -> None:
    """Nothing is asked and nothing has moved."""
    rows = [record(index, text, id=text) for index, text in enumerate("abc")]
    plan, _ = plan_of(rows, rows)
    assert (plan.total, plan.todo, plan.kept, len(plan.stale)) == (3, 0, 3, 0)
    assert not plan.offsets.any_moved
    assert plan.offsets.in_order()


def test_an_inserted_row_moves_the_others() -> None:
    """Only the new row is asked; the lines of those behind it must get new numbers."""
    plan, _ = plan_of([record(0, "new"), record(1, "a"), record(2, "b")], [record(0, "a"), record(1, "b")])
    assert (plan.todo, plan.kept) == (1, 2)
    assert [(index, moved) for index, _, moved in plan.offsets.known()] == [(1, True), (2, True)]


def test_changed_metadata_keep_the_answer_and_move_the_line() -> None:
    """Metadata are no part of the request, but of the line."""
    plan, _ = plan_of([record(0, "a", id=2)], [record(0, "a", id=1)])
    assert (plan.todo, plan.kept, plan.offsets.any_moved) == (0, 1, True)


def test_metadata_that_quote_an_output_line_deceive_nobody() -> None:
    """A line whose metadata hold what the row's own line would hold does not count as that line."""
    inner = {"status": "success", "input": [{"role": "user", "content": "a"}], "metadata": {}, "more": 1}
    plan, _ = plan_of([record(0, "a")], [record(0, "a", earlier=inner)])
    assert [moved for _, _, moved in plan.offsets.known()] == [True]


def test_duplicates_are_matched_by_number() -> None:
    """Three equal rows need three answers; a fourth answer is stale."""
    held = [record(index, "same") for index in range(2)]
    plan, _ = plan_of([record(index, "same") for index in range(3)], held)
    assert (plan.todo, plan.kept, len(plan.stale)) == (1, 2, 0)
    plan, _ = plan_of([record(0, "same")], held)
    assert (plan.todo, plan.kept, len(plan.stale)) == (0, 1, 1)


def test_a_limit_throws_no_answer_away() -> None:
    """A short trial after a long run keeps the answers of the rows beyond it, and counts only those within."""
    rows = [record(index, text) for index, text in enumerate("abcde")]
    plan, _ = plan_of(rows, rows, limit=2)
    assert (plan.total, plan.kept, plan.todo, len(plan.stale)) == (2, 2, 0, 0)
    assert plan.offsets.count == 5


def test_rows_beyond_the_limit_are_read_only_while_answers_may_be_theirs() -> None:
    """Over an empty output a limit reads one row more than it needs, at most."""
    taken: list[int] = []

    def rows() -> Iterable[Record]:
        for index in range(100):
            taken.append(index)
            yield record(index, str(index))

    plan, _ = plan_of(rows(), [], limit=2)
    assert (plan.total, len(taken)) == (2, 3)
    taken.clear()
    plan_of(rows(), [record(0, "5")], limit=2)
    assert len(taken) == 7


def test_a_request_that_cannot_be_written_is_a_bad_row() -> None:
    """It has no fingerprint; the error says which row it is."""
    rows = [record(0, "a"), Record(1, [{"role": "user", "content": "b", "x": float("nan")}])]
    plan, _ = plan_of(rows, [record(0, "a")])
    assert (plan.bad, plan.kept) == (1, 1)
    assert "row 1: the request cannot be written as JSON" in str(plan.bad_rows[0])


def test_row_offsets_hold_offsets_marks_and_gaps() -> None:
    """Rows may be set in any order; what is not set has no offset."""
    offsets = RowOffsets()
    offsets.set(3, 0)
    offsets.set(1, (1 << 40) + 1, moved=True)
    assert [offsets.get(index) for index in range(6)] == [-1, (1 << 40) + 1, -1, 0, -1, -1]
    assert list(offsets.known()) == [(1, (1 << 40) + 1, True), (3, 0, False)]
    assert (offsets.count, offsets.any_moved, offsets.in_order()) == (2, True, False)
    offsets.set(1, 7)
    assert (offsets.count, list(offsets.known())) == (2, [(1, 7, False), (3, 0, False)])


async def prepared(model: Any, source: Path, output: Path, **settings: Any) -> Batch:
    batch = Batch(model, JsonLines(source), BatchSettings(output=output, model="m", **settings), inputs=[source])
    try:
        await batch.prepare()
    except BaseException:
        batch.close()
        raise
    return batch


async def test_planning_changes_nothing(tmp_path: Path, make_model: Any, write_rows: WriteRows, run_batch: Any) -> None:
    """A plan that is not run (a dry run) leaves a damaged output as it is, even with --overwrite."""
    source, output = write_rows(tmp_path / "in.jsonl", [{"q": "a"}, {"q": "b"}]), tmp_path / "out.jsonl"
    await run_batch(make_model(), source, output)
    damaged = b"garbage\n" + output.read_bytes() + b'{"index":1,"out'
    output.write_bytes(damaged)
    for settings in ({}, {"overwrite": True}, {"resume": "never"}):
        batch = await prepared(make_model(), source, output, **settings)
        batch.close()
        assert output.read_bytes() == damaged
        assert sorted(path.name for path in tmp_path.iterdir()) == ["in.jsonl", "out.jsonl"]


async def test_a_bad_row_stops_everything_before_the_first_request(
    tmp_path: Path, make_model: Any, write_rows: WriteRows
) -> None:
    """By default; the error has file and line of the first and the number of all, and no output is made."""
    source = write_rows(tmp_path / "in.jsonl", [{"q": "a"}, {"x": 1}, {"q": 5}])
    model = make_model()
    with pytest.raises(InputError, match=r"in\.jsonl, line 2: no known format.*\(and 1 more bad rows\)"):
        await prepared(model, source, tmp_path / "out.jsonl")
    assert model.asked == []
    assert [path.name for path in tmp_path.iterdir()] == ["in.jsonl"]


@pytest.mark.parametrize(("policy", "lines", "skipped"), [("skip", [0, 2], 1), ("record", [0, 1, 2], 0)])
async def test_bad_rows_may_be_left_out_or_recorded(
    tmp_path: Path,
    make_model: Any,
    write_rows: WriteRows,
    read_lines: ReadLines,
    run_batch: Any,
    policy: str,
    lines: list[int],
    skipped: int,
) -> None:
    """Left out they are counted; recorded they have an error line with their fields."""
    source, output = write_rows(tmp_path / "in.jsonl", [{"q": "a"}, {"x": 1}, {"q": "c"}]), tmp_path / "out.jsonl"
    batch = await run_batch(make_model(), source, output, on_bad_row=policy)
    found = read_lines(output)
    assert [line["index"] for line in found] == lines
    assert (batch.stats.skipped, batch.stats.failed, batch.stats.left) == (skipped, 1 - skipped, 0)
    if policy == "record":
        assert found[1]["status"] == "error"
        assert found[1]["metadata"] == {"x": 1}
        assert "line 2" in found[1]["error"]["message"]


async def test_the_output_of_another_run_is_refused(
    tmp_path: Path, make_model: Any, write_rows: WriteRows, run_batch: Any
) -> None:
    """Where no answer belongs to the input, model and parameters, nothing is sent and nothing is changed."""
    source, output = write_rows(tmp_path / "in.jsonl", [{"q": "a"}, {"q": "b"}]), tmp_path / "out.jsonl"
    await run_batch(make_model(), source, output)
    before = output.read_bytes()
    model = make_model()
    with pytest.raises(JournalConflictError, match=r"holds 2 answers, and none.*the input is the same.*'m'.*'n'"):
        await run_batch(model, source, output, model="n")
    with pytest.raises(JournalConflictError, match="holds 2 answers, and none"):
        await run_batch(model, source, output, params={"temperature": 1.5})
    with pytest.raises(JournalConflictError, match="holds 2 answers"):
        await run_batch(model, write_rows(tmp_path / "other.jsonl", [{"q": "c"}]), output)
    assert model.asked == []
    assert output.read_bytes() == before


async def test_strict_resume_admits_only_the_same_rows(
    tmp_path: Path, make_model: Any, write_rows: WriteRows, run_batch: Any
) -> None:
    """A changed row is refused, an appended one is not."""
    source, output = write_rows(tmp_path / "in.jsonl", [{"q": "a"}, {"q": "b"}]), tmp_path / "out.jsonl"
    await run_batch(make_model(), source, output)
    for rows in ([{"q": "a"}, {"q": "c"}], [{"q": "b"}, {"q": "a"}], [{"q": "a"}]):
        write_rows(source, rows)
        with pytest.raises(JournalConflictError, match="--resume strict"):
            await run_batch(make_model(), source, output, resume="strict")
    model = make_model()
    await run_batch(model, write_rows(source, [{"q": "a"}, {"q": "b"}, {"q": "c"}]), output, resume="strict")
    assert model.prompts == ["c"]


async def test_resume_never_asks_all_and_keeps_the_old_answers_aside(
    tmp_path: Path, make_model: Any, write_rows: WriteRows, read_lines: ReadLines, run_batch: Any
) -> None:
    """The old answers are moved to `.stale`."""
    source, output = write_rows(tmp_path / "in.jsonl", [{"q": "a"}, {"q": "b"}]), tmp_path / "out.jsonl"
    await run_batch(make_model(lambda _: "old"), source, output)
    old = output.read_bytes()
    batch = await run_batch(make_model(lambda _: "new"), source, output, resume="never")
    assert [line["output"] for line in read_lines(output)] == ["new", "new"]
    assert (tmp_path / "out.jsonl.stale").read_bytes() == old
    assert any("2 answers belong to no row" in note for note in batch.output.notes)


async def test_overwrite_replaces_any_file(
    tmp_path: Path, make_model: Any, write_rows: WriteRows, read_lines: ReadLines, run_batch: Any
) -> None:
    """Another tool's file is replaced only when asked."""
    source, output = write_rows(tmp_path / "in.jsonl", [{"q": "a"}]), tmp_path / "out.jsonl"
    output.write_text("another tool's\n")
    with pytest.raises(JournalConflictError, match="was not written by flexllm"):
        await run_batch(make_model(), source, output)
    assert output.read_text() == "another tool's\n"
    await run_batch(make_model(), source, output, overwrite=True)
    assert len(read_lines(output)) == 1


async def test_an_empty_input_over_a_full_output_is_refused(
    tmp_path: Path, make_model: Any, write_rows: WriteRows, run_batch: Any
) -> None:
    """A truncated input file must not move every answer aside."""
    source, output = write_rows(tmp_path / "in.jsonl", [{"q": "a"}]), tmp_path / "out.jsonl"
    await run_batch(make_model(), source, output)
    source.write_text("")
    with pytest.raises(JournalConflictError):
        await run_batch(make_model(), source, output)
    assert len(json.loads(output.read_text())) > 5
