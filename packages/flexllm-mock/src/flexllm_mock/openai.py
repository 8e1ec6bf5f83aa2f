"""OpenAI's wire: the endpoints for chat completions and models, and the shape of its errors."""

from __future__ import annotations

import json
from hashlib import blake2b
from typing import Any

from flexllm_mock.answers import answer
from flexllm_mock.asgi import EVENT_STREAM_TYPE, ApiError, ApiRequest, Endpoint, Reply
from flexllm_mock.config import MockConfig
from flexllm_mock.jsontext import canonical, read_object
from flexllm_mock.openai_chat import Completion, chunks, document
from flexllm_mock.openai_request import ChatCall, parse_chat
from flexllm_mock.scalars import SchemaError

CREATED = 1_763_600_000
"""Every `created`, in seconds since 1970: a clock would make equal requests differ."""

# What neither changes the text of an answer nor is in the digest already.
_NOT_IN_KEY = frozenset(
    ("model", "messages", "stream", "stream_options", "max_tokens", "max_completion_tokens", "stop", "n")
)
_KINDS = {403: "permission_error", 429: "requests"}
_CODES = {401: "invalid_api_key", 429: "rate_limit_exceeded", 500: "internal_error", 503: "overloaded"}


class OpenAIWire:
    """The OpenAI API at any prefix, `/v1` or another."""

    def __init__(self, config: MockConfig) -> None:
        self._chat = ChatEndpoint(config)
        self._models = ModelsEndpoint(config)

    def find(self, path: str) -> Endpoint | None:
        """Return the endpoint that serves a path, or None."""
        if path.endswith("/chat/completions"):
            return self._chat
        if path.endswith("/models") or "/models/" in path:
            return self._models
        return None


class OpenAIErrors:
    """Gives errors OpenAI's shape."""

    def __init__(self, seed: int) -> None:
        self._key = seed.to_bytes(8, "big", signed=True)

    def refuse(self, request: ApiRequest, problem: ApiError) -> Reply:
        """Answer with the four keys of OpenAI's error object."""
        status = problem.status
        error = {
            "message": problem.message,
            "type": problem.kind
            or _KINDS.get(status)
            or ("server_error" if status >= 500 else "invalid_request_error"),
            "param": problem.param,
            "code": problem.code or _CODES.get(status),
        }
        body = json.dumps({"error": error}, separators=(",", ":")).encode()
        mark = blake2b(request.path.encode("utf-8", "replace") + request.body, digest_size=16, key=self._key)
        return Reply(status, b"req_" + mark.hexdigest().encode(), body=body, headers=problem.headers)


class ChatEndpoint(OpenAIErrors):
    """`POST {prefix}/chat/completions`."""

    methods = frozenset(("POST",))
    generates = True

    def __init__(self, config: MockConfig) -> None:
        super().__init__(config.seed)
        self._config = config
        self._fingerprint = "fp_" + blake2b(self._key, digest_size=5).hexdigest()

    def read(self, request: ApiRequest) -> None:
        """Parse the body and identify its content."""
        payload = request.payload = read_object(request.body)
        model = payload.get("model")
        if model.__class__ is str:
            request.model = model
        request.digest = content_digest(model, payload.get("messages"))

    def reply(self, request: ApiRequest, literal: str | None = None) -> Reply:
        """Answer a chat request, whole or as a stream."""
        call = parse_chat(request.payload or {}, self._config.response_len)
        if self._config.strict_models and call.model not in self._config.models:
            raise unknown_model(call.model)
        key = self._content_key(request)
        call.question.key = key
        if literal is not None:
            # An answer that a test prescribes is not cut.
            call.question.literal, call.question.max_tokens, call.question.stop = literal, None, ()
        try:
            choices = answer(call.question)
        except SchemaError as error:
            raise ApiError(400, f"Invalid schema for {call.schema_place}: {error}.", param=call.schema_place) from error
        mark = key.hex()
        completion = Completion(f"chatcmpl-{mark[:24]}", CREATED, call, choices, self._fingerprint)
        return _as_reply(call, completion, b"req_" + mark[24:56].encode())

    def _content_key(self, request: ApiRequest) -> bytes:
        """Return the 32 bytes from which the answer is drawn."""
        payload = request.payload or {}
        others = {name: value for name, value in payload.items() if name not in _NOT_IN_KEY}
        content = request.digest or b""
        if others:
            content += canonical(others)
        return blake2b(content, digest_size=32, key=self._key).digest()


class ModelsEndpoint(OpenAIErrors):
    """`GET {prefix}/models` and `GET {prefix}/models/{id}`."""

    methods = frozenset(("GET",))
    generates = False

    def __init__(self, config: MockConfig) -> None:
        super().__init__(config.seed)
        self._models = config.models

    def read(self, request: ApiRequest) -> None:
        """Take the name of the model from the path."""
        _, _, name = request.path.partition("/models/")
        request.model = name or None

    def reply(self, request: ApiRequest, literal: str | None = None) -> Reply:
        """List the models, or describe one."""
        described = [
            {"id": name, "object": "model", "created": CREATED, "owned_by": "flexllm-mock"} for name in self._models
        ]
        found: Any = {"object": "list", "data": described}
        if request.model is not None:
            if request.model not in self._models:
                raise unknown_model(request.model)
            found = described[self._models.index(request.model)]
        body = json.dumps(found, separators=(",", ":")).encode()
        mark = blake2b(request.path.encode("utf-8", "replace"), digest_size=16, key=self._key)
        return Reply(200, b"req_" + mark.hexdigest().encode(), body=body)


def content_digest(model: object, messages: object) -> bytes:
    """Return the 16 bytes that identify what was asked of which model: BLAKE2b of the canonical JSON of the two."""
    return blake2b(canonical({"messages": messages, "model": model}), digest_size=16).digest()


def unknown_model(name: str) -> ApiError:
    """Return the error for a model that is not served."""
    return ApiError(404, f"The model {name!r} does not exist.", param="model", code="model_not_found")


def _as_reply(call: ChatCall, completion: Completion, request_id: bytes) -> Reply:
    if call.stream:
        return Reply(200, request_id, steps=chunks(completion), content_type=EVENT_STREAM_TYPE)
    longest = max([choice.size for choice in completion.choices])
    return Reply(200, request_id, body=document(completion).encode(), tokens=longest)
