"""Warnings of the wires: what an endpoint does not take is said once for each endpoint, not once for each row."""

from __future__ import annotations

import logging
from collections.abc import Iterable

from flexllm_core.requests import ChatRequest
from flexllm_providers.target import Target

logger = logging.getLogger("flexllm")

_MOST = 1000
"""Warnings remembered; more, as from rows that each name a model of their own, are not said."""

_said: set[tuple[str, str]] = set()


def warn_left_out(who: str, names: Iterable[str]) -> None:
    """Say in one warning which params are left out, those that were said already excepted.

    Args:
        who: The endpoint, with its model where that is what refuses.
        names: Of the params.
    """
    new = [name for name in names if (who, name) not in _said]
    if new and len(_said) < _MOST:
        _said.update((who, name) for name in new)
        logger.warning("%s does not take %s; left out", who, ", ".join(new))


def warn_extra_headers(request: ChatRequest, target: Target) -> None:
    """Say that a request's headers are left out, where many requests go in one."""
    if request.extra_headers:
        warn_left_out(target.label, ["extra_headers in a batch of its own"])


def warn_once(who: str, text: str) -> None:
    """Say something about an endpoint the first time that it is true."""
    if (who, text) not in _said and len(_said) < _MOST:
        _said.add((who, text))
        logger.warning("%s: %s", who, text)
