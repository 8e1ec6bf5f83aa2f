"""Gemini's embeddings: of one content, of many, and at Vertex AI's older path."""

from __future__ import annotations

import json
from hashlib import blake2b
from typing import Any

from flexllm_mock.asgi import ApiError, ApiRequest, Reply
from flexllm_mock.config import MockConfig
from flexllm_mock.embedding import as_json, unit_vector
from flexllm_mock.gemini.content import count_tokens, read_parts
from flexllm_mock.gemini.errors import GoogleErrors, invalid, wrong
from flexllm_mock.gemini.fields import Fields, camel_case, read_fields
from flexllm_mock.gemini.paths import MODEL_PATH
from flexllm_mock.identity import content_digest
from flexllm_mock.jsontext import canonical, read_object
from flexllm_mock.scripted import Prescribed

_DEFAULT_DIMENSIONS, _MAX_DIMENSIONS = 3072, 4096
_MAX_REQUESTS = 100
_MAX_INSTANCES = 250


class EmbedEndpoint(GoogleErrors):
    """`POST .../models/{model}:embedContent`."""

    methods = frozenset(("POST",))
    generates = True

    def __init__(self, config: MockConfig, *, vertex: bool) -> None:
        super().__init__(config.seed)
        self._config = config
        self.url_key = not vertex
        self.bad_key_status = 401 if vertex else 400

    def read(self, request: ApiRequest) -> None:
        """Parse the body and identify its content."""
        match = MODEL_PATH.fullmatch(request.path)
        assert match is not None
        request.model = match["model"]
        request.payload = read_object(request.body)
        request.digest = content_digest({"input": request.payload, "model": request.model})

    def reply(self, request: ApiRequest, literal: Prescribed | None = None) -> Reply:
        """Answer with the vector of a content."""
        self._check_model(request)
        vector, tokens = self._embed(request, request.payload or {}, "")
        return _reply(f'{{"embedding":{{"values":{vector}}},"usageMetadata":{{"promptTokenCount":{tokens}}}}}')

    def _check_model(self, request: ApiRequest) -> None:
        if self._config.strict_models and request.model not in self._config.models:
            raise ApiError(404, f"models/{request.model} is not found, or is not supported for this method.")

    def _embed(self, request: ApiRequest, given: Fields, place: str) -> tuple[str, int]:
        """Return the vector of one content as JSON, and its tokens."""
        fields = read_fields(given, "embed", place)
        before = f"{place}." if place else ""
        content = fields.get("content")
        if content is None:
            raise invalid(f"{before}content", "the content is missing")
        tokens = sum(count_tokens([read_parts(content, f"{before}content")]).values())
        inner = fields.get("embedContentConfig")
        config = {camel_case(name): value for name, value in inner.items()} if isinstance(inner, dict) else {}
        dimensions = config.get("outputDimensionality", fields.get("outputDimensionality"))
        return self._vector(request, content.get("parts"), dimensions, f"{before}output_dimensionality"), tokens

    def _vector(self, request: ApiRequest, content: object, dimensions: object, place: str) -> str:
        size = _DEFAULT_DIMENSIONS if dimensions is None else dimensions
        if not isinstance(size, int) or isinstance(size, bool) or not 1 <= size <= _MAX_DIMENSIONS:
            raise wrong(place, f"an integer from 1 to {_MAX_DIMENSIONS}", dimensions)
        key = blake2b(canonical([request.model, content]), digest_size=32, key=self._key).digest()
        return as_json(unit_vector(key, size))


class BatchEmbedEndpoint(EmbedEndpoint):
    """`POST .../models/{model}:batchEmbedContents`."""

    def reply(self, request: ApiRequest, literal: Prescribed | None = None) -> Reply:
        """Answer with the vector of each content."""
        self._check_model(request)
        payload = request.payload or {}
        requests = payload.get("requests")
        if not isinstance(requests, list) or not 1 <= len(requests) <= _MAX_REQUESTS:
            raise wrong("requests", f"a list of 1 to {_MAX_REQUESTS} requests", requests)
        vectors = list[str]()
        for at, each in enumerate(requests):
            if not isinstance(each, dict):
                raise wrong(f"requests[{at}]", "an object", each)
            vectors.append(f'{{"values":{self._embed(request, each, f"requests[{at}]")[0]}}}')
        return _reply(f'{{"embeddings":[{",".join(vectors)}]}}')


class PredictEndpoint(EmbedEndpoint):
    """`POST .../publishers/google/models/{model}:predict` on Vertex AI."""

    def reply(self, request: ApiRequest, literal: Prescribed | None = None) -> Reply:
        """Answer with the vector of each instance's text."""
        self._check_model(request)
        payload = request.payload or {}
        instances = payload.get("instances")
        if not isinstance(instances, list) or not 1 <= len(instances) <= _MAX_INSTANCES:
            raise wrong("instances", f"a list of 1 to {_MAX_INSTANCES} instances", instances)
        parameters: Any = payload.get("parameters") or {}
        dimensions = parameters.get("outputDimensionality") if isinstance(parameters, dict) else None
        predictions = list[str]()
        for at, each in enumerate(instances):
            text = each.get("content") if isinstance(each, dict) else None
            if not isinstance(text, str):
                raise wrong(f"instances[{at}].content", "a text", text)
            parts = [{"text": text}]
            tokens = sum(count_tokens([read_parts({"parts": parts}, f"instances[{at}].content")]).values())
            values = self._vector(request, parts, dimensions, "parameters.output_dimensionality")
            statistics = json.dumps({"truncated": False, "token_count": tokens})
            predictions.append(f'{{"embeddings":{{"values":{values},"statistics":{statistics}}}}}')
        return _reply(f'{{"predictions":[{",".join(predictions)}]}}')


def _reply(body: str) -> Reply:
    return Reply(200, b"", body=body.encode())
