"""What a call gives back: the answer, its usage, and the events of a stream."""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Literal

FinishReason = str
"""Why the model stopped, in OpenAI's words: `stop`, `length`, `tool_calls`, `content_filter`, or `other`;
a reason that is not known is kept as it came."""

_DETAILS = (
    "cached_tokens",
    "cache_write_tokens",
    "reasoning_tokens",
    "cache_write_1h_tokens",
    "audio_tokens",
    "output_audio_tokens",
)


@dataclass(slots=True)
class Usage:
    """Tokens of one call, in one normal form for all vendors.

    Attributes:
        prompt_tokens: Input tokens, cached ones and cache writes included.
        completion_tokens: Output tokens, reasoning included.
        total_tokens: Both together.
        cached_tokens: Input tokens that were read from the vendor's prompt cache.
        cache_write_tokens: Input tokens that were written to it.
        reasoning_tokens: Output tokens spent on thinking.
        cache_write_1h_tokens: Those of `cache_write_tokens` that live for an hour, which cost more.
        audio_tokens: Input tokens of sound.
        output_audio_tokens: Output tokens of sound.
    """

    prompt_tokens: int = 0
    completion_tokens: int = 0
    total_tokens: int = 0
    cached_tokens: int = 0
    cache_write_tokens: int = 0
    reasoning_tokens: int = 0
    cache_write_1h_tokens: int = 0
    audio_tokens: int = 0
    output_audio_tokens: int = 0

    @property
    def has_details(self) -> bool:
        """Whether any number but the first three is not 0; those of most answers are."""
        return bool(
            self.cached_tokens or self.cache_write_tokens or self.reasoning_tokens
            or self.cache_write_1h_tokens or self.audio_tokens or self.output_audio_tokens
        )  # fmt: skip

    def to_dict(self) -> dict[str, int]:
        """The usage as JSON; the details only where they are not 0."""
        out = {
            "prompt_tokens": self.prompt_tokens,
            "completion_tokens": self.completion_tokens,
            "total_tokens": self.total_tokens,
        }
        if self.has_details:
            out.update((name, value) for name in _DETAILS if (value := getattr(self, name)))
        return out

    def __add__(self, other: Usage) -> Usage:
        return Usage(
            self.prompt_tokens + other.prompt_tokens,
            self.completion_tokens + other.completion_tokens,
            self.total_tokens + other.total_tokens,
            self.cached_tokens + other.cached_tokens,
            self.cache_write_tokens + other.cache_write_tokens,
            self.reasoning_tokens + other.reasoning_tokens,
            self.cache_write_1h_tokens + other.cache_write_1h_tokens,
            self.audio_tokens + other.audio_tokens,
            self.output_audio_tokens + other.output_audio_tokens,
        )


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A function that the model wants called. `arguments` is the JSON text as the model wrote it."""

    id: str
    name: str
    arguments: str

    def to_dict(self) -> dict[str, Any]:
        """The call in OpenAI's shape, as it stands on an assistant message."""
        return {"id": self.id, "type": "function", "function": {"name": self.name, "arguments": self.arguments}}


@dataclass(slots=True)
class ChatCompletionResult:
    """The answer to one call.

    Attributes:
        content: The text, None when the model only called tools.
        reasoning_content: The text of its thinking, where the endpoint gives it.
        tool_calls: Functions to call; empty when there are none.
        finish_reason: Why it stopped (`FinishReason`); None when the server did not say.
        usage: Tokens; None when the server did not say.
        model: The model that answered, by the server's word.
        provider: `openai`, `claude`, `gemini` or `vertex`.
        endpoint: Name or base URL of the endpoint.
        response_id: The vendor's id of the answer.
        assistant_message: The message to put into the next turn's messages, opaque blocks included.
        raw: The server's JSON, when it was asked for; `data` is another name of it.
        choices: The texts of all choices when `n` was above 1; `content` is the first.
        cached: The answer came from the response cache and cost nothing.
        attempts: Requests sent for this answer.
        corrections: How often it was asked again because an answer broke its contract. Attempts, usage, cost and
            latency are sums over all those answers then.
        latency: Seconds of the successful request; for a stream, until its end.
        time_to_first_token: Seconds until the first token of a stream.
        cost: US dollars; None when the price is unknown.
        saved_cost: What an answer from the response cache cost when it was bought; None when that is unknown.
        cost_source: Where the price came from; `provider` when the answer itself said its cost, `estimated`
            when it said no tokens and a budget counts the most that it may have cost.
    """

    content: str | None
    reasoning_content: str | None = None
    tool_calls: tuple[ToolCall, ...] = ()
    finish_reason: FinishReason | None = None
    usage: Usage | None = None
    model: str | None = None
    provider: str | None = None
    endpoint: str | None = None
    response_id: str | None = None
    assistant_message: dict[str, Any] | None = field(default=None, repr=False)
    raw: Any = field(default=None, repr=False)
    choices: tuple[str | None, ...] = field(default=(), repr=False)
    cached: bool = False
    attempts: int = 1
    latency: float | None = None
    time_to_first_token: float | None = None
    cost: Decimal | None = None
    saved_cost: Decimal | None = None
    cost_source: str | None = None
    corrections: int = 0

    @property
    def data(self) -> Any:
        """Another name of `raw`."""
        return self.raw


@dataclass(frozen=True, slots=True)
class StreamEvent:
    """One event of a stream.

    Attributes:
        type: `content` and `reasoning` carry `text`; `tool_call` carries a whole call in `tool_call`;
            `done` is the last event and carries the whole answer in `result`.
    """

    type: Literal["content", "reasoning", "tool_call", "done"]
    text: str = ""
    tool_call: ToolCall | None = None
    result: ChatCompletionResult | None = None
