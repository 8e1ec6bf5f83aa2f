"""What `flexllm batch` does: settings from options and file, the run under signals, summary and exit code."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Literal

from flexllm_batch.balance.hedging import HedgeAfter
from flexllm_batch.balance.strategies import LoadBalance
from flexllm_batch.batch import Batch
from flexllm_batch.batch_settings import BatchSettings
from flexllm_batch.cache.config import ResponseCacheConfig
from flexllm_batch.client import LLMClient
from flexllm_batch.contracts.contract import make_contract, params_under
from flexllm_batch.cost.budget import OnUnknownPrice, budget_warning
from flexllm_batch.cost.metered import CostReport
from flexllm_batch.cost.pricing import pricer_for
from flexllm_batch.cost.tracking import CostTrackerConfig
from flexllm_batch.inputs.records import RowShape
from flexllm_batch.inputs.sources import open_source
from flexllm_batch.outputs.manifest import RunManifest
from flexllm_batch.outputs.output import OutputFormat
from flexllm_batch.planning.canary import Canary
from flexllm_batch.planning.plan import OnBadRow, Plan, ResumeMode
from flexllm_batch.planning.survey import CostOf
from flexllm_batch.pool import LLMClientPool
from flexllm_batch.progress import progress_for
from flexllm_batch.stop_rules import FailureLimit, parse_failure_limit
from flexllm_cli import exit_codes
from flexllm_cli.batch_report import failure_report, summary_json, summary_lines
from flexllm_cli.canary_gate import CanaryGate
from flexllm_cli.connection import Connection
from flexllm_cli.error_report import ErrorReport
from flexllm_cli.event_loop import run
from flexllm_cli.i18n import translate_message
from flexllm_cli.schema_option import read_schema
from flexllm_cli.signals import DrainSignals
from flexllm_cli.terminal import say, write_result
from flexllm_core.endpoint import EndpointConfig
from flexllm_core.errors import ConfigError
from flexllm_core.options import SaveInput, params_from_options
from flexllm_core.protocol import ChatModel
from flexllm_core.results import Usage
from flexllm_core.thinking import Thinking

_SAVE_INPUT: dict[str, SaveInput] = {"true": True, "last": "last", "false": False}


@dataclass(frozen=True, slots=True)
class BatchCommand:
    """The options of one `flexllm batch`; None leaves the configuration's value."""

    connection: Connection
    input_name: str
    output: Path
    limit: int | None
    concurrency: int | None
    system: str | None
    user_field: str | None
    system_field: str | None
    save_input: Literal["true", "last", "false"] | None
    track_cost: bool | None
    cache: bool | None
    cache_ttl: float | None
    budget: float | None
    on_unknown_price: OnUnknownPrice | None
    temperature: float | None
    max_tokens: int | None
    thinking: Thinking
    load_balance: LoadBalance | None
    hedge_after: HedgeAfter | None
    affinity: Literal["prefix"] | None
    resume: ResumeMode
    overwrite: bool
    on_bad_row: OnBadRow
    max_failures: str | None
    drain: float
    media_root: Path | None
    max_image_side: int | None
    output_lines: OutputFormat
    manifest: bool
    schema: str | None
    no_truncated: bool
    max_corrections: int | None
    grow_max_tokens: int | None
    canary: int | None
    yes: bool
    dry_run: bool
    as_json: bool

    def run(self) -> int:
        """Do it; the exit code."""
        return run(self._run())

    def _client(self, tracking: CostTrackerConfig) -> LLMClient | LLMClientPool:
        """The client of the endpoint, or of all of them."""
        connection, cache = self.connection, self._cache()
        if not connection.others:
            options = {"load-balance": self.load_balance, "hedge-after": self.hedge_after, "affinity": self.affinity}
            for name, value in options.items():
                if value is not None:
                    raise ConfigError(
                        f"--{name} needs several endpoints: give them as `batch.endpoints` in the configuration"
                    )
            endpoint = self._with_defaults(connection.endpoint, self.concurrency)
            return LLMClient(endpoint=endpoint, cost_tracker=tracking, cache=cache)
        defaults = connection.batch
        return LLMClientPool(
            [self._with_defaults(endpoint) for endpoint in (connection.endpoint, *connection.others)],
            load_balance=self.load_balance or defaults.load_balance,
            fallback=defaults.fallback,
            hedge_after=defaults.hedge_after if self.hedge_after is None else self.hedge_after,
            affinity=self.affinity or defaults.affinity,
            cost_tracker=tracking,
            cache=cache,
        )

    def _with_defaults(self, endpoint: EndpointConfig, concurrency: int | None = None) -> EndpointConfig:
        """An endpoint with the batch section's defaults where it has no value of its own."""
        defaults = self.connection.batch
        update = {
            "concurrency_limit": concurrency or endpoint.concurrency_limit or defaults.concurrency,
            "max_qps": endpoint.max_qps or defaults.max_qps,
            "max_tpm": endpoint.max_tpm or defaults.max_tpm,
            "adaptive": defaults.adaptive if endpoint.adaptive is None else endpoint.adaptive,
            "min_concurrency": endpoint.min_concurrency or defaults.min_concurrency,
            "timeout": endpoint.timeout or defaults.timeout,
            "retry_times": defaults.retry_times if endpoint.retry_times is None else endpoint.retry_times,
        }
        return endpoint.model_copy(update=update)

    def _cost_tracking(self) -> CostTrackerConfig:
        """Whether costs are worked out, and their limit; a limit needs them."""
        defaults = self.connection.batch
        budget = defaults.budget if self.budget is None else self.budget
        if budget is not None:
            unknown = self.on_unknown_price or defaults.on_unknown_price
            return CostTrackerConfig.with_budget(budget, on_unknown_price=unknown)
        track_cost = defaults.track_cost if self.track_cost is None else self.track_cost
        return CostTrackerConfig.tracking_only() if track_cost else CostTrackerConfig.disabled()

    def _settings(self, client: LLMClient | LLMClientPool, *, track_cost: bool) -> BatchSettings:
        defaults = self.connection.batch
        sampling = params_from_options(
            {"temperature": self.temperature, "max_tokens": self.max_tokens, "thinking": self.thinking}
        )
        contract = make_contract(
            read_schema(self.schema) if self.schema is not None else None,
            no_truncated=self.no_truncated,
            max_corrections=self.max_corrections,
            grow_max_tokens=self.grow_max_tokens,
        )
        return BatchSettings(
            model=client.model,
            params=params_under(contract, {**client.params, **sampling}),
            window=min(self.concurrency or client.concurrency, client.concurrency),
            output=self.output,
            save_input=_SAVE_INPUT[self.save_input] if self.save_input else defaults.save_input,
            return_usage=defaults.return_usage,
            resume=self.resume,
            overwrite=self.overwrite,
            on_bad_row=self.on_bad_row,
            limit=self.limit,
            shape=RowShape(self.user_field, self.system_field, self.system),
            max_failures=parse_failure_limit(self.max_failures) if self.max_failures else FailureLimit(),
            track_cost=track_cost,
            output_format=self.output_lines,
            contract=contract,
        )

    def _cache(self) -> ResponseCacheConfig:
        """The cache of the run; a time given on the command line turns it on."""
        defaults = self.connection.batch
        wanted = defaults.cache or self.cache_ttl is not None if self.cache is None else self.cache
        return ResponseCacheConfig(
            enabled=wanted,
            ttl=defaults.cache_ttl if self.cache_ttl is None else self.cache_ttl,
            cache_dir=defaults.cache_dir,
        )

    def _chat_model(self, client: LLMClient | LLMClientPool, settings: BatchSettings) -> ChatModel:
        """The client's model, with the media of each row put into its messages and its answers held to a contract."""
        chat_model = client.chat_model
        if settings.contract is not None:
            from flexllm_batch.contracts.contracted import with_contract  # only rows with a contract need it

            chat_model = with_contract(chat_model, settings.contract)
        if self.media_root is None and self.max_image_side is None:
            return chat_model
        from flexllm_providers.media.model import embedding_media  # only rows with media need it
        from flexllm_providers.media.policy import MediaPolicy

        policy = MediaPolicy(media_root=self.media_root, max_image_side=self.max_image_side)
        return embedding_media(chat_model, policy)

    async def _run(self) -> int:
        tracking = self._cost_tracking()
        track_cost = tracking.enabled
        source = open_source(self.input_name)
        inputs = [] if self.input_name == "-" else [Path(self.input_name)]
        async with self._client(tracking) as client:
            settings = self._settings(client, track_cost=track_cost)
            batch = Batch(
                self._chat_model(client, settings),
                source,
                settings,
                progress=progress_for(track_cost=track_cost, limit=client.current_limit, translate=translate_message),
                inputs=inputs,
                manifest=RunManifest(self.output, settings, client.endpoints, inputs) if self.manifest else None,
                check_price=client.check_price if client.budgeted else None,
                budget=client.budget,
            )
            if client.budget is not None:
                client.budget.add_listener(lambda ledger: batch.progress.note(budget_warning(ledger)))
            try:
                if self.dry_run:
                    await self._show_plan(batch, client, tracking.limit)
                    return exit_codes.DRY_RUN
                await batch.prepare()
                gate = self._gate(batch)
                with DrainSignals(batch.runner, drain=self.drain) as signals:
                    await batch.run(Canary(self.canary, gate.decide) if self.canary else None)
            finally:
                batch.close()
        code = signals.exit_code or gate.exit_code or _outcome_code(batch)
        failure = gate.failure or failure_report(batch.stats, batch.rules, code)
        self._show_summary(batch, client.cost_report, failure)
        return code

    def _gate(self, batch: Batch) -> CanaryGate:
        limit = batch.settings.max_failures
        budget = batch.stats.budget.ledger.limit if batch.stats.budget is not None else None
        return CanaryGate(limit=limit, budget=budget, yes=self.yes, stopped=lambda: batch.runner.stopped)

    async def _show_plan(self, batch: Batch, client: LLMClient | LLMClientPool, budget: Decimal | None) -> None:
        from flexllm_batch.planning.survey import Survey  # only this option needs them
        from flexllm_cli.plan_report import PlanReport

        survey = Survey(batch.settings.request)
        plan = await batch.prepare(survey, only_look=True) or Plan()
        cost_of = estimator(client.endpoints, client.model)
        report = PlanReport(
            plan, survey, batch.settings, client.endpoints, cost_of, self.input_name, self.output, budget
        )
        if self.as_json:
            write_result(report.json() + "\n")
        else:
            for line in report.lines():
                say(line)

    def _show_summary(self, batch: Batch, cost: CostReport, failure: ErrorReport | None) -> None:
        for line in summary_lines(batch.stats, self.output, cost.by_model):
            say(line)
        if self.as_json:
            write_result(summary_json(batch.stats, self.output, cost.by_model) + "\n")
        if failure is not None:
            failure.show()


