"""How many tokens an answer of Claude may have at most: its API has no request without a limit."""

from __future__ import annotations

from flexllm_core.requests import NO_MAPPING, ChatRequest
from flexllm_providers.claude.target import claude_target
from flexllm_providers.claude.thinking import plan_thinking
from flexllm_providers.counts import count
from flexllm_providers.target import Target


def output_limit(request: ChatRequest, target: Target) -> int:
    """Tokens of the answer, thinking included.

    Raises:
        ConfigError: The model cannot do the thinking mode.
    """
    params = request.params
    extra = params.get("extra_body") or NO_MAPPING
    if own := count(extra, "max_tokens"):
        return own
    claude = claude_target(target)
    model = claude.model_of(request)
    max_tokens = count(params, "max_tokens") or None
    return plan_thinking(params.get("thinking"), max_tokens, claude.row_of(model), target.label).max_tokens
