"""The mock's Responses API, driven through OpenAI's own client and held against its types."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import httpx
import pytest

openai = pytest.importorskip("openai", reason="needs OpenAI's SDK: pip install openai")
pydantic = pytest.importorskip("pydantic", reason="needs pydantic, which OpenAI's SDK brings")

from openai.types.responses import (  # noqa: E402 only where the SDK is installed
    Response,
    ResponseItemList,
    ResponseStreamEvent,
)
from openai.types.responses.input_token_count_response import InputTokenCountResponse  # noqa: E402

from flexllm_mock import FaultMatch, FaultRule, MockServer  # noqa: E402

SDK = "openai"

SCHEMA = {
    "type": "object",
    "properties": {"city": {"type": "string"}},
    "required": ["city"],
    "additionalProperties": False,
}
WEATHER: Any = {"type": "function", "name": "get_weather", "parameters": SCHEMA, "strict": True}
TIME: Any = {"type": "function", "name": "get_time", "parameters": {"type": "object", "properties": {}}}
BASE: Any = {"model": "mock", "input": "Hello there"}
LOGPROBS = "message.output_text.logprobs"


@pytest.fixture
def events_of(strict: Any) -> Callable[..., list[Any]]:
    """Reads a stream: each event is held against the SDK's type, its name is its type, and they are numbered."""

    def read(raw: str, first: int = 0) -> list[Any]:
        parts = raw.split("\n\n")
        assert parts.pop() == ""
        found = []
        for number, part in enumerate(parts, first):
            name, data = part.split("\n")
            event = strict(ResponseStreamEvent, data.removeprefix("data: "))
            assert (name, event.sequence_number) == (f"event: {event.type}", number)
            found.append(event)
        return found

    return read


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"input": [{"role": "user", "content": [{"type": "input_text", "text": "Hi"}]}], "instructions": "Be brief."},
        {"max_output_tokens": 16, "reasoning": {"effort": "low"}},
        {"reasoning": {"effort": "high", "summary": "auto"}, "include": ["reasoning.encrypted_content"]},
        {"tools": [WEATHER]},
        {"tools": [WEATHER, TIME], "input": "get_weather and get_time", "reasoning": {"effort": "low"}},
        {"tools": [WEATHER, {"type": "web_search"}], "tool_choice": "none", "metadata": {"a": "b"}},
        {"text": {"format": {"type": "json_object"}}, "temperature": 0.5, "top_p": 1},
        {"text": {"format": {"type": "json_schema", "name": "out", "schema": SCHEMA, "strict": True}}},
        {"include": [LOGPROBS], "top_logprobs": 3},
        {"model": "echo", "input": "Grüße 🙂"},
    ],
)
def test_responses_are_valid(client: Any, options: Any, strict: Any, events_of: Any) -> None:
    """Documents and events satisfy the SDK's types strictly, and the SDK adds the events up to the document."""
    options = {**BASE, **options}
    response = client.responses.with_raw_response.create(**options)
    whole = strict(Response, response.text)
    assert response.headers["x-request-id"].startswith("req_")
    with client.responses.with_streaming_response.create(**options, stream=True) as streamed:
        events = events_of(streamed.read().decode())
    assert [event.type for event in events[:2]] == ["response.created", "response.in_progress"]
    assert events[-1].type == f"response.{whole.status}"
    assert events[-1].response == whole
    items = [event.item for event in events if event.type == "response.output_item.done"]
    assert items == whole.output
    for name, joined in (
        ("response.output_text", whole.output_text),
        ("response.function_call_arguments", "".join([getattr(item, "arguments", "") for item in whole.output])),
    ):
        deltas = [event.delta for event in events if event.type == f"{name}.delta"]
        assert "".join(deltas) == joined
    with client.responses.stream(**options) as stream:
        last = list(stream)[-1].response
    assert (last.output_text, last.usage) == (whole.output_text, whole.usage)
    assert client.responses.retrieve(whole.id).output_text == whole.output_text


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("status",), "done"),
        (("object",), "completion"),
        (("output", 0, "role"), "user"),
        (("output", 0, "content", 0, "annotations"), None),
        (("output", 0, "content", 0, "text"), 5),
        (("usage", "input_tokens"), None),
        (("usage", "output_tokens_details", "reasoning_tokens"), "0"),
        (("tool_choice",), "maybe"),
        (("parallel_tool_calls",), None),
        (("choices",), []),
    ],
)
def test_strictness_catches_what_is_wrong(client: Any, path: tuple[Any, ...], value: Any, strict: Any) -> None:
    """One wrong value, a missing field or an unknown one anywhere is found: the checks can fail."""
    raw = client.responses.with_raw_response.create(**BASE).text
    assert strict(Response, raw)
    document = json.loads(raw)
    place = document
    for step in path[:-1]:
        place = place[step]
    if value is None:
        del place[path[-1]]
    else:
        place[path[-1]] = value
    with pytest.raises(pydantic.ValidationError):
        strict(Response, json.dumps(document))


