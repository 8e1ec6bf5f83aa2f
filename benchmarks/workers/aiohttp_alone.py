"""aiohttp with a connector as wide as the concurrency, and tasks that share one iterator of prompts."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import aiohttp
from pydantic_core import from_json, to_json

from workers.job import API_KEY, MODEL, Job, run, user_message

HEADERS = {"authorization": f"Bearer {API_KEY}", "content-type": "application/json"}


async def main(job: Job) -> int:
    """Answer all prompts; how many have an answer."""
    url, prompts = f"{job.base_url}/chat/completions", job.prompts()
    connector = aiohttp.TCPConnector(limit=job.concurrency, limit_per_host=0, keepalive_timeout=60)
    timeout = aiohttp.ClientTimeout(total=600)
    async with aiohttp.ClientSession(connector=connector, headers=HEADERS, timeout=timeout) as session:
        counts = await asyncio.gather(*(_ask_in_turn(session, url, prompts) for _ in range(job.concurrency)))
    return sum(counts)


async def _ask_in_turn(session: aiohttp.ClientSession, url: str, prompts: Iterator[str]) -> int:
    answered = 0
    for text in prompts:
        body = to_json({"model": MODEL, "messages": user_message(text)})
        async with session.post(url, data=body) as response:
            response.raise_for_status()
            answer = from_json(await response.read())
        answered += bool(answer["choices"][0]["message"]["content"])
    return answered


if __name__ == "__main__":
    run(main)
