"""TokenCounter: counts tokens as a ChatModel, so that retries, limits and media do for it what they do for chats."""

from __future__ import annotations

from collections.abc import AsyncGenerator

from flexllm_core.requests import ChatRequest
from flexllm_core.results import ChatCompletionResult, StreamEvent, Usage
from flexllm_providers.client import ProviderClient


class TokenCounter:
    """Counts the tokens of requests and answers none of them: the number is in the result's usage.

    Closing it closes nothing: its connections are those of the client, whose owner closes it.
    """

    def __init__(self, client: ProviderClient) -> None:
        self._client = client

    async def complete(self, request: ChatRequest) -> ChatCompletionResult:
        """A result without content, whose usage has the tokens of the prompt; raises as `count_tokens`."""
        tokens = await self._client.count_tokens(request)
        return ChatCompletionResult(None, usage=Usage(tokens, 0, tokens), endpoint=self._client.target.label)

    async def stream(self, request: ChatRequest) -> AsyncGenerator[StreamEvent, None]:
        """The same as the one event of a stream."""
        yield StreamEvent("done", result=await self.complete(request))

    async def aclose(self) -> None:
        """Do nothing."""
