"""Who is measured: each contender's name, event loops, environment, share of the rows, and command line."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from workers.job import API_KEY, MODEL

OLD = "flexllm-0.17.10"
OLD_CAPPED = "flexllm-0.17.10-capped"
CLI = "flexllm-cli"
CLI_BUDGET = "flexllm-cli-budget"
LIBRARY = "flexllm-library"
LIBRARY_OUTPUT = "flexllm-library-output"
BARE = "bare-loop"
AIOHTTP = "aiohttp"
OPENAI = "openai"
LITELLM = "litellm"


@dataclass(frozen=True, slots=True)
class Task:
    """One run of a contender.

    Attributes:
        python: The interpreter of its environment.
        base_url: The endpoint, up to and including `/v1`.
        loop: `asyncio` or `uvloop`.
        rows: How many rows.
        concurrency: Requests in flight.
        input: JSONL of these rows, for the contenders that read one.
        output: A path that does not exist yet, for those that write one.
    """

    python: Path
    base_url: str
    loop: str
    rows: int
    concurrency: int
    input: Path
    output: Path


@dataclass(frozen=True, slots=True)
class Contender:
    """Something that answers prompts.

    Attributes:
        name: As in tables and `--only`.
        command: The command line of a task.
        loops: Event loops that it can run on.
        divisor: It gets the rows divided by this, so that slow contenders take seconds too.
        requirements: What its environment holds; none for the environment of this repository.
        package: The package whose version is reported.
        reads: It reads a JSONL file.
        writes: It writes a JSONL file, which is checked; otherwise it prints how many rows were answered.
    """

    name: str
    command: Callable[[Task], list[str]]
    loops: tuple[str, ...] = ("asyncio", "uvloop")
    divisor: int = 1
    requirements: tuple[str, ...] = ()
    package: str = "flexllm"
    reads: bool = False
    writes: bool = False

    def rows(self, total: int, concurrency: int) -> int:
        """Its share of the rows: at least one for each place in flight, and two, as the first is start-up."""
        return max(total // self.divisor, min(total, concurrency), 2)


def _worker(module: str, *, output: bool = False) -> Callable[[Task], list[str]]:
    def command(task: Task) -> list[str]:
        arguments = {
            "--base-url": task.base_url,
            "--rows": str(task.rows),
            "--concurrency": str(task.concurrency),
            "--loop": task.loop,
        }
        if output:
            arguments["--output"] = str(task.output)
        return [str(task.python), "-m", f"workers.{module}", *(word for pair in arguments.items() for word in pair)]

    return command


def _batch(task: Task) -> list[str]:
    files = ["batch", str(task.input), "-o", str(task.output), "--no-track-cost"]
    endpoint = ["-m", MODEL, "--base-url", task.base_url, "--api-key", API_KEY, "-c", str(task.concurrency)]
    return files + endpoint


def _our_cli(task: Task) -> list[str]:
    # The command takes uvloop by itself where it is installed.
    module = "flexllm_cli" if task.loop == "uvloop" else "workers.flexllm_cli_on_asyncio"
    return [str(task.python), "-m", module, *_batch(task)]


def _our_cli_with_budget(task: Task) -> list[str]:
    """With costs and a budget on; the price is a configuration's, as no option has one."""
    config = task.output.with_name("priced.yaml")
    endpoint = {"id": MODEL, "base_url": task.base_url, "api_key": API_KEY, "max_tokens": 200}
    models = [{**endpoint, "price": {"input": 0.15, "output": 0.6}}]
    config.write_text(json.dumps({"models": models}), encoding="utf-8")  # JSON is YAML
    files = ["batch", str(task.input), "-o", str(task.output), "--config", str(config)]
    module = "flexllm_cli" if task.loop == "uvloop" else "workers.flexllm_cli_on_asyncio"
    options = ["-m", MODEL, "-c", str(task.concurrency), "--budget", "1000000"]
    return [str(task.python), "-m", module, *files, *options]


def _old_cli_capped(task: Task) -> list[str]:
    return [str(task.python.with_name("flexllm")), *_batch(task)]


def _old_cli(task: Task) -> list[str]:
    # Without this it keeps to 1,000 requests per second, its default, whatever it could do.
    return [*_old_cli_capped(task), "--max-qps", "0"]


CONTENDERS = (
    Contender(CLI, _our_cli, reads=True, writes=True, package="flexllm-cli"),
    Contender(CLI_BUDGET, _our_cli_with_budget, reads=True, writes=True, package="flexllm-cli"),
    Contender(LIBRARY, _worker("flexllm_library")),
    Contender(LIBRARY_OUTPUT, _worker("flexllm_library", output=True), writes=True),
    Contender(BARE, _worker("bare_loop"), package="httptools"),
    Contender(AIOHTTP, _worker("aiohttp_alone"), package="aiohttp"),
    Contender(OPENAI, _worker("openai_sdk"), divisor=16, requirements=("openai", "uvloop"), package="openai"),
    Contender(LITELLM, _worker("litellm_sdk"), divisor=25, requirements=("litellm", "uvloop"), package="litellm"),
    Contender(OLD, _old_cli, ("asyncio",), 5, ("flexllm==0.17.10",), reads=True, writes=True),
    Contender(OLD_CAPPED, _old_cli_capped, ("asyncio",), 10, ("flexllm==0.17.10",), reads=True, writes=True),
)
