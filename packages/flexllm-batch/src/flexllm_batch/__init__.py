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
    from flexllm_batch.batch_methods import (
        RowSkippedError,
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
    from flexllm_batch.cost.budget import (
        Budget,
    )
    from flexllm_batch.cost.ledger import (
        Ledger,
    )
    from flexllm_batch.cost.metered import (
        CostReport,
    )
    from flexllm_batch.cost.pricing import (
        price_of,
    )
    from flexllm_batch.cost.rates import (
        Rates,
    )
    from flexllm_batch.cost.tracking import (
        CostTrackerConfig,
    )
    from flexllm_batch.inputs.records import (
        RowShape,
    )
    from flexllm_batch.items import (
        BatchItem,
        BatchResult,
    )
    from flexllm_batch.limits.limited import (
        Limited,
    )
    from flexllm_batch.outputs.diff import (
        OutputDiff,
        diff_outputs,
    )
    from flexllm_batch.planning.survey import (
        Survey,
    )
    from flexllm_batch.pool import (
        LLMClientPool,
    )
    from flexllm_batch.stats import (
        RunStats,
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
    "RowSkippedError",
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
    "flexllm_batch.cost.budget": ("Budget",),
    "flexllm_batch.client": ("LLMClient",),
    "flexllm_batch.cost.metered": ("CostReport",),
    "flexllm_batch.cost.tracking": ("CostTrackerConfig",),
    "flexllm_batch.outputs.diff": (
        "OutputDiff",
        "diff_outputs",
    ),
    "flexllm_batch.batch_methods": ("RowSkippedError",),
    "flexllm_batch.items": (
        "BatchItem",
        "BatchResult",
    ),
    "flexllm_batch.cost.ledger": ("Ledger",),
    "flexllm_batch.limits.limited": ("Limited",),
    "flexllm_batch.pool": ("LLMClientPool",),
    "flexllm_batch.cost.pricing": ("price_of",),
    "flexllm_batch.cost.rates": ("Rates",),
    "flexllm_batch.inputs.records": ("RowShape",),
    "flexllm_batch.stats": ("RunStats",),
    "flexllm_batch.planning.survey": ("Survey",),
}

__getattr__, __dir__ = lazy_exports(__name__, _HOMES)
