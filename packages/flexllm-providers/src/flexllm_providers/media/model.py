"""MediaEmbedding: puts the media that messages name into them before they are sent."""

from __future__ import annotations

import contextlib
import os
from collections.abc import AsyncGenerator
from dataclasses import replace

from flexllm_core.errors import ConfigError
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


def embedding_media(
    model: ChatModel, preprocess: object = True, media_root: str | os.PathLike[str] | None = None
) -> ChatModel:
    """`model` with the embedding of media around it, as the options of a call ask for it.

    Args:
        model: What answers.
        preprocess: True for the default policy, or a `MediaPolicy`; False or None for `model` itself.
        media_root: Folder below which local files may be read; None reads none, or those of the policy's root.

    Raises:
        ConfigError: `preprocess` is something else, both name a root, or the root is no folder.
        MissingExtraError: The policy makes images smaller, and Pillow is not installed.
    """
    if preprocess is None or preprocess is False:
        return model
    if preprocess is True:
        return MediaEmbedding(model, MediaPolicy(media_root=media_root))
    if not isinstance(preprocess, MediaPolicy):
        found = type(preprocess).__name__
        raise ConfigError(f"preprocess: expected True, False or a MediaPolicy, found {found}")
    if media_root is not None:
        if preprocess.media_root is not None:
            raise ConfigError("media_root: the MediaPolicy names a root too; give one of them")
        preprocess = replace(preprocess, media_root=media_root)
    return MediaEmbedding(model, preprocess)
