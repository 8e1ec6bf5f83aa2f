"""Makes the reply that a fault rule asks for."""

from __future__ import annotations

from collections.abc import Callable

from flexllm_mock.asgi import EVENT_STREAM_TYPE, ApiError, ApiRequest, Breakage, Endpoint, Reply
from flexllm_mock.faults.alterations import ALTERATIONS
from flexllm_mock.faults.rules import FaultRule
from flexllm_mock.scripted import Prescribed

Answer = Callable[[Prescribed | None], Reply]
"""Gives the ordinary answer to the request at hand, with the given text if there is one."""

_CUTTING = ("cut_stream", "error_event")
_SPOILING = ("error_body", "malformed_json", "empty_choices", "broken_arguments", "oversized")
_MESSAGES = {
    400: "Invalid request.",
    401: "Incorrect API key provided.",
    402: "Insufficient balance.",
    403: "You are not allowed to use this model.",
    404: "Not found.",
    429: "Rate limit reached. Please try again later.",
    500: "The server had an error while processing your request.",
    503: "The server is overloaded. Please try again later.",
    529: "Overloaded",
}


def plain_error(status: int) -> ApiError:
    """Return an error with the message that is usual for a status."""
    return ApiError(status, _MESSAGES.get(status, f"The mock was told to answer {status}."))


def faulted(
    rule: FaultRule,
    endpoint: Endpoint,
    request: ApiRequest,
    answer: Answer,
    *,
    prescribed: Prescribed | None = None,
    problem: ApiError | None = None,
) -> Reply:
    """Return the reply to a request that a rule applies to.

    `prescribed` is the answer and `problem` the error to use instead of the rule's own.
    """
    given = rule.answer if prescribed is None else prescribed
    body = rule.whole_body
    if body is not None:
        reply = _prescribed(rule, body, endpoint, request)
    elif rule.status is not None and rule.status >= 400 and given is None:
        reply = endpoint.refuse(request, _error(rule, problem or plain_error(rule.status)))
    else:
        reply = answer(given)
        if rule.status is not None:
            reply.status = rule.status
        reply.headers += rule.raw_headers
    if rule.as_list and reply.status >= 400 and not reply.body.startswith(b"["):
        reply.body = b"[" + reply.body + b"]"
    reply.delay += rule.delay
    reply.breakage = _breakage(rule)
    reply.cut = rule.disconnect is not None or rule.alter in _CUTTING
    reply.spoilt = reply.spoilt or rule.alter in _SPOILING or (rule.stall is not None and rule.stall_seconds is None)
    if rule.alter is not None:
        ALTERATIONS[rule.alter](reply, lambda status: endpoint.refuse(request, plain_error(status)), rule.size)
    return reply


def _prescribed(rule: FaultRule, body: bytes, endpoint: Endpoint, request: ApiRequest) -> Reply:
    reply = endpoint.refuse(request, plain_error(rule.status or 200))
    reply.body = body
    reply.spoilt = True
    if rule.raw_body is not None and reply.status < 400 and request.event_stream:
        reply.content_type = EVENT_STREAM_TYPE
    reply.headers += rule.raw_headers
    return reply


def _error(rule: FaultRule, error: ApiError) -> ApiError:
    error.code = rule.code or error.code
    error.headers = rule.raw_headers  # known to the vendor's shape, which may repeat them in the body
    error.retry_in = rule.retry_after
    return error


def _breakage(rule: FaultRule) -> Breakage | None:
    if rule.disconnect is None and rule.stall is None and not rule.refuse:
        return None
    return Breakage(
        stall=rule.stall,
        stall_seconds=rule.stall_seconds,
        disconnect=rule.disconnect,
        reset=rule.reset,
        refuse=rule.refuse,
    )
