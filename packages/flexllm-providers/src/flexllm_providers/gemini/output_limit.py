"""How many tokens an answer of Gemini may have at most, by what the request asks."""

from __future__ import annotations

from collections.abc import Mapping

from flexllm_core.requests import NO_MAPPING, ChatRequest
from flexllm_providers.counts import count
from flexllm_providers.target import Target


def output_limit(request: ChatRequest, target: Target) -> int | None:
    """Tokens of all candidates together, thoughts included; None where nothing limits them."""
    params = request.params
    extra = (params.get("extra_body") or NO_MAPPING).get("generationConfig")
    generation: Mapping[str, object] = extra if isinstance(extra, Mapping) else NO_MAPPING
    limit = count(generation, "maxOutputTokens") or count(params, "max_tokens")
    if not limit:
        return None
    return limit * max(1, count(params, "n"), count(generation, "candidateCount"))
