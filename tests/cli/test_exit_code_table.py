"""Every exit code of `flexllm batch`, each brought about by a real process; the table of the documents is complete."""

from __future__ import annotations

import re
import signal
import socket
from pathlib import Path

import pytest

ROWS = [{"q": f"question {number}"} for number in range(20)]
KEY = "sk-right-right-right"


@pytest.fixture
def situation(cli, files, start_mock, tmp_path, wait_until):
    """Brings about a situation by its name; the process's end."""
    files.write_input(ROWS)

    def command(mock, *more, model="m"):
        return ("batch", files.input, "-o", files.output, "-m", model, "--base-url", mock.base_url, "-c", 4, *more)

    def run(*more, options=(), faults=(), model="m", **kwargs):
        mock = start_mock(*options)
        if faults:
            mock.post("/__mock__/faults", list(faults))
        return cli(*command(mock, *more, model=model), **kwargs)

    def closed_port():
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            return taken.getsockname()[1]

    def foreign_output():
        files.output.write_text('{"text": "mine"}\n')
        return run()

    def without_pyarrow():
        (tmp_path / "stub" / "pyarrow").mkdir(parents=True)
        (tmp_path / "stub" / "pyarrow" / "__init__.py").write_text("raise ImportError('not installed')")
        source = tmp_path / "in.parquet"
        source.write_bytes(b"PAR1")
        mock = start_mock()
        return cli("batch", source, "-o", files.output, "-m", "m", "--base-url", mock.base_url,
                   env={"PYTHONPATH": str(tmp_path / "stub")})  # fmt: skip

    def beyond_the_budget():
        mock = start_mock()
        config = tmp_path / "config.yaml"
        config.write_text(
            f"models:\n  - id: m\n    base_url: {mock.base_url}\n    price: {{input: 1000, output: 1000}}\n"
        )
        return cli("batch", files.input, "-o", files.output, "-m", "m", "--config", config, "--max-tokens", 10,
                   "--budget", "0.05")  # fmt: skip

    def signalled(number):
        mock = start_mock("--delay", "0.3")
        process = cli.start(*command(mock))
        wait_until(lambda: mock.requests() >= 4, "requests")
        process.send_signal(number)
        process.communicate(timeout=30)
        return process

    return {
        "all rows are answered": run,
        "a row fails": lambda: run(faults=[{"status": 400, "match": {"contains": "question 7"}}]),
        "an unknown option": lambda: run("--no-such-option"),
        "a bad row": lambda: (files.input.write_text("[]\n"), run())[1],
        "no such input": lambda: (files.input.unlink(), run())[1],
        "no such model at the endpoint": lambda: run(options=("--strict-models",), model="nonesuch"),
        "a refused key": lambda: run(options=("--api-key", KEY), env={"FLEXLLM_API_KEY": "sk-wrong-wrong-wrong"}),
        "no credit": lambda: run(faults=[{"status": 402}]),
        "another tool's output": foreign_output,
        "nobody listens": lambda: cli("batch", files.input, "-o", files.output, "-m", "m", "--retry-times", 0,
                                      "--base-url", f"http://127.0.0.1:{closed_port()}/v1"),
        "a missing extra": without_pyarrow,
        "no such output folder": lambda: (setattr(files, "output", tmp_path / "no" / "o"), run())[1],
        "the budget is reached": beyond_the_budget,
        "a dry run": lambda: run("--dry-run"),
        "a canary that nobody confirms": lambda: run("--canary", "5"),
        "SIGHUP": lambda: signalled(signal.SIGHUP),
        "SIGINT": lambda: signalled(signal.SIGINT),
        "SIGTERM": lambda: signalled(signal.SIGTERM),
    }  # fmt: skip


TABLE = [
    (0, "all rows are answered"),
    (1, "a row fails"),
    (2, "an unknown option"),
    (2, "a bad row"),
    (3, "no such input"),
    (3, "no such model at the endpoint"),
    (4, "a refused key"),
    (4, "no credit"),
    (5, "another tool's output"),
    (6, "nobody listens"),
    (7, "a missing extra"),
    (8, "no such output folder"),
    (9, "the budget is reached"),
    (10, "a dry run"),
    (10, "a canary that nobody confirms"),
    (129, "SIGHUP"),
    (130, "SIGINT"),
    (143, "SIGTERM"),
]


@pytest.mark.parametrize(("code", "name"), TABLE)
def test_each_outcome_has_its_exit_code(situation, code, name):
    """What happened can be told by a script."""
    done = situation[name]()
    assert done.returncode == code, done.stderr if isinstance(done.stderr, str) else name


def test_the_table_is_that_of_the_documents():
    """Every code that docs/batch.md lists is brought about here."""
    text = (Path(__file__).parents[2] / "docs" / "batch.md").read_text()
    section = text.split("## Exit codes")[1].split("## ")[0]
    rows = re.findall(r"^\| ([\d, ]+) \|", section, re.MULTILINE)
    assert {int(code) for row in rows for code in row.split(",")} == {code for code, _ in TABLE}
