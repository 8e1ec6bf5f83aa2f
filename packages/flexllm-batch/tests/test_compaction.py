"""Resume and compaction: whatever was edited or interrupted, each answer that applies is kept, and none is lost."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from flexllm_batch.batch import Batch
from flexllm_batch.batch_settings import BatchSettings
from flexllm_batch.inputs.json_source import JsonLines
from flexllm_batch.inputs.records import RowShape, read_record
from flexllm_batch.outputs import compaction
from flexllm_batch.outputs import lock as output_lock
from flexllm_batch.outputs.journal import Journal
from flexllm_core.errors import JournalConflictError, JournalError, LLMRequestError

Rows = list[dict[str, Any]]
WriteRows = Callable[[Path, Iterable[Any]], Path]
ReadLines = Callable[[Path], Rows]
MODEL = "m"

prompts = st.sampled_from(["a", "b", "c", "é\u2028", '"quoted"', "\ud83d"])
metadata = st.sampled_from([{}, {"id": 1}, {"id": 2}, {"x": {"status": "success", "metadata": {}, "y": 1}}])
params = st.sampled_from([{}, {}, {"params": {"temperature": 1}}, {"params": {"max_tokens": 3}}])
rows = st.builds(lambda prompt, more, own: {"q": prompt, **more, **own}, prompts, metadata, params)


@st.composite
def edited(draw: st.DrawFn, before: Rows) -> Rows:
    """The rows after a few edits: insert, delete, edit, move, duplicate, other params, other metadata."""
    after = list(before)
    for _ in range(draw(st.integers(0, 4))):
        at = draw(st.integers(0, max(0, len(after) - 1)))
        kind = draw(st.sampled_from(["insert", "delete", "edit", "move", "duplicate", "params", "metadata"]))
        if kind == "insert" or not after:
            after.insert(at, draw(rows))
        elif kind == "delete":
            del after[at]
        elif kind == "edit":
            after[at] = {**after[at], "q": draw(prompts)}
        elif kind == "move":
            after.insert(draw(st.integers(0, len(after) - 1)), after.pop(at))
        elif kind == "duplicate":
            after.insert(draw(st.integers(0, len(after))), after[at])
        elif kind == "params":
            after[at] = {**after[at], "params": {"temperature": draw(st.sampled_from([0, 1, 2]))}}
        else:
            after[at] = {**after[at], "id": draw(st.integers(1, 3))}
    return after


@st.composite
def scripts(draw: st.DrawFn) -> list[Rows]:
    """An input and what becomes of it over up to three runs."""
    versions = [draw(st.lists(rows, min_size=1, max_size=8))]
    for _ in range(draw(st.integers(1, 3))):
        versions.append(draw(edited(versions[-1])))
    return versions


def keys_of(version: Rows) -> Counter[str]:
    setting = BatchSettings(model=MODEL)
    return Counter(setting.request(read_record(0, row, RowShape())).fingerprint() for row in version)


def steady(lines: Rows) -> Rows:
    """Lines without what differs between two answers of the same kind."""
    return [{key: value for key, value in line.items() if key not in ("attempts", "latency")} for line in lines]


class Folder:
    """A folder with an input and an output, and runs over them."""

    def __init__(self, path: Path, make_model: Any, write_rows: WriteRows, read_lines: ReadLines) -> None:
        self.path = path
        self.make_model = make_model
        self.write_rows = write_rows
        self.read_lines = read_lines
        self.output = path / "out.jsonl"
        self.stale = path / "out.jsonl.stale"

    def run(self, version: Rows, model: Any = None, output: Path | None = None, **setting: Any) -> Any:
        """Run a batch over the rows; returns the model, which knows what it was asked."""
        source = self.write_rows(self.path / "in.jsonl", version)
        model = model or self.make_model()
        setting = {"model": MODEL, "window": 3, "on_bad_row": "record", **setting}
        batch = Batch(model, JsonLines(source), BatchSettings(output=output or self.output, **setting))

        async def main() -> None:
            await batch.prepare()
            await batch.run()

        asyncio.run(main())
        return model

    def keys(self, path: Path) -> Counter[str]:
        lines = self.read_lines(path) if path.exists() else []
        return Counter(line["key"] for line in lines if line["status"] == "success")


@pytest.fixture
def folder(make_model: Any, write_rows: WriteRows, read_lines: ReadLines) -> Iterator[Callable[[], Folder]]:
    """Makes fresh folders: hypothesis runs one test many times."""
    made: list[tempfile.TemporaryDirectory[str]] = []

    def make() -> Folder:
        made.append(tempfile.TemporaryDirectory())
        return Folder(Path(made[-1].name), make_model, write_rows, read_lines)

    yield make
    for each in made:
        each.cleanup()


thorough = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@thorough
@given(scripts(), st.sampled_from([True, "last", False]))
def test_after_any_edits_exactly_the_difference_is_asked(
    folder: Callable[[], Folder], versions: list[Rows], save_input: Any
) -> None:
    """Requests sent = multiset difference; the output equals a run from scratch; no answer is ever lost."""
    place = folder()
    held: Counter[str] = Counter()
    bought: Counter[str] = Counter()
    for version in versions:
        wanted = keys_of(version)
        if held and not held & wanted:
            with pytest.raises(JournalConflictError):
                place.run(version, save_input=save_input)
            assert place.keys(place.output) == held
            continue
        model = place.run(version, save_input=save_input)
        asked = Counter(request.fingerprint() for request in model.asked)
        assert asked == wanted - held
        bought += asked
        held = wanted
        scratch = place.path / "scratch.jsonl"
        place.run(version, output=scratch, save_input=save_input)
        assert steady(place.read_lines(place.output)) == steady(place.read_lines(scratch))
        scratch.unlink()
        assert place.keys(place.output) + place.keys(place.stale) == bought
        assert place.run(version, save_input=save_input).asked == []


@thorough
@given(st.data())
def test_a_run_killed_at_any_byte_goes_on_where_it_was(folder: Callable[[], Folder], data: st.DataObject) -> None:
    """Cut the output anywhere, as kill -9 or a power cut would: only rows without a whole line are asked."""
    place = folder()
    before = data.draw(st.lists(rows, min_size=1, max_size=8))
    after = data.draw(edited(before))
    place.run(before)
    whole = place.output.read_bytes()
    place.output.write_bytes(whole[: data.draw(st.integers(0, len(whole)))])
    kept = Counter[str]()
    for line in place.output.read_bytes().split(b"\n"):
        if line.endswith(b"}") and line.count(b'"key"'):
            try:
                kept[json.loads(line)["key"]] += 1
            except ValueError:
                continue
    wanted = keys_of(after)
    if kept and not kept & wanted:
        return
    model = place.run(after)
    assert Counter(request.fingerprint() for request in model.asked) == wanted - kept
    assert place.keys(place.output) == wanted
    assert place.keys(place.stale) == kept - wanted
    assert [line["index"] for line in place.read_lines(place.output)] == list(range(len(after)))


@thorough
@given(st.data())
def test_a_run_that_dies_at_any_append_goes_on_where_it_was(folder: Callable[[], Folder], data: st.DataObject) -> None:
    """The k-th line cannot be written: the run ends with an error, the next one asks only what has no line."""
    place = folder()
    before, failing = data.draw(st.lists(rows, min_size=1, max_size=8)), data.draw(st.integers(0, 8))
    after = data.draw(edited(before))
    real, count = Journal.append, 0

    def append(journal: Journal, line: bytes) -> int:
        nonlocal count
        count += 1
        if count > failing:
            raise JournalError("the disk is full")
        return real(journal, line)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Journal, "append", append)
        if failing < len(before):
            with pytest.raises(JournalError, match="the disk is full"):
                place.run(before)
        else:
            place.run(before)
    kept = place.keys(place.output)
    assert kept.total() == min(failing, len(before))
    wanted = keys_of(after)
    if kept and not kept & wanted:
        return
    model = place.run(after)
    assert Counter(request.fingerprint() for request in model.asked) == wanted - kept
    assert place.keys(place.output) == wanted
    assert place.keys(place.stale) == kept - wanted


def test_failed_rows_are_asked_again_and_their_lines_replaced(folder: Callable[[], Folder]) -> None:
    """A second run asks exactly the failed rows, and the output has one line for each row."""
    place = folder()
    version = [{"q": str(number)} for number in range(20)]

    def answer(request: Any) -> Any:
        text = request.messages[-1]["content"]
        return LLMRequestError("no", endpoint="e") if int(text) % 3 == 0 else text

    place.run(version, place.make_model(answer))
    failed = [line["index"] for line in place.read_lines(place.output) if line["status"] == "error"]
    assert failed == [0, 3, 6, 9, 12, 15, 18]
    model = place.run(version)
    assert sorted(map(int, model.prompts)) == failed
    lines = place.read_lines(place.output)
    assert [(line["index"], line["status"]) for line in lines] == [(number, "success") for number in range(20)]


def test_a_finished_run_is_not_rewritten(folder: Callable[[], Folder]) -> None:
    """Running a finished job again changes neither the file nor its times, whatever is in its answers."""
    place = folder()
    version = [{"q": "é", "id": "ü"}, {"q": "b", "id": "ü"}]
    place.run(version, place.make_model(lambda _: "cut \ud83d"))
    before = place.output.stat()
    assert b"\\ud83d" in place.output.read_bytes()
    assert place.run(version).asked == []
    after = place.output.stat()
    assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


def test_save_input_of_a_later_run_applies_to_kept_lines(folder: Callable[[], Folder]) -> None:
    """Switching it rewrites the lines and asks nothing."""
    place = folder()
    version = [{"messages": [{"role": "system", "content": "s"}, {"role": "user", "content": "a"}]}]
    place.run(version)
    for save_input, expected in (("last", version[0]["messages"][1:]), (False, None), (True, version[0]["messages"])):
        assert place.run(version, save_input=save_input).asked == []
        (line,) = place.read_lines(place.output)
        assert line.get("input") == expected
        assert list(line)[:3] == ["index", "output", "status"]


def test_a_short_trial_keeps_the_lines_beyond_it(folder: Callable[[], Folder]) -> None:
    """-n 2 over a finished output asks nothing and loses nothing."""
    place = folder()
    version = [{"q": str(number)} for number in range(6)]
    place.run(version, limit=3)
    assert len(place.read_lines(place.output)) == 3
    assert sorted(place.run(version).prompts) == ["3", "4", "5"]
    assert place.run([{"q": "x"}, *version], limit=2).prompts == ["x"]
    assert [line["index"] for line in place.read_lines(place.output)] == list(range(7))
    assert not place.stale.exists()


@pytest.mark.parametrize("step", ["open", "fsync", "replace", "stale"])
def test_an_output_that_cannot_be_rewritten_is_left_whole(
    folder: Callable[[], Folder], monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    """The error says that the answers are all there; the next run brings them in order and asks nothing."""
    place = folder()
    place.run([{"q": "a"}, {"q": "b"}, {"q": "c"}])
    version = [{"q": "b"}, {"q": "a"}, {"q": "d"}]

    def fail(*_: Any) -> Any:
        raise OSError(28, os.strerror(28))

    with monkeypatch.context() as patch:
        if step == "stale":
            patch.setattr(compaction, "write_durably", fail)
        elif step == "fsync":
            patch.setattr(os, "fsync", fail)
        elif step == "replace":
            patch.setattr(Path, "replace", fail)
        else:
            patch.setattr(shutil, "copymode", fail)
        with pytest.raises(JournalError, match="the answers are all in it, but it cannot be rewritten"):
            place.run(version)
    assert place.keys(place.output) == keys_of([{"q": "a"}, {"q": "b"}, {"q": "c"}, {"q": "d"}])
    assert not (place.path / "out.jsonl.tmp").exists()
    assert place.run(version).asked == []
    assert [line["input"][0]["content"] for line in place.read_lines(place.output)] == ["b", "a", "d"]
    assert place.keys(place.stale) >= keys_of([{"q": "c"}])


def test_an_input_that_changes_during_the_run_makes_no_wrong_pairs(folder: Callable[[], Folder]) -> None:
    """When a moved row's line would be written beside another prompt, the output is left as it was."""
    place = folder()
    place.run([{"q": "a"}, {"q": "b"}])

    def answer(_: Any) -> str:
        place.write_rows(place.path / "in.jsonl", [{"q": "c"}, {"q": "x"}, {"q": "y"}])
        return "answer"

    with pytest.raises(JournalError, match="row 1 of the input has changed during the run"):
        place.run([{"q": "c"}, {"q": "a"}, {"q": "b"}], place.make_model(answer))
    assert place.keys(place.output) == keys_of([{"q": "a"}, {"q": "b"}, {"q": "c"}])
    for line in place.read_lines(place.output):
        assert line["key"] in keys_of([{"q": line["input"][0]["content"]}])
    assert place.run([{"q": "c"}, {"q": "a"}, {"q": "b"}]).asked == []