def test_tools_in_two_turns(client: Any) -> None:
    """The SDK's own items, the reasoning first, can be sent back with the results, and get text."""
    options = {**BASE, "tools": [WEATHER, TIME], "reasoning": {"effort": "low"}}
    options["include"] = ["reasoning.encrypted_content"]
    first = client.responses.create(**{**options, "input": "get_weather and get_time"})
    assert [item.type for item in first.output] == ["reasoning", "function_call", "function_call"]
    assert json.loads(first.output[1].arguments).keys() == {"city"}
    results: Any = [
        {"type": "function_call_output", "call_id": item.call_id, "output": "done"} for item in first.output[1:]
    ]
    asked: Any = [{"role": "user", "content": "get_weather and get_time"}]
    second = client.responses.create(**{**options, "input": [*asked, *first.output, *results], "store": False})
    assert second.output_text
    third = client.responses.create(**{**options, "input": results, "previous_response_id": first.id})
    assert third.output_text
    assert third.usage.input_tokens == second.usage.input_tokens
    with pytest.raises(openai.BadRequestError, match="No tool output found for function call"):
        client.responses.create(**{**options, "input": [*asked, *first.output, results[0]]})
    with pytest.raises(openai.BadRequestError, match="No tool call found"):
        client.responses.create(**{**options, "input": [*asked, *results]})
    first.output[0].encrypted_content = "AAAA"
    with pytest.raises(openai.BadRequestError, match="could not be verified"):
        client.responses.create(**{**options, "input": [*asked, *first.output, *results]})


def test_structured_output_is_parsed(client: Any) -> None:
    """The SDK reads an answer into the class that it asked for, streamed or not."""

    class City(pydantic.BaseModel):  # type: ignore[misc,name-defined]
        name: str
        people: int
        twin: str | None

    parsed = client.responses.parse(**BASE, text_format=City)
    assert isinstance(parsed.output_parsed, City)
    with client.responses.stream(**BASE, text_format=City) as stream:
        assert stream.get_final_response().output_parsed == parsed.output_parsed


def test_conversations_go_on(client: Any) -> None:
    """A response goes on from another, sees its items, and is deleted; what was not stored cannot be gone on from."""
    first = client.responses.create(**BASE)
    second = client.responses.create(model="mock", input="And then?", previous_response_id=first.id)
    assert second.usage.input_tokens > first.usage.input_tokens + 4
    assert second.previous_response_id == first.id
    reference: Any = [
        {"role": "user", "content": "Hello there"},
        {"type": "item_reference", "id": first.output[0].id},
        {"role": "user", "content": "And then?"},
    ]
    assert client.responses.create(model="mock", input=reference).usage.input_tokens == second.usage.input_tokens
    assert client.responses.delete(first.id) is None
    for call in (
        lambda: client.responses.retrieve(first.id),
        lambda: client.responses.create(model="mock", input=reference),
    ):
        with pytest.raises(openai.NotFoundError):
            call()
    forgotten = client.responses.create(**BASE, store=False)
    with pytest.raises(openai.BadRequestError, match="not found") as caught:
        client.responses.create(**BASE, previous_response_id=forgotten.id)
    assert caught.value.code == "previous_response_not_found"


def test_input_items_and_counts_are_valid(client: Any, strict: Any) -> None:
    """The input is listed in items that satisfy their types, newest first, and counted as the response counts it."""
    given: Any = [{"role": "developer", "content": "Be brief."}, {"role": "user", "content": "Hello"}]
    made = client.responses.create(model="mock", input=given, instructions="Now.")
    raw = client.responses.input_items.with_raw_response.list(made.id, limit=1).text
    assert strict(ResponseItemList, raw).data[0].role == "user"
    assert [item.role for item in client.responses.input_items.list(made.id, limit=1)] == ["user", "developer"]
    counted = client.responses.input_tokens.with_raw_response.count(model="mock", input=given, instructions="Now.")
    assert strict(InputTokenCountResponse, counted.text).input_tokens == made.usage.input_tokens


