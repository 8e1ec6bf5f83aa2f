"""The mock's Claude wire, driven through Anthropic's own client and held against its types."""

from __future__ import annotations

import json
from typing import Any

import pytest

anthropic = pytest.importorskip("anthropic", reason="needs Anthropic's SDK: pip install anthropic")
pydantic = pytest.importorskip("pydantic", reason="needs pydantic, which Anthropic's SDK brings")

from anthropic.types import (  # noqa: E402 only where the SDK is installed
    Message,
    MessageTokensCount,
    ModelInfo,
    RawMessageStreamEvent,
)

from flexllm_mock import FaultRule, MockServer  # noqa: E402

SDK = "anthropic"

HELLO: Any = [{"role": "user", "content": "Hello there"}]
SCHEMA = {
    "type": "object",
    "properties": {"city": {"type": "string"}},
    "required": ["city"],
    "additionalProperties": False,
}
WEATHER: Any = {"name": "get_weather", "input_schema": SCHEMA}
TIME: Any = {"name": "get_time", "input_schema": {"type": "object", "properties": {}}}
ASKS_BOTH: Any = [{"role": "user", "content": "get_weather and get_time"}]
BASE: Any = {"model": "claude-mock", "max_tokens": 4096, "messages": HELLO}
ENABLED: Any = {"type": "enabled", "budget_tokens": 2048}


def events_of(raw: str) -> list[tuple[str, str]]:
    """The name and the data of each server-sent event."""
    events = []
    for part in raw.split("\n\n")[:-1]:
        name, data = part.split("\n")
        events.append((name.removeprefix("event: "), data.removeprefix("data: ")))
    return events


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"max_tokens": 3},
        {"stop_sequences": ["e"]},
        {"thinking": ENABLED},
        {"thinking": {"type": "adaptive", "display": "omitted"}},
        {"tools": [WEATHER]},
        {"tools": [WEATHER, TIME], "messages": ASKS_BOTH, "thinking": ENABLED},
        {"tools": [WEATHER], "tool_choice": {"type": "none"}},
        {"output_config": {"effort": "low", "format": {"type": "json_schema", "schema": SCHEMA}}},
        {"system": [{"type": "text", "text": "x" * 9000, "cache_control": {"type": "ephemeral"}}]},
        {"model": "echo"},
    ],
)
def test_messages_are_valid(client: Any, options: Any, strict: Any) -> None:
    """Documents and events satisfy the SDK's types strictly, and the SDK adds the events up to the document."""
    options = {**BASE, **options}
    response = client.messages.with_raw_response.create(**options)
    whole = strict(Message, response.text())
    assert response.headers["request-id"].startswith("req_")
    with client.messages.with_streaming_response.create(**options, stream=True) as streamed:
        events = events_of(streamed.read().decode())
    for name, data in events:
        if name == "ping":
            assert json.loads(data) == {"type": "ping"}
        else:
            assert strict(RawMessageStreamEvent, data).type == name
    with client.messages.stream(**options) as stream:
        added = stream.get_final_message()
    assert added.model_dump(exclude_none=True, exclude={"content": {"__all__": {"parsed_output"}}}) == (
        whole.model_dump(exclude_none=True)
    )


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("stop_reason",), "done"),
        (("role",), "user"),
        (("type",), None),
        (("content", 0, "type"), "words"),
        (("content", 0, "text"), None),
        (("content", 0, "extra"), 1),
        (("usage", "input_tokens"), None),
        (("usage", "output_tokens"), "5"),
        (("usage", "output_tokens_details", "thinking_tokens"), None),
        (("usage", "total_tokens"), 5),
        (("extra",), 1),
    ],
)
def test_strictness_catches_what_is_wrong(client: Any, path: tuple[Any, ...], value: Any, strict: Any) -> None:
    """One wrong value, a missing field or an unknown one anywhere is found: the checks can fail."""
    raw = client.messages.with_raw_response.create(**BASE).text()
    assert strict(Message, raw)
    document = json.loads(raw)
    place = document
    for step in path[:-1]:
        place = place[step]
    if value is None:
        del place[path[-1]]
    else:
        place[path[-1]] = value
    with pytest.raises(pydantic.ValidationError):
        strict(Message, json.dumps(document))


@pytest.mark.parametrize("stream", [False, True])
def test_tools_in_two_turns(client: Any, stream: bool) -> None:
    """The SDK's own blocks, thinking with its signature first, can be sent back with the results, and get text."""
    options = {**BASE, "tools": [WEATHER, TIME], "thinking": ENABLED}
    if stream:
        with client.messages.stream(**{**options, "messages": ASKS_BOTH}) as events:
            first = events.get_final_message()
    else:
        first = client.messages.create(**{**options, "messages": ASKS_BOTH})
    assert [block.type for block in first.content] == ["thinking", "tool_use", "tool_use"]
    assert first.stop_reason == "tool_use"
    results = [{"type": "tool_result", "tool_use_id": block.id, "content": "done"} for block in first.content[1:]]
    messages = [*ASKS_BOTH, {"role": "assistant", "content": first.content}, {"role": "user", "content": results}]
    second = client.messages.create(**{**options, "messages": messages})
    assert [block.type for block in second.content] == ["thinking", "text"]
    first.content[0].thinking += " And more."
    with pytest.raises(anthropic.BadRequestError, match="Invalid `signature` in `thinking` block"):
        client.messages.create(**{**options, "messages": messages})


def test_structured_output_is_parsed(client: Any) -> None:
    """The SDK reads an answer into the class that it asked for."""

    class City(pydantic.BaseModel):  # type: ignore[misc,name-defined]
        name: str
        people: int

    assert isinstance(client.messages.parse(**BASE, output_format=City).parsed_output, City)


