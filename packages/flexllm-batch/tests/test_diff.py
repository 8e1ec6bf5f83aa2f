"""The comparison of two outputs: alignment, counts, and files that are hostile or none."""

from __future__ import annotations

import tracemalloc
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from flexllm_batch.outputs.diff import Change, OutputDiff, diff_outputs
from flexllm_core.errors import InputError
from flexllm_core.json_codec import encode_json


def line(index: int, prompt: str, output: str | None, model: str = "m", **more: Any) -> dict[str, Any]:
    """An output line; None as its output makes it an error."""
    from flexllm_core.requests import ChatRequest

    messages = [{"role": "user", "content": prompt}]
    key = ChatRequest(messages, model).fingerprint()
    status = {"status": "success"} if output is not None else {"status": "error", "error": {"message": "no"}}
    found = {"index": index, "output": output, **status, "input": messages, "model": model, "key": key, **more}
    return {name: value for name, value in found.items() if value is not ...}


@pytest.fixture
def compare(tmp_path: Path) -> Any:
    """Compare two lists of lines; gives the diff and the changes."""

    def compare(before: list[Any], after: list[Any], **options: Any) -> tuple[OutputDiff, list[Change]]:
        changes: list[Change] = []
        paths = []
        for name, lines in (("a.jsonl", before), ("b.jsonl", after)):
            paths.append(tmp_path / name)
            parts = [each if isinstance(each, bytes) else encode_json(each) + b"\n" for each in lines]
            paths[-1].write_bytes(b"".join(parts))
        return diff_outputs(*paths, on_change=changes.append, **options), changes

    return compare


def test_every_way_in_which_a_row_can_differ(compare: Any) -> None:
    """Same, changed, broken, mended, failed in both, and in one only."""
    before = [line(0, "same", "x"), line(1, "other", "x"), line(2, "breaks", "x"), line(3, "heals", None),
              line(4, "bad", None), line(5, "gone", "x")]  # fmt: skip
    after = [line(0, "new", "x"), line(1, "same", "x"), line(2, "other", "y"), line(3, "breaks", None),
             line(4, "heals", "x"), line(5, "bad", None)]  # fmt: skip
    diff, changes = compare(before, after)
    assert (diff.by, diff.paired) == ("key", 5)
    assert (diff.same, diff.changed, diff.broken, diff.mended, diff.both_failed) == (1, 1, 1, 1, 1)
    assert (diff.only_before, diff.only_after) == (1, 1)
    assert [(change.kind, change.before["index"], change.after["index"]) for change in changes] == [
        ("changed", 1, 2), ("broken", 2, 3), ("mended", 3, 4),
    ]  # fmt: skip
    assert diff.differs


def test_two_models_are_aligned_by_messages(compare: Any) -> None:
    """Their requests are all different; the rows may have moved."""
    before = [line(0, "a", "x"), line(1, "b", "y")]
    after = [line(0, "b", "y", "other"), line(1, "a", "z", "other")]
    diff, changes = compare(before, after)
    assert (diff.by, diff.same, diff.changed) == ("input", 1, 1)
    assert (changes[0].before["output"], changes[0].after["output"]) == ("x", "z")
    assert (diff.before.models, diff.after.models) == ({"m": 2}, {"other": 2})


def test_without_inputs_two_models_are_aligned_by_index(compare: Any) -> None:
    """There is nothing else to go by; it can be demanded too."""
    before = [line(0, "a", "x", input=...), line(1, "b", "y", input=...)]
    after = [line(1, "b", "z", "other", input=...), line(0, "a", "x", "other", input=...)]
    diff, changes = compare(before, after)
    assert (diff.by, diff.same, diff.changed) == ("index", 1, 1)
    assert changes[0].after["index"] == 1
    assert compare(before, before, by="index")[0].same == 2


def test_duplicates_are_paired_one_to_one(compare: Any) -> None:
    """In their order; a third copy is in one output only."""
    before = [line(0, "a", "x"), line(1, "a", "y")]
    after = [line(0, "a", "x"), line(1, "a", "z"), line(2, "a", "w")]
    diff, _ = compare(before, after)
    assert (diff.same, diff.changed, diff.only_after) == (1, 1, 1)


