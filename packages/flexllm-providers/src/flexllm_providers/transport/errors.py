"""What a transport raises when there is no whole answer: one wording for both transports."""

from __future__ import annotations

import errno
import os
import socket
import ssl
from collections.abc import Iterator
from typing import Literal

from flexllm_core.errors import ErrorKind, LLMConnectionError, LLMResponseError, LLMTimeoutError

TimeoutPhase = Literal["connect", "first_byte", "idle", "total"]

_PHASE_TEXTS: dict[TimeoutPhase, str] = {
    "connect": "no connection to {endpoint} within {seconds:g} s",
    "first_byte": "no answer from {endpoint} within {seconds:g} s",
    "idle": "the answer of {endpoint} stopped for {seconds:g} s",
    "total": "no whole answer from {endpoint} within {seconds:g} s",
}

_OS_TEXTS = {
    errno.ECONNREFUSED: "connection refused",
    errno.ECONNRESET: "connection reset by the server",
    errno.EPIPE: "connection closed by the server",
    errno.ETIMEDOUT: "the host does not answer",
    errno.EMFILE: "this process has too many open files: raise its limit (ulimit -n) or lower the concurrency",
}


def timeout_error(phase: TimeoutPhase, seconds: float | None, endpoint: str) -> LLMTimeoutError:
    """The error for a phase that took longer than its limit of `seconds`."""
    error = LLMTimeoutError(_PHASE_TEXTS[phase].format(endpoint=endpoint, seconds=seconds or 0.0), endpoint=endpoint)
    error.phase = phase
    error.may_be_billed = phase != "connect"
    return error


def broken(endpoint: str, reason: str, *, reused: bool = False) -> LLMConnectionError:
    """The error for an answer that did not come or did not come whole."""
    error = LLMConnectionError(f"no answer from {endpoint}: {reason}", endpoint=endpoint)
    error.reused = reused
    return error


def connect_failed(endpoint: str, cause: BaseException, *, via: str | None = None) -> LLMConnectionError:
    """The error for a connection that could not be made.

    A certificate that is not trusted stays so: it is the one failure that is never retried.

    Args:
        endpoint: Origin that was to be reached.
        cause: What went wrong; the first `OSError` in its chain is explained.
        via: Origin of the proxy in between.
    """
    found = os_error_in(cause)
    untrusted = isinstance(found, ssl.SSLCertVerificationError)
    kind: ErrorKind = "refused" if untrusted else "transient"
    through = f" through the proxy {via}" if via else ""
    error = LLMConnectionError(
        f"could not connect to {endpoint}{through}: {explain(found or cause)}", endpoint=endpoint, kind=kind
    )
    error.may_be_billed = False
    return error


def too_large(endpoint: str, limit: int, status: int) -> LLMResponseError:
    """The error for a body above the limit; asking again would only buy it again."""
    return LLMResponseError(
        f"the answer of {endpoint} is larger than the limit of {limit:,} bytes",
        endpoint=endpoint,
        status_code=status,
        kind="refused",
    )


def encoded(endpoint: str, status: int) -> LLMResponseError:
    """The error for a body that is encoded although the request asked for `identity`."""
    return LLMResponseError(
        f"the answer of {endpoint} is compressed or encoded, which the request did not allow",
        endpoint=endpoint,
        status_code=status,
        kind="refused",
    )


def os_error_in(error: BaseException) -> OSError | None:
    """The first `OSError` that says why, among an exception, its causes and the members of groups."""
    found = [each for each in _chain(error) if isinstance(each, OSError)]
    return next((each for each in found if each.errno is not None), found[0] if found else None)


def _chain(error: BaseException) -> Iterator[BaseException]:
    todo, seen = [error], set[int]()
    while todo:
        current = todo.pop()
        if id(current) in seen:
            continue
        seen.add(id(current))
        yield current
        if isinstance(current, BaseExceptionGroup):
            todo.extend(reversed(current.exceptions))
        todo.extend(cause for cause in (current.__context__, current.__cause__) if cause is not None)


def explain(error: BaseException) -> str:
    """What a network error means, for a person; never with a path, a header or a credential."""
    if isinstance(error, socket.gaierror):
        return "the name of the host cannot be resolved"
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its TLS certificate is not trusted: {error.verify_message} (SSL_CERT_FILE names further authorities)"
    if isinstance(error, ssl.SSLError):
        plain = error.reason in {"WRONG_VERSION_NUMBER", "HTTP_REQUEST"}
        return "TLS failed" + (": the server does not speak TLS on this port" if plain else f": {error.reason}")
    if isinstance(error, OSError):
        if error.errno in _OS_TEXTS:
            return _OS_TEXTS[error.errno]
        return os.strerror(error.errno).lower() if error.errno else "the connection was closed"
    return type(error).__name__
