"""The display of a run: it reads the counts, shows what servers say harmlessly, and never ends a run."""

from __future__ import annotations

import asyncio
import io
from collections.abc import Callable, Coroutine
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from flexllm_batch.batch import Batch
from flexllm_batch.batch_settings import BatchSettings
from flexllm_batch.inputs.sources import MessageLists
from flexllm_batch.progress import (
    BarProgress,
    NoProgress,
    PlainProgress,
    format_count,
    format_seconds,
    progress_for,
)
from flexllm_batch.stats import RunStats
from flexllm_core.errors import BadRequestError

RunVirtual = Callable[[Coroutine[Any, Any, Any]], Any]


class Terminal(io.StringIO):
    """A text stream that says that it is a terminal."""

    def isatty(self) -> bool:
        return True


class Broken(io.StringIO):
    """A stream whose reader has gone."""

    def write(self, text: str) -> int:
        raise BrokenPipeError

    def flush(self) -> None:
        raise BrokenPipeError


class BrokenTerminal(Broken, Terminal):
    """A terminal that was closed."""


async def show(progress: Any, stats: RunStats, seconds: float, in_flight: int = 3) -> None:
    progress.start(stats, lambda: in_flight)
    await asyncio.sleep(seconds)
    progress.stop()
    await asyncio.sleep(0)


def test_plain_lines_come_every_ten_seconds(run_virtual: RunVirtual) -> None:
    """With rows, rate, what is in flight, the time left, cost, retries and failures."""
    stream = io.StringIO()
    stats = RunStats(total=100, ok=18, failed=2, resumed=10, retries=5, unknown_cost=0, cost=Decimal("0.25"))
    run_virtual(show(PlainProgress(stream), stats, 25.0))
    lines = stream.getvalue().splitlines()
    assert lines[0] == "30/100 rows, 2.0 rows/s, 3 in flight, ETA 35s, $0.2500, 5 retries, 2 failed"
    assert len(lines) == 2


def test_plain_lines_without_a_total(run_virtual: RunVirtual) -> None:
    """The rows of a generator are not known before; nothing is made up."""
    stream = io.StringIO()
    run_virtual(show(PlainProgress(stream), RunStats(ok=5), 10.5))
    assert stream.getvalue() == "5/? rows, 0.5 rows/s, 3 in flight\n"


def test_the_first_error_of_each_kind_is_shown_once(run_virtual: RunVirtual) -> None:
    """In full, and long before the end of the run."""
    stream = io.StringIO()
    stats = RunStats(total=10)
    stats.add_error(BadRequestError("the prompt was refused", status_code=400))
    run_virtual(show(PlainProgress(stream), stats, 35.0))
    assert stream.getvalue().count("first BadRequestError (400): the prompt was refused\n") == 1


def test_a_new_kind_of_error_is_shown_within_a_second(run_virtual: RunVirtual) -> None:
    """Long before the next line of counts."""
    stream, stats = io.StringIO(), RunStats(total=10)

    async def main() -> None:
        progress = PlainProgress(stream)
        progress.start(stats, lambda: 1)
        await asyncio.sleep(3.5)
        stats.add_error(BadRequestError("refused " + "x" * 5000, status_code=400))
        await asyncio.sleep(1)
        progress.stop()

    run_virtual(main())
    assert stream.getvalue() == f"first BadRequestError (400): refused {'x' * 5000}\n"


def test_the_limit_of_the_moment_is_shown(run_virtual: RunVirtual) -> None:
    """As it is when the line is written; nothing where nobody knows it."""
    limits = iter([64, 32, None])
    stream = io.StringIO()
    run_virtual(show(PlainProgress(stream, lambda: next(limits)), RunStats(total=10), 30.5))
    assert [line.split(", ")[2] for line in stream.getvalue().splitlines()] == [
        "3 in flight of 64",
        "3 in flight of 32",
        "3 in flight",
    ]


def test_a_run_that_goes_on_keeps_its_time(run_virtual: RunVirtual) -> None:
    """After the question of a canary the rate is that of the whole run."""
    stream, stats = io.StringIO(), RunStats(total=100, ok=10)
    run_virtual(show(PlainProgress(stream), stats, 10.5))
    stats.seconds = 10.0
    run_virtual(show(PlainProgress(stream), stats, 10.5))
    assert [line.split(", ")[1] for line in stream.getvalue().splitlines()] == ["1.0 rows/s", "0.5 rows/s"]


