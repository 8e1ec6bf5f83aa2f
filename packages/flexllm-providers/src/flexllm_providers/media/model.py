"""MediaEmbedding: puts the media that messages name into them before they are sent."""

from __future__ import annotations

import contextlib
import os
from collections.abc import AsyncGenerator
from dataclasses import replace

from flexllm_core.protocol import ChatModel, ModelWrapper
from flexllm_core.requests import ChatRequest
from flexllm_core.results import ChatCompletionResult, StreamEvent
from flexllm_providers.media.embed import MediaEmbedder
from flexllm_providers.media.policy import MediaPolicy


class MediaEmbedding(ModelWrapper):
    """Embeds the media of each request in what it wraps.

    It stands outside of everything else, so that a retry reads no file twice, and a request's
    fingerprint is that of the messages as they were written.

    Raises:
        ConfigError: The policy's `media_root` is no folder.
    """

    def __init__(self, inner: ChatModel, policy: MediaPolicy) -> None:
        super().__init__(inner)
        self._embedder = MediaEmbedder(policy)

    async def complete(self, request: ChatRequest) -> ChatCompletionResult:
        """Answer a request with its media in it.

        Raises:
            InputError: Media is refused; the message names the part.
        """
        messages = await self._embedder.embed(request.messages)
        return await self.inner.complete(replace(request, messages=messages))

    async def stream(self, request: ChatRequest) -> AsyncGenerator[StreamEvent, None]:
        """Stream an answer to a request with its media in it; raises as `complete`."""
        messages = await self._embedder.embed(request.messages)
        async with contextlib.aclosing(self.inner.stream(replace(request, messages=messages))) as events:
            async for event in events:
                yield event


def embedding_media(model: ChatModel, media_root: str | os.PathLike[str] | None) -> MediaEmbedding:
    """`model` with the embedding of media around it, by the default policy.

    Args:
        model: What answers.
        media_root: Folder below which local files may be read; None reads none.

    Raises:
        ConfigError: `media_root` is no folder.
    """
    return MediaEmbedding(model, MediaPolicy(media_root=media_root))
