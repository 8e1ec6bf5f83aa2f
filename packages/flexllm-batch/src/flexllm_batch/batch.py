"""One batch from its source to its outcomes: plan, run, journal, compaction."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from pathlib import Path

from flexllm_batch.batch_settings import BatchSettings
from flexllm_batch.cost.budget import Budget
from flexllm_batch.inputs.json_source import SpooledLines
from flexllm_batch.inputs.records import Record
from flexllm_batch.inputs.row_files import RowSource
from flexllm_batch.inputs.sources import MessageStream, read_records
from flexllm_batch.outcome import Outcome
from flexllm_batch.outputs.answers import AnswerIndex
from flexllm_batch.outputs.journal import in_thread
from flexllm_batch.outputs.line_reader import LineReader
from flexllm_batch.outputs.lines import error_line, success_line
from flexllm_batch.outputs.manifest import RunManifest
from flexllm_batch.outputs.output import OutputFile
from flexllm_batch.planning.canary import Canary, canary_report
from flexllm_batch.planning.plan import Plan, make_plan
from flexllm_batch.planning.survey import Survey
from flexllm_batch.progress import NoProgress, Progress
from flexllm_batch.recalled_rows import KnownAnswers
from flexllm_batch.runner import Runner
from flexllm_batch.stats import RunStats
from flexllm_batch.stop_rules import StopRules
from flexllm_core.errors import BudgetExceededError, ConfigError, InputError
from flexllm_core.protocol import ChatModel, ModelWrapper


class Batch:
    """A batch over a source that can be read again, or over a stream of messages that cannot.

    Args:
        model: Answers the requests.
        source: The rows.
        settings: How.
        on_outcome: Is called with each row's outcome; may return an awaitable for back-pressure.
        progress: Looks on.
        inputs: Input files, which the output must not be.
        manifest: Is written when the run begins and ends.
        check_price: Is called with each model that rows name (None for their endpoint's own) before anything is
            sent, and raises ConfigError for one that cannot be paid from the budget.
        budget: What the model's calls are paid from, to be shown.
    """

    def __init__(
        self,
        model: ChatModel,
        source: RowSource | MessageStream,
        settings: BatchSettings,
        *,
        on_outcome: Callable[[Outcome], Awaitable[None] | None] | None = None,
        progress: Progress | None = None,
        inputs: list[Path] | None = None,
        manifest: RunManifest | None = None,
        check_price: Callable[[str | None], None] | None = None,
        budget: Budget | None = None,
    ) -> None:
        self.settings = settings
        self.manifest = manifest
        self.source = source
        self.progress = progress or NoProgress()
        self.stats = RunStats(unknown_cost=0 if settings.track_cost else None, budget=budget)
        self.plan: Plan | None = None
        self.rules = StopRules(settings.window, settings.max_failures)
        self._on_outcome = on_outcome
        self._check_price = check_price
        self._models: set[str | None] = set()  # that rows name, where their price is to be checked
        self._exhausted = False
        self._started = 0.0
        self.output: OutputFile | None = None
        if settings.output is not None:
            self.output = OutputFile(
                settings.output,
                inputs=inputs or [],
                resume=settings.resume,
                overwrite=settings.overwrite,
                save_input=settings.save_input,
                flush_interval=settings.flush_interval,
                output_format=settings.output_format,
            )
        self.runner = Runner(
            model,
            window=settings.window,
            make_request=settings.request,
            deliver=self._deliver,
            rules=self.rules,
            with_keys=self.output is not None,
            known=self._known_answers(model),
        )

    def _known_answers(self, model: ChatModel) -> KnownAnswers | None:
        """Where rows are looked up together; not those of a stream, which may come one by one and slowly."""
        if isinstance(self.source, MessageStream) or self.settings.skip_cache or not isinstance(model, ModelWrapper):
            return None
        recall = model.recall()
        return None if recall is None else KnownAnswers(recall, self.settings.fingerprint, self._deliver_known)

    def records(self) -> Iterator[Record]:
        """The records of the source, all of them; none for a stream, which can be read only once."""
        if isinstance(self.source, MessageStream):
            return iter(())
        return read_records(self.source, self.settings.shape)

    async def prepare(self, survey: Survey | None = None, *, only_look: bool = False) -> Plan | None:
        """Plan the run: lock and read the output, read all rows once. Sends nothing.

        None for a stream without earlier answers, whose rows are not known before they come.

        Args:
            survey: Looks at each row too, for an estimate.
            only_look: Rows that cannot be asked are in the plan and never an error.

        Raises:
            InputError: A row cannot be asked, and `on_bad_row` is `fail`.
            ConfigError: There is a budget, and the price of a model is unknown.
            JournalError: The output cannot be used.
        """
        try:
            answers = await in_thread(self.output.open) if self.output else AnswerIndex()
            if isinstance(self.source, MessageStream) and len(answers):
                self.source = await self.source.spool()
            if isinstance(self.source, MessageStream):
                self._models.add(self.settings.model)
                self._check_prices()
                if self.output is not None:
                    self.output.accept(Plan(), self._difference)
                return None
            self.plan = await asyncio.to_thread(self._make_plan, answers, survey)
            if not only_look:
                self._check_prices()
            if not only_look and self.plan.bad and self.settings.on_bad_row == "fail":
                raise _bad_rows_error(self.plan)
            if self.output is not None:
                self.output.accept(self.plan, self._difference)
        except BaseException:
            self.close()
            raise
        self.stats.total = self.plan.total
        self.stats.resumed = self.plan.kept
        return self.plan

    def _make_plan(self, answers: AnswerIndex, survey: Survey | None) -> Plan:
        with contextlib.ExitStack() as stack:
            read_line: Callable[[int], bytes] = bytes
            if self.output is not None and len(answers):
                file = stack.enter_context(self.output.path.open("rb"))
                read_line = LineReader(file.fileno()).read
            return make_plan(
                self._with_models() if self._check_price else self.records(),
                answers,
                self.settings.fingerprint,
                read_line,
                limit=self.settings.limit,
                save_input=self.settings.save_input,
                survey=survey,
            )

    def _with_models(self) -> Iterator[Record]:
        """The records, while the models that they name are taken down."""
        for record in self.records():
            self._models.add(record.model or self.settings.model)
            yield record

    def _check_prices(self) -> None:
        for model in self._models if self._check_price is not None else ():
            assert self._check_price is not None
            self._check_price(model)

    def _difference(self) -> str:
        """What differs from the run that wrote the output, as far as its first answer shows."""
        sample = self.output.scan.sample if self.output else None
        first = next((record for record in self.records() if record.error is None), None)
        if sample is None or first is None:
            return ""
        if sample.get("input") == first.messages:
            return (
                f" (the input is the same; its answers are of model {sample.get('model')!r}, "
                f"this run asks {first.model or self.settings.model!r}, or the parameters differ)"
            )
        return ""

    async def run(self, canary: Canary | None = None) -> RunStats:
        """Ask what the plan leaves to ask; `prepare` comes first. Closes the output in the end.

        Args:
            canary: The rows that go first, and who decides then whether the others follow.

        Raises:
            JournalError: The output cannot be written; everything written before is in it.
        """
        loop = asyncio.get_running_loop()
        async with contextlib.AsyncExitStack() as at_end:  # whatever fails, the rest of it is done
            at_end.callback(self.close)
            at_end.push(self._end_manifest)
            if self.output is not None:
                at_end.push_async_callback(self._finish, self.output)
                self.output.begin()
                self.output.start()
            at_end.callback(self.progress.stop)
            self.progress.start(self.stats, lambda: self.runner.in_flight)
            if self.output is not None:
                self.output.tell(self.progress.note)
            if self.manifest is not None and (problem := await in_thread(self.manifest.begin)):
                self.progress.note(f"warning: {problem}")
            self._started = loop.time()
            try:
                todo = self._todo()
                if canary is None or await self._try(canary, todo):
                    await self.runner.run(todo)
                    self._exhausted = not self.runner.stopped
            finally:
                self.stats.seconds = loop.time() - self._started
                if self.rules.stopped_by is not None:
                    self.stats.stopped = str(self.rules.stopped_by)
        return self.stats

    async def _try(self, canary: Canary, todo: Iterator[Record] | AsyncIterator[Record]) -> bool:
        """Ask the first rows; whether the others follow."""
        if isinstance(self.source, MessageStream) or not isinstance(todo, Iterator):
            raise ConfigError("a canary needs rows that are known before they are asked, not a stream")
        await self.runner.run(itertools.islice(todo, canary.rows))
        loop = asyncio.get_running_loop()
        asked = loop.time()
        self.stats.seconds = asked - self._started
        if self.runner.stopped or not self.stats.left:
            return not self.runner.stopped
        self.progress.stop()  # a question is not asked into a bar
        go_on = await canary.decide(canary_report(self.stats))
        self._started += loop.time() - asked  # what somebody takes to decide is no part of the run
        if go_on:
            self.progress.start(self.stats, lambda: self.runner.in_flight)
        return go_on and not self.runner.stopped

    def _end_manifest(self, _: object, error: BaseException | None, __: object) -> None:
        """Write how the run ended; what it says stands for the whole of it, so this is the last thing done."""
        if self.manifest is None:
            return
        if error is not None:
            outcome = f"failed: {type(error).__name__}: {error}".rstrip(": ")
        elif self.stats.stopped is not None:
            outcome = f"stopped: {self.stats.stopped}"
        else:
            outcome = "complete" if self._exhausted and not self.stats.left else "incomplete"
        if problem := self.manifest.end(self.stats, outcome):
            self.progress.note(f"warning: {problem}")

    async def _finish(self, output: OutputFile) -> None:
        complete = self._exhausted and self.stats.left == 0
        await output.finish(self.records, self.settings.fingerprint, complete=complete)

    def _todo(self) -> Iterator[Record] | AsyncIterator[Record]:
        if isinstance(self.source, MessageStream):
            return self.source.records(self.settings.shape, self.settings.limit, self._wanted)
        return self._open_records(self.source)

    def _wanted(self, record: Record) -> bool:
        """Whether a record is asked or written, and not left out as bad."""
        if record.error is None or self.settings.on_bad_row != "skip":
            return True
        self.stats.skipped += 1
        return False

    def _open_records(self, source: RowSource) -> Iterator[Record]:
        """The records that have no answer yet; what is behind the last of them is not read again."""
        answered = self.output.is_answered if self.output and self.plan and self.plan.offsets.count else None
        left = self.plan.todo + self.plan.bad if self.plan else None
        records = read_records(source, self.settings.shape, self.settings.limit, answered)
        return itertools.islice(filter(self._wanted, records), left)

    def _deliver(self, outcome: Outcome) -> Awaitable[None] | None:
        """Count an outcome and write its line, at once: a finished row is never held back."""
        if isinstance(outcome.error, BudgetExceededError):
            # It was not asked, or its next attempt was not: it is left for another run, and no failure.
            return self._on_outcome(outcome) if self._on_outcome else None
        if self.output is not None:
            self.output.write(outcome.record.index, self._line(outcome))
        if outcome.result is not None:
            self.stats.add_result(outcome.result)
        elif outcome.error is not None:
            self.stats.add_error(outcome.error)
        return self._on_outcome(outcome) if self._on_outcome else None

    def _deliver_known(self, outcomes: Sequence[Outcome]) -> Awaitable[None] | None:
        """Count answered rows and write their lines in one step."""
        if self.output is not None:
            self.output.write_all(
                [outcome.record.index for outcome in outcomes], [self._line(outcome) for outcome in outcomes]
            )
        self.rules.count_answers(len(outcomes))
        for outcome in outcomes:
            if outcome.result is not None:
                self.stats.add_result(outcome.result)
        return self._tell(outcomes, self._on_outcome) if self._on_outcome else None

    @staticmethod
    async def _tell(outcomes: Sequence[Outcome], on_outcome: Callable[[Outcome], Awaitable[None] | None]) -> None:
        for outcome in outcomes:
            waiting = on_outcome(outcome)
            if waiting is not None:
                await waiting

    def _line(self, outcome: Outcome) -> bytes:
        """The output line of a row."""
        record, settings = outcome.record, self.settings
        if outcome.result is not None and outcome.key is not None:
            return success_line(
                record,
                outcome.result,
                outcome.key,
                save_input=settings.save_input,
                return_usage=settings.return_usage,
            )
        error = outcome.error or RuntimeError("the row has neither answer nor error")
        return error_line(
            record, error, outcome.key, save_input=settings.save_input, return_usage=settings.return_usage
        )

    def close(self) -> None:
        """Close the output; a second call does nothing."""
        if self.output is not None:
            self.output.close()
        if isinstance(self.source, SpooledLines):
            self.source.close()


def _bad_rows_error(plan: Plan) -> InputError:
    first = plan.bad_rows[0]
    more = f" (and {plan.bad - 1} more bad rows)" if plan.bad > 1 else ""
    ways = "on_bad_row='skip' (--on-bad-row skip) leaves such rows out, 'record' writes them as errors"
    return InputError(f"{first}{more}; nothing was sent. {ways}")
