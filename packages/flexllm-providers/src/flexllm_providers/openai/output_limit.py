"""How many tokens an answer of OpenAI's chat completions may have at most, by what the request asks."""

from __future__ import annotations

from flexllm_core.requests import NO_MAPPING, ChatRequest
from flexllm_providers.counts import count
from flexllm_providers.target import Target

_LIMITS = ("max_tokens", "max_completion_tokens")


def output_limit(request: ChatRequest, target: Target) -> int | None:
    """Tokens of all choices together, thinking included; None where nothing limits them.

    Where the endpoint limits the answer and not the thinking before it, thinking has to have a budget of
    its own, or be off, for there to be a limit. A mode that nobody asks for is taken to be off.
    """
    params = request.params
    extra = params.get("extra_body") or NO_MAPPING
    limit = count(params, "max_tokens")
    if extra:
        limit = max(limit, *(count(extra, key) for key in _LIMITS))
    if not limit:
        return None
    if not target.dialect.thinking_is_limited:
        thinking = params.get("thinking")
        budget = max(count(params, "thinking"), count(extra, "thinking_budget"))
        if not budget and (thinking or extra.get("enable_thinking")):
            return None
        limit += budget
    return limit * max(1, count(params, "n"), count(extra, "n"))
