"""Never run, only type-checked: the types that users see."""

from __future__ import annotations

from typing import assert_type

from flexllm import BatchItem, ChatCompletionResult, CostReport, LLMClient, MediaPolicy, OpenAIClient


async def single(client: LLMClient, slim: OpenAIClient) -> None:
    """One call gives a text, or the whole result when asked."""
    assert_type(await client.chat("Hello"), ChatCompletionResult)
    assert_type(await client.chat_completions("Hello", temperature=0.1), str)
    assert_type(await client.chat_completions("Hello", return_usage=True), ChatCompletionResult)
    assert_type(await client.chat_completions("Hello", thinking=True, return_raw=True), ChatCompletionResult)
    assert_type(slim.chat_completions_sync("Hello"), str)
    await client.chat("Hello", temprature=0.1)  # type: ignore[call-arg]
    await client.chat("Hello", preprocess=MediaPolicy(max_image_side=512), media_root="pictures")
    await client.chat("Hello", preprocess="pictures")  # type: ignore[arg-type]


async def batch(client: LLMClient) -> None:
    """A batch gives texts, and the costs when asked."""
    assert_type(await client.chat_completions_batch(["Hello"], output_jsonl="out.jsonl"), list[str | None])
    results, report = await client.chat_completions_batch(["Hello"], return_cost_report=True)
    assert_type(results, list[str | None])
    assert_type(report, CostReport)
    both = await client.chat_completions_batch(["Hello"], return_cost_report=bool(report))
    assert_type(both, list[str | None] | tuple[list[str | None], CostReport])
    assert_type(client.chat_completions_batch_sync(["Hello"]), list[str | None])
    results, report = client.chat_completions_batch_sync(["Hello"], return_cost_report=True)
    for item in client.chat_batch_iter_sync(str(number) for number in range(3)):
        assert_type(item, BatchItem)
    assert_type(await client.count_tokens("Hello"), int)
