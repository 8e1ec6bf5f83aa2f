"""The times that answers show: those of an epoch of the mock's own, since a clock would make equal requests differ."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from flexllm_mock.openai.models import CREATED

_EPOCH = datetime.fromtimestamp(CREATED, UTC)


def iso_time(after: float = 0.0) -> str:
    """Write the time so many seconds after the epoch as RFC 3339, such as 2025-11-20T00:53:20Z."""
    shown = _EPOCH + timedelta(milliseconds=round(after * 1000))
    return shown.isoformat(timespec="auto").replace("+00:00", "Z")
