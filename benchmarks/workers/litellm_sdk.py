"""`litellm.acompletion` under a semaphore."""

from __future__ import annotations

import os
from typing import Any

os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"  # or importing it fetches a price table from the network

import litellm

from workers.job import API_KEY, MODEL, Job, run
from workers.semaphore import ask_all


async def main(job: Job) -> int:
    """Answer all prompts; how many have an answer."""

    async def ask(messages: list[dict[str, Any]]) -> str | None:
        completion = await litellm.acompletion(
            model=f"openai/{MODEL}", messages=messages, api_base=job.base_url, api_key=API_KEY, max_retries=0
        )
        content: str | None = completion.choices[0].message.content
        return content

    return await ask_all(job, ask)


if __name__ == "__main__":
    run(main)
