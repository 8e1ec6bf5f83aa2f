"""The wire of Vertex AI: Gemini's, or Claude's for Claude models, which Google hosts too."""

from __future__ import annotations

from flexllm_core.errors import LLMHTTPError
from flexllm_core.requests import ChatRequest
from flexllm_core.results import ChatCompletionResult
from flexllm_providers.claude import decode as claude_decode
from flexllm_providers.claude import encode as claude_encode
from flexllm_providers.claude import errors as claude_errors
from flexllm_providers.claude import token_count as claude_token_count
from flexllm_providers.claude.output_limit import output_limit as claude_output_limit
from flexllm_providers.claude.stream import ClaudeStreamDecoder
from flexllm_providers.gemini import decode as gemini_decode
from flexllm_providers.gemini import encode as gemini_encode
from flexllm_providers.gemini import errors as gemini_errors
from flexllm_providers.gemini import token_count as gemini_token_count
from flexllm_providers.gemini.output_limit import output_limit as gemini_output_limit
from flexllm_providers.gemini.stream import GeminiStreamDecoder
from flexllm_providers.http import HttpRequest, HttpResponse
from flexllm_providers.target import Target


def is_claude(request: ChatRequest, target: Target) -> bool:
    """Whether the model that a request asks is Anthropic's."""
    return (request.model or target.model or "").startswith("claude")


def encode(request: ChatRequest, target: Target, *, stream: bool) -> HttpRequest:
    """The HTTP request; raises as the model's own wire does."""
    wire = claude_encode.encode_vertex if is_claude(request, target) else gemini_encode.encode
    return wire(request, target, stream=stream)


def decode(response: HttpResponse, request: ChatRequest, target: Target, now: float) -> ChatCompletionResult:
    """The answer; raises as the model's own wire does."""
    wire = claude_decode.decode if is_claude(request, target) else gemini_decode.decode
    return wire(response, request, target, now)


def decode_error(response: HttpResponse, request: ChatRequest, target: Target, now: float) -> LLMHTTPError:
    """The typed error. Vertex answers for Claude models too in Google's shape when the fault is its own."""
    google = b'"status"' in response.body or not is_claude(request, target)
    wire = gemini_errors.decode_error if google else claude_errors.decode_error
    return wire(response, request, target, now)


def stream_decoder(request: ChatRequest, target: Target, now: float) -> ClaudeStreamDecoder | GeminiStreamDecoder:
    """The decoder of the model's own stream."""
    decoder = ClaudeStreamDecoder if is_claude(request, target) else GeminiStreamDecoder
    return decoder(request, target, now)


def output_limit(request: ChatRequest, target: Target) -> int | None:
    """How many tokens the answer may have at most; None where nothing limits them."""
    limit = claude_output_limit if is_claude(request, target) else gemini_output_limit
    return limit(request, target)


def encode_count(request: ChatRequest, target: Target) -> HttpRequest:
    """The HTTP request for the number of tokens in a request; raises as the model's own wire does."""
    if is_claude(request, target):
        return claude_token_count.encode_vertex_count(request, target)
    return gemini_token_count.encode_count(request, target)


def decode_count(response: HttpResponse, request: ChatRequest, target: Target, now: float) -> int:
    """The number of tokens; raises as the model's own wire does."""
    wire = claude_token_count.decode_count if is_claude(request, target) else gemini_token_count.decode_count
    return wire(response, request, target, now)
