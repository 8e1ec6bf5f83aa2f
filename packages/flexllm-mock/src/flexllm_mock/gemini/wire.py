"""Gemini's wire: content generation and token counts, on the Developer API and on Vertex AI."""

from __future__ import annotations

import json
from functools import partial
from typing import Any

from flexllm_mock.answers import answer
from flexllm_mock.asgi import EVENT_STREAM_TYPE, ApiError, ApiRequest, Endpoint, Reply, query_fields
from flexllm_mock.config import MockConfig
from flexllm_mock.gemini.answer import Generation, chunks, document
from flexllm_mock.gemini.batches import VERBS, BatchCreationEndpoint
from flexllm_mock.gemini.embeddings import BatchEmbedEndpoint, EmbedEndpoint, PredictEndpoint
from flexllm_mock.gemini.errors import GoogleErrors
from flexllm_mock.gemini.fields import Fields, read_fields
from flexllm_mock.gemini.paths import MODEL_PATH
from flexllm_mock.gemini.request import GeminiCall, parse_generate
from flexllm_mock.identity import answer_key, content_digest
from flexllm_mock.jobs import RunRow
from flexllm_mock.jsontext import read_object
from flexllm_mock.scalars import SchemaError
from flexllm_mock.scripted import Prescribed
from flexllm_mock.signatures import Signer
from flexllm_mock.storage import Storage

# What neither changes the text of an answer nor is in the digest already.
_NOT_IN_KEY = frozenset(("model", "contents", "systemInstruction"))
_LIMITS = frozenset(("maxOutputTokens", "stopSequences", "candidateCount"))


class GeminiWire:
    """The generateContent API at any prefix, under `/v1` and `/v1beta`, and its paths on Vertex AI."""

    def __init__(self, config: MockConfig, storage: Storage, run: RunRow) -> None:
        self._endpoints: dict[tuple[str, bool], Endpoint] = {}
        for vertex in (False, True):
            self._endpoints["generateContent", vertex] = GenerateEndpoint(config, vertex=vertex)
            self._endpoints["streamGenerateContent", vertex] = StreamEndpoint(config, vertex=vertex)
            self._endpoints["countTokens", vertex] = CountEndpoint(config, vertex=vertex)
            self._endpoints["embedContent", vertex] = EmbedEndpoint(config, vertex=vertex)
            self._endpoints["batchEmbedContents", vertex] = BatchEmbedEndpoint(config, vertex=vertex)
        self._endpoints["predict", True] = PredictEndpoint(config, vertex=True)
        for verb in VERBS:
            self._endpoints[verb, False] = BatchCreationEndpoint(config, storage, run)

    def find(self, path: str) -> Endpoint | None:
        """Return the endpoint that serves a path, or None."""
        match = MODEL_PATH.fullmatch(path)
        if match is None:
            return None
        vertex = match["vertex"] is not None or match["publisher"] is not None
        return self._endpoints.get((match["verb"], vertex))


class GenerateEndpoint(GoogleErrors):
    """`POST .../models/{model}:generateContent`."""

    methods = frozenset(("POST",))
    generates = True
    kind = "generate"

    def __init__(self, config: MockConfig, *, vertex: bool) -> None:
        super().__init__(config.seed)
        self._config = config
        self._signer = Signer(self._key, "gemini-thought")
        self.url_key = not vertex
        self.bad_key_status = 401 if vertex else 400

    def read(self, request: ApiRequest) -> None:
        """Parse the body and identify its content: model, contents, and the instructions if there are any."""
        match = MODEL_PATH.fullmatch(request.path)
        assert match is not None
        request.model = match["model"]
        payload = request.payload = read_fields(read_object(request.body), self.kind)
        content = {"contents": payload.get("contents"), "model": request.model}
        if "systemInstruction" in payload:
            content["systemInstruction"] = payload["systemInstruction"]
        request.digest = content_digest(content)

    def reply(self, request: ApiRequest, literal: Prescribed | None = None) -> Reply:
        """Answer with one document."""
        generation = self._generate(request, literal)
        longest = max([choice.size for choice in generation.choices])
        return _with_costs(Reply(200, b"", body=document(generation).encode(), tokens=longest), generation)

    def _parse(self, request: ApiRequest, payload: Fields) -> GeminiCall:
        model = request.model or ""
        if self._config.strict_models and model not in self._config.models:
            raise ApiError(404, f"models/{model} is not found, or is not supported for this method.")
        return parse_generate(payload, model, self._config.response_len, partial(self._signer.made, content=model))

    def _generate(self, request: ApiRequest, literal: Prescribed | None) -> Generation:
        payload = request.payload or {}
        call = self._parse(request, payload)
        if request.cached_tokens is not None:
            call.cached_tokens = min(request.cached_tokens, call.prompt_tokens - 1)
        key = call.question.key = answer_key(self._key, request.digest, _key_fields(payload))
        if literal is not None:
            call.follow(call.question.prescribe(literal))
        try:
            choices = answer(call.question)
        except SchemaError as error:
            place = "tools" if call.question.tools else "generation_config.response_schema"
            raise ApiError(400, f"Invalid schema at '{place}': {error}", param=place) from error
        signatures = [self._signer.sign(bytes((index,)) + key, call.model) for index in range(len(choices))]
        return Generation(key.hex()[:24], call, choices, signatures)


