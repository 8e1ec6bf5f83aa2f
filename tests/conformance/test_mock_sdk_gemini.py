"""The mock's Gemini wire, driven through Google's own client and held against its types.

Every field of Google's types is optional, but unknown fields and wrong types are errors in them.
"""

from __future__ import annotations

import json
import urllib.request
from typing import Any

import pytest

genai = pytest.importorskip("google.genai", reason="needs Google's SDK: pip install google-genai")
pydantic = pytest.importorskip("pydantic", reason="needs pydantic, which Google's SDK brings")

from google.genai import errors, types  # noqa: E402 only where the SDK is installed

from flexllm_mock import FaultRule, MockServer  # noqa: E402

SDK = "gemini"

MODEL = "gemini-3.8-flash"
SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
WEATHER: Any = {"name": "get_weather", "parametersJsonSchema": SCHEMA}
TIME: Any = {"name": "get_time"}
TOOLS: Any = [{"functionDeclarations": [WEATHER, TIME]}]
ASKS_BOTH = "get_weather and get_time"


def ask(server: MockServer, verb: str, body: Any) -> bytes:
    """Ask without the SDK, which changes an answer before it shows it."""
    url = f"{server.url}/v1beta/models/{MODEL}:{verb}"
    with urllib.request.urlopen(urllib.request.Request(url, json.dumps(body).encode()), timeout=20) as response:
        data: bytes = response.read()
    return data


def strict(raw: str | bytes) -> Any:
    """Validate JSON against the SDK's type: nothing unknown, nothing of another type; and what must be there, is."""
    response = types.GenerateContentResponse.model_validate_json(raw, strict=True)
    assert response.candidates
    for candidate in response.candidates:
        assert candidate.content.role == "model"
        assert candidate.index is not None
    usage = response.usage_metadata
    assert usage.total_token_count == sum(
        count or 0 for count in (usage.prompt_token_count, usage.candidates_token_count, usage.thoughts_token_count)
    )
    assert sum(each.token_count for each in usage.prompt_tokens_details) == usage.prompt_token_count
    assert response.model_version
    assert response.response_id
    return response


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"generationConfig": {"maxOutputTokens": 3}},
        {"generationConfig": {"stopSequences": ["e"]}},
        {"generationConfig": {"candidateCount": 3}},
        {"generationConfig": {"thinkingConfig": {"includeThoughts": True, "thinkingLevel": "LOW"}}},
        {"generationConfig": {"thinkingConfig": {"thinkingBudget": -1}, "maxOutputTokens": 2}},
        {"generationConfig": {"responseMimeType": "application/json", "responseJsonSchema": SCHEMA}},
        {"tools": TOOLS},
        {"tools": TOOLS, "contents": [{"parts": [{"text": ASKS_BOTH}]}]},
        {"tools": TOOLS, "toolConfig": {"functionCallingConfig": {"mode": "NONE"}}},
        {"systemInstruction": {"parts": [{"text": "x" * 9000}]}},
        {"contents": [{"parts": [{"text": "a"}, {"inlineData": {"mimeType": "image/png", "data": "AAAA"}}]}]},
    ],
)
def test_content_is_valid(flexllm_mock: MockServer, body: Any) -> None:
    """Documents, events and arrays of chunks satisfy the SDK's types strictly, and say the same."""
    body = {"contents": [{"role": "user", "parts": [{"text": "Hello there"}]}], **body}
    whole = strict(ask(flexllm_mock, "generateContent", body))
    events = ask(flexllm_mock, "streamGenerateContent?alt=sse", body).decode().split("\r\n\r\n")
    assert events.pop() == ""
    chunks = [strict(event.removeprefix("data: ")) for event in events]
    array = json.loads(ask(flexllm_mock, "streamGenerateContent", body))
    assert [strict(json.dumps(chunk)) for chunk in array] == chunks
    assert chunks[-1].usage_metadata == whole.usage_metadata
    for index, candidate in enumerate(whole.candidates):
        streamed = [each for chunk in chunks for each in chunk.candidates if each.index == index]
        parts = [part for each in streamed for part in each.content.parts or ()]
        expected = candidate.content.parts or []
        for thought in (None, True):
            assert "".join([part.text or "" for part in parts if part.thought == thought]) == "".join(
                [part.text or "" for part in expected if part.thought == thought]
            )
        calls = [part for part in parts if part.function_call]
        assert calls == [part for part in expected if part.function_call]
        assert streamed[-1].finish_reason == candidate.finish_reason


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("candidates", 0, "index"), "0"),
        (("candidates", 0, "content", "parts", 0, "text"), 5),
        (("candidates", 0, "content", "parts", 0, "words"), "x"),
        (("candidates", 0, "content", "role"), "assistant"),
        (("candidates", 0, "message"), {}),
        (("usageMetadata", "promptTokenCount"), "7"),
        (("usageMetadata", "totalTokenCount"), 1),
        (("usageMetadata", "completionTokens"), 7),
        (("choices",), []),
        (("candidates",), []),
    ],
)
def test_strictness_catches_what_is_wrong(flexllm_mock: MockServer, path: tuple[Any, ...], value: Any) -> None:
    """One wrong value or an unknown field anywhere is found: the checks can fail."""
    raw = ask(flexllm_mock, "generateContent", {"contents": [{"parts": [{"text": "Hello there"}]}]})
    assert strict(raw)
    document = json.loads(raw)
    place = document
    for step in path[:-1]:
        place = place[step]
    place[path[-1]] = value
    with pytest.raises((pydantic.ValidationError, AssertionError)):
        strict(json.dumps(document))


