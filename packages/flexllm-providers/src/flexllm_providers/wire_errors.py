"""The errors that every wire raises: who said what, without secrets, and cut to a length that can be read."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from flexllm_core.errors import ErrorKind, LLMHTTPError, LLMRequestError, LLMResponseError
from flexllm_core.json_codec import decode_json
from flexllm_core.requests import ChatRequest
from flexllm_providers.http import HttpResponse
from flexllm_providers.http_errors import OVERLOAD_WORDS, ErrorFacts, http_error, implied_status
from flexllm_providers.target import Target

_EXCERPT = 500
_SHORT_EXCERPT = 200
_LONGEST = 200_000  # characters of a message that are looked at; whatever keys are in it, enough are left to show


def read_refusal(response: HttpResponse, request: ChatRequest, target: Target) -> tuple[Any, str]:
    """What a response with an error status holds: its JSON, None if it is none, and its beginning without secrets."""
    try:
        data = decode_json(response.body) if response.body else None
    except ValueError:
        data = None
    return data, target.excerpt(response.body, request.extra_headers.values())


def refusal_message(status: int, facts: ErrorFacts) -> str:
    """The message of an error status; still with secrets."""
    said = facts.message if status >= 400 else "a redirect, which is not followed; configure the final URL"
    return f"HTTP {status}: {said}"


def status_error(
    status: int,
    what: str,
    facts: ErrorFacts,
    body: str,
    headers: Mapping[str, str],
    request: ChatRequest,
    target: Target,
    now: float,
) -> LLMHTTPError:
    """The typed error for a status, the response's own or the one that an error inside a 200 stands for.

    Args:
        status: The HTTP status.
        what: The message, still with secrets.
        facts: What the body says.
        body: The body's beginning, secrets removed.
        headers: Lower-case names.
        request: What was asked.
        target: Who was asked.
        now: Wall-clock seconds since 1970.
    """
    error = http_error(
        status,
        facts,
        headers,
        now=now,
        message=_message(what, request, target),
        endpoint=target.label,
        model=request.model or target.model,
        body=body,
    )
    error.code = _word(error.code, request, target)
    error.request_id = _word(error.request_id, request, target)
    return error


def inside_200(
    status: int | None,
    facts: ErrorFacts,
    body: bytes,
    headers: Mapping[str, str],
    request: ChatRequest,
    target: Target,
    now: float,
) -> LLMRequestError:
    """The typed error for an error that came with status 200, in a body, in a stream or in a file of answers.

    Args:
        status: The HTTP status that the error stands for, where it says so; else its words tell, if anything does.
        facts: What it says.
        body: What the server sent, to be kept with the error.
        headers: Lower-case names.
        request: What was asked.
        target: Who was asked.
        now: Wall-clock seconds since 1970.
    """
    status = status or implied_status(facts)
    if status is None:
        kind: ErrorKind = "overload" if facts.words & OVERLOAD_WORDS else "transient"
        return unusable(target, request, facts.message, body, kind=kind, code=facts.code, excerpt=False)
    what = f"an error inside HTTP 200, of the kind {status}: {facts.message}"
    text = target.excerpt(body, request.extra_headers.values())
    error = status_error(status, what, facts, text, headers, request, target, now)
    error.may_be_billed |= status >= 500  # the server had begun, unless it refused the request
    return error


def left_undone(target: Target, request: ChatRequest, what: str, code: str) -> LLMRequestError:
    """The error for a request of a batch that the provider gave back without asking it; to ask it again may help."""
    model = request.model or target.model
    return LLMRequestError(_message(what, request, target), endpoint=target.label, model=model, code=code)


def unusable(
    target: Target,
    request: ChatRequest,
    what: str,
    body: bytes = b"",
    *,
    kind: ErrorKind = "suspicious",
    code: str | None = None,
    excerpt: bool = True,
) -> LLMResponseError:
    """The error for a 200 that is no answer; its message says what came, unless `excerpt` is False."""
    text = target.excerpt(body, request.extra_headers.values())
    if text and excerpt:
        what = f"{what}: {text[:_SHORT_EXCERPT]}"
    return LLMResponseError(
        _message(what, request, target),
        endpoint=target.label,
        model=request.model or target.model,
        status_code=200,
        code=_word(code, request, target),
        body=text,
        kind=kind,
    )


def _word(word: str | None, request: ChatRequest, target: Target) -> str | None:
    """A server's code or id: without secrets, and short."""
    return word and target.redact(word[:_LONGEST], request.extra_headers.values())[:_SHORT_EXCERPT]


def _message(what: str, request: ChatRequest, target: Target) -> str:
    """An error's message: who said it and what, without secrets. Cut last, because half a key is not recognised."""
    text = " ".join(target.redact(what[:_LONGEST], request.extra_headers.values()).split())
    return f"{target.redact(target.label)}: {text[:_EXCERPT]}"