def parse_hedge_after(text: str | None) -> HedgeAfter | None:
    """Read `p95` or seconds.

    Raises:
        ConfigError: It is neither.
    """
    if text is None or text == "p95":
        return "p95" if text else None
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds < float("inf"):
        raise ConfigError(f"--hedge-after is {text!r}; expected seconds above 0, or p95")
    return seconds


def estimator(endpoints: Sequence[EndpointConfig], pool_model: str | None) -> CostOf:
    """What prices a call to these endpoints before it is made: by the dearest of them."""
    pricers = [(pricer_for(endpoint), endpoint.model) for endpoint in endpoints]

    def cost_of(model: str | None, usage: Usage) -> Decimal | None:
        priced = [pricer.cost(own if model == pool_model else model, None, usage) for pricer, own in pricers]
        known = [found[0] for found in priced if found is not None]
        return max(known) if len(known) == len(priced) else None

    return cost_of


def _outcome_code(batch: Batch) -> int:
    stats, rules = batch.stats, batch.rules
    if rules.kind is not None:
        return exit_codes.BY_STOP_KIND[rules.kind]
    if not stats.failed:
        return exit_codes.OK
    if not stats.ok and not stats.resumed and rules.only_network_failures:
        return exit_codes.NETWORK
    return exit_codes.FAILED
