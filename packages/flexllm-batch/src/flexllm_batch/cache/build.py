"""Puts the cache around a client's chat model, where one is wanted."""

from __future__ import annotations

from collections.abc import Iterable

from flexllm_batch.cache.config import ResponseCacheConfig, cache_config
from flexllm_core.protocol import ChatModel
from flexllm_providers.client import ProviderClient


def with_cache(
    chat_model: ChatModel, cache: ResponseCacheConfig | bool | None, clients: Iterable[ProviderClient]
) -> ChatModel:
    """The chat model with a cache around it, or the chat model itself.

    Args:
        chat_model: Asks what was not answered before.
        cache: The argument of a client.
        clients: The endpoints behind the chat model; answers of any of them count for all.

    Raises:
        ConfigError: `cache` is no configuration of a cache.
    """
    config = cache_config(cache)
    if not config.enabled:
        return chat_model
    from flexllm_batch.cache.cached import Cached  # the database takes time to load
    from flexllm_batch.cache.key import endpoint_identity
    from flexllm_batch.cache.store import ResponseStore

    identities = {client.target.label: endpoint_identity(client) for client in clients}
    return Cached(chat_model, ResponseStore(config), identities)
