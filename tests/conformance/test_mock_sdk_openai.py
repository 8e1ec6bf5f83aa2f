"""The mock's OpenAI wire, driven through OpenAI's own client and held against its types."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest

openai = pytest.importorskip("openai", reason="needs OpenAI's SDK: pip install openai")
pydantic = pytest.importorskip("pydantic", reason="needs pydantic, which OpenAI's SDK brings")

from openai.types import Completion, CreateEmbeddingResponse, Model, ModerationCreateResponse  # noqa: E402 only where the SDK is installed
from openai.types.chat import ChatCompletion, ChatCompletionChunk  # noqa: E402

from flexllm_mock import FaultRule, MockServer  # noqa: E402

SDK = "openai"

HELLO: Any = [{"role": "user", "content": "Hello there"}]
PARAMETERS = {
    "type": "object",
    "properties": {"city": {"type": "string"}},
    "required": ["city"],
    "additionalProperties": False,
}
WEATHER: Any = {"type": "function", "function": {"name": "get_weather", "parameters": PARAMETERS}}
TIME: Any = {"type": "function", "function": {"name": "get_time", "parameters": {"type": "object", "properties": {}}}}
ASKS_BOTH: Any = [{"role": "user", "content": "get_weather and get_time"}]


def events_of(raw: str) -> list[str]:
    """The data of each server-sent event but the last, which must be [DONE]."""
    parts = raw.split("\n\n")
    assert parts[-2:] == ["data: [DONE]", ""]
    return [part.removeprefix("data: ") for part in parts[:-2]]


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"n": 3, "max_tokens": 5},
        {"stop": ["a"]},
        {"logprobs": True},
        {"logprobs": True, "top_logprobs": 20, "n": 2, "max_tokens": 4},
        {"tools": [WEATHER]},
        {"tools": [WEATHER, TIME], "messages": ASKS_BOTH},
        {"tools": [WEATHER], "tool_choice": "none"},
        {"response_format": {"type": "json_object"}},
        {"response_format": {"type": "json_schema", "json_schema": {"name": "out", "schema": PARAMETERS}}},
        {"model": "echo"},
    ],
)
def test_chat_is_valid(client: Any, options: Any, strict: Any) -> None:
    """Documents and chunks satisfy the SDK's types strictly, and the SDK adds the chunks up to the document."""
    options = {"model": "mock", "messages": HELLO, **options}
    with client.chat.completions.with_streaming_response.create(**options) as response:
        whole = strict(ChatCompletion, response.read())
        assert response.headers["x-request-id"].startswith("req_")
    usage = {"stream_options": {"include_usage": True}}
    with client.chat.completions.with_streaming_response.create(**options, **usage, stream=True) as response:
        chunks = [strict(ChatCompletionChunk, event) for event in events_of(response.read().decode())]
    assert chunks[-1].usage == whole.usage
    if "response_format" in options:
        return  # the SDK's own accumulator takes only formats that it made itself
    with client.chat.completions.stream(**options, **usage) as stream:
        added = stream.get_final_completion() if whole.choices[0].finish_reason != "length" else None
    if added is not None:
        assert [choice.message.content or None for choice in added.choices] == [
            choice.message.content or None for choice in whole.choices
        ]
        calls = [[call.function.arguments for call in choice.message.tool_calls or ()] for choice in added.choices]
        assert calls == [
            [call.function.arguments for call in choice.message.tool_calls or ()] for choice in whole.choices
        ]


def test_reasoning_is_the_only_extra(client: Any, strict: Any) -> None:
    """reasoning_content, which other vendors have, is all that OpenAI's types do not know."""
    response = client.chat.completions.with_raw_response.create(
        model="mock", messages=HELLO, extra_body={"enable_thinking": True}
    )
    with pytest.raises(pydantic.ValidationError, match="reasoning_content"):
        strict(ChatCompletion, response.text)
    document = json.loads(response.text)
    assert document["choices"][0]["message"].pop("reasoning_content")
    assert strict(ChatCompletion, json.dumps(document)).usage.completion_tokens_details.reasoning_tokens > 0


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("choices", 0, "finish_reason"), "done"),
        (("choices", 0, "message", "role"), "user"),
        (("choices", 0, "index"), "0"),
        (("usage", "total_tokens"), None),
        (("usage", "prompt_tokens"), 1.5),
        (("created",), None),
        (("object",), "chat"),
        (("choices", 0, "extra"), 1),
        (("extra",), 1),
    ],
)
def test_strictness_catches_what_is_wrong(client: Any, path: tuple[Any, ...], value: Any, strict: Any) -> None:
    """One wrong value, a missing field or an unknown one anywhere is found: the checks can fail."""
    raw = client.chat.completions.with_raw_response.create(model="mock", messages=HELLO).text
    assert strict(ChatCompletion, raw)
    document = json.loads(raw)
    place = document
    for step in path[:-1]:
        place = place[step]
    if value is None:
        del place[path[-1]]
    else:
        place[path[-1]] = value
    with pytest.raises(pydantic.ValidationError):
        strict(ChatCompletion, json.dumps(document))


