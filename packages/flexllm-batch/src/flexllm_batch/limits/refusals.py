"""The errors of calls that are not sent, because the endpoint said so or has said nothing for too long."""

from __future__ import annotations

from flexllm_core.errors import LLMRequestError


def too_long(error: LLMRequestError, seconds: float, longest: float) -> LLMRequestError:
    """The server asks to wait longer than anybody wants to."""
    what = f"the server asks to come back in {seconds:,.0f} s, and no more than {longest:,.0f} s are waited; try later"
    return _like(error, f"{error.endpoint or 'the endpoint'}: {what} ({error.message})", seconds)


def given_up(error: LLMRequestError, seconds: float, failures: int) -> LLMRequestError:
    """The endpoint has answered nothing for too long."""
    what = f"no answer for {seconds:,.0f} s and {failures:,} requests, so it is given up; the last error"
    return _like(error, f"{error.endpoint or 'the endpoint'}: {what}: {error.message}", None)


def _like(error: LLMRequestError, message: str, retry_after: float | None) -> LLMRequestError:
    """An error of the same class, for a call that was not sent and is not to be tried again now."""
    return type(error)(
        message,
        endpoint=error.endpoint,
        model=error.model,
        status_code=error.status_code,
        code=error.code,
        body=error.body,
        attempts=0,
        retryable=False,
        retry_after=retry_after,
        fault=error.fault,
        kind=error.kind,
    )
