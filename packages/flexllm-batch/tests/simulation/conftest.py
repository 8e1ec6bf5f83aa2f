"""Makes the simulated server importable (`simulated_server`, `simulated_limits`), and runs clients against it.

Seeds are fixed: a simulation gives the same figures each time.
"""

from __future__ import annotations

import random
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture
def seeded() -> Callable[[int], None]:
    """Seed the dice that the library throws for jitter and backoff: `seeded(7)`."""
    return random.seed


@pytest.fixture
def adaptive_client() -> Callable[..., Any]:
    """The part of a client that limits and retries: `adaptive_client(server, concurrency=50, **limits)`."""
    from flexllm_batch.limits.limited import Limited
    from flexllm_providers.retry import Retrying

    def make(server: Any, concurrency: int = 50, **limits: Any) -> Any:
        return Retrying(Limited(server, concurrency=concurrency, **{"adaptive": True, **limits}))

    return make