def test_the_mode_and_links_of_the_output_are_kept(folder: Callable[[], Folder]) -> None:
    """Rewriting keeps the permissions, and a symbolic link stays a link."""
    place = folder()
    real = place.path / "real.jsonl"
    place.output.symlink_to(real)
    place.run([{"q": "a"}, {"q": "b"}])
    real.chmod(0o640)
    place.run([{"q": "b"}, {"q": "a"}])
    assert place.output.is_symlink()
    assert real.stat().st_mode & 0o777 == 0o640
    assert [line["input"][0]["content"] for line in place.read_lines(real)] == ["b", "a"]


async def test_a_cancelled_run_keeps_the_lock_until_the_rewriting_ends(
    tmp_path: Path,
    make_model: Any,
    write_rows: WriteRows,
    read_lines: ReadLines,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Nobody else may write while a thread still rewrites the file."""
    output, steps = tmp_path / "out.jsonl", []
    loop, began = asyncio.get_running_loop(), asyncio.Event()
    real_release = output_lock.OutputLock.release

    def slow_replace(path: Path, target: Path) -> Path:
        loop.call_soon_threadsafe(began.set)
        asyncio.run_coroutine_threadsafe(asyncio.sleep(0.05), loop).result()
        steps.append("rewritten")
        os.replace(path, target)
        return target

    def release(lock: output_lock.OutputLock) -> None:
        steps.append("released")
        real_release(lock)

    rows_before = [{"q": "a"}, {"q": "b"}]
    batches = []
    for order in (rows_before, rows_before[::-1]):
        source = write_rows(tmp_path / "in.jsonl", order)
        batch = Batch(make_model(), JsonLines(source), BatchSettings(model=MODEL, output=output))
        await batch.prepare()
        batches.append(batch)
        if order is rows_before:
            await batch.run()
    monkeypatch.setattr(Path, "replace", slow_replace)
    monkeypatch.setattr(output_lock.OutputLock, "release", release)
    running = asyncio.create_task(batches[1].run())
    await began.wait()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert steps == ["rewritten", "released"]
    assert [line["input"][0]["content"] for line in read_lines(output)] == ["b", "a"]
