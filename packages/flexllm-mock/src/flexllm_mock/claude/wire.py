"""Claude's wire: messages and token counts, on the vendor's own API and on Vertex AI."""

from __future__ import annotations

import json
import re
from typing import Any

from flexllm_mock.answers import answer
from flexllm_mock.asgi import EVENT_STREAM_TYPE, ApiError, ApiRequest, Endpoint, Reply, header
from flexllm_mock.claude.answer import Message, document, events
from flexllm_mock.claude.batches import MessageBatchesEndpoint
from flexllm_mock.claude.errors import REQUEST_ID_HEADER, ClaudeErrors, unknown_model
from flexllm_mock.claude.request import MessagesCall, parse_messages
from flexllm_mock.config import MockConfig
from flexllm_mock.gemini.errors import GoogleErrors
from flexllm_mock.identity import answer_key, chat_digest, content_digest
from flexllm_mock.jobs import RunRow
from flexllm_mock.jsontext import read_object
from flexllm_mock.scalars import SchemaError
from flexllm_mock.scripted import Prescribed
from flexllm_mock.signatures import Signer
from flexllm_mock.storage import Storage

# What neither changes the text of an answer nor is in the digest already.
_NOT_IN_KEY = frozenset(("model", "messages", "system", "stream", "max_tokens", "stop_sequences"))
_VERTEX = re.compile(
    r".*/projects/[^/]+/locations/[^/]+/publishers/anthropic/models/(?P<model>[^/:]+):(?P<verb>rawPredict|streamRawPredict)"
)
_VERTEX_COUNT = "count-tokens"
_OLD_FORMAT_BETA = "structured-outputs-"
"""With this in `anthropic-beta`, what is `output_config.format` now goes by the name it had before, `output_format`."""
_FROM_GOOGLE = (401, 403, 429)


def _config_of(payload: dict[str, Any]) -> dict[str, Any]:
    config = payload.get("output_config")
    return config if isinstance(config, dict) else {}


class ClaudeWire:
    """The Messages API at any prefix, and Claude on Vertex AI."""

    def __init__(self, config: MockConfig, storage: Storage, run: RunRow) -> None:
        self._messages = MessagesEndpoint(config)
        self._batches = MessageBatchesEndpoint(config, storage, run)
        self._count = CountEndpoint(config)
        self._vertex = VertexMessagesEndpoint(config)
        self._vertex_count = VertexCountEndpoint(config)

    def find(self, path: str) -> Endpoint | None:
        """Return the endpoint that serves a path, or None."""
        if path.endswith("/messages"):
            return self._messages
        if path.endswith("/messages/count_tokens"):
            return self._count
        if self._batches.serves(path):
            return self._batches
        match = _VERTEX.fullmatch(path)
        if match is None:
            return None
        return self._vertex_count if match["model"] == _VERTEX_COUNT else self._vertex


