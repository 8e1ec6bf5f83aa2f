"""ChatModel: the one protocol between the user and the wire, and the base of its wrappers."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from typing import Protocol, runtime_checkable

from flexllm_core.requests import ChatRequest
from flexllm_core.results import ChatCompletionResult, StreamEvent

Recall = Callable[[Sequence[str]], Awaitable[Sequence[ChatCompletionResult | None]]]
"""Gives, for the fingerprint of each of many requests, the answer that is known without asking, or None."""


@runtime_checkable
class ChatModel(Protocol):
    """Something that answers chat requests: an endpoint, or a wrapper around another ChatModel."""

    async def complete(self, request: ChatRequest) -> ChatCompletionResult:
        """Answer a request.

        Raises:
            LLMRequestError: There is no answer.
        """
        ...

    def stream(self, request: ChatRequest) -> AsyncGenerator[StreamEvent, None]:
        """Answer a request as events; the last one is `done` and carries the whole answer.

        Closing the generator early cancels the request at the server.
        """
        ...

    async def aclose(self) -> None:
        """Free connections and files."""
        ...


class ModelWrapper:
    """Base of the wrappers: passes everything on to `inner`."""

    def __init__(self, inner: ChatModel) -> None:
        self.inner = inner

    async def complete(self, request: ChatRequest) -> ChatCompletionResult:
        """Pass the request on."""
        return await self.inner.complete(request)

    def stream(self, request: ChatRequest) -> AsyncGenerator[StreamEvent, None]:
        """Pass the request on."""
        return self.inner.stream(request)

    def recall(self) -> Recall | None:
        """How to get answers that are known already, for many requests in one step; None where there is no way.

        It is not passed on to `inner` by itself: a wrapper that changes requests or answers would be left out.
        """
        return None

    async def aclose(self) -> None:
        """Close what is wrapped."""
        await self.inner.aclose()
