"""What httpx raises, as the errors that both transports raise."""

from __future__ import annotations

import re

import httpx

from flexllm_core.errors import LLMConnectionError
from flexllm_providers.transport import errors as transport_errors
from flexllm_providers.transport.errors import TimeoutPhase

_HARMLESS = re.compile(r"peer closed connection.*|Server disconnected.*", re.DOTALL)
"""What httpcore says without quoting the server."""

_STATUS = re.compile(r"(\d{3})\b.*", re.DOTALL)


def translated(error: BaseException, label: str, *, via: str | None, head_done: bool) -> LLMConnectionError | None:
    """The error to raise for one that came out of an httpx transport; None if it is no network error.

    Args:
        error: What came out.
        label: Origin that was to be reached.
        via: Origin of the proxy in between.
        head_done: The head of the answer had arrived.
    """
    if isinstance(error, httpx.TimeoutException):
        return _timed_out(error, label, head_done=head_done)
    if isinstance(error, httpx.ProxyError):
        return _proxy_refused(error, label, via)
    if isinstance(error, httpx.ConnectError):
        return transport_errors.connect_failed(label, error, via=via)
    if isinstance(error, httpx.ProtocolError):
        text = str(error)
        return transport_errors.broken(label, text if _HARMLESS.fullmatch(text) else "it is not HTTP/1.1")
    if isinstance(error, httpx.TransportError | OSError):
        return transport_errors.broken(
            label, transport_errors.explain(transport_errors.os_error_in(error) or ConnectionError())
        )
    return None


def _timed_out(error: httpx.TimeoutException, label: str, *, head_done: bool) -> LLMConnectionError:
    """A timeout of the user's own transport: ours are given to none."""
    connecting = isinstance(error, httpx.ConnectTimeout | httpx.PoolTimeout)
    phase: TimeoutPhase = "connect" if connecting else "idle" if head_done else "first_byte"
    return transport_errors.timeout_error(phase, None, label)


def _proxy_refused(error: httpx.ProxyError, label: str, via: str | None) -> LLMConnectionError:
    text = str(error)
    status = _STATUS.fullmatch(text)
    reason = f"HTTP status {status[1]}" if status else text
    # The proxy's opinion of us (407, 403) stays; its view of the server (502, 504) may change.
    stays = status is not None and status[1].startswith("4")
    refused = LLMConnectionError(
        f"the proxy {via} refused the connection to {label}: {reason}",
        endpoint=label,
        kind="refused" if stays else "transient",
    )
    refused.may_be_billed = False
    return refused