def test_a_bar_is_drawn_on_a_terminal(run_virtual: RunVirtual, monkeypatch: pytest.MonkeyPatch) -> None:
    """With counts, tokens and cost; the last state stays when it ends."""
    monkeypatch.setenv("COLUMNS", "120")
    stream = Terminal()
    stats = RunStats(total=4, ok=1, unknown_cost=0, cost=Decimal("0.5"), prompt_tokens=12_000, corrections=7)

    async def main() -> None:
        bar = BarProgress(stream, lambda: 9, track_cost=True)
        bar.start(stats, lambda: 2)
        await asyncio.sleep(1)
        bar.note("a [bold]note[/bold]")
        stats.ok = 4
        bar.stop()

    run_virtual(main())
    text = stream.getvalue()
    assert "1/4" in text
    assert "12.0k tokens" in text
    assert "2 in flight of 9" in text
    assert "ETA " in text
    assert "7 corrections" in text
    assert "$0.5000" in text
    assert "a [bold]note[/bold]" in text
    assert "4/4" in text[text.rindex("1/4") :]


def test_a_narrow_terminal_is_told_of_failures_first(run_virtual: RunVirtual, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is cut is at the end, and the time is shown in full."""
    monkeypatch.setenv("COLUMNS", "60")
    stream = Terminal()
    stats = RunStats(total=90, ok=1, failed=3, retries=7, unknown_cost=0, cost=Decimal("0.5"), prompt_tokens=12_000)

    async def main() -> None:
        bar = BarProgress(stream, lambda: 9, track_cost=True)
        bar.start(stats, lambda: 2)
        await asyncio.sleep(1)
        bar.stop()

    run_virtual(main())
    text = stream.getvalue()
    assert "4/90  7 retries  3 failed  " in text
    assert "…" in text
    assert "0:00:00" in text[text.rindex("4/90") :]


def test_a_terminal_that_cannot_redraw_is_given_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    """As a log is."""
    monkeypatch.setenv("TERM", "dumb")
    assert isinstance(progress_for(Terminal()), PlainProgress)


def test_control_characters_of_servers_do_nothing_to_a_terminal(run_virtual: RunVirtual) -> None:
    """Error texts come from servers: no escape sequence in them reaches the terminal."""
    hostile = "\x1b]0;owned\x07 \x1b[2J \x9b31m \u202eabc [red]x[/red]"
    for stream, make in ((Terminal(), lambda to: BarProgress(to, track_cost=False)), (io.StringIO(), PlainProgress)):
        stats = RunStats(total=1)
        stats.add_error(BadRequestError(hostile))
        run_virtual(show(make(stream), stats, 11.0))
        text = stream.getvalue()
        assert not any(bad in text for bad in ("\x1b]0", "\x1b[2J", "\x07", "\x9b", "\u202e"))
        assert "owned" in text
        assert "[red]x[/red]" in text.replace("\n", "")


@pytest.mark.parametrize("stream", [Broken(), BrokenTerminal()])
async def test_a_display_that_cannot_be_written_to_ends_no_run(
    tmp_path: Path, make_model: Any, read_lines: Any, stream: Any
) -> None:
    """A closed pipe or terminal costs no answer, and the output is synced and closed as always."""
    output = tmp_path / "out.jsonl"
    progress = progress_for(stream)
    progress.interval = 0.001  # type: ignore[attr-defined]
    for texts in (["a", "b"], ["c", "a"]):
        model = make_model(delay=0.01)
        batch = Batch(model, MessageLists(texts), BatchSettings(model="m", output=output), progress=progress)
        await batch.prepare()
        await batch.run()
    assert len(read_lines(output)) == 2
    assert not (tmp_path / "out.jsonl.lock").exists()


async def test_a_faulty_display_of_the_user_does_not_leave_the_output_open(tmp_path: Path, make_model: Any) -> None:
    """Its error comes out, after the output was synced and unlocked."""

    class Faulty(NoProgress):
        def stop(self) -> None:
            raise RuntimeError("faulty display")

    output = tmp_path / "out.jsonl"
    batch = Batch(make_model(), MessageLists(["a"]), BatchSettings(model="m", output=output), progress=Faulty())
    await batch.prepare()
    with pytest.raises(RuntimeError, match="faulty display"):
        await batch.run()
    assert output.read_bytes().count(b"\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["out.jsonl"]


def test_the_display_is_chosen_by_the_stream() -> None:
    """A bar on a terminal, plain lines elsewhere."""
    assert isinstance(progress_for(Terminal()), BarProgress)
    assert isinstance(progress_for(io.StringIO()), PlainProgress)


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0s"), (59.4, "59s"), (59.6, "1m00s"), (3599.6, "1h00m"), (90_000, "25h00m")]
)
def test_seconds_are_short(seconds: float, text: str) -> None:
    """Rounded to whole seconds, minutes from an hour on."""
    assert format_seconds(seconds) == text


@pytest.mark.parametrize(("count", "text"), [(0, "0"), (999, "999"), (1000, "1.0k"), (2_500_000, "2.5M")])
def test_counts_are_short(count: int, text: str) -> None:
    """Thousands and millions."""
    assert format_count(count) == text
