"""`flexllm batch --budget`: the run ends with 9, what it says is true, and the server has billed no more."""

from __future__ import annotations

import asyncio
import contextlib
import json
from decimal import Decimal
from pathlib import Path

import pytest

from flexllm_batch.client import LLMClient
from flexllm_batch.cost.tracking import CostTrackerConfig
from flexllm_core.errors import BudgetExceededError

CONFIG = """\
models:
  - id: priced
    base_url: {url}
    price: {{input: 10, output: 100, cached: 1}}
  - id: unpriced
    base_url: {url}
batch: {{budget: {budget}}}
"""


@pytest.fixture
def config(tmp_path, mock):
    """A configuration of two models at the mock server, one with a price, and a budget."""

    def write(budget: float) -> str:
        path = tmp_path / "config.yaml"
        path.write_text(CONFIG.format(url=mock.base_url, budget=budget))
        return str(path)

    return write


def billed(files) -> Decimal:
    """What the answers in the output cost by the usage that the server told."""
    total = Decimal(0)
    for line in files.lines():
        usage = line["usage"]
        total += usage["prompt_tokens"] * 10 + usage["completion_tokens"] * 100
    return total / 1_000_000


def test_a_budget_ends_the_run_with_9_and_keeps_what_is_finished(cli, files, mock, config):
    """At most the limit is billed, at least 90 % of it used; the message has the amounts and the rows left."""
    files.write_input([{"q": f"question {number}"} for number in range(400)])
    command = ("batch", files.input, "-o", files.output, "-m", "priced", "--max-tokens", "20", "-c", "20")
    done = cli(*command, "--budget", "0.2", "--config", config(99), "--format", "json")
    assert done.returncode == 9, done.stderr
    lines = files.lines()
    assert len(lines) == mock.requests()
    assert Decimal("0.18") <= billed(files) <= Decimal("0.2")
    summary = json.loads(done.stdout)
    assert summary["left"] == 400 - len(lines)
    assert summary["budget"]["spent"] == pytest.approx(float(billed(files)))
    assert (summary["budget"]["limit"], summary["budget"]["reserved"], summary["failed"]) == (0.2, 0, 0)
    assert "the run was stopped: the budget is used up" in done.stderr
    assert f"budget: ${billed(files):.4f} spent and $0.0000 reserved of $0.2000" in done.stderr
    assert f"{400 - len(lines)} rows are left" in done.stderr
    assert "budget: 8" in done.stderr  # the warning at 80 %
    again = cli(*command, "--config", config(99))  # the file's budget is enough for the rest
    assert again.returncode == 0, again.stderr
    assert mock.requests() == 400


def test_a_budget_of_the_configuration_needs_a_price(cli, files, mock, config):
    """Refused before anything is sent, with what to do; it may be ignored, which the summary tells."""
    files.write_input([{"q": "one"}, {"q": "two"}])
    command = ("batch", files.input, "-o", files.output, "-m", "unpriced", "--config", config(1))
    refused = cli(*command)
    assert refused.returncode == 2
    assert "the price of model 'unpriced' is unknown" in refused.stderr
    assert mock.requests() == 0
    ignored = cli(*command, "--on-unknown-price", "ignore")
    assert ignored.returncode == 0, ignored.stderr
    assert "cost unknown" in ignored.stderr


def test_a_row_that_names_a_model_without_a_price_is_found_before_anything_is_sent(cli, files, mock, config):
    """Every row is looked at first."""
    path = Path(config(1))
    files.write_input([{"q": "one"}, {"q": "two", "params": {"model": "other"}}])
    text = path.read_text().replace(mock.base_url, "https://api.openai.com/v1")
    path.write_text(text.replace("id: unpriced", "id: gpt-4o"))
    done = cli("batch", files.input, "-o", files.output, "-m", "gpt-4o", "--config", path)
    assert done.returncode == 2
    assert "the price of model 'other' is unknown" in done.stderr


@pytest.mark.parametrize("budget", ["0", "-1", "nan"])
def test_a_budget_must_be_dollars(cli, files, config, budget):
    """Above nothing."""
    files.write_input([{"q": "one"}])
    done = cli("batch", files.input, "-o", files.output, "-m", "priced", "--budget", budget, "--config", config(1))
    assert done.returncode == 2


async def test_streams_of_a_real_server_are_paid_from_the_budget_too(mock):
    """Some are left early: those count as reserved, so what the server generated is never above what is counted."""
    generated = []

    async def ask(client: LLMClient, number: int) -> None:
        try:
            async with contextlib.aclosing(client.chat_stream(f"question {number}", max_tokens=20)) as events:
                async for event in events:
                    if number % 10 == 0:
                        return
                    if event.result is not None:
                        generated.append(event.result.cost)
        except BudgetExceededError:
            refused.append(number)

    refused: list[int] = []
    tracker = CostTrackerConfig.with_budget("0.2")
    price = {"input": 10, "output": 100}
    async with LLMClient("m", mock.base_url, "k", price=price, cost_tracker=tracker, concurrency_limit=20) as client:
        await asyncio.gather(*(ask(client, number) for number in range(400)))
        ledger = client.budget.ledger
    assert refused
    assert ledger.estimated_count >= 1
    assert sum(generated) + ledger.estimated == ledger.spent
    assert Decimal("0.18") <= ledger.spent <= Decimal("0.2")
    assert mock.requests() == 400 - len(refused) == len(generated) + ledger.estimated_count
