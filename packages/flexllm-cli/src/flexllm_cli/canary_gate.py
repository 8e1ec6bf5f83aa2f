"""`--canary N`: shows what the first rows came to, and asks whether to go on."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
import threading
from collections.abc import Callable
from decimal import Decimal

from flexllm_batch.planning.canary import CanaryReport
from flexllm_batch.progress import format_seconds
from flexllm_batch.stop_rules import FailureLimit
from flexllm_cli import exit_codes
from flexllm_cli.error_report import ErrorReport
from flexllm_cli.i18n import gettext as _
from flexllm_cli.i18n import translate_message
from flexllm_cli.terminal import say

_POLL = 0.1  # seconds between two looks at whether a signal has ended the waiting


class CanaryGate:
    """Decides whether a run goes on after its first rows.

    Args:
        limit: `--max-failures`.
        budget: US dollars of the whole run at most; None for any.
        yes: Do not ask.
        stopped: Whether a signal has stopped the run.

    Attributes:
        exit_code: Why the run does not go on; None when it does.
        failure: The same for the user, where the first rows are the reason.
    """

    def __init__(self, *, limit: FailureLimit, budget: Decimal | None, yes: bool, stopped: Callable[[], bool]) -> None:
        self._limit = limit
        self._budget = budget
        self._yes = yes
        self._stopped = stopped
        self.exit_code: int | None = None
        self.failure: ErrorReport | None = None

    async def decide(self, report: CanaryReport) -> bool:
        """Show the report; whether to go on."""
        for line in report_lines(report):
            say(line)
        problem = report.problem(self._limit, self._budget)
        if problem is not None:
            kind, text = problem
            self.exit_code = exit_codes.BY_STOP_KIND[kind]
            message = _("the run does not go on: {reason}; what is answered is kept")
            self.failure = ErrorReport("CanaryError", message.format(reason=translate_message(text)), self.exit_code)
            return False
        if self._yes or await self._asked(report.left):
            return True
        if not self._stopped():
            say(_("the run does not go on; what is answered is kept, and the same command goes on from there"))
        self.exit_code = exit_codes.DRY_RUN
        return False

    async def _asked(self, left: int) -> bool:
        if not (sys.stdin.isatty() and sys.stderr.isatty()):
            say(_("there is no terminal to ask on; --yes goes on without asking"))
            return False
        sys.stderr.write(_("ask the other {left} rows? [y/N]").format(left=left) + " ")
        sys.stderr.flush()
        answer = await _read_line(self._stopped)
        return answer.strip().lower() in ("y", "yes")


async def _read_line(stopped: Callable[[], bool]) -> str:
    """A line from the terminal; empty when a signal comes first.

    The thread that reads cannot be stopped. It is a daemon, and reads past Python's buffer, whose lock
    it would otherwise hold when the process ends.
    """
    loop = asyncio.get_running_loop()
    answer: asyncio.Future[bytes] = loop.create_future()

    def settle(data: bytes) -> None:
        if not answer.done():
            answer.set_result(data)

    def read() -> None:
        try:
            data = os.read(0, 1024)
        except OSError:
            data = b""
        with contextlib.suppress(RuntimeError):  # the loop may be closed by now
            loop.call_soon_threadsafe(settle, data)

    threading.Thread(target=read, daemon=True).start()
    while not answer.done() and not stopped():
        await asyncio.wait((answer,), timeout=_POLL)
    return answer.result().decode(errors="replace") if answer.done() else ""


def report_lines(report: CanaryReport) -> list[str]:
    """What the first rows came to, for people."""
    text = _("canary: {asked} rows in {seconds}, {failed} failed ({share})")
    seconds, share = format_seconds(report.seconds), f"{report.failure_rate:.0%}"
    lines = [text.format(asked=report.asked, seconds=seconds, failed=report.failed, share=share)]
    if report.cost is None or report.projected_cost is None:
        return [*lines, _("cost: unknown")]
    text = _("cost: {cost}, projected for all {rows} rows: {projected}")
    cost, projected = f"${report.cost:.4f}", f"${report.projected_cost:.4f}"
    return [*lines, text.format(cost=cost, rows=report.asked + report.left, projected=projected)]
