"""`LLMClient.chat_batch_iter` over a generator; with `--output`, to a JSONL file too."""

from __future__ import annotations

from flexllm import LLMClient
from workers.job import API_KEY, MODEL, Job, run, user_message


async def main(job: Job) -> int:
    """Answer all prompts; how many have an answer."""
    answered = 0
    async with LLMClient(MODEL, job.base_url, API_KEY, concurrency_limit=job.concurrency) as client:
        rows = map(user_message, job.prompts())
        async for item in client.chat_batch_iter(rows, output_jsonl=job.output):
            answered += bool(item.content)
    return answered


if __name__ == "__main__":
    run(main)
