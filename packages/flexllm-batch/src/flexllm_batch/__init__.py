"""Batches with checkpoint and resume, limits, costs and cache over LLM endpoints."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flexllm_core.lazy import lazy_exports

if TYPE_CHECKING:
    from flexllm_batch.batch import (
        Batch,
    )
    from flexllm_batch.batch_options import (
        BatchOptions,
    )
    from flexllm_batch.batch_settings import (
        BatchSettings,
    )
    from flexllm_batch.cache.config import (
        ResponseCacheConfig,
    )
    from flexllm_batch.client import (
        LLMClient,
    )
    from flexllm_batch.cost import (
        CostReport,
    )
    from flexllm_batch.items import (
        BatchItem,
        BatchResult,
    )
    from flexllm_batch.limits import (
        Limited,
    )
    from flexllm_batch.records import (
        RowShape,
    )
    from flexllm_batch.stats import (
        RunStats,
    )
    from flexllm_batch.survey import (
        Survey,
    )

__all__ = [
    "Batch",
    "BatchItem",
    "BatchOptions",
    "BatchResult",
    "BatchSettings",
    "CostReport",
    "LLMClient",
    "Limited",
    "ResponseCacheConfig",
    "RowShape",
    "RunStats",
    "Survey",
]

_HOMES = {
    "flexllm_batch.batch": ("Batch",),
    "flexllm_batch.batch_options": ("BatchOptions",),
    "flexllm_batch.batch_settings": ("BatchSettings",),
    "flexllm_batch.cache.config": ("ResponseCacheConfig",),
    "flexllm_batch.client": ("LLMClient",),
    "flexllm_batch.cost": ("CostReport",),
    "flexllm_batch.items": (
        "BatchItem",
        "BatchResult",
    ),
    "flexllm_batch.limits": ("Limited",),
    "flexllm_batch.records": ("RowShape",),
    "flexllm_batch.stats": ("RunStats",),
    "flexllm_batch.survey": ("Survey",),
}

__getattr__, __dir__ = lazy_exports(__name__, _HOMES)
