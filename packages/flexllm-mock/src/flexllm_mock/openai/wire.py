"""OpenAI's wire: which endpoint serves a path, and chat completions."""

from __future__ import annotations

from hashlib import blake2b

from flexllm_mock.answers import answer
from flexllm_mock.asgi import EVENT_STREAM_TYPE, ApiError, ApiRequest, Endpoint, Reply
from flexllm_mock.config import MockConfig
from flexllm_mock.identity import answer_key, chat_digest
from flexllm_mock.jsontext import read_object
from flexllm_mock.openai.chat import Completion, chunks, document
from flexllm_mock.openai.completions import CompletionsEndpoint
from flexllm_mock.openai.embeddings import EmbeddingsEndpoint
from flexllm_mock.openai.errors import OpenAIErrors, unknown_model
from flexllm_mock.openai.logprobs import score_choices
from flexllm_mock.openai.models import CREATED
from flexllm_mock.openai.moderations import ModerationsEndpoint
from flexllm_mock.openai.request import ChatCall, parse_chat
from flexllm_mock.scalars import SchemaError
from flexllm_mock.scripted import Prescribed

# What neither changes the text of an answer nor is in the digest already.
_NOT_IN_KEY = frozenset(
    {"model", "messages", "stream", "stream_options", "max_tokens", "max_completion_tokens", "stop", "n"}
    | {"logprobs", "top_logprobs"}
)


class OpenAIWire:
    """The OpenAI API at any prefix, `/v1` or another."""

    def __init__(self, config: MockConfig) -> None:
        self._chat = ChatEndpoint(config)
        self._completions = CompletionsEndpoint(config)
        self._others: dict[str, Endpoint] = {
            "embeddings": EmbeddingsEndpoint(config),
            "moderations": ModerationsEndpoint(config),
        }

    def find(self, path: str) -> Endpoint | None:
        """Return the endpoint that serves a path, or None."""
        if path.endswith("/chat/completions"):
            return self._chat
        if path.endswith("/completions"):
            return self._completions
        return self._others.get(path.rpartition("/")[2])


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
        request.digest = chat_digest(payload.get("messages"), model)
        request.event_stream = payload.get("stream") is True

    def reply(self, request: ApiRequest, literal: Prescribed | None = None) -> Reply:
        """Answer a chat request, whole or as a stream."""
        call = parse_chat(request.payload or {}, self._config.response_len)
        if self._config.strict_models and call.model not in self._config.models:
            raise unknown_model(call.model)
        if request.cached_tokens is not None:
            call.cached_tokens = min(request.cached_tokens, call.prompt_tokens - 1)
        key = call.question.key = answer_key(self._key, request.digest, request.payload or {}, _NOT_IN_KEY)
        if literal is not None:
            call.follow(call.question.prescribe(literal))
        try:
            choices = answer(call.question)
        except SchemaError as error:
            raise ApiError(400, f"Invalid schema for {call.schema_place}: {error}.", param=call.schema_place) from error
        mark = key.hex()
        completion = Completion(f"chatcmpl-{mark[:24]}", CREATED, call, choices, self._fingerprint)
        if call.logprobs is not None:
            completion.scores = score_choices(choices, key, call.logprobs)
        return _as_reply(call, completion, b"req_" + mark[24:56].encode())


def _as_reply(call: ChatCall, completion: Completion, request_id: bytes) -> Reply:
    sizes = [choice.size for choice in completion.choices]
    if call.stream:
        reply = Reply(200, request_id, steps=chunks(completion), content_type=EVENT_STREAM_TYPE)
    else:
        reply = Reply(200, request_id, body=document(completion).encode(), tokens=max(sizes))
    reply.prompt_tokens, reply.output_tokens = call.prompt_tokens, sum(sizes)
    return reply
