"""Every error that flexllm raises, by what the caller can do about it.

FlexLLMError
├── ConfigError (ValueError)        a bad configuration file or option: file, key path, found, expected
│   └── NotConfiguredError          no such model, no base URL: nothing to send to
├── InputError (ValueError)         a bad input row or message: file, line, what is wrong
├── MissingExtraError               an optional library is not installed: names the extra
├── LLMRequestError                 one call to an endpoint did not give an answer
│   ├── LLMConnectionError          DNS, refused, reset, TLS
│   │   └── LLMTimeoutError         connect, first byte, idle or total: `.phase` says which
│   ├── LLMHTTPError                the server answered with an error status
│   │   ├── AuthenticationError     401, 403
│   │   ├── QuotaExceededError      no money, spend limit, daily cap: never retried
│   │   ├── RateLimitError          429
│   │   ├── BadRequestError         400, 413, 415, 422
│   │   │   ├── ContextLengthError
│   │   │   └── ContentFilterError
│   │   ├── NotFoundError           404
│   │   └── ServerError             5xx, 529
│   └── LLMResponseError            200 with an error body, unusable JSON, truncated stream, empty answer
│       └── ContractError           an answer that breaks the row's contract: its schema, or not to be truncated
├── NoEndpointAvailableError        every endpoint was tried: `.errors` holds one error per endpoint
├── BudgetExceededError             `.spent`, `.reserved`, `.limit` in US dollars
└── JournalError                    the output file cannot be used
    └── JournalConflictError        output in use, output of another run, output = input
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from flexllm_core.results import ChatCompletionResult

Fault = Literal["caller", "endpoint", "account"]
"""Whose fault a failed call is: the row's, the server's or network's, or the key's."""

ErrorKind = Literal["overload", "transient", "timeout", "suspicious", "refused"]
"""How a failed call is treated: how often it may be retried, and what it tells the limits.

- `overload`: 429, 503, 529 and their like inside a 200: wait, and slow everybody down.
- `transient`: 5xx, resets, cut bodies and streams: retry with backoff.
- `timeout`: may already be billed: retry twice at most.
- `suspicious`: a 200 without a usable answer: retry once.
- `refused`: asking again gives the same: never retried.
"""

BODY_EXCERPT = 2000
"""Characters of a server's error body that an error keeps."""


class FlexLLMError(Exception):
    """Base class of every error raised by flexllm."""


class ConfigError(FlexLLMError, ValueError):
    """The configuration file, an environment variable or an option is unusable."""


class NotConfiguredError(ConfigError):
    """The model or endpoint that was asked for is not configured."""


class InputError(FlexLLMError, ValueError):
    """An input row or a message is unusable.

    Args:
        message: What is wrong, for a person.
        source: File name, or None for values given in Python.
        line: Line number in the file, counted from 1.
    """

    def __init__(self, message: str, *, source: str | None = None, line: int | None = None) -> None:
        self.source = source
        self.line = line
        where = "" if source is None else f"{source}: " if line is None else f"{source}, line {line}: "
        super().__init__(where + message)


class MissingExtraError(FlexLLMError):
    """An optional library is needed and not installed; the message names the extra."""


