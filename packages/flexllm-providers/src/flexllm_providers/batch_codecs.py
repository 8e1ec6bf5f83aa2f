"""Items of the batches that providers run themselves, by provider: one request each, and one outcome each.

Pure functions: how files are sent, batches polled and outcomes joined to their requests is the caller's. Outcomes
come in any order, so each is found again by its custom id.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from flexllm_core.errors import ConfigError
from flexllm_core.json_codec import decode_json, encode_json
from flexllm_core.requests import NO_MAPPING, ChatRequest
from flexllm_core.results import ChatCompletionResult
from flexllm_providers.batch_status import BatchStatus
from flexllm_providers.target import Target
from flexllm_providers.wire_errors import unusable


@dataclass(frozen=True, slots=True)
class BatchCodec:
    """How one provider writes the items of a batch.

    Attributes:
        encode_item: The item that asks a request, by a custom id that is unique in its batch. Raises `ConfigError`
            and `InputError` as the wire's `encode`, and `InputError` for an id that the provider does not take.
        custom_id_of: The custom id of an outcome; None where it has none.
        decode_item: The answer in an outcome (the float is wall-clock seconds since 1970). Raises `LLMRequestError`
            for a request that failed, expired or was canceled.
        decode_status: How far a batch is, from the provider's JSON.
    """

    encode_item: Callable[[ChatRequest, str, Target], dict[str, Any]]
    custom_id_of: Callable[[Mapping[str, Any]], str | None]
    decode_item: Callable[[Mapping[str, Any], ChatRequest, Target, float], ChatCompletionResult]
    decode_status: Callable[[Mapping[str, Any]], BatchStatus]


def _openai() -> BatchCodec:
    from flexllm_providers.openai import batch_items as items
    from flexllm_providers.openai import batch_jobs as jobs

    return BatchCodec(items.encode_item, items.custom_id_of, items.decode_item, jobs.decode_status)


def _claude() -> BatchCodec:
    from flexllm_providers.claude import batch_items as items
    from flexllm_providers.claude import batch_jobs as jobs

    return BatchCodec(items.encode_item, items.custom_id_of, items.decode_item, jobs.decode_status)


def _gemini() -> BatchCodec:
    from flexllm_providers.gemini import batch_items as items
    from flexllm_providers.gemini import batch_jobs as jobs

    return BatchCodec(items.encode_item, items.custom_id_of, items.decode_item, jobs.decode_status)


_LOADERS = {"openai": _openai, "claude": _claude, "gemini": _gemini}


@cache
def find_batch_codec(provider: str) -> BatchCodec:
    """The codec of a provider.

    Raises:
        ConfigError: Its batches have no codec here.
    """
    if provider not in _LOADERS:
        raise ConfigError(f"provider {provider!r} has no batches here; available: {', '.join(_LOADERS)}")
    return _LOADERS[provider]()


def encode_line(item: Mapping[str, Any]) -> bytes:
    """An item as a line of a JSONL file.

    Raises:
        InputError: It holds something that JSON cannot.
    """
    return encode_json(item) + b"\n"


def decode_line(line: bytes, target: Target) -> dict[str, Any]:
    """The outcome in a line of a file of outcomes.

    Raises:
        LLMResponseError: The line is no JSON object, as after a download that broke off.
    """
    try:
        item = decode_json(line)
    except ValueError:
        item = None
    if not isinstance(item, dict):
        raise unusable(target, NO_REQUEST, "a line of the batch's outcomes is no JSON object", line, kind="transient")
    return item


NO_REQUEST = ChatRequest([], None, NO_MAPPING)
"""Stands for the request of a line that cannot be read, and so is nobody's."""
