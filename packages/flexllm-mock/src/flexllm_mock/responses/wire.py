"""OpenAI's Responses API: creates responses, and keeps them to be read, gone on from, and deleted."""

from __future__ import annotations

import asyncio
from typing import Any

from flexllm_mock.answers import answer
from flexllm_mock.asgi import EVENT_STREAM_TYPE, ApiError, ApiRequest, Endpoint, Reply
from flexllm_mock.config import MockConfig
from flexllm_mock.identity import answer_key, content_digest
from flexllm_mock.jsontext import read_object, written
from flexllm_mock.openai.errors import OpenAIErrors, unknown_model
from flexllm_mock.openai.logprobs import score_choices
from flexllm_mock.openai.parameters import invalid
from flexllm_mock.responses.answer import Answered, document, response_id_of
from flexllm_mock.responses.events import events
from flexllm_mock.responses.items import Item, read_items
from flexllm_mock.responses.request import ResponsesCall, parse_response
from flexllm_mock.responses.stored import RESPONSES_PATH, StoredResponse, StoredResponsesEndpoint
from flexllm_mock.scalars import SchemaError
from flexllm_mock.scripted import Prescribed
from flexllm_mock.signatures import Signer
from flexllm_mock.storage import Storage

_COUNT = "input_tokens"
# What neither changes the text of an answer nor is in the digest already.
_NOT_IN_KEY = frozenset(
    {"model", "input", "instructions", "previous_response_id", "stream", "stream_options", "max_output_tokens"}
    | {"store", "background", "include", "top_logprobs", "metadata", "user", "safety_identifier", "prompt_cache_key"}
)


class ResponsesWire:
    """`{prefix}/responses` and what is below it."""

    def __init__(self, config: MockConfig, storage: Storage) -> None:
        self._create = ResponsesEndpoint(config, storage)
        self._count = InputTokensEndpoint(config, storage)
        self._stored = StoredResponsesEndpoint(config, storage)

    def find(self, path: str) -> Endpoint | None:
        """Return the endpoint that serves a path, or None."""
        match = RESPONSES_PATH.fullmatch(path)
        if match is None:
            return None
        if match["id"] is None:
            return self._create
        return self._count if match["id"] == _COUNT and match["verb"] is None else self._stored


class ResponsesEndpoint(OpenAIErrors):
    """`POST {prefix}/responses`."""

    methods = frozenset(("POST",))
    generates = True

    def __init__(self, config: MockConfig, storage: Storage) -> None:
        super().__init__(config.seed)
        self._config = config
        self._storage = storage
        self._signer = Signer(self._key, "openai-reasoning")

    def read(self, request: ApiRequest) -> None:
        """Parse the body and identify its content: model, input, and what stands before the input."""
        payload = request.payload = read_object(request.body)
        model = payload.get("model")
        if isinstance(model, str):
            request.model = model
        content = {"input": payload.get("input"), "model": model}
        for name in ("instructions", "previous_response_id"):
            if payload.get(name) is not None:
                content[name] = payload[name]
        request.digest = content_digest(content)
        request.event_stream = payload.get("stream") is True

    def reply(self, request: ApiRequest, literal: Prescribed | None = None) -> Reply:
        """Answer a request, whole or as a stream, and keep the response unless told not to."""
        payload = request.payload or {}
        call = self._parse(payload)
        key = call.question.key = answer_key(self._key, request.digest, payload, _NOT_IN_KEY)
        if request.cached_tokens is not None:
            call.cached_tokens = min(request.cached_tokens, call.prompt_tokens - 1)
        if literal is not None:
            call.follow(call.question.prescribe(literal))
        try:
            [choice] = answer(call.question)
        except SchemaError as error:
            place = "tools" if call.question.tools else "text.format.schema"
            raise ApiError(400, f"Invalid schema for {place}: {error}.", param=place) from error
        scores = [] if call.logprobs is None else score_choices([choice], key, call.logprobs)[0]
        sealed = self._signer.sign(key, "") if call.encrypts_reasoning else None
        answered = Answered(self._mark(key, payload), call, choice, sealed, scores)
        final = document(answered)
        steps = events(answered) if call.stream else None
        if payload.get("store") is not False:
            given = payload["input"]
            own = len(given) if isinstance(given, list) else 1
            now = asyncio.get_running_loop().time()
            streamed = "".join(steps) if call.background and steps else None
            stored = StoredResponse(written(final), written(call.items), own, request.digest, now, streamed)
            self._storage.put(final["id"], stored, stored.size)
        request_id = b"req_" + key.hex()[24:56].encode()
        if call.stream:
            reply = Reply(200, request_id, steps=steps, content_type=EVENT_STREAM_TYPE)
        else:
            shown = document(answered, "queued") if call.background else final
            reply = Reply(200, request_id, body=written(shown).encode(), tokens=0 if call.background else choice.size)
        reply.prompt_tokens, reply.output_tokens = call.prompt_tokens, choice.size
        return reply

    def _mark(self, key: bytes, payload: dict[str, Any]) -> str:
        """Return what identifies a response: unlike the text, it depends on all that was sent but the streaming."""
        sent = {name: value for name, value in payload.items() if name not in ("stream", "stream_options")}
        return answer_key(self._key, key, sent).hex()[:48]

    def _parse(self, payload: dict[str, Any]) -> ResponsesCall:
        call = parse_response(payload, self._config.response_len, self._conversation)
        if self._config.strict_models and call.model not in self._config.models:
            raise unknown_model(call.model)
        return call

    def _conversation(self, payload: dict[str, Any]) -> list[Item]:
        """Return all items that the model sees: those of the response that is gone on from, then those of the input."""
        items = read_items(payload["input"], self._find_item, self._is_sealed_here)
        previous = payload.get("previous_response_id")
        if previous is None:
            return items
        if not isinstance(previous, str):
            raise invalid("previous_response_id", "a response's id", previous)
        stored = self._storage.get(StoredResponse, previous)
        if stored is None:
            text = f"Previous response with id '{previous}' not found."
            raise ApiError(400, text, param="previous_response_id", code="previous_response_not_found")
        return stored.conversation + items

    def _find_item(self, name: str) -> Item | None:
        stored = self._storage.get(StoredResponse, response_id_of(name))
        output: list[Item] = [] if stored is None else stored.shown["output"]
        return next((item for item in output if item["id"] == name), None)

    def _is_sealed_here(self, sealed: str) -> bool:
        return self._signer.made(sealed, "")


class InputTokensEndpoint(ResponsesEndpoint):
    """`POST {prefix}/responses/input_tokens`."""

    generates = False

    def read(self, request: ApiRequest) -> None:
        """Parse the body; a count is no repetition of the call that it prepares, so it has no digest."""
        super().read(request)
        request.digest = None

    def reply(self, request: ApiRequest, literal: Prescribed | None = None) -> Reply:
        """Count the tokens of the input."""
        counted = {"object": "response.input_tokens", "input_tokens": self._parse(request.payload or {}).prompt_tokens}
        return Reply(200, self._request_id(request), body=written(counted).encode())