class StreamEndpoint(GenerateEndpoint):
    """`POST .../models/{model}:streamGenerateContent`: server-sent events with `alt=sse`, else a JSON array."""

    def read(self, request: ApiRequest) -> None:
        """Parse the body; the URL says how to stream."""
        request.event_stream = _wants_events(request)
        super().read(request)

    def reply(self, request: ApiRequest, literal: Prescribed | None = None) -> Reply:
        """Answer with a stream."""
        generation = self._generate(request, literal)
        steps = chunks(generation)
        if request.event_stream:
            events = [f"data: {step}\r\n\r\n" if step else "" for step in steps]
            return _with_costs(Reply(200, b"", steps=events, content_type=EVENT_STREAM_TYPE), generation)
        return _with_costs(Reply(200, b"", steps=_as_array(steps)), generation)

    def refuse(self, request: ApiRequest, problem: ApiError) -> Reply:
        """Give an error Google's shape, in a list where the answer would have been one."""
        reply = super().refuse(request, problem)
        if not _wants_events(request):
            reply.body = b"[" + reply.body + b"]"
        return reply


class CountEndpoint(GenerateEndpoint):
    """`POST .../models/{model}:countTokens`."""

    generates = False
    kind = "count"

    def read(self, request: ApiRequest) -> None:
        """Parse the body; a count is no repetition of the call that it prepares, so it has no digest."""
        super().read(request)
        request.digest = None

    def reply(self, request: ApiRequest, literal: Prescribed | None = None) -> Reply:
        """Count the tokens of the prompt."""
        payload = request.payload or {}
        inner = payload.get("generateContentRequest")
        if inner is not None and "contents" in payload:
            raise ApiError(400, "Only one of contents and generate_content_request can be set.")
        call = self._parse(request, payload if inner is None else inner)
        counted = {"totalTokens": call.prompt_tokens}
        if call.cached_tokens:
            counted["cachedContentTokenCount"] = call.cached_tokens
        return Reply(200, b"", body=json.dumps(counted, separators=(",", ":")).encode())


def _with_costs(reply: Reply, generation: Generation) -> Reply:
    reply.prompt_tokens = generation.call.prompt_tokens
    reply.output_tokens = sum([choice.size for choice in generation.choices])
    return reply


def _key_fields(payload: Fields) -> dict[str, Any]:
    """Return what an answer depends on besides the content: all but the limits, which only cut it."""
    others = {name: value for name, value in payload.items() if name not in _NOT_IN_KEY}
    config = {name: value for name, value in payload.get("generationConfig", {}).items() if name not in _LIMITS}
    return {**others, "generationConfig": config}


def _wants_events(request: ApiRequest) -> bool:
    return ("alt", "sse") in query_fields(request.query)


def _as_array(steps: list[str]) -> list[str]:
    """Put the commas and brackets of an array around chunks, some of which may be empty."""
    written: list[str] = []
    separator = "["
    for step in steps:
        written.append(separator + step if step else "")
        separator = ",\r\n" if step else separator
    written[-1] += "]"
    return written