def test_a_row_that_was_asked_again_counts_once(compare: Any) -> None:
    """An interrupted run leaves the failure and the later answer; the last line is the row's."""
    journal = [line(0, "a", None), line(1, "b", "y"), line(0, "a", "x")]
    diff, _ = compare(journal, [line(0, "a", "x"), line(1, "b", "y")])
    assert (diff.same, diff.before.rows, diff.before.failed) == (2, 2, 0)
    assert not diff.differs


def test_costs_and_tokens_are_summed(compare: Any) -> None:
    """What is unknown is counted, not guessed."""
    usage = {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15}
    before = [line(0, "a", "x", cost=0.1, usage=usage), line(1, "b", "x", cost=0.2, usage=usage)]
    diff, _ = compare(before, [line(0, "a", "x"), line(1, "b", "x", cost=0.5)])
    assert (diff.before.cost, diff.before.unknown_cost, diff.before.prompt_tokens) == (Decimal("0.3"), 0, 20)
    assert (diff.after.cost, diff.after.unknown_cost, diff.after.completion_tokens) == (Decimal("0.5"), 1, 0)


def test_a_tool_call_is_an_answer(compare: Any) -> None:
    """Other arguments are another answer."""
    calls = [[{"id": "1", "type": "function", "function": {"name": "f", "arguments": text}}] for text in ("{}", "[]")]
    diff, _ = compare([line(0, "a", "x", tool_calls=calls[0])], [line(0, "a", "x", tool_calls=calls[1])])
    assert diff.changed == 1


def test_lines_that_are_none_of_ours_are_counted_and_left_out(compare: Any) -> None:
    """Damage, blank lines, other tools' lines, and an index that nobody can hold."""
    odd = [b"not json\n", b"\n", b'{"a": 1}\n', {**line(0, "b", "x"), "index": 10**15}, b'{"index":1,"outp']
    diff, _ = compare([line(0, "a", "x"), *odd], [line(0, "a", "x")])
    assert (diff.same, diff.before.rows, diff.before.unreadable) == (1, 1, 4)


@pytest.mark.parametrize("content", [b"not json\n", b'{"a": 1}\n', b"\0\0\0"])
def test_a_file_that_is_no_output_is_refused(compare: Any, content: bytes) -> None:
    """By name, as it may be the wrong one of many."""
    with pytest.raises(InputError, match=r"b.jsonl: is no output of flexllm"):
        compare([line(0, "a", "x")], [content])


def test_empty_outputs_do_not_differ(compare: Any) -> None:
    """Nothing is nothing."""
    diff, _ = compare([], [])
    assert not diff.differs


ROWS = st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from(["x", "y", None])), max_size=8)


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(ROWS, ROWS)
def test_every_row_is_counted_exactly_once(compare: Any, before: list[Any], after: list[Any]) -> None:
    """Whatever two outputs hold, their rows are in pairs or alone, and a file does not differ from itself."""
    sides = [[line(index, *row) for index, row in enumerate(rows)] for rows in (before, after)]
    diff, changes = compare(*sides)
    assert diff.paired + diff.only_before == len(before)
    assert diff.paired + diff.only_after == len(after)
    assert len(changes) == diff.changed + diff.broken + diff.mended
    assert not compare(sides[0], sides[0])[0].differs


def test_memory_is_that_of_the_index(tmp_path: Path) -> None:
    """Two outputs of 3 MB with long answers are compared in a fraction of that."""
    for name in ("a", "b"):
        with (tmp_path / name).open("wb") as file:
            for index in range(1500):
                file.write(encode_json(line(index, f"prompt {index}", "answer " * 300)) + b"\n")
    diff_outputs(tmp_path / "a", tmp_path / "b")
    tracemalloc.start()
    try:
        assert diff_outputs(tmp_path / "a", tmp_path / "b").same == 1500
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 500_000