@pytest.mark.parametrize("version", ["v1", "v1beta"])
def test_sdk_options_are_obeyed(client_for: Any, flexllm_mock: MockServer, version: str) -> None:
    """What the SDK makes of its options, in whichever spelling, has its effect."""
    client = client_for(flexllm_mock, api_version=version)
    config = types.GenerateContentConfig(
        system_instruction="Be brief.",
        temperature=0.2,
        top_k=40,
        max_output_tokens=30,
        candidate_count=2,
        seed=7,
        thinking_config=types.ThinkingConfig(include_thoughts=True, thinking_level="LOW"),
        safety_settings=[
            types.SafetySetting(category="HARM_CATEGORY_HARASSMENT", threshold="BLOCK_ONLY_HIGH"),
        ],
    )
    image = types.Part.from_bytes(data=b"\x89PNG", mime_type="image/png")
    whole = client.models.generate_content(model=MODEL, contents=["Describe", image], config=config)
    assert len(whole.candidates) == 2
    assert whole.candidates[0].content.parts[0].thought
    streamed = list(client.models.generate_content_stream(model=MODEL, contents=["Describe", image], config=config))
    assert streamed[-1].usage_metadata == whole.usage_metadata
    assert flexllm_mock.requests[0].path == f"/{version}/models/{MODEL}:generateContent"
    assert flexllm_mock.stats().key_in_url == 0


@pytest.mark.parametrize("stream", [False, True])
def test_functions_in_two_turns(client: Any, stream: bool) -> None:
    """The SDK's own content with its calls and signatures can be sent back with the responses, and gets text."""
    config = types.GenerateContentConfig(tools=[types.Tool(**TOOLS[0])])
    if stream:
        chunks = list(client.models.generate_content_stream(model=MODEL, contents=ASKS_BOTH, config=config))
        parts = [part for chunk in chunks for part in chunk.candidates[0].content.parts if part.function_call]
    else:
        first = client.models.generate_content(model=MODEL, contents=ASKS_BOTH, config=config)
        parts = first.candidates[0].content.parts
    assert [part.function_call.name for part in parts] == ["get_weather", "get_time"]
    assert [bool(part.thought_signature) for part in parts] == [True, False]
    responses = [
        types.Part(
            function_response=types.FunctionResponse(
                id=part.function_call.id, name=part.function_call.name, response={"output": "done"}
            )
        )
        for part in parts
    ]
    contents = [
        types.Content(role="user", parts=[types.Part(text=ASKS_BOTH)]),
        types.Content(role="model", parts=parts),
        types.Content(role="user", parts=responses),
    ]
    assert client.models.generate_content(model=MODEL, contents=contents, config=config).text
    parts[0].thought_signature = b"skip_thought_signature_validator"
    assert client.models.generate_content(model=MODEL, contents=contents, config=config).text
    for wrong, message in ((None, "missing a thought_signature"), (b"other", "Corrupted thought signature")):
        parts[0].thought_signature = wrong
        with pytest.raises(errors.ClientError, match=message):
            client.models.generate_content(model=MODEL, contents=contents, config=config)


def test_sdk_calls_functions_itself(client: Any) -> None:
    """The SDK's own loop of calls and responses ends with a text."""
    seen = []

    def get_weather(city: str) -> str:
        """Tell the weather."""
        seen.append(city)
        return "4 C"

    config = types.GenerateContentConfig(tools=[get_weather])
    assert client.models.generate_content(model=MODEL, contents="get_weather in Oslo", config=config).text
    assert len(seen) == 1


def test_structured_output_is_parsed(client: Any) -> None:
    """The SDK reads an answer into the class that it asked for."""

    class City(pydantic.BaseModel):  # type: ignore[misc,name-defined]
        name: str
        people: int
        twins: list[str]
        country: str | None

    config = types.GenerateContentConfig(response_mime_type="application/json", response_schema=City)
    assert isinstance(client.models.generate_content(model=MODEL, contents="x", config=config).parsed, City)


def test_tokens_are_counted(client: Any, flexllm_mock: MockServer) -> None:
    """The count satisfies its type, and is what the answer then reports."""
    counted = client.models.count_tokens(model=MODEL, contents="Hello there")
    answer = client.models.generate_content(model=MODEL, contents="Hello there")
    assert counted.total_tokens == answer.usage_metadata.prompt_token_count
    raw = ask(flexllm_mock, "countTokens", {"contents": [{"parts": [{"text": "Hello there"}]}]})
    assert types.CountTokensResponse.model_validate_json(raw, strict=True).total_tokens == counted.total_tokens


