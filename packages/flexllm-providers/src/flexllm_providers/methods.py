"""ChatMethods: the single, streaming and sync methods of every client, written once over a ChatModel."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator, Callable, Iterator, Mapping
from dataclasses import replace
from types import TracebackType
from typing import Any, Literal, Self, TypedDict, Unpack, overload

from flexllm_core import sync
from flexllm_core.errors import ConfigError
from flexllm_core.messages import MessagesInput, normalize_messages
from flexllm_core.options import ChatOptions, request_from_options
from flexllm_core.protocol import ChatModel
from flexllm_core.requests import ChatRequest
from flexllm_core.results import ChatCompletionResult, StreamEvent


class Thoughts(TypedDict):
    """The two texts of an answer; "" where there is none."""

    thought: str
    answer: str


class ChatMethods:
    """The methods that a client has over its ChatModel.

    Use a client with `async with` (or `with`, for the sync methods), or call `aclose` (`close`) in the
    end. Every method may be used on any event loop, and the sync ones inside a running loop too.

    Args:
        chat_model: Answers the requests.
        model: The model of calls that name none.
        params: Default params of every call.
        read: Reads a server's JSON (`ProviderClient.read`).
        counter: Counts the tokens of requests, as a `TokenCounter` does; None for a client that cannot.
    """

    def __init__(
        self,
        chat_model: ChatModel,
        *,
        model: str | None,
        params: Mapping[str, Any],
        read: Callable[[Mapping[str, Any]], ChatCompletionResult],
        counter: ChatModel | None = None,
    ) -> None:
        self.chat_model = chat_model
        self._counter = counter
        self._read = read
        self.model = model
        self.params = params

    def request(
        self, messages: MessagesInput, *, keep_raw: bool = False, **options: Unpack[ChatOptions]
    ) -> ChatRequest:
        """The request that a call with these arguments sends.

        Raises:
            InputError: The messages are unusable.
            ConfigError: An option is unknown or unusable.
        """
        request = request_from_options(normalize_messages(messages), options, self.model)
        return replace(request, params={**self.params, **request.params}, keep_raw=keep_raw)

    def _answering(self, options: ChatOptions, chat_model: ChatModel | None = None) -> ChatModel:
        """What answers a call with these options."""
        chat_model = chat_model or self.chat_model
        if not options.get("preprocess"):
            return chat_model
        from flexllm_providers.media.model import embedding_media  # only messages with media need it

        return embedding_media(chat_model, options["preprocess"], options.get("media_root"))

    async def chat(self, messages: MessagesInput, **options: Unpack[ChatOptions]) -> ChatCompletionResult:
        """Answer `messages` (a text, a message or a list of messages).

        Raises:
            LLMRequestError: There is no answer.
            InputError: The messages are unusable.
            ConfigError: An option is unknown or unusable.
        """
        return await self._answering(options).complete(self.request(messages, **options))

    async def chat_stream(
        self, messages: MessagesInput, **options: Unpack[ChatOptions]
    ) -> AsyncGenerator[StreamEvent, None]:
        """Answer `messages` as events; the last one is `done` and carries the whole answer in `result`."""
        async with contextlib.aclosing(self._answering(options).stream(self.request(messages, **options))) as events:
            async for event in events:
                yield event

    @overload
    async def chat_completions(
        self,
        messages: MessagesInput,
        *,
        return_usage: Literal[False] = ...,
        return_raw: Literal[False] = ...,
        **options: Unpack[ChatOptions],
    ) -> str: ...
    @overload
    async def chat_completions(
        self,
        messages: MessagesInput,
        *,
        return_usage: Literal[True],
        return_raw: bool = ...,
        **options: Unpack[ChatOptions],
    ) -> ChatCompletionResult: ...
    @overload
    async def chat_completions(
        self,
        messages: MessagesInput,
        *,
        return_usage: bool = ...,
        return_raw: Literal[True],
        **options: Unpack[ChatOptions],
    ) -> ChatCompletionResult: ...
    @overload
    async def chat_completions(
        self,
        messages: MessagesInput,
        *,
        return_usage: bool = ...,
        return_raw: bool = ...,
        **options: Unpack[ChatOptions],
    ) -> str | ChatCompletionResult: ...
    async def chat_completions(
        self,
        messages: MessagesInput,
        *,
        return_usage: bool = False,
        return_raw: bool = False,
        **options: Unpack[ChatOptions],
    ) -> str | ChatCompletionResult:
        """Answer `messages` with the text, "" when the model only called tools.

        With `return_usage` or `return_raw` the ChatCompletionResult; `return_raw` keeps the server's
        JSON in its `raw`. `chat` is the same with one return type.
        """
        result = await self._answering(options).complete(self.request(messages, keep_raw=return_raw, **options))
        return result if return_usage or return_raw else result.content or ""

    async def chat_completions_stream(
        self, messages: MessagesInput, **options: Unpack[ChatOptions]
    ) -> AsyncGenerator[str, None]:
        """Answer `messages` as pieces of text."""
        async with contextlib.aclosing(self.chat_stream(messages, **options)) as events:
            async for event in events:
                if event.type == "content":
                    yield event.text

    async def count_tokens(self, messages: MessagesInput, **options: Unpack[ChatOptions]) -> int:
        """How many input tokens `messages` are for the model, with the tools and whatever else the options add.

        The endpoint itself counts, which costs nothing: Claude's and Gemini's APIs and Vertex AI have a call for it.

        Raises:
            ConfigError: The endpoint has no such call, as OpenAI-compatible ones; or an option is unknown.
            LLMRequestError: There is no answer.
            InputError: The messages are unusable.
        """
        if self._counter is None:
            raise ConfigError(f"{type(self).__name__} cannot count tokens")
        result = await self._answering(options, self._counter).complete(self.request(messages, **options))
        return result.usage.prompt_tokens if result.usage is not None else 0

    def count_tokens_sync(self, messages: MessagesInput, **options: Unpack[ChatOptions]) -> int:
        """`count_tokens`, waiting for the number."""
        return sync.run(lambda: self.count_tokens(messages, **options))

    def chat_sync(self, messages: MessagesInput, **options: Unpack[ChatOptions]) -> ChatCompletionResult:
        """`chat`, waiting for the answer."""
        return sync.run(lambda: self.chat(messages, **options))

    def chat_stream_sync(self, messages: MessagesInput, **options: Unpack[ChatOptions]) -> Iterator[StreamEvent]:
        """`chat_stream` as an ordinary iterator."""
        return sync.iterate(lambda: self.chat_stream(messages, **options))

    @overload
    def chat_completions_sync(
        self,
        messages: MessagesInput,
        *,
        return_usage: Literal[False] = ...,
        return_raw: Literal[False] = ...,
        **options: Unpack[ChatOptions],
    ) -> str: ...
    @overload
    def chat_completions_sync(
        self,
        messages: MessagesInput,
        *,
        return_usage: Literal[True],
        return_raw: bool = ...,
        **options: Unpack[ChatOptions],
    ) -> ChatCompletionResult: ...
    @overload
    def chat_completions_sync(
        self,
        messages: MessagesInput,
        *,
        return_usage: bool = ...,
        return_raw: Literal[True],
        **options: Unpack[ChatOptions],
    ) -> ChatCompletionResult: ...
    @overload
    def chat_completions_sync(
        self,
        messages: MessagesInput,
        *,
        return_usage: bool = ...,
        return_raw: bool = ...,
        **options: Unpack[ChatOptions],
    ) -> str | ChatCompletionResult: ...
    def chat_completions_sync(
        self,
        messages: MessagesInput,
        *,
        return_usage: bool = False,
        return_raw: bool = False,
        **options: Unpack[ChatOptions],
    ) -> str | ChatCompletionResult:
        """`chat_completions`, waiting for the answer."""
        return sync.run(
            lambda: self.chat_completions(messages, return_usage=return_usage, return_raw=return_raw, **options)
        )

    def chat_completions_stream_sync(self, messages: MessagesInput, **options: Unpack[ChatOptions]) -> Iterator[str]:
        """`chat_completions_stream` as an ordinary iterator."""
        return sync.iterate(lambda: self.chat_completions_stream(messages, **options))

    def parse_thoughts(self, raw: ChatCompletionResult | Mapping[str, Any]) -> Thoughts:
        """What the model thought and what it answered.

        Args:
            raw: A result, or the server's JSON that `return_raw=True` keeps in `result.raw`.

        Raises:
            LLMRequestError: It is no answer of this endpoint's kind.
        """
        result = raw if isinstance(raw, ChatCompletionResult) else self._read(raw)
        return {"thought": result.reasoning_content or "", "answer": result.content or ""}

    def __reduce__(self) -> tuple[Any, ...]:
        # Said here, as the first thing inside that cannot be pickled would tell nobody what to do.
        name = type(self).__name__
        raise TypeError(f"{name} holds connections and cannot be pickled or copied; make one where it is used")

    async def aclose(self) -> None:
        """Free connections and files."""
        await self.chat_model.aclose()

    def close(self) -> None:
        """`aclose`, for users of the sync methods."""
        sync.run(self.aclose)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
