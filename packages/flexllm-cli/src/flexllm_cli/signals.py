"""Signals during a run: the rows in flight are paid for, so they are finished before the command ends."""

from __future__ import annotations

import asyncio
import signal
from types import TracebackType
from typing import Self

from flexllm_batch.runner import Runner
from flexllm_cli.terminal import say

_SIGNALS = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]


class DrainSignals:
    """While this lasts, a signal stops taking rows and lets those in flight finish.

    A second SIGINT leaves at once. SIGTERM and SIGHUP wait `drain` seconds at most. A signal that was
    ignored before (nohup) stays ignored.

    Attributes:
        exit_code: 128 plus the signal's number, None when there was none.
    """

    def __init__(self, runner: Runner, *, drain: float) -> None:
        self._runner = runner
        self._drain = drain
        self._loop = asyncio.get_running_loop()
        self._installed: list[signal.Signals] = []
        self._previous: dict[signal.Signals, object] = {}
        self.exit_code: int | None = None

    def __enter__(self) -> Self:
        for number in _SIGNALS:
            if signal.getsignal(number) is signal.SIG_IGN:
                continue
            try:
                self._loop.add_signal_handler(number, self._on_signal, number)
            except (NotImplementedError, RuntimeError):  # Windows' loops have no signal handlers
                self._previous[number] = signal.signal(
                    number, lambda n, _: self._loop.call_soon_threadsafe(self._on_signal, signal.Signals(n))
                )
            else:
                self._installed.append(number)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number in self._installed:
            self._loop.remove_signal_handler(number)
        for number, handler in self._previous.items():
            signal.signal(number, handler)  # type: ignore[arg-type]

    def _on_signal(self, number: signal.Signals) -> None:
        first = self.exit_code is None
        self.exit_code = self.exit_code or 128 + number
        if not first:
            say("leaving at once; everything that is finished is in the output")
            self._runner.abort()
            return
        self._runner.stop()
        waiting = self._runner.in_flight
        if number == signal.SIGINT:
            say(f"stopping: {waiting} rows in flight are being finished (Ctrl-C again leaves at once)")
        else:
            say(f"{number.name}: {waiting} rows in flight have {self._drain:g} s to finish")
            self._loop.call_later(self._drain, self._runner.abort)
