"""What to do about an error, in a sentence for each kind."""

from __future__ import annotations

from flexllm_cli.i18n import gettext as _
from flexllm_core.errors import (
    AuthenticationError,
    BadRequestError,
    BudgetExceededError,
    ConfigError,
    ContentFilterError,
    ContextLengthError,
    InputError,
    JournalConflictError,
    JournalError,
    LLMConnectionError,
    LLMRequestError,
    LLMResponseError,
    LLMTimeoutError,
    MissingExtraError,
    NoEndpointAvailableError,
    NotConfiguredError,
    NotFoundError,
    QuotaExceededError,
    RateLimitError,
    ServerError,
)


def remedy_for(error: Exception) -> str:
    """What to do about an error, in the user's language."""
    if isinstance(error, InputError) and error.line is not None:
        return _("correct the row, or leave such rows out with --on-bad-row skip")
    return next((text for kind, text in _remedies() if isinstance(error, kind)), _("see `flexllm --help`"))


def _remedies() -> tuple[tuple[type[Exception], str], ...]:
    """The first class that fits decides, so the narrower ones come first."""
    return (
        (NotConfiguredError, _("run `flexllm init`, or give --model and --base-url")),
        (ConfigError, _("correct the option, or the key of the configuration file, that is named")),
        (InputError, _("correct the input that is named")),
        (MissingExtraError, _("install the extra that is named")),
        (AuthenticationError, _("check the key: `flexllm list` shows its beginning and end")),
        (QuotaExceededError, _("add credit at the vendor; `flexllm credits` shows what is left")),
        (NotFoundError, _("`flexllm models` lists what the endpoint has; most base URLs end in /v1")),
        (ContextLengthError, _("shorten the prompt, or lower --max-tokens")),
        (ContentFilterError, _("change the prompt; the vendor's content policy refuses it")),
        (BadRequestError, _("change the request as the server says")),
        (LLMResponseError, _("check that the base URL is that of an API, then try again")),
        (LLMTimeoutError, _("try again, or give it more time with --timeout")),
        (LLMConnectionError, _("check the base URL, and that the server runs; `flexllm test` looks at each step")),
        (RateLimitError, _("wait, or send less at a time: -c, --max-qps")),
        (ServerError, _("try again later; the server failed")),
        (LLMRequestError, _("try again")),
        (NoEndpointAvailableError, _("check the endpoints: `flexllm test --all`")),
        (BudgetExceededError, _("raise --budget; the same command goes on where it stopped")),
        (JournalConflictError, _("choose another output with -o, or replace this one with --overwrite")),
        (JournalError, _("check the folder, its permissions and the free space")),
        (FileNotFoundError, _("check the path")),
        (PermissionError, _("check the permissions of the file and of its folder")),
        (OSError, _("check the path, its permissions and the free space")),
    )
