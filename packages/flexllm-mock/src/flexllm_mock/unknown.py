"""Answers what no wire format knows, in the shape of the vendor that the client seems to mean."""

from __future__ import annotations

from flexllm_mock.asgi import ApiError, ApiRequest, Reply, Vendor
from flexllm_mock.claude.errors import ClaudeErrors
from flexllm_mock.gemini.errors import GoogleErrors
from flexllm_mock.openai.errors import OpenAIErrors
from flexllm_mock.scripted import Prescribed
from flexllm_mock.vendor import vendor_of


class UnknownEndpoint:
    """Any path that no wire format knows."""

    methods = frozenset(("DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT"))
    generates = False
    vendor: Vendor = "openai"
    url_key = False
    open = False

    def __init__(self, seed: int) -> None:
        self._errors: dict[Vendor, OpenAIErrors | ClaudeErrors | GoogleErrors]
        self._errors = {"openai": OpenAIErrors(seed), "claude": ClaudeErrors(seed), "gemini": GoogleErrors(seed)}

    def read(self, request: ApiRequest) -> None:
        """Accept any body."""

    def reply(self, request: ApiRequest, literal: Prescribed | None = None) -> Reply:
        """Answer 404."""
        raise ApiError(404, f"Unknown path: {request.method} {request.path}", code="unknown_url")

    def refuse(self, request: ApiRequest, problem: ApiError) -> Reply:
        """Give an error the shape that the client can read."""
        return self._errors[vendor_of(request)].refuse(request, problem)