class LLMRequestError(FlexLLMError):
    """One call to an endpoint did not give an answer.

    Attributes:
        endpoint: Name or base URL of the endpoint, never with credentials.
        model: The model that was asked.
        status_code: HTTP status, None when there was no answer.
        code: The vendor's own error code or type.
        request_id: The vendor's id of the request, for their support.
        body: The server's error body, cut to `BODY_EXCERPT` characters.
        attempts: How many requests were sent for this call.
        retryable: Whether the same call may succeed later.
        retry_after: Seconds that the server asked to wait.
        fault: Whose fault it is (`Fault`).
        kind: How it is treated (`ErrorKind`).
        may_be_billed: Whether the provider may charge for the attempt all the same: it had begun to answer, or
            nobody knows. A budget counts such an attempt at the most that it may have cost.
        answer: An answer that was paid for on the way to the error and cannot stand, so that nobody loses it; its
            usage and cost are sums over all such answers of the call. None where there was none.
    """

    may_be_billed: bool = True
    answer: ChatCompletionResult | None = None
    default_fault: Fault = "endpoint"
    default_kind: ErrorKind = "transient"

    def __init__(
        self,
        message: str,
        *,
        endpoint: str | None = None,
        model: str | None = None,
        status_code: int | None = None,
        code: str | None = None,
        request_id: str | None = None,
        body: str | None = None,
        attempts: int = 1,
        retryable: bool | None = None,
        retry_after: float | None = None,
        fault: Fault | None = None,
        kind: ErrorKind | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.endpoint = endpoint
        self.model = model
        self.status_code = status_code
        self.code = code
        self.request_id = request_id
        self.body = body[:BODY_EXCERPT] if body else body
        self.attempts = attempts
        self.fault: Fault = fault or self.default_fault
        self.kind: ErrorKind = kind or self.default_kind
        self.retryable = self.kind != "refused" if retryable is None else retryable
        self.retry_after = retry_after

    def to_dict(self) -> dict[str, Any]:
        """The error as an output line holds it: type, status, code, message, retryable, request_id."""
        out: dict[str, Any] = {"type": type(self).__name__}
        if self.status_code is not None:
            out["status"] = self.status_code
        if self.code is not None:
            out["code"] = self.code
        out["message"] = str(self)
        out["retryable"] = self.retryable
        if self.request_id is not None:
            out["request_id"] = self.request_id
        return out


class LLMConnectionError(LLMRequestError):
    """The endpoint could not be reached, or the connection broke before the answer was whole.

    Attributes:
        reused: The connection had served an earlier request and died before the first byte of this
            answer: the usual keep-alive race, which is retried at once.
    """

    reused: bool = False


class LLMTimeoutError(LLMConnectionError):
    """A timeout; `phase` is `connect`, `first_byte`, `idle` or `total`."""

    default_kind: ErrorKind = "timeout"
    phase: str = "total"


class LLMHTTPError(LLMRequestError):
    """The server answered with an error status."""

    may_be_billed: bool = False


class AuthenticationError(LLMHTTPError):
    """401 or 403: the key is missing, wrong, or not allowed to do this."""

    default_fault: Fault = "account"
    default_kind: ErrorKind = "refused"


class QuotaExceededError(LLMHTTPError):
    """The account has no money or has reached its spend or daily limit; waiting does not help."""

    default_fault: Fault = "account"
    default_kind: ErrorKind = "refused"


class RateLimitError(LLMHTTPError):
    """429: too many requests or tokens; waiting helps."""

    default_kind: ErrorKind = "overload"


class BadRequestError(LLMHTTPError):
    """400, 413, 415 or 422: the request itself is refused."""

    default_fault: Fault = "caller"
    default_kind: ErrorKind = "refused"


class ContextLengthError(BadRequestError):
    """The prompt and the completion do not fit into the model's context."""


class ContentFilterError(BadRequestError):
    """The provider's content policy refused the prompt or the answer."""


class NotFoundError(LLMHTTPError):
    """404: no such model or path."""

    default_kind: ErrorKind = "refused"


class ServerError(LLMHTTPError):
    """5xx: the server failed; 503 and 529 say that it is overloaded."""


class LLMResponseError(LLMRequestError):
    """The server said 200 but gave no usable answer."""

    default_kind: ErrorKind = "suspicious"


class ContractError(LLMResponseError):
    """The answer, and each one that was asked for in its place, breaks the row's contract; `answer` is the last."""


class NoEndpointAvailableError(FlexLLMError):
    """No endpoint could take the call; `errors` holds the last error of each endpoint tried."""

    def __init__(self, message: str, errors: Sequence[LLMRequestError] = ()) -> None:
        super().__init__(message)
        self.errors = tuple(errors)


class BudgetExceededError(FlexLLMError):
    """The budget does not admit this call. All amounts in US dollars."""

    def __init__(self, message: str, *, spent: Decimal, reserved: Decimal, limit: Decimal) -> None:
        super().__init__(message)
        self.spent = spent
        self.reserved = reserved
        self.limit = limit

    def __reduce__(self) -> tuple[Any, ...]:
        # Exceptions are rebuilt from their positional arguments alone, which would fail here and hang a worker pool.
        return partial(type(self), spent=self.spent, reserved=self.reserved, limit=self.limit), self.args


class JournalError(FlexLLMError):
    """The output file cannot be used or written; the message names it."""


class JournalConflictError(JournalError):
    """The output is in use by another process, belongs to another run, or is not ours to write.

    Attributes:
        pid: Process id of the holder, when the output is in use.
    """

    pid: int | None = None
