"""How many tokens a request has for a Gemini model: `countTokens` of the Developer API and of Vertex AI.

The two differ: the Developer API takes a whole request in `generateContentRequest`, Vertex AI the parts of
one at the top. Sources: the clients of the google-genai SDK, and Google's documentation.
"""

from __future__ import annotations

from flexllm_core.json_codec import decode_json, encode_json
from flexllm_core.requests import ChatRequest
from flexllm_providers.gemini.encode import generate_body
from flexllm_providers.gemini.errors import error_in_body, has_error
from flexllm_providers.gemini.target import gemini_target
from flexllm_providers.gemini.urls import is_vertex, model_url
from flexllm_providers.http import HttpRequest, HttpResponse
from flexllm_providers.target import Target
from flexllm_providers.wire_errors import unusable

_VERTEX_KEYS = ("contents", "systemInstruction", "tools", "generationConfig")
"""What Vertex AI takes of a request; it refuses keys that it does not know."""


def encode_count(request: ChatRequest, target: Target) -> HttpRequest:
    """The HTTP request that asks how many tokens a request has.

    Raises:
        ConfigError: There is no model, or it cannot do the thinking mode.
        InputError: The request cannot be said in Gemini's terms, or not be written as JSON.
    """
    gemini = gemini_target(target)
    model = gemini.model_of(request)
    body = generate_body(request, gemini)
    if is_vertex(gemini.base_url):
        body = {key: body[key] for key in _VERTEX_KEYS if key in body}
    else:
        name = model if "/" in model else f"models/{model}"
        body = {"generateContentRequest": {"model": name, **body}}
    headers = gemini.api_headers
    if request.extra_headers:
        headers = {**headers, **{name.lower(): value for name, value in request.extra_headers.items()}}
    return HttpRequest("POST", model_url(gemini.base_url, model, "countTokens"), headers, encode_json(body))


def decode_count(response: HttpResponse, request: ChatRequest, target: Target, now: float) -> int:
    """The number of tokens in a 2xx response. `now` is wall-clock seconds since 1970.

    Raises:
        LLMRequestError: The body holds an error or no number.
    """
    try:
        data = decode_json(response.body)
    except ValueError:
        data = None
    if has_error(data):
        raise error_in_body(data, response.body, response.headers, request, target, now)
    tokens = data.get("totalTokens") if isinstance(data, dict) else None
    if type(tokens) is not int or tokens < 0:
        raise unusable(target, request, "the answer is no count of tokens", response.body)
    return tokens