def test_tools_in_two_turns(client: Any) -> None:
    """The SDK's own message with its calls can be sent back with their results, and gets text."""
    first = client.chat.completions.create(model="mock", messages=ASKS_BOTH, tools=[WEATHER, TIME])
    message = first.choices[0].message
    assert {call.function.name for call in message.tool_calls} == {"get_weather", "get_time"}
    results = [{"role": "tool", "tool_call_id": call.id, "content": "done"} for call in message.tool_calls]
    messages = [*ASKS_BOTH, message, *results]
    second = client.chat.completions.create(model="mock", messages=messages, tools=[WEATHER, TIME])
    assert second.choices[0].finish_reason == "stop"
    assert second.choices[0].message.content
    one = client.chat.completions.create(
        model="mock", messages=ASKS_BOTH, tools=[WEATHER, TIME], parallel_tool_calls=False
    )
    assert len(one.choices[0].message.tool_calls) == 1


def test_structured_output_is_parsed(client: Any) -> None:
    """The SDK reads an answer into the class that it asked for, streamed or not."""

    class City(pydantic.BaseModel):  # type: ignore[misc,name-defined]
        name: str
        people: int
        twin: str | None

    parsed = client.chat.completions.parse(model="mock", messages=HELLO, response_format=City)
    assert isinstance(parsed.choices[0].message.parsed, City)
    with client.chat.completions.stream(model="mock", messages=HELLO, response_format=City) as stream:
        assert stream.get_final_completion().choices[0].message.parsed == parsed.choices[0].message.parsed


def test_models_are_valid(client_for: Any, flexllm_mock_server_factory: Any, strict: Any) -> None:
    """The SDK lists and retrieves the models."""
    client = client_for(flexllm_mock_server_factory(models=("a", "org/b")))
    assert [model.id for model in client.models.list()] == ["a", "org/b"]
    assert strict(Model, client.models.with_raw_response.retrieve("org/b").text).id == "org/b"
    with pytest.raises(openai.NotFoundError):
        client.models.retrieve("c")


@pytest.mark.parametrize("encoding", ["float", "base64"])
def test_embeddings_are_valid(client: Any, encoding: str, strict: Any) -> None:
    """Embeddings satisfy the SDK's type, and both encodings are the same vector to the SDK."""
    given = {"model": "mock", "input": ["a", "b"], "dimensions": 32}
    raw = client.embeddings.with_raw_response.create(**given, encoding_format="float").text
    document = strict(CreateEmbeddingResponse, raw)
    decoded = client.embeddings.create(**given) if encoding == "base64" else document
    assert [each.embedding for each in decoded.data] == [
        pytest.approx(each.embedding, rel=1e-6) for each in document.data
    ]
    assert document.usage.total_tokens == 2


def test_log_probabilities_are_consistent(client: Any) -> None:
    """They do not change the answer, cover its text, are the same streamed, and add up to less than 1 at each place."""
    plain = client.chat.completions.create(model="mock", messages=HELLO)
    options: Any = {"model": "mock", "messages": HELLO, "logprobs": True, "top_logprobs": 5}
    [choice] = client.chat.completions.create(**options).choices
    assert choice.message == plain.choices[0].message
    assert "".join([each.token for each in choice.logprobs.content]) == choice.message.content
    for each in choice.logprobs.content:
        assert (each.top_logprobs[0].token, each.top_logprobs[0].logprob) == (each.token, each.logprob)
        assert len({top.token for top in each.top_logprobs}) == 5
        assert sum([math.exp(top.logprob) for top in each.top_logprobs]) < 1
        assert bytes(each.bytes).decode() == each.token
    streamed = [
        each
        for chunk in client.chat.completions.create(**options, stream=True)
        if chunk.choices[0].logprobs is not None
        for each in chunk.choices[0].logprobs.content
    ]
    assert streamed == choice.logprobs.content
    for wrong in ({"top_logprobs": 5}, {"logprobs": True, "top_logprobs": 21}, {"logprobs": "yes"}):
        with pytest.raises(openai.BadRequestError):
            client.chat.completions.create(model="mock", messages=HELLO, **wrong)


