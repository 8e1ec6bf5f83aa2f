"""Exit codes by error."""

from __future__ import annotations

import pytest

from flexllm_cli import exit_codes
from flexllm_core import errors


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (errors.ConfigError("x"), 2),
        (errors.InputError("x"), 2),
        (errors.NotConfiguredError("x"), 3),
        (errors.NotFoundError("x"), 3),
        (FileNotFoundError("x"), 3),
        (errors.AuthenticationError("x"), 4),
        (errors.QuotaExceededError("x"), 4),
        (errors.JournalConflictError("x"), 5),
        (errors.LLMConnectionError("x"), 6),
        (errors.LLMTimeoutError("x"), 6),
        (errors.RateLimitError("x"), 6),
        (errors.ServerError("x"), 6),
        (errors.NoEndpointAvailableError("x"), 6),
        (errors.MissingExtraError("x"), 7),
        (errors.JournalError("x"), 8),
        (PermissionError("x"), 8),
        (errors.BadRequestError("x"), 1),
        (errors.ContextLengthError("x"), 1),
        (errors.LLMResponseError("x"), 1),
        (KeyError("x"), 1),
    ],
)
def test_each_error_has_its_code(error, code):
    """The narrowest class decides."""
    assert exit_codes.exit_code_for(error) == code


def test_every_stop_kind_has_a_code():
    """No rule of the runner is without one."""
    from typing import get_args

    from flexllm_batch.stop_rules import StopKind

    assert set(exit_codes.BY_STOP_KIND) == set(get_args(StopKind))
