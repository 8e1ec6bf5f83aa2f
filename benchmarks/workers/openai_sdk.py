"""`openai.AsyncOpenAI` under a semaphore, with its own HTTP client and limits."""

from __future__ import annotations

from typing import Any

from openai import AsyncOpenAI

from workers.job import API_KEY, MODEL, Job, run
from workers.semaphore import ask_all


async def main(job: Job) -> int:
    """Answer all prompts; how many have an answer."""
    async with AsyncOpenAI(base_url=job.base_url, api_key=API_KEY, max_retries=0) as client:

        async def ask(messages: list[dict[str, Any]]) -> str | None:
            completion = await client.chat.completions.create(model=MODEL, messages=messages)
            content: str | None = completion.choices[0].message.content
            return content

        return await ask_all(job, ask)


if __name__ == "__main__":
    run(main)
