"""Wire formats, transport and retries for LLM endpoints; useful alone for single and streaming calls."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flexllm_core.lazy import lazy_exports

if TYPE_CHECKING:
    from flexllm_providers.client import (
        ProviderClient,
    )
    from flexllm_providers.dialects import (
        Dialect,
    )
    from flexllm_providers.http import (
        HttpRequest,
        HttpResponse,
        Timeouts,
        Transport,
    )
    from flexllm_providers.retry import (
        Retrying,
        RetryPolicy,
    )
    from flexllm_providers.vendor_clients import (
        ClaudeClient,
        GeminiClient,
        OpenAIClient,
    )

__all__ = [
    "ClaudeClient",
    "Dialect",
    "GeminiClient",
    "HttpRequest",
    "HttpResponse",
    "OpenAIClient",
    "ProviderClient",
    "RetryPolicy",
    "Retrying",
    "Timeouts",
    "Transport",
]

_HOMES = {
    "flexllm_providers.client": ("ProviderClient",),
    "flexllm_providers.dialects": ("Dialect",),
    "flexllm_providers.http": (
        "HttpRequest",
        "HttpResponse",
        "Timeouts",
        "Transport",
    ),
    "flexllm_providers.retry": (
        "RetryPolicy",
        "Retrying",
    ),
    "flexllm_providers.vendor_clients": (
        "ClaudeClient",
        "GeminiClient",
        "OpenAIClient",
    ),
}

__getattr__, __dir__ = lazy_exports(__name__, _HOMES)