def test_background(client: Any, strict: Any) -> None:
    """A response in the background is queued first, and there at the first look; another cannot be cancelled."""
    queued = strict(Response, client.responses.with_raw_response.create(**BASE, background=True).text)
    assert (queued.status, queued.output) == ("queued", [])
    assert client.responses.retrieve(queued.id).output_text
    assert client.responses.cancel(queued.id).status == "completed"
    with pytest.raises(openai.BadRequestError, match="synchronous"):
        client.responses.cancel(client.responses.create(**BASE).id)
    with pytest.raises(openai.BadRequestError, match="store"):
        client.responses.create(**BASE, background=True, store=False)


def test_background_stream_is_resumed(client: Any, events_of: Any) -> None:
    """A stream in the background can be had once more, from its beginning or after an event, and is the same."""
    options: Any = {**BASE, "background": True, "stream": True}
    with client.responses.with_streaming_response.create(**options) as streamed:
        events = events_of(streamed.read().decode())
    assert [event.type for event in events[:3]] == ["response.created", "response.queued", "response.in_progress"]
    assert [event.response.status for event in events[:3]] == ["queued", "queued", "in_progress"]
    name = events[0].response.id
    get = client.responses.with_streaming_response.retrieve
    for seen in (-1, 0, 5, len(events) - 1, 10**6):
        cursor = {} if seen < 0 else {"starting_after": seen}
        with get(name, stream=True, **cursor) as streamed:
            assert streamed.headers["content-type"] == "text/event-stream"
            assert events_of(streamed.read().decode(), seen + 1) == events[seen + 1 :]
    with client.responses.retrieve(name, stream=True, starting_after=5) as stream:
        assert next(iter(stream)).sequence_number == 6
    with client.responses.stream(response_id=name, starting_after=3) as stream:
        assert [event.sequence_number for event in stream] == list(range(4, len(events)))
        assert stream.get_final_response().output_text == events[-1].response.output_text
    with pytest.raises(openai.BadRequestError) as caught:
        client.responses.retrieve(name, stream=True, starting_after=-1)
    assert caught.value.param == "starting_after"


def test_other_streams_are_not_resumed(client: Any) -> None:
    """As on the API, a response that was not streamed in the background cannot be streamed later, but read."""
    for options, missing in (({"stream": True}, "background"), ({"background": True}, "stream")):
        text = f"Not with {missing}"
        made = client.responses.create(**{**BASE, "input": text, **options})
        name = next(iter(made)).response.id if "stream" in options else made.id
        with pytest.raises(openai.BadRequestError, match=f"not created with {missing}=true") as caught:
            client.responses.retrieve(name, stream=True)
        assert (caught.value.param, caught.value.code) == ("stream", "invalid_request_error")
        assert client.responses.retrieve(name).output_text


def test_cut_stream_is_resumed(flexllm_mock: MockServer, client: Any) -> None:
    """Who fetches the rest of a stream that was cut has not taken it for whole; who does not, has."""
    flexllm_mock.add_fault(FaultRule.of("disconnect_mid_body", match=FaultMatch(path="/responses")))
    for text, resumes in (("One", True), ("Two", False)):
        seen: list[Any] = []
        stream = client.responses.create(**{**BASE, "input": text}, background=True, stream=True)
        with pytest.raises((openai.APIConnectionError, httpx.HTTPError)):
            seen.extend(stream)
        name, last = seen[0].response.id, seen[-1].sequence_number
        if resumes:
            rest = list(client.responses.retrieve(name, stream=True, starting_after=last))
            assert rest[0].sequence_number == last + 1
            assert rest[-1].type == "response.completed"
            flexllm_mock.verdict().check()
    with pytest.raises(AssertionError, match="truncated_accepted"):
        flexllm_mock.verdict().check()
    assert client.responses.retrieve(name).status == "completed"
    flexllm_mock.verdict().check()


