"""Progress of a run: a live bar on a terminal, plain lines elsewhere. Reads the counts; costs nothing per row."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
from collections.abc import Callable
from typing import IO, Any, Protocol, cast

from flexllm_batch.stats import RunStats
from flexllm_batch.translation import Translate, untranslated
from flexllm_core.visible import visible

PLAIN_INTERVAL = 10.0
BAR_INTERVAL = 0.25
ERROR_INTERVAL = 1.0
"""Seconds between looks for errors of a new kind, which are shown at once."""

Limit = Callable[[], int | None]
"""Tells how many requests may be in flight now; None where nobody knows."""


def no_limit() -> int | None:
    """Nobody knows."""
    return None


class Progress(Protocol):
    """Looks on while a run goes."""

    def start(self, stats: RunStats, in_flight: Callable[[], int]) -> None:
        """The run begins."""
        ...

    def note(self, text: str) -> None:
        """Say something to the user now."""
        ...

    def stop(self) -> None:
        """The run has ended."""
        ...


class NoProgress:
    """Shows nothing."""

    def start(self, stats: RunStats, in_flight: Callable[[], int]) -> None:
        """Show nothing."""

    def note(self, text: str) -> None:
        """Show nothing."""

    def stop(self) -> None:
        """Show nothing."""


class _Ticking:
    """Redraws every `interval` seconds while a run goes. A stream that cannot be written to ends no run."""

    interval = PLAIN_INTERVAL

    def __init__(self, stream: IO[str], limit: Limit = no_limit, translate: Translate = untranslated) -> None:
        self.stream = _Unbreakable(stream)
        self._limit = limit
        self._translate = translate
        self._task: asyncio.Task[None] | None = None
        self._shown: set[str] = set()

    def start(self, stats: RunStats, in_flight: Callable[[], int]) -> None:
        """Begin to redraw."""
        self._task = asyncio.create_task(self._tick(stats, in_flight))

    async def _tick(self, stats: RunStats, in_flight: Callable[[], int]) -> None:
        loop = asyncio.get_running_loop()
        drawn = loop.time()
        started = drawn - stats.seconds  # a run that goes on after a question has begun before
        while True:
            await asyncio.sleep(min(self.interval, ERROR_INTERVAL))
            now = loop.time()
            stats.seconds = now - started
            for kind in [kind for kind in stats.examples if kind not in self._shown]:
                self._shown.add(kind)
                message = self._translate(stats.examples[kind])
                self.note(self._translate("first {kind}: {message}").format(kind=kind, message=message))
            if now - drawn >= self.interval * 0.999:  # ten times a tenth may be a little less than one
                drawn = now
                self.draw(stats, in_flight())

    def pace(self, stats: RunStats) -> list[str]:
        """Rows per second, and the time that is left where there is any."""
        rate = (stats.ok + stats.failed) / stats.seconds if stats.seconds else 0.0
        parts = [self._translate("{rate} rows/s").format(rate=f"{rate:.1f}")]
        if rate and stats.left:
            parts.append(self._translate("ETA {time}").format(time=format_seconds(stats.left / rate)))
        return parts

    def flight(self, count: int) -> str:
        """Requests in flight, and how many may be."""
        limit = self._limit()
        text = self._translate("{count} in flight" if limit is None else "{count} in flight of {limit}")
        return text.format(count=count, limit=limit)

    def troubles(self, stats: RunStats) -> list[str]:
        """What did not go smoothly."""
        counts = (
            (self._translate("{count} retries"), stats.retries),
            (self._translate("{count} corrections"), stats.corrections),
            (self._translate("{count} failed"), stats.failed),
        )
        return [text.format(count=count) for text, count in counts if count]

    def draw(self, stats: RunStats, in_flight: int) -> None:
        """Show the counts."""
        raise NotImplementedError

    def note(self, text: str) -> None:
        """Show a line."""
        self.stream.write(visible(text) + "\n")
        self.stream.flush()

    def stop(self) -> None:
        """End the redrawing."""
        if self._task is not None:
            self._task.cancel()
            self._task = None


class _Unbreakable:
    """A text stream that swallows what cannot be written: the run is worth more than its display.

    A pipe may be broken, a disk full, a terminal gone; rich would end the process then.
    """

    def __init__(self, stream: IO[str]) -> None:
        self._stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        with contextlib.suppress(OSError, ValueError):
            self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        with contextlib.suppress(OSError, ValueError):
            self._stream.flush()


class PlainProgress(_Ticking):
    """A line every ten seconds, for logs and pipes."""

    def draw(self, stats: RunStats, in_flight: int) -> None:
        """One line of counts."""
        total = "?" if stats.total is None else str(stats.total)
        rows = self._translate("{done}/{total} rows").format(done=stats.done, total=total)
        rate, *left = self.pace(stats)
        parts = [rows, rate, self.flight(in_flight), *left]
        parts += [self._translate(text) for text in (stats.cost_text(), stats.budget_text()) if text]
        parts += self.troubles(stats)
        self.note(", ".join(parts))


class BarProgress(_Ticking):
    """A live bar made with rich."""

    interval = BAR_INTERVAL

    def __init__(
        self, stream: IO[str], limit: Limit = no_limit, translate: Translate = untranslated, *, track_cost: bool
    ) -> None:
        super().__init__(stream, limit, translate)
        from rich.console import Console  # only terminals need it
        from rich.progress import BarColumn, TimeElapsedColumn
        from rich.progress import Progress as RichProgress
        from rich.table import Column

        self._track_cost = track_cost
        self._console = Console(file=cast("IO[str]", self.stream))
        self._bar = RichProgress(
            BarColumn(bar_width=max(5, self._console.width // 8)),
            _facts_column(),
            TimeElapsedColumn(table_column=Column(no_wrap=True)),
            console=self._console,
            auto_refresh=False,
        )
        self._row = self._bar.add_task("rows", total=None, facts="")

    def start(self, stats: RunStats, in_flight: Callable[[], int]) -> None:
        """Draw the bar."""
        self._stats = stats
        self._bar.start()
        super().start(stats, in_flight)

    def draw(self, stats: RunStats, in_flight: int) -> None:
        """Redraw the bar."""
        total = "?" if stats.total is None else str(stats.total)
        # What comes last is cut first where there is little room: failures are told before all else.
        facts = [f"{stats.done}/{total}", *self.troubles(stats), *self.pace(stats)]
        if self._track_cost and (cost := stats.cost_text()):
            facts.append(self._translate(cost))
        if self._track_cost and stats.budget is not None:
            facts.append(self._translate("{amount} left").format(amount=f"${stats.budget.ledger.left:.4f}"))
        if tokens := stats.prompt_tokens + stats.completion_tokens:
            facts.append(self._translate("{count} tokens").format(count=format_count(tokens)))
        facts.append(self.flight(in_flight))
        self._bar.update(self._row, completed=stats.done, total=stats.total, facts="  ".join(facts))
        self._bar.refresh()

    def note(self, text: str) -> None:
        """Show a line above the bar."""
        self._console.print(visible(text), markup=False, highlight=False)

    def stop(self) -> None:
        """Draw the bar a last time and leave it."""
        if self._task is not None:
            self.draw(self._stats, 0)
        super().stop()
        self._bar.stop()


def _facts_column() -> Any:
    """A column of a bar that is cut where there is no room, before the others are."""
    from rich.progress import ProgressColumn, Task
    from rich.table import Column
    from rich.text import Text

    class Facts(ProgressColumn):
        def render(self, task: Task) -> Text:
            return Text(task.fields["facts"], no_wrap=True, overflow="ellipsis")

    return Facts(table_column=Column(no_wrap=False))  # of those that wrap the table takes room first


def progress_for(
    stream: IO[str] | None = None,
    *,
    track_cost: bool = True,
    limit: Limit = no_limit,
    translate: Translate = untranslated,
) -> Progress:
    """A bar if `stream` (standard error by default) is a terminal, plain lines if not.

    Args:
        stream: Where it is shown. What cannot redraw a line, by `TERM=dumb`, is no terminal here.
        track_cost: Show the cost in the bar.
        limit: How many requests may be in flight now.
        translate: Puts what is shown into another language than English.
    """
    stream = stream or sys.stderr
    if stream.isatty() and os.environ.get("TERM") != "dumb":  # such a terminal cannot redraw a line
        return BarProgress(stream, limit, translate, track_cost=track_cost)
    return PlainProgress(stream, limit, translate)


def format_seconds(seconds: float) -> str:
    """`75.2` as `1m15s`.

    >>> format_seconds(42), format_seconds(75.2), format_seconds(7300)
    ('42s', '1m15s', '2h01m')
    """
    whole = round(seconds)
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m{whole % 60:02d}s"
    return f"{whole // 3600}h{whole % 3600 // 60:02d}m"


def format_count(count: int) -> str:
    """`12345` as `12.3k`.

    >>> format_count(999), format_count(12345), format_count(3_400_000)
    ('999', '12.3k', '3.4M')
    """
    if count < 1000:
        return str(count)
    return f"{count / 1e3:.1f}k" if count < 1_000_000 else f"{count / 1e6:.1f}M"
