"""The canary: the first rows alone, a report of them, and a decision."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from flexllm_batch.batch import Batch
from flexllm_batch.batch_settings import BatchSettings
from flexllm_batch.inputs.json_source import JsonLines
from flexllm_batch.inputs.sources import MessageStream
from flexllm_batch.planning.canary import Canary, CanaryReport
from flexllm_batch.stop_rules import FailureLimit
from flexllm_core.errors import AuthenticationError, BadRequestError, ConfigError
from flexllm_core.results import ChatCompletionResult


@pytest.fixture
def run(tmp_path: Path, write_rows: Any) -> Callable[..., Any]:
    """Run 20 rows with a canary; gives the batch and the reports that were decided about."""

    async def run(model: Any, rows: int, go_on: bool, **settings: Any) -> tuple[Batch, list[CanaryReport]]:
        reports: list[CanaryReport] = []

        async def decide(report: CanaryReport) -> bool:
            reports.append(report)
            return go_on

        source = write_rows(tmp_path / "in.jsonl", [{"q": f"row {number}"} for number in range(20)])
        setting = BatchSettings(model="m", output=tmp_path / "out.jsonl", window=4, track_cost=True, **settings)
        batch = Batch(model, JsonLines(source), setting)
        await batch.prepare()
        await batch.run(Canary(rows, decide))
        return batch, reports

    return run


def report(**facts: Any) -> CanaryReport:
    return CanaryReport(**{"asked": 10, "failed": 0, "cost": Decimal(1), "seconds": 1.0, "left": 90, **facts})


async def test_a_canary_that_is_well_is_followed_by_the_rest(
    run: Any, make_model: Any, tmp_path: Path, read_lines: Any
) -> None:
    """Each row is asked once, and the output is complete."""
    model = make_model(lambda request: ChatCompletionResult("x", model="m", cost=Decimal("0.5")))
    batch, (found,) = await run(model, 5, True)
    assert (found.asked, found.failed, found.left, found.cost) == (5, 0, 15, Decimal("2.5"))
    assert found.projected_cost == Decimal(10)
    assert len(model.asked) == 20
    assert [line["index"] for line in read_lines(tmp_path / "out.jsonl")] == list(range(20))
    assert batch.stats.left == 0


async def test_a_canary_that_is_refused_keeps_its_answers(
    run: Any, make_model: Any, tmp_path: Path, read_lines: Any
) -> None:
    """Nothing more is asked, and the next run asks the others."""
    first, second = make_model(), make_model()
    batch, _ = await run(first, 5, False)
    assert len(first.asked) == 5
    assert (batch.stats.left, len(read_lines(tmp_path / "out.jsonl"))) == (15, 5)
    await run(second, 100, False)
    assert len(second.asked) == 15


async def test_nobody_is_asked_about_nothing(run: Any, make_model: Any) -> None:
    """A canary of all rows, or of a finished output, is the whole run."""
    batch, reports = await run(make_model(), 20, False)
    assert (reports, batch.stats.ok) == ([], 20)
    assert (await run(make_model(), 5, False))[1] == []


async def test_a_canary_that_is_stopped_decides_nothing(run: Any, make_model: Any) -> None:
    """A refused key ends the run before anybody is asked."""
    batch, reports = await run(make_model(lambda _: AuthenticationError("no", status_code=401)), 5, True)
    assert reports == []
    assert batch.rules.kind == "auth"


async def test_failed_rows_of_a_canary_are_counted(run: Any, make_model: Any) -> None:
    """They are in the report, and their cost is not unknown for that."""

    def answer(request: Any) -> Any:
        odd = request.messages[-1]["content"] in ("row 0", "row 1")
        return BadRequestError("no", status_code=400) if odd else ChatCompletionResult("x", cost=Decimal(1))

    _, (found,) = await run(make_model(answer), 4, False)
    assert (found.failed, found.failure_rate, found.cost, found.projected_cost) == (2, 0.5, Decimal(2), Decimal(10))


async def test_a_stream_has_no_canary(make_model: Any) -> None:
    """Its rows are not known before they come, so nothing could be projected."""

    async def decide(_: CanaryReport) -> bool:
        return True

    batch = Batch(make_model(), MessageStream(iter(["a"])), BatchSettings(model="m"))
    await batch.prepare()
    with pytest.raises(ConfigError, match="not a stream"):
        await batch.run(Canary(1, decide))


@pytest.mark.parametrize(
    ("facts", "limit", "budget", "kind"),
    [
        ({}, FailureLimit(), None, None),
        ({"failed": 1}, FailureLimit(), None, None),
        ({"failed": 2}, FailureLimit(), None, "failures"),
        ({"failed": 2}, FailureLimit(share=0.2), None, None),
        ({"failed": 3}, FailureLimit(share=0.2), None, "failures"),
        ({"failed": 1}, FailureLimit(count=10), None, None),
        ({"failed": 1}, FailureLimit(count=9), None, "failures"),
        ({}, FailureLimit(), Decimal(10), None),
        ({}, FailureLimit(), Decimal("9.99"), "budget"),
        ({"cost": None}, FailureLimit(), Decimal(10), "budget"),
        ({"cost": None}, FailureLimit(), None, None),
        ({"asked": 0, "cost": Decimal(0)}, FailureLimit(), None, None),
    ],
)
def test_what_speaks_against_going_on(
    facts: dict[str, Any], limit: FailureLimit, budget: Any, kind: str | None
) -> None:
    """More failures than the limit, a tenth where there is none; a projected cost beyond the budget, or unknown."""
    problem = report(**facts).problem(limit, budget)
    assert (problem[0] if problem else None) == kind
