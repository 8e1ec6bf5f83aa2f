"""What `flexllm batch --dry-run` shows: the plan, about what it would cost, and what limits are in force."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

from flexllm_batch.batch_settings import BatchSettings
from flexllm_batch.endpoint_stack import DEFAULT_CONCURRENCY
from flexllm_batch.planning.plan import Plan
from flexllm_batch.planning.survey import CostOf, Range, Survey
from flexllm_batch.progress import format_count
from flexllm_batch.stop_rules import FailureLimit
from flexllm_cli.i18n import gettext as _
from flexllm_core.endpoint import EndpointConfig
from flexllm_core.redact import redact


@dataclass(frozen=True, slots=True)
class PlanReport:
    """Everything that is known before a run.

    Attributes:
        plan: What the run would do.
        survey: The estimate of the rows that it would ask.
        settings: Those of the run.
        endpoints: Where the rows would go.
        cost_of: Prices a call; None as an answer says that the price is unknown.
        input_name: The input, as the user named it.
        output: The output, as the user named it.
        budget: US dollars that the run may cost; None for any.
    """

    plan: Plan
    survey: Survey
    settings: BatchSettings
    endpoints: Sequence[EndpointConfig]
    cost_of: CostOf
    input_name: str
    output: Path
    budget: Decimal | None = None

    def facts(self) -> dict[str, Any]:
        """The report as plain values; None is unknown."""
        plan, survey = self.plan, self.survey
        cost = survey.cost(self.cost_of)
        return {
            "input": self.input_name,
            "output": str(self.output),
            "rows": plan.total,
            "formats": dict(plan.kinds.most_common()),
            "to_ask": plan.todo,
            "answered": plan.kept,
            "duplicates": survey.duplicates,
            "bad": plan.bad,
            "bad_rows": [str(error) for error in plan.bad_rows],
            "on_bad_row": self.settings.on_bad_row,
            "stale": len(plan.stale),
            "tokens": {
                "input": _tokens(survey.prompt_tokens),
                "output": _tokens(survey.completion_tokens),
                "estimated_by": survey.counted_by,
            },
            "cost_usd": None if cost is None else {"low": round(cost.low, 6), "high": _rounded(cost.high)},
            "budget_usd": None if self.budget is None else float(self.budget),
            "max_failures": _failures_text(self.settings.max_failures),
            "models": {name or "?": model.rows for name, model in survey.models.items()},
            "endpoints": [_endpoint(endpoint) for endpoint in self.endpoints],
            "params": json.loads(redact(json.dumps(dict(self.settings.params), default=str))),
            "sent": 0,
        }

    def json(self) -> str:
        """The report as one JSON object."""
        return json.dumps(self.facts(), ensure_ascii=False)

    def lines(self) -> list[str]:
        """The report for people."""
        facts = self.facts()
        kinds = ", ".join(f"{count} {kind}" for kind, count in facts["formats"].items()) or "none"
        lines = [
            f"rows: {facts['rows']} ({kinds})",
            f"answered already in {self.output}: {facts['answered']}",
            f"to be asked: {facts['to_ask']}",
        ]
        if facts["duplicates"]:
            lines.append(f"duplicates: {facts['duplicates']} rows ask what a row before them asks; each is asked")
        lines += self._bad_lines()
        if facts["stale"]:
            lines.append(f"answers that belong to no row: {facts['stale']} (would be moved to {self.output}.stale)")
        tokens, by = facts["tokens"], facts["tokens"]["estimated_by"]
        lines.append(f"input tokens, by {by}: {_range_text(tokens['input'])}")
        lines.append(f"output tokens: {_output_text(tokens['output'])}")
        lines.append(f"cost: {_cost_text(facts['cost_usd'])}")
        if self.budget is not None:
            lines.append(f"budget: ${self.budget:.4f}{_budget_text(facts['cost_usd'], self.budget)}")
        if facts["max_failures"] is not None:
            lines.append(f"failures at most: {facts['max_failures']}")
        lines += [_endpoint_line(endpoint) for endpoint in facts["endpoints"]]
        if len(facts["models"]) > 1:
            lines.append("models: " + ", ".join(f"{count} rows {name}" for name, count in facts["models"].items()))
        return [*lines, "dry run: nothing was sent"]

    def _bad_lines(self) -> list[str]:
        plan = self.plan
        if not plan.bad:
            return []
        outcome = {
            "fail": "the run would stop before it sends anything",
            "skip": "the run would leave them out",
            "record": "the run would write them as errors",
        }[self.settings.on_bad_row]
        lines = [f"bad rows: {plan.bad} ({outcome})", *(f"  {error}" for error in plan.bad_rows)]
        more = plan.bad - len(plan.bad_rows)
        return [*lines, f"  and {more} more"] if more > 0 else lines


def _endpoint(endpoint: EndpointConfig) -> dict[str, Any]:
    return {
        "name": endpoint.label,
        "model": endpoint.model,
        "concurrency": endpoint.concurrency_limit or DEFAULT_CONCURRENCY,
        "max_qps": endpoint.max_qps,
        "timeout": endpoint.timeout,
        "retry_times": endpoint.retry_times,
    }


def _endpoint_line(endpoint: dict[str, Any]) -> str:
    limits = [f"{endpoint['concurrency']} in flight"]
    for name, text in (("max_qps", "{:g} requests/s"), ("timeout", "timeout {:g} s"), ("retry_times", "{} retries")):
        if endpoint[name] is not None:
            limits.append(text.format(endpoint[name]))
    return f"endpoint: {endpoint['name']}, model {endpoint['model']}, {', '.join(limits)}"


def _tokens(tokens: Range) -> dict[str, int | None]:
    return {"low": round(tokens.low), "high": None if tokens.high is None else round(tokens.high)}


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 6)


def _range_text(tokens: dict[str, Any]) -> str:
    return _("{low} to {high}").format(low=format_count(tokens["low"]), high=format_count(tokens["high"]))


def _output_text(tokens: dict[str, Any]) -> str:
    if tokens["high"] is None:
        return "unknown, as rows have no max_tokens"
    return f"{format_count(tokens['high'])} at most"


def _cost_text(cost: dict[str, Any] | None) -> str:
    if cost is None:
        return "unknown, as a price is unknown (the configuration can give it)"
    if cost["high"] is None:
        return f"${cost['low']:.4f} at least for the input; that of the output is unknown without max_tokens"
    return _("{low} to {high}").format(low=f"${cost['low']:.4f}", high=f"${cost['high']:.4f}")


def _budget_text(cost: dict[str, Any] | None, budget: Decimal) -> str:
    if cost is None:
        return "; a run whose price is unknown is refused, unless --on-unknown-price ignore"
    if cost["low"] > budget:
        return "; it would be used up before the end"
    return "; it is enough" if cost["high"] is not None and cost["high"] <= budget else "; it may be used up"


def _failures_text(limit: FailureLimit) -> str | None:
    if limit.count is not None:
        return str(limit.count)
    return None if limit.share is None else f"{limit.share:.0%}"