class MessagesEndpoint(ClaudeErrors):
    """`POST {prefix}/messages`."""

    methods = frozenset(("POST",))
    generates = True

    def __init__(self, config: MockConfig) -> None:
        super().__init__(config.seed)
        self._config = config
        self._signer = Signer(self._key, "claude-thinking")

    def read(self, request: ApiRequest) -> None:
        """Parse the body and identify its content: model, messages, and the system prompt if there is one."""
        payload = request.payload = read_object(request.body)
        self._identify(request, payload)

    def _identify(self, request: ApiRequest, payload: dict[str, object]) -> None:
        model = payload.get("model")
        if isinstance(model, str):
            request.model = model
        messages = payload.get("messages")
        if "system" in payload:
            request.digest = content_digest({"messages": messages, "model": model, "system": payload["system"]})
        else:
            request.digest = chat_digest(messages, model)
        request.event_stream = payload.get("stream") is True

    def _parse(self, request: ApiRequest, *, counting: bool = False) -> MessagesCall:
        payload, version = self._body_and_version(request)
        call = parse_messages(payload, version, self._config.response_len, self._signer.made, counting=counting)
        if self._config.strict_models and call.model not in self._config.models:
            raise unknown_model(call.model)
        return call

    def _body_and_version(self, request: ApiRequest) -> tuple[dict[str, Any], object]:
        payload, version = request.payload or {}, header(request, b"anthropic-version")
        if "output_format" in payload and _OLD_FORMAT_BETA in (header(request, b"anthropic-beta") or ""):
            payload = {**payload, "output_config": {**_config_of(payload), "format": payload["output_format"]}}
            del payload["output_format"]
        return payload, version

    def reply(self, request: ApiRequest, literal: Prescribed | None = None) -> Reply:
        """Answer a messages request, whole or as a stream."""
        call = self._parse(request)
        if request.cached_tokens is not None:
            call.usage = call.usage.with_cache(request.cached_tokens)
        key = call.question.key = answer_key(self._key, request.digest, request.payload or {}, _NOT_IN_KEY)
        if literal is not None:
            call.follow(call.question.prescribe(literal))
        try:
            [choice] = answer(call.question)
        except SchemaError as error:
            place = "tools" if call.question.tools else "output_config.format.schema"
            raise ApiError(400, f"{place}: Invalid schema: {error}", param=place) from error
        mark = key.hex()
        shown = "".join(choice.reasoning) if call.shows_thinking else ""
        message = Message(f"msg_{mark[:24]}", call, choice, self._signer.sign(key, shown))
        request_id = b"req_" + mark[24:48].encode()
        if call.stream:
            reply = Reply(200, request_id, steps=events(message), content_type=EVENT_STREAM_TYPE)
        else:
            reply = Reply(200, request_id, body=document(message).encode(), tokens=choice.size)
        reply.id_header = REQUEST_ID_HEADER
        reply.prompt_tokens, reply.output_tokens = call.usage.total, choice.size
        return reply


class CountEndpoint(MessagesEndpoint):
    """`POST {prefix}/messages/count_tokens`."""

    generates = False

    def read(self, request: ApiRequest) -> None:
        """Parse the body; a count is no repetition of the call that it prepares, so it has no digest."""
        super().read(request)
        request.digest = None

    def reply(self, request: ApiRequest, literal: Prescribed | None = None) -> Reply:
        """Count the tokens of the prompt."""
        body = json.dumps({"input_tokens": self._parse(request, counting=True).usage.total}).encode()
        return Reply(200, self._request_id(request), body=body, id_header=REQUEST_ID_HEADER)


class _OnVertex(MessagesEndpoint):
    """Claude on Vertex AI: the version comes in the body, and refusals before the model come from Google."""

    def __init__(self, config: MockConfig) -> None:
        super().__init__(config)
        self._google = GoogleErrors(config.seed)

    def refuse(self, request: ApiRequest, problem: ApiError) -> Reply:
        """Give the error of whoever refuses: Google for keys and quotas, else Claude."""
        if problem.status in _FROM_GOOGLE:
            return self._google.refuse(request, problem)
        return super().refuse(request, problem)

    def _body_and_version(self, request: ApiRequest) -> tuple[dict[str, Any], object]:
        payload = dict(request.payload or {})
        return payload, payload.pop("anthropic_version", None)


class VertexMessagesEndpoint(_OnVertex):
    """`POST .../publishers/anthropic/models/{model}:rawPredict` and `:streamRawPredict`."""

    def read(self, request: ApiRequest) -> None:
        """Parse the body; the model and whether to stream are in the path."""
        payload = read_object(request.body)
        match = _VERTEX.fullmatch(request.path)
        assert match is not None
        if "model" in payload:
            raise ApiError(400, "model: Extra inputs are not permitted")
        request.payload = {**payload, "model": match["model"], "stream": match["verb"] == "streamRawPredict"}
        self._identify(request, request.payload)


class VertexCountEndpoint(_OnVertex, CountEndpoint):
    """`POST .../publishers/anthropic/models/count-tokens:rawPredict`."""
