"""What a worker is asked to do: its arguments, its prompts, its event loop, and the count it answers with.

A worker is one contender in a process of its own. It prints how many rows it has answered; the process that
started it measures time, CPU and memory from outside.
"""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

MODEL = "bench-model"
API_KEY = "bench-key"

_SUBJECTS = ("the tides", "a glacier", "sourdough bread", "the number pi", "a lighthouse", "the printing press", "moss")


@dataclass(frozen=True, slots=True)
class Job:
    """One run of a worker.

    Attributes:
        base_url: The endpoint, up to and including the version.
        rows: How many prompts to have answered.
        concurrency: Requests in flight.
        loop: The event loop: `asyncio` or `uvloop`.
        output: Where to write answers as JSONL, for the workers that can.
    """

    base_url: str
    rows: int
    concurrency: int
    loop: str
    output: Path | None

    def prompts(self) -> Iterator[str]:
        """The prompts of this run, made as they are asked for."""
        return map(prompt, range(self.rows))


def prompt(index: int) -> str:
    """A prompt of about 200 characters that is like no other."""
    subject = _SUBJECTS[index % len(_SUBJECTS)]
    return (
        f"Question {index:08d}: write three short sentences about {subject} for a reader who has never heard of it. "
        "Say what it is, why it matters to anybody, and one surprising detail that is easy to remember."
    )


def user_message(text: str) -> list[dict[str, Any]]:
    """The messages of a chat of one prompt."""
    return [{"role": "user", "content": text}]


def run(main: Callable[[Job], Coroutine[Any, Any, int]]) -> None:
    """Run a worker on the event loop that its arguments name, and print how many rows it has answered."""
    job = _parse()
    with asyncio.Runner(loop_factory=_loop_factory(job.loop)) as runner:
        print(runner.run(main(job)))


def _loop_factory(name: str) -> Callable[[], asyncio.AbstractEventLoop]:
    if name == "asyncio":
        return asyncio.new_event_loop
    import uvloop  # only where it is asked for

    factory: Callable[[], asyncio.AbstractEventLoop] = uvloop.new_event_loop
    return factory


def _parse() -> Job:
    parser = argparse.ArgumentParser()
    parser.add_argument("--base-url", required=True)
    parser.add_argument("--rows", type=int, required=True)
    parser.add_argument("--concurrency", type=int, required=True)
    parser.add_argument("--loop", choices=("asyncio", "uvloop"), required=True)
    parser.add_argument("--output", type=Path)
    return Job(**vars(parser.parse_args()))
