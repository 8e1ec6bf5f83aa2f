"""Wire formats, transport and retries for LLM endpoints; useful alone for single and streaming calls."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flexllm_core.lazy import lazy_exports

if TYPE_CHECKING:
    from flexllm_providers.client import (
        ProviderClient,
    )
    from flexllm_providers.credits.fetch import (
        fetch_credits,
    )
    from flexllm_providers.credits.report import (
        CreditLine,
        CreditReport,
        CreditsUnavailableError,
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
    from flexllm_providers.media.embed import (
        MediaEmbedder,
        embed_media,
    )
    from flexllm_providers.media.policy import (
        MediaPolicy,
    )
    from flexllm_providers.models import (
        ModelInfo,
        list_models,
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
    "CreditLine",
    "CreditReport",
    "CreditsUnavailableError",
    "Dialect",
    "GeminiClient",
    "HttpRequest",
    "HttpResponse",
    "MediaEmbedder",
    "MediaPolicy",
    "ModelInfo",
    "OpenAIClient",
    "ProviderClient",
    "RetryPolicy",
    "Retrying",
    "Timeouts",
    "Transport",
    "embed_media",
    "fetch_credits",
    "list_models",
]

_HOMES = {
    "flexllm_providers.client": ("ProviderClient",),
    "flexllm_providers.credits.report": (
        "CreditLine",
        "CreditReport",
        "CreditsUnavailableError",
    ),
    "flexllm_providers.credits.fetch": ("fetch_credits",),
    "flexllm_providers.dialects": ("Dialect",),
    "flexllm_providers.http": (
        "HttpRequest",
        "HttpResponse",
        "Timeouts",
        "Transport",
    ),
    "flexllm_providers.media.embed": (
        "MediaEmbedder",
        "embed_media",
    ),
    "flexllm_providers.media.policy": ("MediaPolicy",),
    "flexllm_providers.models": (
        "ModelInfo",
        "list_models",
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
