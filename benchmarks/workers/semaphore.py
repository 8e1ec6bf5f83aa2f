"""A call for each prompt under one semaphore: how SDKs without a batch of their own are used."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from workers.job import Job, user_message

Ask = Callable[[list[dict[str, Any]]], Awaitable[str | None]]


async def ask_all(job: Job, ask: Ask) -> int:
    """Answer all prompts, `concurrency` of them at a time; how many have an answer."""
    semaphore = asyncio.Semaphore(job.concurrency)

    async def ask_one(text: str) -> bool:
        async with semaphore:
            return bool(await ask(user_message(text)))

    return sum(await asyncio.gather(*map(ask_one, job.prompts())))
