"""Exit codes: the outcome of a command, for scripts.

0 all rows ok · 1 some rows failed · 2 usage · 3 not found (file, model, configuration) · 4 authentication
or no credit · 5 conflict (output of another run, output in use) · 6 network · 7 missing extra · 8 file
input or output (disk full ...) · 9 budget reached · 10 dry run, or a canary after which nobody said to go on ·
129, 130, 143 signals
"""

from __future__ import annotations

from flexllm_core.errors import (
    AuthenticationError,
    BadRequestError,
    BudgetExceededError,
    ConfigError,
    InputError,
    JournalConflictError,
    JournalError,
    LLMRequestError,
    LLMResponseError,
    MissingExtraError,
    NoEndpointAvailableError,
    NotConfiguredError,
    NotFoundError,
    QuotaExceededError,
)

OK = 0
FAILED = 1
USAGE = 2
NOT_FOUND = 3
AUTH = 4
CONFLICT = 5
NETWORK = 6
MISSING_EXTRA = 7
FILE_IO = 8
BUDGET = 9
DRY_RUN = 10

# The first class that fits decides, so the narrower ones come first.
_BY_ERROR: tuple[tuple[type[Exception], int], ...] = (
    (NotConfiguredError, NOT_FOUND),
    (ConfigError, USAGE),
    (InputError, USAGE),
    (MissingExtraError, MISSING_EXTRA),
    (AuthenticationError, AUTH),
    (QuotaExceededError, AUTH),
    (NotFoundError, NOT_FOUND),
    (BadRequestError, FAILED),
    (LLMResponseError, FAILED),
    (LLMRequestError, NETWORK),
    (NoEndpointAvailableError, NETWORK),
    (BudgetExceededError, BUDGET),
    (JournalConflictError, CONFLICT),
    (JournalError, FILE_IO),
    (FileNotFoundError, NOT_FOUND),
    (OSError, FILE_IO),
)

BY_STOP_KIND = {
    "auth": AUTH,
    "quota": AUTH,
    "not_found": NOT_FOUND,
    "network": NETWORK,
    "config": USAGE,
    "budget": BUDGET,
    "failures": FAILED,
}


def exit_code_for(error: Exception) -> int:
    """The exit code of a command that ended with `error`."""
    for kind, code in _BY_ERROR:
        if isinstance(error, kind):
            return code
    return FAILED
