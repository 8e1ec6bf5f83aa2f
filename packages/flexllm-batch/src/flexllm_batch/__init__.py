"""Batches with checkpoint and resume, limits, costs and cache over LLM endpoints."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flexllm_core.lazy import lazy_exports

if TYPE_CHECKING:
    from flexllm_batch.balance.member import (
        MemberStats,
    )
    from flexllm_batch.batch import (
        Batch,
    )
    from flexllm_batch.batch_options import (
        BatchOptions,
    )
    from flexllm_batch.batch_settings import (
        BatchSettings,
    )
    from flexllm_batch.budget import (
        Budget,
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
    from flexllm_batch.cost_tracking import (
        CostTrackerConfig,
    )
    from flexllm_batch.diff import (
        OutputDiff,
        diff_outputs,
    )
    from flexllm_batch.items import (
        BatchItem,
        BatchResult,
    )
    from flexllm_batch.ledger import (
        Ledger,
    )
    from flexllm_batch.limits.limited import (
        Limited,
    )
    from flexllm_batch.pool import (
        LLMClientPool,
    )
    from flexllm_batch.pricing import (
        price_of,
    )
    from flexllm_batch.rates import (
        Rates,
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
    "Budget",
    "CostReport",
    "CostTrackerConfig",
    "LLMClient",
    "LLMClientPool",
    "Ledger",
    "Limited",
    "MemberStats",
    "OutputDiff",
    "Rates",
    "ResponseCacheConfig",
    "RowShape",
    "RunStats",
    "Survey",
    "diff_outputs",
    "price_of",
]

_HOMES = {
    "flexllm_batch.balance.member": ("MemberStats",),
    "flexllm_batch.batch": ("Batch",),
    "flexllm_batch.batch_options": ("BatchOptions",),
    "flexllm_batch.batch_settings": ("BatchSettings",),
    "flexllm_batch.cache.config": ("ResponseCacheConfig",),
    "flexllm_batch.budget": ("Budget",),
    "flexllm_batch.client": ("LLMClient",),
    "flexllm_batch.cost": ("CostReport",),
    "flexllm_batch.cost_tracking": ("CostTrackerConfig",),
    "flexllm_batch.diff": (
        "OutputDiff",
        "diff_outputs",
    ),
    "flexllm_batch.items": (
        "BatchItem",
        "BatchResult",
    ),
    "flexllm_batch.ledger": ("Ledger",),
    "flexllm_batch.limits.limited": ("Limited",),
    "flexllm_batch.pool": ("LLMClientPool",),
    "flexllm_batch.pricing": ("price_of",),
    "flexllm_batch.rates": ("Rates",),
    "flexllm_batch.records": ("RowShape",),
    "flexllm_batch.stats": ("RunStats",),
    "flexllm_batch.survey": ("Survey",),
}

__getattr__, __dir__ = lazy_exports(__name__, _HOMES)