@pytest.mark.parametrize(
    ("options", "param"),
    [
        ({"model": None}, "model"),
        ({"input": []}, "input"),
        ({"input": [{"role": "tool", "content": "x"}]}, "input[0].role"),
        ({"input": [{"role": "user", "content": [{"type": "text", "text": "x"}]}]}, "input[0].content[0].type"),
        ({"max_output_tokens": 1}, "max_output_tokens"),
        ({"temperature": 3}, "temperature"),
        ({"reasoning": {"effort": "ultra"}}, "reasoning.effort"),
        ({"text": {"format": {"type": "json_schema", "schema": SCHEMA}}}, "text.format.name"),
        ({"tools": [{"type": "function"}]}, "tools[0].name"),
        ({"tools": [WEATHER], "tool_choice": {"type": "function", "name": "x"}}, "tool_choice"),
        ({"extra_body": {"messages": []}}, "messages"),
        ({"extra_body": {"colour": "red"}}, "colour"),
    ],
)
def test_wrong_requests_are_refused(client: Any, options: Any, param: str) -> None:
    """What the API refuses is refused, with the parameter that is wrong."""
    with pytest.raises(openai.BadRequestError) as caught:
        client.responses.create(**{**BASE, **options})
    assert caught.value.param == param
    assert caught.value.type == "invalid_request_error"


def test_faults_are_understood(flexllm_mock: MockServer, client: Any) -> None:
    """An error status raises the SDK's error, whole or streamed, and a prescribed answer is what comes."""
    flexllm_mock.add_fault(FaultRule(status=429, times=2))
    for stream in (False, True):
        with pytest.raises(openai.RateLimitError):
            client.responses.create(**BASE, stream=stream)
    flexllm_mock.add_fault(FaultRule(answer="No 🙂", times=2))
    assert client.responses.create(**BASE).output_text == "No 🙂"
    with client.responses.stream(**BASE) as stream:
        assert stream.get_final_response().output_text == "No 🙂"


@pytest.mark.parametrize(
    ("answer", "kinds"),
    [
        ({"refusal": "I cannot."}, ["refusal"]),
        ({"thinking": "Hm.", "text": "So.", "finish_reason": "length"}, ["reasoning", "output_text"]),
        (
            {"text": "Wait.", "tool_calls": [{"name": "f", "arguments": {"a": 1}}, {"name": "g"}]},
            ["output_text", "function_call", "function_call"],
        ),
        ({"finish_reason": "content_filter"}, ["output_text"]),
    ],
)
def test_prescribed_answers_are_valid(
    flexllm_mock_server_factory: Any, answer: Any, kinds: list[str], strict: Any, events_of: Any
) -> None:
    """Refusals, thoughts, and texts with calls satisfy the types too, whole and as events."""
    server = flexllm_mock_server_factory(fixtures=[{"answer": answer}])
    with openai.OpenAI(base_url=server.base_url, api_key="k", max_retries=0) as client:
        whole = strict(Response, client.responses.with_raw_response.create(**BASE).text)
        with client.responses.with_streaming_response.create(**BASE, stream=True) as streamed:
            events = events_of(streamed.read().decode())
    assert events[-1].response == whole
    assert [item.content[0].type if item.type == "message" else item.type for item in whole.output] == kinds
    assert [event.item for event in events if event.type == "response.output_item.done"] == whole.output
    if "refusal" in answer:
        deltas = [event.delta for event in events if event.type == "response.refusal.delta"]
        assert "".join(deltas) == answer["refusal"]
    if "finish_reason" in answer:
        assert (whole.status, events[-1].type) == ("incomplete", "response.incomplete")


async def test_async_client(flexllm_mock: MockServer) -> None:
    """The asynchronous client gets the same answers."""
    async with openai.AsyncOpenAI(base_url=flexllm_mock.base_url, api_key="k", max_retries=0) as client:
        whole = await client.responses.create(**BASE, reasoning={"effort": "low", "summary": "auto"})
        async with client.responses.stream(**BASE, reasoning={"effort": "low", "summary": "auto"}) as stream:
            events = [event async for event in stream]
        texts = [event.delta for event in events if event.type == "response.output_text.delta"]
        thoughts = [event.delta for event in events if event.type == "response.reasoning_summary_text.delta"]
        assert "".join(texts) == whole.output_text
        assert "".join(thoughts) == whole.output[0].summary[0].text
        assert (await client.responses.retrieve(whole.id)).id == whole.id
        called = await client.responses.create(**{**BASE, "input": "get_weather"}, tools=[WEATHER])
        assert called.output[0].name == "get_weather"
        with pytest.raises(openai.BadRequestError):
            await client.responses.create(**{**BASE, "model": ""})