def test_tokens_are_counted(client: Any, strict: Any) -> None:
    """The count satisfies its type, and is what the message then reports."""
    options = {"model": "claude-mock", "messages": HELLO, "tools": [WEATHER], "system": "Be brief."}
    raw = client.messages.with_raw_response.count_tokens(**options).text()
    message = client.messages.create(**options, max_tokens=9)
    assert strict(MessageTokensCount, raw).input_tokens == message.usage.input_tokens


def test_models_are_listed_page_by_page(client_for: Any, flexllm_mock_server_factory: Any, strict: Any) -> None:
    """The SDK follows the pages forwards and backwards, and each model satisfies its type."""
    names = tuple(f"m{number}" for number in range(5))
    client = client_for(flexllm_mock_server_factory(models=names))
    assert [model.id for model in client.models.list(limit=2)] == list(names)
    backwards = client.models.list(limit=2, before_id="m4")
    assert [[model.id for model in page.data] for page in backwards.iter_pages()] == [["m2", "m3"], ["m0", "m1"]]
    raw = client.models.with_raw_response.retrieve("m3").text()
    info = strict(ModelInfo, raw)
    assert (info.id, info.capabilities.thinking.types.adaptive.supported) == ("m3", True)
    for model in json.loads(client.models.with_raw_response.list().text())["data"]:
        assert strict(ModelInfo, json.dumps(model)).lifecycle == "active"
    with pytest.raises(anthropic.NotFoundError):
        client.models.retrieve("m9")


@pytest.mark.parametrize(
    ("status", "kind", "name"),
    [
        (400, "BadRequestError", "invalid_request_error"),
        (401, "AuthenticationError", "authentication_error"),
        (403, "PermissionDeniedError", "permission_error"),
        (404, "NotFoundError", "not_found_error"),
        (409, "ConflictError", "conflict_error"),
        (413, "APIStatusError", "request_too_large"),
        (429, "RateLimitError", "rate_limit_error"),
        (500, "InternalServerError", "api_error"),
        (529, "APIStatusError", "overloaded_error"),
    ],
)
def test_errors_are_understood(
    client_for: Any, flexllm_mock_server_factory: Any, status: int, kind: str, name: str
) -> None:
    """Each status raises the SDK's error, with the body's type and the request id."""
    client = client_for(flexllm_mock_server_factory(faults=[FaultRule(status=status)]))
    for stream in (False, True):
        with pytest.raises(getattr(anthropic, kind)) as caught:
            client.messages.create(**BASE, stream=stream)
        assert caught.value.status_code == status
        assert caught.value.body["error"]["type"] == name
        assert caught.value.request_id == caught.value.body["request_id"]


def test_wrong_key_is_understood(client_for: Any, flexllm_mock_server_factory: Any) -> None:
    """The SDK's key is the one that the mock checks, as an API key or as a token."""
    server = flexllm_mock_server_factory(api_key="right")
    for right in ({"api_key": "right"}, {"api_key": None, "auth_token": "right"}):
        assert client_for(server, **right).messages.create(**BASE).content
    with pytest.raises(anthropic.AuthenticationError, match="invalid x-api-key"):
        client_for(server, api_key="wrong").messages.create(**BASE)


def test_sdk_retries_as_told(client_for: Any, flexllm_mock_server_factory: Any) -> None:
    """The SDK's own retries see the header, and succeed after it."""
    server = flexllm_mock_server_factory(faults=[FaultRule(status=529, headers={"retry-after-ms": "1"}, times=2)])
    assert client_for(server, max_retries=2).messages.create(**BASE).content
    assert server.stats().by_status == {529: 2, 200: 1}


def test_vertex_client(flexllm_mock: MockServer) -> None:
    """The SDK's client for Vertex AI gets documents, streams and counts."""
    pytest.importorskip("google.auth", reason="needs google-auth: pip install 'anthropic[vertex]'")
    with anthropic.AnthropicVertex(
        base_url=f"{flexllm_mock.url}/v1", region="global", project_id="p", access_token="t", max_retries=0
    ) as client:
        whole = client.messages.create(**BASE)
        with client.messages.stream(**BASE) as stream:
            assert stream.get_final_message().content[0].text == whole.content[0].text
        counted = client.messages.count_tokens(model="claude-mock", messages=HELLO)
        assert counted.input_tokens == whole.usage.input_tokens
        with pytest.raises(anthropic.BadRequestError):
            client.messages.create(**{**BASE, "messages": []})
    assert {request.path.partition("/publishers/")[0] for request in flexllm_mock.requests} == {
        "/v1/projects/p/locations/global"
    }


async def test_async_client(flexllm_mock: MockServer) -> None:
    """The asynchronous client gets the same answers."""
    async with anthropic.AsyncAnthropic(base_url=flexllm_mock.url, api_key="k", max_retries=0) as client:
        whole = await client.messages.create(**BASE, thinking=ENABLED)
        async with client.messages.stream(**BASE, thinking=ENABLED) as stream:
            text = "".join([text async for text in stream.text_stream])
        assert text == whole.content[1].text
        first = await client.messages.create(**{**BASE, "messages": ASKS_BOTH}, tools=[WEATHER, TIME])
        assert len(first.content) == 2
        assert (await client.messages.count_tokens(model="m", messages=HELLO)).input_tokens > 0
        assert [model.id async for model in client.models.list()] == ["mock"]
        with pytest.raises(anthropic.BadRequestError):
            await client.messages.create(**{**BASE, "messages": []})