def test_models_are_listed_page_by_page(client_for: Any, flexllm_mock_server_factory: Any) -> None:
    """The SDK follows the pages, and finds a model by name."""
    names = [f"m{number}" for number in range(5)]
    server = flexllm_mock_server_factory(models=tuple(names))
    client = client_for(server)
    assert [model.name for model in client.models.list(config={"page_size": 2})] == [f"models/{name}" for name in names]
    assert server.stats().requests == 3
    model = client.models.get(model="m3")
    assert (model.name, model.supported_actions) == (
        "models/m3",
        ["generateContent", "countTokens", "embedContent", "batchGenerateContent"],
    )
    with pytest.raises(errors.ClientError) as caught:
        client.models.get(model="m9")
    assert (caught.value.code, caught.value.status) == (404, "NOT_FOUND")


@pytest.mark.parametrize(
    ("status", "kind", "name"),
    [
        (400, "ClientError", "INVALID_ARGUMENT"),
        (403, "ClientError", "PERMISSION_DENIED"),
        (404, "ClientError", "NOT_FOUND"),
        (429, "ClientError", "RESOURCE_EXHAUSTED"),
        (500, "ServerError", "INTERNAL"),
        (503, "ServerError", "UNAVAILABLE"),
        (504, "ServerError", "DEADLINE_EXCEEDED"),
    ],
)
@pytest.mark.parametrize("as_list", [False, True])
def test_errors_are_understood(
    client_for: Any, flexllm_mock_server_factory: Any, status: int, kind: str, name: str, as_list: bool
) -> None:
    """Each status raises the SDK's error with its name and message, for streams in a list too."""
    client = client_for(flexllm_mock_server_factory(faults=[FaultRule(status=status, as_list=as_list)]))
    for call in (
        lambda: client.models.generate_content(model=MODEL, contents="x"),
        lambda: list(client.models.generate_content_stream(model=MODEL, contents="x")),
    ):
        with pytest.raises(getattr(errors, kind)) as caught:
            call()
        assert (caught.value.code, caught.value.status) == (status, name)
        assert caught.value.message


def test_wrong_key_is_understood(client_for: Any, flexllm_mock_server_factory: Any) -> None:
    """The SDK's key is the one that the mock checks."""
    server = flexllm_mock_server_factory(api_key="right")
    assert client_for(server, api_key="right").models.generate_content(model=MODEL, contents="x").text
    with pytest.raises(errors.ClientError) as caught:
        client_for(server, api_key="wrong").models.generate_content(model=MODEL, contents="x")
    assert caught.value.code == 400
    assert caught.value.details["error"]["details"][0]["reason"] == "API_KEY_INVALID"


def test_vertex_client(client_for: Any, flexllm_mock_server_factory: Any) -> None:
    """The SDK's client for Vertex AI gets documents, streams and counts with a bearer token."""
    from google.oauth2.credentials import Credentials  # google-genai brings it

    server = flexllm_mock_server_factory(api_key="token")
    options = {"api_key": None, "vertexai": True, "project": "p", "location": "us-central1"}
    client = client_for(server, **options, credentials=Credentials(token="token"))
    config = types.GenerateContentConfig(tools=[types.Tool(**TOOLS[0])])
    whole = client.models.generate_content(model=MODEL, contents=ASKS_BOTH, config=config)
    assert [call.name for call in whole.function_calls] == ["get_weather", "get_time"]
    texts = [chunk.text or "" for chunk in client.models.generate_content_stream(model=MODEL, contents="x")]
    assert "".join(texts) == client.models.generate_content(model=MODEL, contents="x").text
    assert client.models.count_tokens(model=MODEL, contents="x").total_tokens == 5
    assert "/projects/p/locations/us-central1/publishers/google/models/" in server.requests[0].path
    wrong = client_for(server, **options, credentials=Credentials(token="wrong"))
    with pytest.raises(errors.ClientError) as caught:
        wrong.models.generate_content(model=MODEL, contents="x")
    assert (caught.value.code, caught.value.status) == (401, "UNAUTHENTICATED")


@pytest.mark.filterwarnings("ignore:Inheritance class AiohttpClientSession:DeprecationWarning")  # where aiohttp is
async def test_async_client(flexllm_mock: MockServer) -> None:
    """The asynchronous client gets the same answers."""
    http = types.HttpOptions(base_url=flexllm_mock.url)
    async with genai.Client(api_key="k", http_options=http).aio as client:
        whole = await client.models.generate_content(model=MODEL, contents="x")
        text = ""
        async for chunk in await client.models.generate_content_stream(model=MODEL, contents="x"):
            text += chunk.text or ""
        assert text == whole.text
        assert (await client.models.count_tokens(model=MODEL, contents="x")).total_tokens == 5
        assert [model.name async for model in await client.models.list()] == ["models/mock"]
        with pytest.raises(errors.ClientError):
            await client.models.generate_content(model=MODEL, contents=types.Content(role="assistant", parts=[]))