@pytest.mark.parametrize(
    ("given", "flagged"),
    [
        ("a kind word", [False]),
        (["violence", "peace"], [True, False]),
        ([{"type": "text", "text": "self-harm"}, {"type": "image_url", "image_url": {"url": "data:,"}}], [True]),
    ],
)
def test_moderations_are_valid(client: Any, given: Any, flagged: list[bool], strict: Any) -> None:
    """Moderations satisfy the SDK's type, and flag what names a category."""
    raw = client.moderations.with_raw_response.create(input=given).text
    answer = strict(ModerationCreateResponse, raw)
    assert [result.flagged for result in answer.results] == flagged
    for result in answer.results:
        scores, categories = result.category_scores.model_dump(), result.categories.model_dump()
        assert {name for name, score in scores.items() if score > 0.5} == {
            name for name in categories if categories[name]
        }
    document = json.loads(raw)
    del document["results"][0]["category_scores"]["hate"]
    with pytest.raises(pydantic.ValidationError):
        strict(ModerationCreateResponse, json.dumps(document))
    with pytest.raises(openai.BadRequestError):
        client.moderations.create(input=[])


@pytest.mark.parametrize(
    "options", [{}, {"n": 2, "echo": True, "logprobs": 2}, {"prompt": ["a", "b"], "max_tokens": 3}]
)
def test_completions_are_valid(client: Any, options: Any, strict: Any) -> None:
    """Legacy completions and their chunks satisfy the SDK's type strictly."""
    options = {"model": "mock", "prompt": "Once", **options}
    whole = strict(Completion, client.completions.with_raw_response.create(**options).text)
    with client.completions.with_streaming_response.create(**options, stream=True) as response:
        events = events_of(response.read().decode())
    # The type has no null for the reason, which the API sends until the end: put a word there to check the rest.
    chunks = [strict(Completion, event.replace('"finish_reason":null', '"finish_reason":"stop"')) for event in events]
    assert sum('"finish_reason":null' not in event for event in events) == len(whole.choices)
    texts = [""] * len(whole.choices)
    for chunk in chunks:
        texts[chunk.choices[0].index] += chunk.choices[0].text
    assert texts == [choice.text for choice in whole.choices]


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, "BadRequestError"),
        (401, "AuthenticationError"),
        (403, "PermissionDeniedError"),
        (404, "NotFoundError"),
        (409, "ConflictError"),
        (422, "UnprocessableEntityError"),
        (429, "RateLimitError"),
        (500, "InternalServerError"),
        (503, "InternalServerError"),
    ],
)
def test_errors_are_understood(client_for: Any, flexllm_mock_server_factory: Any, status: int, kind: str) -> None:
    """Each status raises the SDK's error, with the fields of the body and the request id."""
    client = client_for(flexllm_mock_server_factory(faults=[FaultRule(status=status)]))
    for call in (
        lambda: client.chat.completions.create(model="mock", messages=HELLO),
        lambda: client.chat.completions.create(model="mock", messages=HELLO, stream=True),
        lambda: client.embeddings.create(model="mock", input="x"),
        lambda: client.completions.create(model="mock", prompt="x"),
    ):
        with pytest.raises(getattr(openai, kind)) as caught:
            call()
        assert (caught.value.status_code, caught.value.request_id[:4]) == (status, "req_")
        assert caught.value.body["message"]
        assert caught.value.type == caught.value.body["type"]


def test_wrong_key_is_understood(client_for: Any, flexllm_mock_server_factory: Any) -> None:
    """The SDK's key is the one that the mock checks."""
    server = flexllm_mock_server_factory(api_key="sk-right")
    assert client_for(server, api_key="sk-right").models.list().data
    with pytest.raises(openai.AuthenticationError):
        client_for(server, api_key="sk-wrong").models.list()


def test_sdk_retries_as_told(client_for: Any, flexllm_mock_server_factory: Any) -> None:
    """The SDK's own retries see the header, and succeed after it."""
    server = flexllm_mock_server_factory(faults=[FaultRule(status=429, headers={"retry-after-ms": "1"}, times=2)])
    assert client_for(server, max_retries=2).chat.completions.create(model="mock", messages=HELLO).choices
    assert server.stats().by_status == {429: 2, 200: 1}


async def test_async_client(flexllm_mock: MockServer) -> None:
    """The asynchronous client gets the same answers."""
    options: Any = {"model": "mock", "messages": ASKS_BOTH}
    async with openai.AsyncOpenAI(base_url=flexllm_mock.base_url, api_key="k", max_retries=0) as client:
        whole = await client.chat.completions.create(**options)
        text = ""
        async for chunk in await client.chat.completions.create(**options, stream=True):
            text += chunk.choices[0].delta.content or ""
        assert text == whole.choices[0].message.content
        async with client.chat.completions.stream(**options, tools=[WEATHER, TIME]) as stream:
            message = (await stream.get_final_completion()).choices[0].message
        assert len(message.tool_calls) == 2
        assert (await client.embeddings.create(model="mock", input="x")).data
        assert [model.id async for model in client.models.list()] == ["mock"]
        with pytest.raises(openai.BadRequestError):
            await client.chat.completions.create(model="mock", messages=[])
