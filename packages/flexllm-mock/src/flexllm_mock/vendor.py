"""Tells which vendor's API a request is meant for, where the path alone does not say."""

from __future__ import annotations

import re
from collections.abc import Mapping

from flexllm_mock.asgi import ApiError, ApiRequest, Endpoint, Reply, Vendor, header
from flexllm_mock.auth import has_key
from flexllm_mock.scripted import Prescribed

_GOOGLE_PATH = re.compile(r".*/v1(alpha|beta|beta1)/(?!openai/)|.*/v1/projects/")


def vendor_of(request: ApiRequest) -> Vendor:
    """Guess from the headers first, then from the path: Claude's version, Google's key, or Google's API versions."""
    if header(request, b"anthropic-version") is not None:
        return "claude"
    if header(request, b"x-goog-api-key") is not None or (request.query and has_key(request.query)):
        return "gemini"
    return "gemini" if _GOOGLE_PATH.match(request.path) else "openai"


class VendorEndpoint:
    """A path that several vendors have: each request is served by the endpoint of the vendor it is meant for."""

    generates = False
    vendor: Vendor = "openai"
    url_key = True
    open = False

    def __init__(self, endpoints: Mapping[Vendor, Endpoint]) -> None:
        self._endpoints = endpoints
        self.methods = frozenset().union(*[endpoint.methods for endpoint in endpoints.values()])

    def read(self, request: ApiRequest) -> None:
        """Parse the body as the vendor does."""
        endpoint = self._endpoints[vendor_of(request)]
        if request.method not in endpoint.methods:
            raise ApiError(405, f"Method {request.method} is not allowed on {request.path}.")
        endpoint.read(request)

    def reply(self, request: ApiRequest, literal: Prescribed | None = None) -> Reply:
        """Answer as the vendor does."""
        return self._endpoints[vendor_of(request)].reply(request, literal)

    def refuse(self, request: ApiRequest, problem: ApiError) -> Reply:
        """Give an error the vendor's shape."""
        return self._endpoints[vendor_of(request)].refuse(request, problem)
